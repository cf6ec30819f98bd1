// The guest of tests/parts/guest: what it says, and what QEMU itself sees on its screen.
import { readFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import readline from "node:readline";
import { chain } from "./chain.mjs";

const at = (name) => path.join(chain.dir, "guest", name);

export const said = () => readFileSync(at("serial.log"), "utf8");

export class Monitor {
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
