// A server for looking at the pages: the built files with the relay's headers, and answers of the API from a table.
// It is a fixture of screenshots, and no relay: what the platform does is tested with the real one.
//   node tests/serve.mjs [PORT]    then open the address that it prints; any key signs in.
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";
import { worlds } from "./worlds.mjs";

const dist = join(fileURLToPath(new URL(".", import.meta.url)), "../dist");
const TYPES = { ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".svg": "image/svg+xml" };

export function policy(origin, { embed = [], allow = [] } = {}, view = false, embedded = false) {
  const sockets = [origin.replace(/^http/, "ws"), ...(view ? allow : [])].join(" ");
  const ancestors = embedded && embed.length > 0 ? embed.join(" ") : "'none'";
  return `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self' ${sockets}; `
    + `media-src blob:; worker-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors ${ancestors}; `
    + "require-trusted-types-for 'script'; trusted-types 'none'";
}

/** Starts it. `world` names what the API answers; it may be changed while the server runs. */
export async function serve({ port = 0, world = "usual", embed = [], allow = [], base = "" } = {}) {
  const state = { world: worlds(world), origin: "", embed, allow, waiting: [] };
  const server = createServer((request, response) => void answer(request, response).catch((error) => response.writeHead(500).end(String(error))));
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => (offered.has("stream.v1") ? "stream.v1" : false) });
  server.on("upgrade", (request, socket, head) => sockets.handleUpgrade(request, socket, head, (ws) => state.world.stream(ws, decodeURIComponent(request.url.split("/").pop()))));
  await new Promise((done) => server.listen(port, "127.0.0.1", done));
  state.origin = `http://127.0.0.1:${server.address().port}`;

  async function answer(request, response) {
    const url = new URL(request.url, state.origin);
    const path = url.pathname.slice(base.length);
    if (path.startsWith("/api/v1/")) return api(request, response, path.slice("/api/v1/".length), url.searchParams);
    const file = normalize(path).slice(1);
    if (/^(assets\/|stream-console\.js)/.test(file) && existsSync(join(dist, file))) {
      return response.writeHead(200, { "Content-Type": TYPES[extname(file)], "Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin" }).end(readFileSync(join(dist, file)));
    }
    const view = path === "/view" || path === "/embed";
    const html = readFileSync(join(dist, view ? "view.html" : "index.html"), "utf8")
      .replaceAll("__BASE__", base).replaceAll("__RELAYS__", state.origin.replace(/^http/, "ws"))
      .replaceAll("__VIEW_ALLOW__", allow.join(" ")).replaceAll("__EMBED_ORIGINS__", state.embed.join(" "));
    return response.writeHead(200, {
      "Content-Type": TYPES[".html"], "Content-Security-Policy": policy(state.origin, state, view, path === "/embed"),
      "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache", "Cross-Origin-Opener-Policy": "same-origin",
      "Permissions-Policy": "clipboard-read=(self), clipboard-write=(self), fullscreen=(self), camera=(), microphone=(), geolocation=()",
    }).end(html);
  }

  async function api(request, response, path, query) {
    let text = "";
    for await (const chunk of request) text += chunk;
    if (path === "live") {
      if (state.world.broken) return response.socket.destroy();
      if (query.has("after")) return state.waiting.push(response);
      return send(response, 200, { at: 1, changed: ["hosts", "sessions"] });
    }
    const [status, body, headers] = state.world.api(request.method, path, query, text === "" ? undefined : JSON.parse(text), state.origin);
    return status === 0 ? response.socket.destroy() : send(response, status, body, headers);
  }

  return {
    origin: state.origin,
    server,
    change: (name) => { state.world = worlds(name); },
    setEmbed: (origins) => { state.embed = origins; },
    close: () => new Promise((done) => { for (const ws of sockets.clients) ws.terminate(); server.closeAllConnections(); server.close(done); }),
  };
}

function send(response, status, body, headers = {}) {
  if (status === 204) return response.writeHead(204).end();
  const raw = headers["Content-Type"] !== undefined;
  return response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store", ...headers }).end(raw ? body : JSON.stringify(body));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { origin } = await serve({ port: Number(process.argv[2] ?? 0) });
  console.log(origin);
}
