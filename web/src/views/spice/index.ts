import type { StreamSocket } from "stream-socket";
import { ScreenFrame } from "../screen/frame.js";
import { Keyboard } from "../screen/keyboard.js";
import { plainName } from "../screen/text.js";
import { TouchKeyboard } from "../screen/touch.js";
import type { Action, EndCode, View, ViewContext, ViewFactory } from "../view.js";
import { SpiceClient } from "./client.js";
import { PointerAndKeys } from "./pointer-and-keys.js";

type Modifiers = Parameters<NonNullable<View["key"]>>[1];

/** The window must hold still for so long before the guest is asked for another size. */
const RESIZE_MS = 300;

/** A screen by SPICE. */
class SpiceView implements View {
  readonly #context: ViewContext;
  readonly #frame: ScreenFrame;
  readonly #client: SpiceClient;
  readonly #keyboard: Keyboard;
  readonly #touch: TouchKeyboard;
  readonly #input: PointerAndKeys | undefined;
  readonly #picture = document.createElement("div");
  readonly #resized = new ResizeObserver(() => this.#rescale());
  #canvas: HTMLCanvasElement | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asked = "";
  #disposed = false;

  constructor(context: ViewContext) {
    this.#context = context;
    this.#frame = new ScreenFrame(context, () => {
      this.#asked = "";
      this.#rescale();
    });
    const picture = this.#picture;
    picture.className = "screen-picture";
    picture.tabIndex = 0;
    picture.role = "application";
    picture.ariaLabel = "The guest's screen";
    this.#frame.element.append(picture);
    this.#client = new SpiceClient(picture, () => context.open(), {
      connected: () => context.report({ type: "connected" }),
      picture: (canvas) => this.#shown(canvas),
      denied: () => context.report({ type: "password", user: false, answer: (password) => this.#client.connect(password) }),
      title: (text) => context.report({ type: "title", text: plainName(text) }),
      clipboard: (text) => context.report({ type: "clipboard", text }),
      changed: () => {
        this.#rescale();
        context.report({ type: "actions" });
      },
      cursor: (style) => { picture.style.cursor = style; },
      notice: (text) => context.report({ type: "notice", text }),
      closed: (code, reason) => this.#closed(code, reason),
    });
    const send = (code: string, _keysym: number, down: boolean): void => this.#client.inputs.key(code, down);
    this.#keyboard = new Keyboard(context, send, () => false);
    const type = (text: string): void => void this.type(text);
    this.#touch = new TouchKeyboard(this.#frame.element, type);
    const held = (isHeld: boolean): void => context.report({ type: "status", text: isHeld ? "Esc frees the mouse" : "" });
    if (!context.readOnly) this.#input = new PointerAndKeys(picture, this.#client.inputs, type, held);
  }

  get element(): HTMLElement { return this.#frame.element; }
  get sockets(): readonly StreamSocket[] { return this.#client.sockets; }

  start(): void {
    this.#resized.observe(this.element);
    // Most guests want no password, and the server does not say beforehand whether it wants one.
    this.#client.connect("");
  }

  focus(): void {
    this.#picture.focus({ preventScroll: true });
  }

  actions(): Action[] {
    const actions = this.#frame.actions();
    if (this.#client.hasSound) {
      const on = this.#client.soundIsOn;
      actions.push({
        id: "sound", label: "Sound", icon: on ? "sound" : "mute", pressed: on, hint: "Play the guest's sound",
        run: () => this.#client.setSound(!this.#client.soundIsOn),
      });
    }
    if (!this.#context.readOnly) actions.push(...this.#touch.actions(), ...this.#keyboard.actions());
    return actions;
  }

  key(key: string, modifiers: Modifiers): void {
    if (!this.#context.readOnly) this.#keyboard.key(key, modifiers);
  }

  type(text: string): Promise<void> {
    return this.#context.readOnly ? Promise.resolve() : this.#keyboard.type(text);
  }

  paste(text: string): void {
    if (this.#context.readOnly || this.#client.offer(text)) return;
    this.#context.report({ type: "notice", text: "This guest has no clipboard: its SPICE agent does not run. Type the text instead." });
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#stop();
    this.#client.stop();
    this.#frame.dispose();
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#resized.disconnect();
    this.#keyboard.stop();
    this.#input?.dispose();
  }

  #closed(code: EndCode, reason: string): void {
    if (this.#disposed) return;
    this.#stop();
    this.#picture.classList.add("screen-ended");
    this.#context.report({ type: "ended", code, reason });
  }

  #shown(canvas: HTMLCanvasElement): void {
    this.#canvas = canvas;
    if (this.#input !== undefined) this.#input.canvas = canvas;
    this.#rescale();
  }

  #rescale(): void {
    const { scale } = this.#frame;
    const { clientWidth: wide, clientHeight: high } = this.element;
    if (wide === 0 || high === 0) return;
    if (scale === "guest" && !this.#context.readOnly) this.#askFor(wide, high);
    const canvas = this.#canvas;
    if (canvas === undefined) return;
    // A guest that does not follow is scaled. One that does has the window's size but for a few pixels.
    const follows = scale === "guest" && wide - canvas.width >= 0 && wide - canvas.width < 8 && high - canvas.height >= 0 && high - canvas.height < 2;
    const factor = scale === "actual" || follows ? 1 : Math.min(wide / canvas.width, high / canvas.height);
    canvas.style.width = `${canvas.width * factor}px`;
    canvas.style.height = `${canvas.height * factor}px`;
  }

  #askFor(wide: number, high: number): void {
    // Some guests' drivers know only widths of whole bytes of a mask.
    const [width, height] = [wide & ~7, high & ~1];
    const size = `${width}x${height}`;
    clearTimeout(this.#timer);
    if (size === this.#asked || !this.#client.hasAgent) return;
    this.#timer = setTimeout(() => {
      if (this.#client.resize(width, height)) this.#asked = size;
    }, RESIZE_MS);
  }
}

export const create: ViewFactory = (context) => new SpiceView(context);
