import type { LineStore } from "./store";
import { plain } from "./text";

/** Milliseconds of work after which the page gets its turn. */
const SLICE = 8;
/** Characters of a line that a regular expression sees: some take very long with long lines. */
const SEARCHED = 20_000;

/** Finds the lines of a store that match, in slices, and goes on with those that come. */
export class Search {
  /** Numbers of the lines that match, in order. */
  found: number[] = [];
  /** Whether all lines were searched. */
  done = true;
  pattern: RegExp | undefined;
  readonly #store: LineStore;
  readonly #changed: () => void;
  #next = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(store: LineStore, changed: () => void) {
    this.#store = store;
    this.#changed = changed;
  }

  /** Searches for another pattern; `undefined` ends the search. */
  start(pattern: RegExp | undefined): void {
    this.pattern = pattern;
    this.found = [];
    this.#next = this.#store.first;
    this.more();
  }

  /** More lines came. */
  more(): void {
    if (this.pattern === undefined) {
      this.done = true;
      this.#changed();
    } else {
      this.#timer ??= setTimeout(() => this.#slice());
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** The match before or after a line, around the end if there is none. */
  from(line: number, direction: 1 | -1): number | undefined {
    const { found } = this;
    return direction === 1 ? found[this.#at(line + 1)] ?? found[0] : found[this.#at(line) - 1] ?? found.at(-1);
  }

  /** Which of the matches a line is, from 0; -1 if it is none. */
  position(line: number): number {
    const at = this.#at(line);
    return this.found[at] === line ? at : -1;
  }

  /** How many matches lie before a line. */
  #at(line: number): number {
    let low = 0;
    let high = this.found.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.found[middle]! < line) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #slice(): void {
    this.#timer = undefined;
    const { pattern } = this;
    if (pattern === undefined) return;
    const until = performance.now() + SLICE;
    this.#next = Math.max(this.#next, this.#store.first);
    let gone = 0;
    while (gone < this.found.length && this.found[gone]! < this.#store.first) gone += 1;
    if (gone > 0) this.found.splice(0, gone);
    while (this.#next < this.#store.next && performance.now() < until) {
      for (const line of this.#store.linesFrom(this.#next)) {
        if (this.#store.isMark(this.#next) === false && matches(pattern, line)) this.found.push(this.#next);
        this.#next += 1;
      }
    }
    this.done = this.#next >= this.#store.next;
    if (!this.done) this.#timer = setTimeout(() => this.#slice());
    this.#changed();
  }
}

function matches(pattern: RegExp, line: string): boolean {
  pattern.lastIndex = 0;
  const end = line.endsWith("\r") ? line.length - 1 : line.length;
  return pattern.test(plain(line.slice(0, Math.min(SEARCHED, end))));
}

/** The pattern of what was typed; `undefined` if it is no regular expression. */
export function patternOf(text: string, regex: boolean, caseSensitive: boolean): RegExp | undefined {
  try {
    return new RegExp(regex ? text : text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"), caseSensitive ? "g" : "gi");
  } catch {
    return undefined;
  }
}
