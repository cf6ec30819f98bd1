import type { LineStore } from "./store";

/** Browsers limit the height of an element; beyond this the scroll bar stands for more lines per pixel. */
const TALLEST = 8_000_000;
/** A scroll event belongs to the user if the user did something that scrolls within this time, in milliseconds. */
const USERS = 800;

export interface ListEvents {
  /** Fills the row of a line. */
  fill(row: HTMLElement, line: number): void;
  /** The rows that are shown have changed. */
  shown(rows: ReadonlyMap<number, HTMLElement>): void;
  /** The user scrolled away from the end, or back to it. */
  followed(follow: boolean): void;
}

/**
 * The lines of a store in a scrolling element. Only the rows in sight exist. Where it stands is a line's number with
 * a fraction, so rows may have any height; without wrap they all have one.
 */
export class List {
  /** Scrolls, and takes the focus. */
  readonly element = document.createElement("div");
  /** Has the rows. */
  readonly layer = document.createElement("div");
  readonly #spacer = document.createElement("div");
  readonly #store: LineStore;
  readonly #events: ListEvents;
  readonly #size = new ResizeObserver(() => this.#resized());
  /** Number behind the last line that was shown while it followed. */
  seen = 0;
  #rows = new Map<number, HTMLElement>();
  #follow = true;
  #wrap = false;
  #rowHeight = 18;
  #viewport = 0;
  /** The line at the upper edge, if it does not follow. */
  #top = 0;
  /** How many lines fit at the end. */
  #fit = 1;
  #usersUntil = 0;
  #held = false;
  #expected = 0;
  #frame = 0;

  constructor(store: LineStore, events: ListEvents) {
    this.#store = store;
    this.#events = events;
    this.element.className = "log-scroll";
    this.element.tabIndex = 0;
    this.#spacer.className = "log-spacer";
    this.layer.className = "log-rows";
    this.#spacer.append(this.layer);
    this.element.append(this.#spacer);
    const users = () => { this.#usersUntil = performance.now() + USERS; };
    for (const type of ["wheel", "touchmove", "keydown"]) this.element.addEventListener(type, users, { passive: true });
    // The scroll bar, or a selection that is dragged over the edge.
    this.element.addEventListener("pointerdown", () => { this.#held = true; });
    addEventListener("pointerup", this.#released, { passive: true });
    addEventListener("pointercancel", this.#released, { passive: true });
    this.element.addEventListener("scroll", () => this.#scrolled(), { passive: true });
  }

  readonly #released = (): void => {
    if (this.#held) this.#usersUntil = performance.now() + USERS;
    this.#held = false;
  };

  start(): void {
    this.#size.observe(this.element);
    this.#resized();
  }

  dispose(): void {
    this.#size.disconnect();
    removeEventListener("pointerup", this.#released);
    removeEventListener("pointercancel", this.#released);
    cancelAnimationFrame(this.#frame);
  }

  get follow(): boolean { return this.#follow; }
  set follow(follow: boolean) {
    if (!follow && this.#follow) this.#top = Math.max(this.#store.first, this.#store.next - this.#fit);
    this.#follow = follow;
    this.changed();
  }

  get wrap(): boolean { return this.#wrap; }
  set wrap(wrap: boolean) {
    this.#wrap = wrap;
    this.element.classList.toggle("log-wrap", wrap);
    this.refill();
  }

  /** The first line in sight. */
  get top(): number {
    return Math.floor(this.#follow ? Math.max(this.#store.first, this.#store.next - this.#fit) : this.#top);
  }

  /** Lines came, or went. They are drawn with the next frame. */
  changed(): void {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  /** Draws all rows again, because they look different now. */
  refill(): void {
    for (const row of this.#rows.values()) row.remove();
    this.#rows.clear();
    this.changed();
  }

  /** Brings a line into the middle, and does not follow any more. */
  show(line: number): void {
    this.#follow = false;
    this.#top = line - Math.floor(this.#viewport / this.#rowHeight / 3);
    this.changed();
  }

  /** Scrolls by a key that the browser did not see. False if it scrolls nothing. */
  key(key: string): boolean {
    const page = this.#viewport - this.#rowHeight;
    const way = { ArrowUp: -this.#rowHeight, ArrowDown: this.#rowHeight, PageUp: -page, PageDown: page }[key];
    if (way === undefined) return false;
    this.#usersUntil = performance.now() + USERS;
    this.element.scrollBy(0, way);
    return true;
  }

  #resized(): void {
    this.#viewport = this.element.clientHeight;
    const height = parseFloat(getComputedStyle(this.layer).lineHeight);
    if (Number.isFinite(height) && height > 0) this.#rowHeight = height;
    this.#fit = Math.max(1, this.#viewport / this.#rowHeight);
    this.changed();
  }

  /** Lines that the scroll bar stands for, and its height. */
  #range(): { lines: number; height: number } {
    const lines = Math.max(0, this.#store.size - this.#fit);
    return { lines, height: Math.min(TALLEST, Math.ceil(lines * this.#rowHeight)) };
  }

  #scrolled(): void {
    const at = this.element.scrollTop;
    if (Math.abs(at - this.#expected) < 1) return;
    // The browser's own corrections, as after a change of size, pause nothing.
    if (!this.#held && performance.now() > this.#usersUntil) return this.changed();
    this.#expected = at;
    const { lines, height } = this.#range();
    const end = at >= this.element.scrollHeight - this.#viewport - 2 || height === 0;
    this.#top = this.#store.first + (height === 0 ? 0 : Math.min(1, at / height) * lines);
    if (end !== this.#follow) {
      this.#follow = end;
      this.#events.followed(end);
    }
    this.changed();
  }

  #draw(): void {
    if (this.#viewport === 0) return;
    const { first, next } = this.#store;
    const { lines, height } = this.#range();
    this.#spacer.style.height = `${height + this.#viewport}px`;
    if (!this.#wrap) this.#spacer.style.minWidth = `${Math.min(this.#store.longest + 2, 10_000)}ch`;
    else this.#spacer.style.minWidth = "";
    const count = Math.ceil(this.#viewport / this.#rowHeight) + 1;
    this.#top = Math.min(Math.max(this.#top, first), first + lines);
    const begin = this.#follow ? Math.max(first, next - count) : Math.floor(this.#top);
    this.#place(begin, Math.min(next, begin + count));
    this.#scrollTo(this.#follow ? height : lines === 0 ? 0 : ((this.#top - first) / lines) * height);
    if (this.#follow) {
      this.seen = next;
      this.#alignEnd();
    } else {
      const row = this.#rows.get(begin);
      const high = this.#wrap && row !== undefined ? row.offsetHeight : this.#rowHeight;
      this.layer.style.transform = `translateY(${-(this.#top - begin) * high}px)`;
    }
    this.#events.shown(this.#rows);
  }

  /** The last line at the lower edge; a log that is short begins at the upper one. */
  #alignEnd(): void {
    let high = this.#rows.size * this.#rowHeight;
    if (this.#wrap) {
      high = this.layer.scrollHeight;
      let left = this.#viewport;
      let fit = 0;
      for (const row of [...this.layer.children].reverse()) {
        const rowHigh = (row as HTMLElement).offsetHeight;
        fit += Math.min(1, left / rowHigh);
        left -= rowHigh;
        if (left <= 0) break;
      }
      if (left <= 0) this.#fit = Math.max(1, fit);
    }
    this.layer.style.transform = `translateY(${Math.min(0, this.#viewport - high)}px)`;
  }

  #scrollTo(top: number): void {
    if (Math.abs(this.element.scrollTop - top) < 1) {
      this.#expected = this.element.scrollTop;
      return;
    }
    this.element.scrollTop = top;
    this.#expected = this.element.scrollTop;
  }

  /** Makes the rows of lines `begin` to `end`. Rows that stay keep their elements, and so what is selected in them. */
  #place(begin: number, end: number): void {
    const free: HTMLElement[] = [];
    for (const [line, row] of this.#rows) {
      if (line >= begin && line < end) continue;
      this.#rows.delete(line);
      free.push(row);
    }
    let after: Element | null = null;
    for (let line = begin; line < end; line++) {
      let row = this.#rows.get(line);
      if (row === undefined) {
        row = free.pop() ?? document.createElement("div");
        this.#events.fill(row, line);
        this.#rows.set(line, row);
      }
      const due: Element | null = after === null ? this.layer.firstElementChild : after.nextElementSibling;
      if (due !== row) this.layer.insertBefore(row, due);
      after = row;
    }
    for (const row of free) row.remove();
  }
}
