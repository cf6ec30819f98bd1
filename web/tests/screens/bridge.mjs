// Serves a folder and carries websockets to a unix socket, without any subprotocol, as a plain bridge does.
import http from "node:http";
import net from "node:net";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { WebSocketServer } from "ws";

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8" };

/** The policy of the pages, as the relay sends it; it alone decides what the page may do. */
const policy = (port) => [
  "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data: blob:", `connect-src ws://127.0.0.1:${port}`,
  "media-src blob:", "require-trusted-types-for 'script'", "trusted-types 'none'",
].join("; ");

/** `targets`: name -> unix socket. Websockets at `/NAME` go there. */
export async function serve(folder, targets) {
  const sockets = new Set();
  const server = http.createServer(async (request, response) => {
    const name = path.normalize(new URL(request.url, "http://x").pathname);
    try {
      const bytes = await readFile(path.join(folder, name));
      response.writeHead(200, {
        "content-type": TYPES[path.extname(name)] ?? "application/octet-stream",
        "content-security-policy": policy(server.address().port), "x-content-type-options": "nosniff",
      });
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  // Whatever a client offers, nothing is chosen.
  const bridge = new WebSocketServer({ server, handleProtocols: () => false });
  bridge.on("connection", (websocket, request) => {
    const target = targets[new URL(request.url, "http://x").pathname.slice(1)];
    if (!target) return websocket.close(4404, "no host with this token");
    const socket = net.connect(target);
    const pair = { websocket, socket, path: request.url };
    sockets.add(pair);
    socket.on("data", (bytes) => {
      websocket.send(bytes, () => socket.resume());
      if (websocket.bufferedAmount > 1 << 20) socket.pause();
    });
    socket.on("error", () => websocket.close(4502, "host could not open the target"));
    socket.on("end", () => websocket.close(1000, "target ended"));
    websocket.on("message", (bytes) => socket.write(bytes));
    websocket.on("error", () => websocket.terminate());
    websocket.on("close", () => { socket.destroy(); sockets.delete(pair); });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  return {
    port, sockets,
    page: (name) => `http://127.0.0.1:${port}/${name}`,
    url: (name) => `ws://127.0.0.1:${port}/${name}`,
    stop() {
      for (const { websocket } of sockets) websocket.terminate();
      server.closeAllConnections();
      return new Promise((done) => server.close(done));
    },
  };
}
