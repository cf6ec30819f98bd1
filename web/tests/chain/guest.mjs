// The guest of tests/parts/guest: what it says, what QEMU itself sees on its screen, and whether a page shows the same.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import readline from "node:readline";
import { chain, until } from "./chain.mjs";

const at = (name) => path.join(chain.dir, "guest", name);

const said = () => readFileSync(at("serial.log"), "utf8");

class Monitor {
  static async connect() {
    const monitor = new Monitor();
    monitor.socket = net.connect(at("qmp"));
    monitor.lines = readline.createInterface({ input: monitor.socket })[Symbol.asyncIterator]();
    await monitor.ask("qmp_capabilities");
    return monitor;
  }

  async ask(execute, args) {
    this.socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    for (;;) {
      const { value, done } = await this.lines.next();
      if (done) throw new Error("the guest ended");
      const message = JSON.parse(value);
      if (message.error) throw new Error(`${execute}: ${message.error.desc}`);
      if ("return" in message) return message.return;
    }
  }

  /** Width, height and three bytes for each pixel. */
  async picture() {
    const filename = at("screen.ppm");
    await this.ask("screendump", { filename });
    const bytes = readFileSync(filename);
    const head = /^P6\n(\d+) (\d+)\n255\n/.exec(bytes.subarray(0, 64).toString("latin1"));
    return { width: +head[1], height: +head[2], rgb: bytes.subarray(head[0].length) };
  }

  close() {
    this.socket.destroy();
  }
}

/** Characters that need Shift on the guest's US keyboard. */
const SHIFTED = /[A-Z~!@#$%^&*()_+{}|:"<>?]/;

let monitor;
let n = 0;

/** The picture in the page, in the form of Monitor.picture(). */
async function picture(page) {
  const seen = await page.evaluate(() => {
    const canvas = document.querySelector(".pane-view canvas");
    if (!canvas?.width) return undefined;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let text = "";
    for (let at = 0; at < data.length; at += 32768) text += String.fromCharCode(...data.subarray(at, at + 32768));
    return { width: canvas.width, height: canvas.height, data: btoa(text) };
  });
  if (!seen) return undefined;
  const rgba = Buffer.from(seen.data, "base64");
  const rgb = Buffer.alloc(seen.width * seen.height * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) rgba.copy(rgb, to, from, from + 3);
  return { width: seen.width, height: seen.height, rgb };
}

/** How many pixels differ; undefined if the sizes do. */
function differing(one, other) {
  if (one?.width !== other?.width || one?.height !== other?.height) return undefined;
  let differ = 0;
  for (let at = 0; at < one.rgb.length; at += 3) {
    if (one.rgb[at] !== other.rgb[at] || one.rgb[at + 1] !== other.rgb[at + 1] || one.rgb[at + 2] !== other.rgb[at + 2]) differ += 1;
  }
  return differ;
}

async function isExact(page) {
  let differ;
  await until("no pixel differs", async () => {
    differ = differing(await picture(page), await monitor.picture());
    return differ === 0;
  }, 60_000).catch((error) => { throw new Error(`${error.message}; ${differ} do`); });
}

const keysOf = (text) => [...text].map((key) => key === "\n" ? "Enter" : SHIFTED.test(key) ? `Shift+${key}` : key);

/** A guest that gets no processor time for a while loses keys, so what was not answered is typed again, more slowly. */
async function isTyped(press) {
  for (let tries = 0; tries < 4; tries += 1) {
    n += 1;
    const answer = `typed-${n * 7}\r\n`;
    await press(keysOf(`echo typed-$((${n}*7)) > /dev/ttyS0\n`), 15 << tries);
    if (await until("an answer", () => said().includes(answer), 6_000).then(() => true, () => false)) return tries + 1;
    await press(["Control+c"], 200);
  }
  throw new Error(`the guest did not answer: ${said().slice(-500)}`);
}

/** The page shows the guest's screen exactly, before keys are typed and after they changed it. `click`: into the screen.
 *  `press(keys, delay)`: one key after the other. */
export async function showsGuest(page, view, { click, press }) {
  monitor ??= await Monitor.connect();
  await isExact(page);
  const first = await picture(page);
  await click();
  const tries = await isTyped(press);
  await isExact(page);
  const changed = differing(first, await picture(page));
  console.log(`${view}: ${first.width}x${first.height}, typed ${tries} times, ${changed} pixels changed, 0 differ from QEMU's own picture`);
  assert.notEqual(changed, 0);
}
