import { Row } from "../row";
import { patternOf, type Search } from "./search";

const NUMBER = new Intl.NumberFormat("en");

/** The row that searches in what was received. */
export class SearchRow {
  readonly row = new Row("Search in the log", "search");
  readonly #search: Search;
  readonly #show: (line: number) => void;
  readonly #from: () => number;
  readonly #input: HTMLInputElement;
  readonly #count: HTMLElement;
  #caseSensitive = false;
  #regex = false;
  #typed = false;
  /** Where to go once all was searched. */
  #jump: 1 | -1 | undefined;
  #typing: ReturnType<typeof setTimeout> | undefined;
  /** The line of the match that was shown last. */
  current: number | undefined;

  constructor(search: Search, from: () => number, show: (line: number) => void, closed: () => void) {
    this.#search = search;
    this.#from = from;
    this.#show = show;
    this.#input = this.row.input("Search");
    this.#input.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typed = true;
      this.#typing = setTimeout(() => this.#begin(), 150);
    });
    this.#input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      const direction = event.shiftKey ? -1 : 1;
      if (!this.#typed) return this.go(direction);
      // What was just typed is searched first.
      this.#begin();
      this.#jump = direction;
    });
    this.#count = this.row.text(true);
    this.row.button("↑", "Previous match (Shift+Enter)", () => this.go(-1));
    this.row.button("↓", "Next match (Enter)", () => this.go(1));
    this.row.toggle("Aa", "Match case", (pressed) => { this.#caseSensitive = pressed; this.#begin(); });
    this.row.toggle(".*", "Regular expression", (pressed) => { this.#regex = pressed; this.#begin(); });
    this.row.close();
    this.row.onclose = () => { this.stop(); closed(); };
  }

  open(): void {
    this.row.show();
    this.#input.focus();
    this.#input.select();
    this.#begin();
  }

  stop(): void {
    clearTimeout(this.#typing);
    this.current = undefined;
    this.#search.start(undefined);
  }

  /** To the next or the previous line that matches. */
  go(direction: 1 | -1): void {
    // The first line in sight counts, too.
    const line = this.#search.from(this.current ?? this.#from() - (direction === 1 ? 1 : 0), direction);
    if (line === undefined) return;
    this.current = line;
    this.#show(line);
    this.counted();
  }

  /** More was found. */
  counted(): void {
    const { found, pattern, done } = this.#search;
    if (!this.row.shown || pattern === undefined) return;
    if (done && this.#jump !== undefined) {
      const direction = this.#jump;
      this.#jump = undefined;
      return this.go(direction);
    }
    const at = this.current === undefined ? -1 : this.#search.position(this.current);
    const total = `${NUMBER.format(found.length)} ${found.length === 1 ? "line" : "lines"}`;
    this.#say((at < 0 ? total : `${NUMBER.format(at + 1)} of ${total}`) + (done ? "" : " …"));
  }

  #begin(): void {
    clearTimeout(this.#typing);
    this.#typed = false;
    this.#jump = undefined;
    const text = this.#input.value;
    const pattern = text === "" ? undefined : patternOf(text, this.#regex, this.#caseSensitive);
    const wrong = text !== "" && pattern === undefined;
    this.#input.setAttribute("aria-invalid", String(wrong));
    this.current = undefined;
    this.#search.start(pattern);
    if (pattern === undefined) this.#say(wrong ? "Not a regular expression yet" : "");
  }

  #say(text: string): void {
    if (this.#count.textContent !== text) this.#count.textContent = text;
  }
}
