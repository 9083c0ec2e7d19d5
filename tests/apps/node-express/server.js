const express = require("express");
const { WebSocketServer } = require("ws");

const VERSION = "v1";
const port = process.env.PORT || 3000;
const app = express();

app.get("/", (request, response) => {
  response.type("text").send(`Hello from Express ${VERSION}\n`);
});

app.get("/env", (request, response) => {
  const { GREETING, NODE_ENV, PORT } = process.env;
  response.json({ GREETING, NODE_ENV, PORT });
});

// Answers after ?ms=, to have a request in flight.
app.get("/slow", (request, response) => {
  const ms = Math.min(Number(request.query.ms) || 0, 60_000);
  setTimeout(() => response.type("text").send(`waited ${ms} ms, ${VERSION}\n`), ms);
});

// One line every ?ms=, ?n= of them.
app.get("/stream", (request, response) => {
  const lines = Math.min(Number(request.query.n) || 5, 1000);
  let line = 0;
  response.type("text").flushHeaders();
  const timer = setInterval(() => {
    line += 1;
    response.write(`line ${line} ${VERSION}\n`);
    if (line === lines) {
      clearInterval(timer);
      response.end();
    }
  }, Number(request.query.ms) || 100);
  response.on("close", () => clearInterval(timer));
});

const server = app.listen(port, () => console.log(`listening on ${port}`));

const sockets = new WebSocketServer({ server, path: "/ws" });
sockets.on("connection", (socket) => {
  socket.on("message", (message, isBinary) => socket.send(message, { binary: isBinary }));
});

process.on("SIGTERM", () => {
  console.log("SIGTERM: finishing what is in flight");
  server.close(() => process.exit(0));
  for (const socket of sockets.clients) socket.close(1001);
});
