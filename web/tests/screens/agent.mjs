// The clipboard part of a SPICE agent, for a guest that has none: it speaks through two serial ports that the guest joins.
import net from "node:net";
import { until } from "./guest.mjs";

const CLIENT_PORT = 1;
export const MONITORS_CONFIG = 2;
const CLIPBOARD = 4;
export const ANNOUNCE = 6;
const GRAB = 7;
const REQUEST = 8;
const TEXT = 1;
const CAPABILITIES = [1, 2, 5, 6].reduce((sum, bit) => sum | (1 << bit), 0);
const MOST_PER_CHUNK = 2048;

function words(...values) {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, at) => bytes.writeUInt32LE(value, at * 4));
  return bytes;
}

export class Agent {
  /** What the other side has on its clipboard, and the messages that came. */
  text = undefined;
  messages = [];
  #offered = "";

  static async connect(file) {
    const agent = new Agent();
    agent.socket = net.connect(file);
    await new Promise((done, failed) => agent.socket.once("connect", done).once("error", failed));
    let chunks = Buffer.alloc(0);
    let message = Buffer.alloc(0);
    agent.socket.on("data", (bytes) => {
      chunks = Buffer.concat([chunks, bytes]);
      while (chunks.length >= 8 && chunks.length >= 8 + chunks.readUInt32LE(4)) {
        const size = chunks.readUInt32LE(4);
        message = Buffer.concat([message, chunks.subarray(8, 8 + size)]);
        chunks = chunks.subarray(8 + size);
        if (message.length < 20 || message.length < 20 + message.readUInt32LE(16)) continue;
        agent.#take(message.readUInt32LE(4), message.subarray(20));
        message = Buffer.alloc(0);
      }
    });
    agent.send(ANNOUNCE, words(1, CAPABILITIES));
    return agent;
  }

  #take(type, data) {
    this.messages.push({ type, data });
    if (type === ANNOUNCE && data.readUInt32LE(0) !== 0) this.send(ANNOUNCE, words(0, CAPABILITIES));
    // All of them name the selection first. QEMU gives on the end that VNC has after a text.
    if (type === GRAB && data.readUInt32LE(4) === TEXT) this.send(REQUEST, words(0, TEXT));
    if (type === REQUEST) this.send(CLIPBOARD, Buffer.concat([words(0, TEXT), Buffer.from(this.#offered)]));
    if (type === CLIPBOARD) this.text = data.subarray(8).toString().replace(/\0$/, "");
  }

  /** As if somebody had copied this in the guest. */
  copy(text) {
    this.#offered = text;
    this.send(GRAB, words(0, TEXT));
  }

  send(type, data) {
    const message = Buffer.concat([words(1, type, 0, 0, data.length), data]);
    for (let at = 0; at < message.length; at += MOST_PER_CHUNK) {
      const part = message.subarray(at, at + MOST_PER_CHUNK);
      this.socket.write(Buffer.concat([words(CLIENT_PORT, part.length), part]));
    }
  }

  received(what, find) {
    return until(what, () => this.messages.find(find));
  }

  close() {
    this.socket.destroy();
  }
}
