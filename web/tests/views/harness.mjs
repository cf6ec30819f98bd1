import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { WebSocketServer } from "ws";
import { bundle } from "../../build/bundle.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const out = join(root, ".build/views");
export const shots = join(root, ".build/shots");

/** Serves the page with one view under the policy of the real one; `onStream` gets each websocket; `connect`: further servers. */
export async function serve(onStream, connect = "") {
  const [{ outputs }] = await bundle(root, out, ["tests/views/page.ts"]);
  const script = Object.keys(outputs).find((path) => outputs[path].entryPoint === "tests/views/page.ts").split("/assets/")[1];
  const html = `<!doctype html><html lang="en"><title>A view</title><main></main><script type="module" src="/assets/${script}"></script></html>`;
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://page");
    if (pathname === "/") {
      return response.writeHead(200, { "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy":
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; " +
        `connect-src 'self' ws://${request.headers.host} ${connect}; media-src blob:; worker-src 'self'; base-uri 'self'; ` +
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'" }).end(html);
    }
    const body = /^\/assets\/[\w.-]+$/.test(pathname) ? await readFile(join(out, pathname)).catch(() => undefined) : undefined;
    if (body === undefined) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": pathname.endsWith(".css") ? "text/css" : "text/javascript" }).end(body);
  });
  new WebSocketServer({ server, handleProtocols: (offered) => offered.has("stream.v1") && "stream.v1" })
    .on("connection", (socket) => onStream(new HostSide(socket)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}/`, stop: () => { server.closeAllConnections(); server.close(); } };
}

/** The host's side of a stream: pongs, acks as credit, control messages. */
class HostSide {
  controls = [];
  unacknowledged = 0;
  credit = false;
  creditGiven = () => {};
  constructor(socket) {
    this.socket = socket;
    this.input = [];
    socket.on("message", (data, binary) => {
      if (binary) {
        this.input.push(data);
        return this.oninput?.(data);
      }
      const message = JSON.parse(String(data));
      if (message.type === "ping") return this.control({ type: "pong", id: message.id });
      if (message.type === "ack") {
        this.credit = true;
        this.unacknowledged = Math.max(0, this.unacknowledged - message.bytes);
        return this.creditGiven();
      }
      this.controls.push(message);
      this.oncontrol?.(message);
    });
  }
  control(message) { this.socket.send(JSON.stringify(message)); }
  /** Sends as a host does: at most 256 KiB that were not acknowledged. */
  async send(data) {
    while (this.credit && this.unacknowledged >= 256 * 1024) await new Promise((given) => { this.creditGiven = given; });
    const bytes = Buffer.from(data);
    this.unacknowledged += bytes.length;
    await new Promise((sent) => this.socket.send(bytes, { binary: true }, sent));
  }
}

/**
 * What the tests of one view share. The result opens a page with the view and waits for its stream, which `onStream` gets;
 * `isReady` says from when on the host may go on.
 */
export function opener(view, onStream, isReady = () => true) {
  let chromium, server, host;
  before(async () => {
    mkdirSync(shots, { recursive: true });
    server = await serve((side) => { host = side; onStream(side); });
    chromium = await browser();
  });
  after(async () => {
    await chromium?.close();
    server?.stop();
  });
  return async (query = "", options = {}) => {
    host = undefined;
    const page = await chromium.newPage({ viewport: { width: 900, height: 500 }, colorScheme: "dark", ...options });
    await page.goto(`${server.url}?view=${view}${query}`);
    await until("the stream", () => host !== undefined && isReady(host));
    return page;
  };
}

/** Runs an action of the view by its id. */
export const action = (page, id) => page.evaluate((id) => window.view.actions().flatMap((one) => [one, ...one.items ?? []]).find((one) => one.id === id).run(), id);

export async function browser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
}

export async function until(what, check, deadline = 30_000) {
  const end = Date.now() + deadline;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${deadline} ms`);
    await new Promise((later) => setTimeout(later, 25));
  }
}
