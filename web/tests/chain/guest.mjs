// The guest of tests/parts/guest: what it says, what QEMU itself sees on its screen, and whether a page shows the same.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import readline from "node:readline";
import { differing, keysOf, picture } from "../picture.mjs";
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

/** What a view of a screen draws on. */
const CANVAS = ".pane-view canvas";

let monitor;
let n = 0;

async function isExact(page) {
  let differ;
  await until("no pixel differs", async () => {
    differ = differing(await picture(page, CANVAS), await monitor.picture());
    return differ === 0;
  }, 60_000).catch((error) => { throw new Error(`${error.message}; ${differ} do`); });
}

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
  const first = await picture(page, CANVAS);
  await click();
  const tries = await isTyped(press);
  await isExact(page);
  const changed = differing(first, await picture(page, CANVAS));
  console.log(`${view}: ${first.width}x${first.height}, typed ${tries} times, ${changed} pixels changed, 0 differ from QEMU's own picture`);
  assert.notEqual(changed, 0);
}
