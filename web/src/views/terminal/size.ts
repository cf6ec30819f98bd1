import { FitAddon } from "@xterm/addon-fit";
import type { Terminal } from "@xterm/xterm";

/** One message for a window that is being dragged: milliseconds without a change before it is sent. */
const SETTLED = 50;

/** Keeps a terminal as large as its element, and says so. */
export class Size {
  readonly #fit = new FitAddon();
  readonly #observer = new ResizeObserver(() => this.later());
  readonly #screen: HTMLElement;
  #frame = 0;
  #settling: ReturnType<typeof setTimeout> | undefined;

  constructor(terminal: Terminal, screen: HTMLElement, report: () => void) {
    this.#screen = screen;
    terminal.loadAddon(this.#fit);
    terminal.onResize(() => {
      clearTimeout(this.#settling);
      this.#settling = setTimeout(report, SETTLED);
    });
  }

  /** After the terminal is open. */
  start(): void {
    this.#fit.fit();
    this.#observer.observe(this.#screen);
  }

  later(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      // A hidden view has no size, and keeps the one that it had.
      if (this.#screen.clientWidth > 0 && this.#screen.clientHeight > 0) this.#fit.fit();
    });
  }

  dispose(): void {
    this.#observer.disconnect();
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#settling);
  }
}
