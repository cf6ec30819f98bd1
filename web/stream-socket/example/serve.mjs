// Serves the example page, and a small stream.v1 server that sends back what it gets: npm run example
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { WebSocketServer } from "ws";

const here = dirname(fileURLToPath(import.meta.url));
const { outputFiles: [script] } = await esbuild.build({
  entryPoints: [join(here, "example.ts")], bundle: true, format: "esm", target: "es2022", write: false,
});
const files = {
  "/": ["text/html; charset=utf-8", await readFile(join(here, "index.html"))],
  "/example.js": ["text/javascript; charset=utf-8", script.contents],
};

const server = createServer((request, response) => {
  const [type, body] = files[request.url] ?? [];
  if (body === undefined) response.writeHead(404).end();
  else response.writeHead(200, { "Content-Type": type }).end(body);
});
new WebSocketServer({ server, handleProtocols: (offered) => offered.has("stream.v1") && "stream.v1" })
  .on("connection", (socket) => {
    socket.send(Buffer.from("What you send comes back.\n"));
    socket.on("message", (data, binary) => {
      if (binary) return socket.send(data);
      const message = JSON.parse(String(data));
      if (message.type === "ping") socket.send(JSON.stringify({ type: "pong", id: message.id }));
    });
  });
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
