// A virtual machine with a shell on its screen, as tests/parts/guest makes it, but with a name, passwords and devices of the test's choice.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const cache = process.env.STREAM_TEST_CACHE || path.join(here, "../../../.cache/parts");
const GUEST_MS = 120_000;

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** On a machine that has other work, all takes longer by this factor. */
export const PATIENCE = Number(process.env.STREAM_TEST_PATIENCE ?? 1);

/** Waits until `look` gives something true. */
export async function until(what, look, ms = 60_000) {
  const deadline = Date.now() + ms * PATIENCE;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${(ms * PATIENCE) / 1000} s`);
    await pause(50);
  }
}

export class Guest {
  /**
   * `name` is what both screens call themselves; `spice` and `vnc` are options of theirs, `more(DIR)` are more of QEMU's.
   * `extra`: a folder whose files the guest has too. `kernel`: more of its kernel's command line.
   */
  static async start({ name = "guest", spice = "disable-ticketing=on", vnc = "", more = () => [], extra, kernel = "" } = {}) {
    const guest = new Guest();
    guest.dir = mkdtempSync(path.join(os.tmpdir(), "screens-"));
    const at = (file) => path.join(guest.dir, file);
    const initrd = [readFileSync(path.join(cache, "guest/initrd"))];
    if (extra) initrd.push(execFileSync("sh", ["-c", "find . | cpio --quiet -o -H newc -R 0:0"], { cwd: extra }));
    writeFileSync(at("initrd"), Buffer.concat(initrd));
    guest.spice = at("spice");
    guest.vnc = at("vnc");
    guest.child = spawn("nice", ["-n", "15", "qemu-system-x86_64",
      "-accel", "tcg", "-machine", "pc,pcspk-audiodev=sound", "-cpu", "max", "-smp", "1", "-m", "128",
      "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-name", `guest=${name.replaceAll(",", ",,")}`, "-vga", "std",
      "-kernel", path.join(cache, "guest/vmlinuz"), "-initrd", at("initrd"),
      // On a busy machine the emulated timer is late: a kernel that checks it panics.
      "-append", `console=tty0 quiet vt.global_cursor_default=0 no_timer_check panic=-1 8250.nr_uarts=8 ${kernel}`,
      "-audiodev", "spice,id=sound", "-device", "AC97,audiodev=sound",
      "-spice", `unix=on,addr=${guest.spice},${spice}`, "-vnc", `unix:${guest.vnc}${vnc}`,
      "-chardev", `socket,id=serial,path=${at("serial")},server=on,wait=off,logfile=${at("serial.log")}`, "-serial", "chardev:serial",
      "-qmp", `unix:${at("qmp")},server=on,wait=off`, ...more(guest.dir)], { stdio: ["ignore", "inherit", "inherit"] });
    guest.child.on("exit", () => { guest.ended = true; });
    try {
      await guest.says("guest is up", GUEST_MS);
      await guest.#control();
    } catch (error) {
      await guest.stop();
      throw error;
    }
    return guest;
  }

  said() {
    const log = path.join(this.dir, "serial.log");
    return existsSync(log) ? readFileSync(log, "utf8") : "";
  }

  says(text, ms = 60_000) {
    return until(`the guest says "${text}"`, () => {
      if (this.ended) throw new Error("the guest ended");
      return this.said().includes(text);
    }, ms);
  }

  /** Gives a line to the shell of the serial line. The line stays connected: QEMU drops what the guest has not taken when it ends. */
  async serial(line) {
    if (!this.line) {
      this.line = net.connect(path.join(this.dir, "serial"));
      this.line.on("error", () => {});
      this.line.resume();
    }
    await new Promise((done) => this.line.write(`${line}\n`, done));
  }

  #control() {
    return new Promise((done, failed) => {
      const socket = net.connect(path.join(this.dir, "qmp"));
      this.answers = [];
      let rest = "";
      socket.setEncoding("utf8");
      socket.on("error", failed);
      socket.on("data", (text) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          const message = JSON.parse(line);
          if ("return" in message || "error" in message) this.answers.shift()?.(message);
        }
      });
      this.qmp = socket;
      this.ask("qmp_capabilities").then(done, failed);
    });
  }

  async ask(execute, args) {
    const answer = await new Promise((done) => {
      this.answers.push(done);
      this.qmp.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    });
    if (answer.error) throw new Error(`${execute}: ${answer.error.desc}`);
    return answer.return;
  }

  /** What QEMU itself sees on the screen: width, height and three bytes for each pixel. */
  async picture() {
    const filename = path.join(this.dir, "screen.ppm");
    await this.ask("screendump", { filename });
    const bytes = readFileSync(filename);
    const head = /^P6\n(\d+) (\d+)\n255\n/.exec(bytes.subarray(0, 64).toString("latin1"));
    return { width: +head[1], height: +head[2], rgb: bytes.subarray(head[0].length) };
  }

  async stop() {
    this.qmp?.destroy();
    this.line?.destroy();
    if (!this.ended) {
      const gone = new Promise((done) => this.child.on("exit", done));
      this.child.kill("SIGKILL");
      await gone;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}
