// A hub with the `ws` package. Its queue is the socket's own buffer, which counts bytes: a
// client with more than 256 messages' worth of them is dropped.
"use strict";

const { WebSocketServer, WebSocket } = require("ws");

const QUEUE = 256;
const subscribers = new Set();
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  backlog: 4096,
  perMessageDeflate: false,
});
let published = 0;

function broadcast(message) {
  published += 1;
  for (const client of subscribers) {
    if (client.bufferedAmount > QUEUE * message.length) {
      console.log("dropped", published, client.port);
      subscribers.delete(client);
      client.terminate();
    } else {
      client.send(message, { binary: false });
    }
  }
}

function beat() {
  for (const client of subscribers) client.ping();
}

server.on("connection", (client, request) => {
  client.on("error", () => {});
  if (request.url === "/publish") {
    client.on("message", broadcast);
    return;
  }
  client.port = request.socket.remotePort;
  subscribers.add(client);
  client.on("close", () => subscribers.delete(client));
});
setInterval(beat, 30000);
