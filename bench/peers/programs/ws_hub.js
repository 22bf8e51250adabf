// A hub with the `ws` package. The socket's buffer takes the place of the queue. It counts
// bytes: a subscriber with more than 256 times a message's size in it is evicted.
"use strict";

const { WebSocketServer, WebSocket } = require("ws");

const QUEUE_SIZE = 256;
const subscribers = new Set();
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  backlog: 4096,
  perMessageDeflate: false,
});
let published = 0;

function fanOut(message) {
  published += 1;
  for (const client of subscribers) {
    if (client.bufferedAmount > QUEUE_SIZE * message.length) {
      console.log("evicted", published, client.port);
      subscribers.delete(client);
      client.terminate();
    } else {
      client.send(message, { binary: false });
    }
  }
}

function sendHeartbeats() {
  for (const client of subscribers) client.ping();
}

server.on("connection", (client, request) => {
  client.on("error", () => {});
  if (request.url === "/publish") {
    client.on("message", fanOut);
    return;
  }
  client.port = request.socket.remotePort;
  subscribers.add(client);
  client.on("close", () => subscribers.delete(client));
});
setInterval(sendHeartbeats, 30000);
