import { SearchAddon } from "@xterm/addon-search";
import type { Terminal } from "@xterm/xterm";
import { press, Row } from "../row";
import { matchesOf } from "./theme";

/** The row that searches in a terminal. */
export class SearchRow {
  readonly row = new Row("Search in the terminal", "search");
  readonly #addon = new SearchAddon();
  readonly #terminal: Terminal;
  readonly #input: HTMLInputElement;
  readonly #count: HTMLElement;
  #caseSensitive = false;
  #regex = false;

  constructor(terminal: Terminal, closed: () => void) {
    this.#terminal = terminal;
    terminal.loadAddon(this.#addon);
    this.#input = this.row.input("Search");
    this.#input.addEventListener("input", () => this.#find("typed"));
    this.#input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      // As in other terminals: what was written last is found first.
      this.#find(event.shiftKey ? "next" : "previous");
    });
    this.#count = this.row.text(true);
    this.row.button("↑", "Previous match (Enter)", () => this.#find("previous"));
    this.row.button("↓", "Next match (Shift+Enter)", () => this.#find("next"));
    const matchCase = this.row.toggle("Aa", "Match case", (pressed) => { this.#caseSensitive = pressed; this.#find("typed"); });
    const regex = this.row.toggle(".*", "Regular expression", (pressed) => { this.#regex = pressed; this.#find("typed"); });
    press(matchCase, false);
    press(regex, false);
    this.row.close();
    this.row.onclose = () => { this.#addon.clearDecorations(); closed(); };
    this.#addon.onDidChangeResults(({ resultIndex, resultCount }) => {
      if (this.#input.value === "") this.#count.textContent = "";
      else if (resultCount === 0) this.#count.textContent = "No match";
      // The addon numbers only the first thousand.
      else if (resultIndex < 0) this.#count.textContent = `${resultCount} or more matches`;
      else this.#count.textContent = `${resultIndex + 1} of ${resultCount}`;
    });
  }

  open(): void {
    this.row.show();
    const selected = this.#terminal.getSelection();
    if (selected !== "" && !selected.includes("\n")) this.#input.value = selected;
    this.#input.focus();
    this.#input.select();
    this.#find("typed");
  }

  #find(how: "typed" | "next" | "previous"): void {
    const text = this.#input.value;
    const valid = !this.#regex || isRegex(text);
    this.#input.setAttribute("aria-invalid", String(!valid));
    if (!valid) {
      this.#addon.clearDecorations();
      this.#count.textContent = "Not a regular expression yet";
      return;
    }
    if (text === "") {
      this.#addon.clearDecorations();
      this.#terminal.clearSelection();
      this.#count.textContent = "";
      return;
    }
    const options = {
      caseSensitive: this.#caseSensitive, regex: this.#regex, decorations: matchesOf(this.#terminal.element!),
    };
    if (how === "next") this.#addon.findNext(text, options);
    else this.#addon.findPrevious(text, options);
  }
}

function isRegex(text: string): boolean {
  try {
    new RegExp(text);
    return true;
  } catch {
    return false;
  }
}
