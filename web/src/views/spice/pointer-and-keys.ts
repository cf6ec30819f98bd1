import type { Inputs } from "./inputs.js";
import { PointerLock } from "./pointer-lock.js";

/** So many pixels of scrolling are a step of the wheel. */
const WHEEL_STEP = 50;
const LINE = 20;
const NUM_LOCK = 2;
const CAPS_LOCK = 4;

/** Mouse, touch and keyboard of a SPICE screen. Knows the picture's scale. */
export class PointerAndKeys {
  readonly #element: HTMLElement;
  readonly #inputs: Inputs;
  readonly #type: (text: string) => void;
  readonly #pressed = new Set<string>();
  readonly #lock: PointerLock;
  #canvas: HTMLCanvasElement | undefined;
  #held = 0;
  #wheel = 0;
  #lights: number | undefined;

  /** `type`: types what a keyboard without places of keys writes. `held`: the screen has got the mouse, or has lost it. */
  constructor(element: HTMLElement, inputs: Inputs, type: (text: string) => void, held: (isHeld: boolean) => void) {
    this.#element = element;
    this.#lock = new PointerLock(element, held);
    this.#inputs = inputs;
    this.#type = type;
    const on = <K extends keyof HTMLElementEventMap>(name: K, listener: (event: HTMLElementEventMap[K]) => void): void =>
      element.addEventListener(name, listener, { passive: false });
    on("keydown", (event) => this.#key(event, true));
    on("keyup", (event) => this.#key(event, false));
    on("blur", () => this.release());
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#pointer(event));
    on("pointerup", (event) => this.#pointer(event));
    on("pointercancel", () => this.#buttons(0));
    on("wheel", (event) => this.#scroll(event));
    // Otherwise the browser selects, scrolls by the middle button or shows its own menu.
    for (const name of ["mousedown", "auxclick", "contextmenu", "dragstart"] as const) on(name, (event) => event.preventDefault());
  }

  /** The picture that positions refer to. */
  set canvas(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
  }

  /** Releases the mouse and what is pressed: the release of a key is not seen elsewhere. */
  release(): void {
    this.#lock.release();
    for (const code of this.#pressed) this.#inputs.key(code, false);
    this.#pressed.clear();
    this.#buttons(0);
  }

  dispose(): void {
    this.#lock.dispose();
  }

  #key(event: KeyboardEvent, down: boolean): void {
    if (event.isComposing) return;
    event.preventDefault();
    const { code, key } = event;
    if (code === "" || code === "Unidentified") {
      if (down && [...key].length === 1) this.#type(key);
      return;
    }
    // Windows says that AltGr is Ctrl and Alt.
    if (down && key === "AltGraph" && this.#pressed.delete("ControlLeft")) this.#inputs.key("ControlLeft", false);
    if (down) {
      this.#syncLights(event);
      this.#pressed.add(code);
    } else if (!this.#pressed.delete(code)) {
      return;
    }
    this.#inputs.key(code, down);
  }

  /** The guest's Caps Lock and Num Lock are as here, also if they were changed elsewhere. */
  #syncLights(event: KeyboardEvent): void {
    const guest = this.#inputs.lights;
    const light = event.code.startsWith("Key") ? CAPS_LOCK : event.code.startsWith("Numpad") ? NUM_LOCK : 0;
    if (guest === undefined || light === 0) return;
    const on = event.getModifierState(light === CAPS_LOCK ? "CapsLock" : "NumLock");
    const wanted = on ? guest | light : guest & ~light;
    // A guest without lights never says that it followed.
    if (wanted !== guest && wanted !== this.#lights) this.#inputs.setLights(wanted);
    this.#lights = wanted;
  }

  #down(event: PointerEvent): void {
    event.preventDefault();
    this.#element.focus({ preventScroll: true });
    if (this.#canvas === undefined) return;
    if (this.#inputs.takesPositions) {
      this.#element.setPointerCapture(event.pointerId);
    } else if (event.pointerType === "mouse") {
      // Without it the mouse would leave the screen before it has crossed the guest's.
      this.#lock.hold();
    }
    this.#pointer(event);
  }

  #pointer(event: PointerEvent): void {
    const canvas = this.#canvas;
    if (canvas === undefined) return;
    // The order of buttons differs: middle is the second there.
    const held = (event.buttons & 1) | ((event.buttons & 4) >> 1) | ((event.buttons & 2) << 1);
    if (this.#inputs.takesPositions) {
      const { left, top, width, height } = canvas.getBoundingClientRect();
      const place = (at: number, shown: number, real: number): number =>
        Math.min(Math.max(Math.floor((at * real) / shown), 0), real - 1);
      this.#inputs.move(place(event.clientX - left, width, canvas.width), place(event.clientY - top, height, canvas.height), this.#held);
    } else if (event.movementX !== 0 || event.movementY !== 0) {
      this.#inputs.move(event.movementX, event.movementY, this.#held);
    }
    this.#buttons(held);
  }

  #buttons(held: number): void {
    for (const button of [1, 2, 3]) {
      const bit = 1 << (button - 1);
      if (((held ^ this.#held) & bit) === 0) continue;
      this.#held ^= bit;
      this.#inputs.button(button, (held & bit) !== 0, this.#held);
    }
  }

  #scroll(event: WheelEvent): void {
    event.preventDefault();
    this.#wheel += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * LINE;
    for (; Math.abs(this.#wheel) >= WHEEL_STEP; this.#wheel -= Math.sign(this.#wheel) * WHEEL_STEP) {
      const button = this.#wheel < 0 ? 4 : 5;
      this.#inputs.button(button, true, this.#held);
      this.#inputs.button(button, false, this.#held);
      // A notch of a mouse is more than two steps' pixels, and still one step.
      if (Math.abs(this.#wheel) < 3 * WHEEL_STEP) {
        this.#wheel = 0;
        break;
      }
    }
  }
}
