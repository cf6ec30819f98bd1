const NUMBER = new Intl.NumberFormat("en");
/** Lines per second above which a screen reader gets only how many came. */
const SPOKEN = 5;
/** How often it gets that, in milliseconds. */
const REPORT_EVERY = 10_000;

/** The bar below a log: whether it follows, what was left out, how much there is. */
export class StatusBar {
  readonly element = document.createElement("div");
  readonly #follow = document.createElement("button");
  readonly #state = document.createElement("span");
  readonly #counter = document.createElement("span");
  readonly #count = document.createElement("span");
  #second = 0;
  #atSecond = 0;
  #rate = 0;
  #reported = 0;
  #reportedAt = 0;

  constructor(follow: () => void) {
    this.element.className = "log-status";
    this.#follow.type = "button";
    this.#follow.addEventListener("click", follow);
    this.#counter.className = "log-spoken";
    this.#counter.setAttribute("role", "status");
    this.#state.className = "log-state";
    this.#count.className = "log-count";
    this.element.append(this.#follow, this.#state, this.#count, this.#counter);
  }

  /** Returns whether lines come slowly enough to be read aloud one by one. */
  update(now: { follow: boolean; states: string[]; seen: number; first: number; next: number; bytes: number }): boolean {
    const { follow, states, seen, first, next, bytes } = now;
    const time = performance.now();
    const fresh = next - seen;
    text(this.#follow, follow ? "Following" : fresh > 0 ? `Follow (${NUMBER.format(fresh)} new)` : "Follow");
    this.#follow.title = follow ? "The newest line is always shown. Scroll up to stop." : "Shows the newest line, and each that comes (End)";
    this.#follow.setAttribute("aria-pressed", String(follow));
    text(this.#state, states.join(" · "));
    const dropped = first > 0 && bytes > 0 ? " kept" : "";
    text(this.#count, `${NUMBER.format(next - first)} lines${dropped}, ${size(bytes)}`);
    if (time - this.#second >= 1000) {
      this.#rate = (next - this.#atSecond) / ((time - this.#second) / 1000);
      this.#second = time;
      this.#atSecond = next;
    }
    const slow = this.#rate <= SPOKEN;
    if (slow) this.#reported = next;
    else if (time - this.#reportedAt >= REPORT_EVERY && next > this.#reported) {
      text(this.#counter, `${NUMBER.format(next - this.#reported)} more lines`);
      this.#reported = next;
      this.#reportedAt = time;
    }
    return slow;
  }
}

function text(element: HTMLElement, value: string): void {
  if (element.textContent !== value) element.textContent = value;
}

function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(0)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
