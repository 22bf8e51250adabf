// A client that ensures the WebSocket configuration of an instance before it connects: reads it, and
// only if it is not exactly the wanted one, sets it and reads it back.
//
//   node ensure_websocket.mjs URL INSTANCE WANTED      (the token is in TOKEN)
//
// WANTED is the `websocket` object as JSON. It is compared as text: the same keys and events in the
// same order. Prints "unchanged" or "configured"; throws on anything else.

const [url, instance, text] = process.argv.slice(2);
const wanted = JSON.stringify(JSON.parse(text));

async function call(method, path, body) {
  const response = await fetch(`${url}/api/events/${path}/${instance}`, {
    method,
    headers: { token: process.env.TOKEN, "Content-Type": "application/json" },
    body,
  });
  if (!response.headers.get("content-type").startsWith("application/json")) {
    throw new Error(`${method} ${path}: not JSON`);
  }
  return { status: response.status, ...(await response.json()) };
}

async function readConfiguration() {
  const response = await call("GET", "getWebsocket");
  const unset = "WebSocket not configured for this instance";
  if (response.status === 404 && response.error.message === unset) return null;
  expect(response, "WebSocket configuration retrieved");
  return JSON.stringify(response.websocket);
}

function expect(response, message) {
  if (response.status !== 200 || response.success !== true || response.message !== message) {
    throw new Error(JSON.stringify(response));
  }
}

function assertWanted(found) {
  if (found !== wanted) throw new Error(`wanted ${wanted}, found ${found}`);
}

if ((await readConfiguration()) === wanted) {
  console.log("unchanged");
} else {
  const response = await call("POST", "websocket", wanted);
  expect(response, "WebSocket configured successfully");
  assertWanted(JSON.stringify(response.websocket));
  assertWanted(await readConfiguration());
  console.log("configured");
}
