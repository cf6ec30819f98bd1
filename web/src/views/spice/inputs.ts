import type { SpiceMainConn } from "@spice-project/spice-html5/src/main.js";
import type { Message } from "@spice-project/spice-html5/src/spiceconn.js";
import { words } from "./agent.js";
import { scancode } from "./scancodes.js";

const MOTION_ACK = 111;
const SAY = { down: 101, up: 102, modifiers: 103, motion: 111, position: 112, press: 113, release: 114 };
/** The server confirms motions by fours; with eight on the way it is busy. */
const ACK_BUNCH = 4;
const MOUSE_CLIENT = 2;

/** The channel for keyboard and mouse. */
export class Inputs {
  readonly #main: () => SpiceMainConn | undefined;
  #motions = 0;
  #motion: { isPosition: boolean; x: number; y: number; held: number } | undefined;

  constructor(main: () => SpiceMainConn | undefined) {
    this.#main = main;
  }

  /** The guest takes positions of the mouse, and not only its movements. */
  get takesPositions(): boolean { return this.#main()?.mouse_mode === MOUSE_CLIENT; }
  /** Lights of the guest's keyboard: 1 Scroll Lock, 2 Num Lock, 4 Caps Lock; undefined before it has said so. */
  get lights(): number | undefined { return this.#main()?.inputs?.keyboard_modifiers; }

  /** Presses or releases the key at this place of the keyboard. */
  key(code: string, down: boolean): void {
    const value = scancode(code, down);
    if (value !== undefined) this.#say(down ? SAY.down : SAY.up, words(value));
  }

  /** Sets the lights of the guest's keyboard. */
  setLights(lights: number): void {
    this.#say(SAY.modifiers, new Uint8Array([lights, 0]));
  }

  /** Moves the mouse to a place on the guest's screen; or by so much, if the guest does not take positions. */
  move(x: number, y: number, held: number): void {
    const isPosition = this.takesPositions;
    const waiting = this.#motion;
    if (!isPosition && waiting?.isPosition === false) [x, y] = [x + waiting.x, y + waiting.y];
    this.#motion = { isPosition, x, y, held };
    if (this.#motions < 2 * ACK_BUNCH) this.#flush();
  }

  /** Buttons: 1 left, 2 middle, 3 right, 4 wheel up, 5 wheel down. `held`: a bit for each of the first three. */
  button(button: number, down: boolean, held: number): void {
    // The press is where the mouse is.
    this.#flush();
    this.#say(down ? SAY.press : SAY.release, new Uint8Array([button, held & 0xff, held >> 8]));
  }

  /** A message of the channel came. */
  take({ type }: Message): void {
    if (type !== MOTION_ACK) return;
    this.#motions = Math.max(0, this.#motions - ACK_BUNCH);
    this.#flush();
  }

  #flush(): void {
    if (this.#motion === undefined) return;
    const { isPosition, x, y, held } = this.#motion;
    this.#motion = undefined;
    this.#motions += 1;
    const bytes = new DataView(new ArrayBuffer(isPosition ? 11 : 10));
    bytes.setInt32(0, x, true);
    bytes.setInt32(4, y, true);
    bytes.setUint16(8, held, true);
    this.#say(isPosition ? SAY.position : SAY.motion, new Uint8Array(bytes.buffer));
  }

  #say(type: number, data: Uint8Array): void {
    const inputs = this.#main()?.inputs;
    if (inputs?.ws === undefined || inputs.state !== "ready") return;
    const message = new DataView(new ArrayBuffer(6 + data.length));
    message.setUint16(0, type, true);
    message.setUint32(2, data.length, true);
    new Uint8Array(message.buffer).set(data, 6);
    inputs.ws.send(message);
  }
}
