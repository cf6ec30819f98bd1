// The file for a desktop viewer: what the button downloads, and that it opens the session, once.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import net from "node:net";
import { accessible, chain, run, seenOn, tab, until } from "./chain.mjs";

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** The 32 bytes of a token that is written in base32, in the form of a URL. */
function tokenOf(host) {
  const bits = [...host.toUpperCase()].map((letter) => BASE32.indexOf(letter).toString(2).padStart(5, "0")).join("");
  return Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2))).toString("base64url");
}

/** Asks the relay as a viewer asks a proxy. Returns the connection, and the status. */
async function connect(file) {
  const { username, password, hostname, port } = new URL(file.proxy);
  const socket = net.connect(Number(port), hostname);
  let said = "";
  socket.on("data", (bytes) => { said += bytes.toString("latin1"); });
  socket.on("error", () => {});
  const login = Buffer.from(`${username}:${password}`).toString("base64");
  // GLib writes the name in lower case.
  socket.write(`CONNECT ${file.host.toLowerCase()}:${file.port} HTTP/1.0\r\nHost: x\r\nProxy-Authorization: Basic ${login}\r\n\r\n`);
  await until("an answer", async () => said.includes("\r\n\r\n"));
  return { socket, status: Number(/^HTTP\/1\.[01] (\d+)/.exec(said)[1]), said: () => said };
}

let page, file;

await run({
  async "the button downloads the file"() {
    page = await tab();
    const answered = page.waitForResponse((response) => response.url().endsWith("/viewer"));
    const downloaded = page.waitForEvent("download");
    await page.getByRole("button", { name: "Desktop viewer" }).click();
    const [response, download] = await Promise.all([answered, downloaded]);
    const headers = response.headers();
    assert.deepEqual(
      [response.request().method(), response.status(), headers["content-type"], headers["cache-control"], headers["x-content-type-options"], headers["content-disposition"]],
      ["POST", 200, "application/x-virt-viewer", "no-store", "nosniff", 'attachment; filename="screen.vv"']);
    assert.equal(download.suggestedFilename(), "screen.vv");
    const text = readFileSync(await download.path(), "utf8");
    assert.match(text, /^\[virt-viewer\]\n/);
    file = Object.fromEntries(text.trim().split("\n").slice(1).map((line) => /^([^=]+)=(.*)$/.exec(line).slice(1)));
    console.log(text.replace(/^(host=.{4}).*/m, "$1…").replace(/(stream:.{4})[^@]*/, "$1…").trim().replaceAll("\n", " | "));
    const { host, proxy, ...others } = file;
    assert.deepEqual(others, { type: "spice", port: "1", "delete-this-file": "1", title: "screen on h1", "secure-attention": "ctrl+alt+end" });
    const { url } = seenOn(page).sessions.at(-1);
    assert.equal(host.length, 52);
    assert.equal(tokenOf(host), url.split("/").at(-1));
    assert.match(proxy, /^http:\/\/stream:[A-Za-z0-9_-]{43}@/);
    assert.equal(`http://${new URL(proxy).host}`, chain.origin);
    await page.getByText("Open the file within 60 seconds with remote-viewer. It works once.").waitFor();
    await accessible(page, "the hosts after a download");
  },

  async "nothing of it stays in the page"() {
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, location.href, history.state, document.documentElement.outerHTML]));
    for (const secret of [file.host, tokenOf(file.host), new URL(file.proxy).password]) assert.ok(!kept.includes(secret));
    assert.deepEqual(seenOn(page).sockets, []);
  },

  async "the file opens the session, and nobody else's does"() {
    const target = net.createServer((socket) => { socket.on("error", () => {}); socket.on("data", (bytes) => socket.write(bytes)); });
    await new Promise((done) => target.listen(8099, chain.ip, done));
    const viewer = await connect(file);
    assert.equal(viewer.status, 200);
    viewer.socket.write("hello, screen");
    await until("the target answers", async () => viewer.said().endsWith("hello, screen"));
    const thief = await connect({ ...file, proxy: file.proxy.replace(/stream:[^@]+/, `stream:${"A".repeat(43)}`) });
    assert.equal(thief.status, 409);
    viewer.socket.destroy();
    await until("the session is over", async () => {
      const late = await connect(file);
      late.socket.destroy();
      return late.status === 404;
    }, 60_000);
    target.close();
  },
});
