// Its own file: the page's policy allows no script inside the page.
SwaggerUIBundle({
  dom_id: "#api",
  url: "openapi.json",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
  displayRequestDuration: true,
  tryItOutEnabled: true,
  // No validator of somebody else's, and no token kept in the browser.
  validatorUrl: null,
  persistAuthorization: false,
});
