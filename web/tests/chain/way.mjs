// Ends that come from the way between: each is provoked as a person gets it, and has its sentence.
import assert from "node:assert/strict";
import net from "node:net";
import { WebSocketServer } from "ws";
import { act, ask, chain, open, prompt, run, tab, until } from "./chain.mjs";
import { ended, given, seen } from "./sentences.mjs";

const TEXT = 0x81;

/** A proxy between the browser and the relay. `damage` gets what the browser sends, until it returns true. */
const proxy = { damage: undefined };
const server = net.createServer((browser) => {
  const relay = net.connect(8080, chain.ip);
  browser.on("data", (bytes) => {
    if (proxy.damage?.(bytes)) proxy.damage = undefined;
    relay.write(bytes);
  });
  relay.pipe(browser);
  for (const [one, other] of [[browser, relay], [relay, browser]]) {
    one.on("error", () => {});
    one.on("close", () => other.destroy());
  }
});
await new Promise((done) => server.listen(8087, chain.ip, done));

const metric = (name, value) => until(`${name} is ${value}`, async () => (await ask("metric", { name })) === value);

/** Pastes a text many times, as the keys for it do. */
const paste = (page, bytes, times) => page.evaluate(([bytes, times]) => {
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", "x".repeat(bytes));
  const terminal = document.querySelector(".xterm-helper-textarea");
  for (let n = 0; n < times; n += 1) terminal.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}, [bytes, times]);

async function throughProxy() {
  const page = await tab({ signedIn: false });
  await page.goto(given((await ask("url", { target: "shell" })).replace(":8080/", ":8087/")));
  await prompt(page);
  return page;
}

await run({
  async "a proxy that damages a frame (1002)"() {
    const page = await throughProxy();
    // A bit that has no meaning without an extension.
    proxy.damage = (bytes) => { bytes[0] |= 0x40; return true; };
    await page.keyboard.press("x");
    await ended(page, 1002);
    await page.close();
  },

  async "a proxy that damages a text (1007)"() {
    const page = await throughProxy();
    proxy.damage = (bytes) => {
      if (bytes[0] !== TEXT) return false;
      // The last byte, behind two of head and four of mask. No character begins with it now.
      bytes[5 + (bytes[1] & 0x7f)] ^= 0x80;
      return true;
    };
    // The new size is a control message.
    await page.setViewportSize({ width: 900, height: 560 });
    await ended(page, 1007);
    await page.close();
  },

  async "a paste above the relay's limit (4413)"() {
    const page = await tab({ permissions: ["clipboard-read", "clipboard-write"] });
    await open(page, "shell");
    await prompt(page);
    await page.evaluate(() => navigator.clipboard.writeText("x".repeat(150_000)));
    await act(page, "Paste");
    await ended(page, 4413);
    await page.getByRole("button", { name: "Open a new session" }).click();
    await page.locator(".end-card").waitFor({ state: "detached" });
    await prompt(page);
    await page.close();
  },

  async "a program that reads nothing (4414)"() {
    const page = await tab();
    await open(page, "deaf");
    await page.locator(".xterm").waitFor();
    await metric("stream_relay_streams", 1);
    // More than the buffers on the way hold, in frames that the relay accepts.
    await paste(page, 90_000, 300);
    await ended(page, 4414);
    await page.close();
  },

  async "a host that stands still while one more tab opens the session (4408)"() {
    const address = await ask("url", { target: "shared" });
    const tabs = [await tab({ signedIn: false })];
    await tabs[0].goto(given(address));
    await metric("stream_relay_streams", 1);
    await metric("stream_relay_hosts_parked", 1);
    await ask("freeze-agent");
    // The second gets the connection that the host had in store.
    tabs.push(await tab({ beside: tabs[0] }), await tab({ beside: tabs[0] }));
    await tabs[1].goto(given(address));
    await metric("stream_relay_streams", 2);
    await tabs[2].goto(given(address));
    await ended(tabs[2], 4408);
    await ask("thaw-agent");
    for (const page of tabs) await page.close();
  },

  async "a relay that answers with 4400, which ours does not to a browser"() {
    // Only CONNECT is refused with it, and no script can send that.
    const page = await tab({ signedIn: false });
    await page.goto(`${chain.origin}/view`);
    assert.match(await page.evaluate(() => fetch("/", { method: "CONNECT" }).then(() => "sent", String)), /TypeError.*CONNECT/);
    const other = new WebSocketServer({ host: chain.ip, port: 8088, handleProtocols: () => "stream.v1" });
    other.on("connection", (socket) => socket.close(4400, "bad request"));
    await page.goto("about:blank");
    await page.goto(given(`ws://${chain.ip}:8088/v1/stream/${"A".repeat(43)}`));
    await ended(page, 4400);
    other.close();
    server.close();
    console.log(`${seen.size} ends: ${[...seen].join(", ")}`);
  },
});
