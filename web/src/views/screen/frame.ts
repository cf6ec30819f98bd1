import css from "../../styles/screen.css?text";
import { adopt } from "../sheet.js";
import type { Action, ViewContext } from "../view.js";

export type Scale = "fit" | "guest" | "actual";

const SCALES: readonly { scale: Scale; label: string; icon: string; hint: string }[] = [
  { scale: "fit", label: "Fit", icon: "fit", hint: "Scale the picture to the window" },
  { scale: "guest", label: "Resize guest", icon: "resize", hint: "Ask the guest for a screen of the window's size" },
  { scale: "actual", label: "1:1", icon: "actual", hint: "One pixel of the guest is one pixel here; scroll to see the rest" },
];

/** Not in all browsers, and not in TypeScript's library. */
interface KeyboardLock { lock?(): Promise<void>; unlock?(): void }
const keyboardLock = (): KeyboardLock | undefined => (navigator as Navigator & { keyboard?: KeyboardLock }).keyboard;

/** The element of a screen, how its picture is scaled, and full screen. */
export class ScreenFrame {
  readonly element = document.createElement("div");
  readonly #context: ViewContext;
  readonly #rescale: () => void;
  readonly #changed = (): void => this.#fullScreenChanged();

  /** `rescale` is called when another scale was chosen. */
  constructor(context: ViewContext, rescale: () => void) {
    adopt(css);
    this.#context = context;
    this.#rescale = rescale;
    this.element.className = "screen";
    this.element.dataset["scale"] = this.scale;
    document.addEventListener("fullscreenchange", this.#changed);
  }

  get scale(): Scale {
    const kept = this.#context.settings.get("scale");
    return SCALES.find(({ scale }) => scale === kept)?.scale ?? "fit";
  }

  get #isFull(): boolean {
    return document.fullscreenElement === this.element;
  }

  actions(): Action[] {
    const items = SCALES.map(({ scale, label, icon, hint }): Action => ({
      id: `scale-${scale}`, label, hint, icon, pressed: this.scale === scale, run: () => this.#choose(scale),
    }));
    const actions: Action[] = [{ id: "scale", label: "Size", icon: "fit", items }];
    if (document.fullscreenEnabled) {
      actions.push({
        id: "fullscreen", label: "Full screen", icon: this.#isFull ? "fullscreen-exit" : "fullscreen", pressed: this.#isFull,
        run: () => void this.#toggleFullScreen(),
      });
    }
    return actions;
  }

  #choose(scale: Scale): void {
    this.#context.settings.set("scale", scale);
    this.element.dataset["scale"] = scale;
    this.#rescale();
    this.#context.report({ type: "actions" });
  }

  async #toggleFullScreen(): Promise<void> {
    try {
      if (this.#isFull) await document.exitFullscreen();
      else await this.element.requestFullscreen();
    } catch {
      this.#context.report({ type: "notice", text: "The browser refuses full screen here." });
    }
  }

  #fullScreenChanged(): void {
    const keyboard = keyboardLock();
    if (this.#isFull && keyboard?.lock !== undefined) {
      // With it, Alt-Tab and Escape reach the guest. The browser says itself that holding Escape leaves.
      keyboard.lock().catch(() => {});
    } else {
      keyboard?.unlock?.();
    }
    this.#context.report({ type: "actions" });
  }

  dispose(): void {
    document.removeEventListener("fullscreenchange", this.#changed);
    if (this.#isFull) {
      keyboardLock()?.unlock?.();
      document.exitFullscreen().catch(() => {});
    }
    this.element.remove();
  }
}
