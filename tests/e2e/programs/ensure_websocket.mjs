// What a program does that lives on this API, before it connects: read the configuration of an
// instance's WebSocket, and only where it is not exactly the wanted one, set it and read it back.
//
//   node ensure_websocket.mjs URL INSTANCE WANTED      (the token is in TOKEN)
//
// WANTED is the `websocket` object as JSON. It is compared as text: keys and events in their
// order, no key more, no key less. Prints "unchanged" or "configured"; anything else is thrown.

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

async function read() {
  const answer = await call("GET", "getWebsocket");
  const unset = "WebSocket not configured for this instance";
  if (answer.status === 404 && answer.error.message === unset) return null;
  expect(answer, "WebSocket configuration retrieved");
  return JSON.stringify(answer.websocket);
}

function expect(answer, message) {
  if (answer.status !== 200 || answer.success !== true || answer.message !== message) {
    throw new Error(JSON.stringify(answer));
  }
}

function same(found) {
  if (found !== wanted) throw new Error(`wanted ${wanted}, found ${found}`);
}

if ((await read()) === wanted) {
  console.log("unchanged");
} else {
  const answer = await call("POST", "websocket", wanted);
  expect(answer, "WebSocket configured successfully");
  same(JSON.stringify(answer.websocket));
  same(await read());
  console.log("configured");
}
