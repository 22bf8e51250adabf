// A file of its own: the page's policy allows no inline script.
SwaggerUIBundle({
  dom_id: "#api",
  url: "openapi.json",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
  displayRequestDuration: true,
  tryItOutEnabled: true,
  // Send nothing to a public validator, and keep no token in the browser.
  validatorUrl: null,
  persistAuthorization: false,
});
