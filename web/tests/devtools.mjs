// Chromium by its own protocol. playwright puts half a megabyte of its own script into each page and has the browser
// note stacks, which a measurement of the page's first moments would count as the page's.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import readline from "node:readline";
import { WebSocket } from "ws";

/** A browser with `send(method, params, session)`, `on(event, handler)` and `close()`. */
export async function devtools() {
  const profile = mkdtempSync(path.join(tmpdir(), "stream-devtools-"));
  const browser = spawn(process.env.CHROMIUM ?? "/usr/bin/chromium", [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync",
    "--remote-debugging-port=0", `--user-data-dir=${profile}`,
  ], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(browser, "exit");
  let url;
  for await (const line of readline.createInterface({ input: browser.stderr })) {
    url = /^DevTools listening on (ws:.*)$/.exec(line)?.[1];
    if (url) break;
  }
  if (!url) throw new Error("Chromium does not start");
  browser.stderr.resume();
  const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 1 << 30 });
  await once(socket, "open");
  const waiting = new Map();
  const handlers = new Map();
  let last = 0;
  socket.on("message", (data) => {
    const { id, method, params, result, error } = JSON.parse(data);
    if (id === undefined) return handlers.get(method)?.(params);
    const { done, failed, asked } = waiting.get(id);
    waiting.delete(id);
    if (error) failed(new Error(`${asked}: ${error.message}`));
    else done(result);
  });
  return {
    send: (method, params = {}, sessionId = undefined) => new Promise((done, failed) => {
      waiting.set(++last, { done, failed, asked: method });
      socket.send(JSON.stringify({ id: last, method, params, sessionId }));
    }),
    on: (event, handler) => handlers.set(event, handler),
    async close() {
      browser.kill();
      await ended;
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
