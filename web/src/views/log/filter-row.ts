import { Row, press } from "../row";

/** The longest pattern, in bytes as they are sent: a relay ends the session after a control message of more than 4096. */
const LONGEST = 4000;

/** A filter that the host applies. */
export interface Filter { pattern: string; invert: boolean }

/** The row that has the host send only lines that match. */
export class FilterRow {
  readonly row = new Row("Filter on the host");
  readonly #input: HTMLInputElement;
  readonly #invert: HTMLButtonElement;
  readonly #said: HTMLElement;
  readonly #apply: (filter: Filter, earlier: Filter) => void;
  #inverted = false;
  /** The filter that the host has; its pattern is "" if there is none. */
  filter: Filter = { pattern: "", invert: false };

  constructor(apply: (filter: Filter, earlier: Filter) => void, closed: () => void) {
    this.#apply = apply;
    this.#input = this.row.input("Filter on the host: regular expression", "text");
    this.#input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.#set();
    });
    this.#invert = this.row.toggle("Only others", "Only lines that do not match", (pressed) => {
      this.#inverted = pressed;
      if (this.filter.pattern !== "") this.#set();
    });
    this.row.button("Apply", "Apply", () => this.#set());
    this.row.button("Remove", "Remove the filter", () => {
      this.#input.value = "";
      this.#set();
    });
    this.#said = this.row.text(true, "view-row-text view-row-wide");
    this.row.close();
    this.row.onclose = closed;
    this.#say("The host sends only lines that match, from the next line on.");
  }

  open(): void {
    this.row.show();
    this.#input.focus();
    this.#input.select();
  }

  /** The host refused the filter. It keeps the one that it had. */
  refused(message: string, kept: Filter): void {
    this.filter = kept;
    this.#inverted = kept.invert;
    press(this.#invert, kept.invert);
    this.#input.setAttribute("aria-invalid", "true");
    this.#say(message, true);
    this.row.show();
  }

  #set(): void {
    const pattern = this.#input.value;
    const bytes = new TextEncoder().encode(JSON.stringify(pattern)).length;
    if (bytes > LONGEST) {
      this.#input.setAttribute("aria-invalid", "true");
      this.#say(`A filter has at most ${LONGEST} bytes; this one has ${bytes}.`, true);
      return;
    }
    if (pattern === "") {
      this.#inverted = false;
      press(this.#invert, false);
    }
    this.#input.removeAttribute("aria-invalid");
    const earlier = this.filter;
    this.filter = { pattern, invert: this.#inverted };
    this.#say(pattern === "" ? "No filter: the host sends every line." :
      `The host sends only lines that ${this.#inverted ? "do not match" : "match"} ${pattern}`);
    this.#apply(this.filter, earlier);
  }

  #say(text: string, error = false): void {
    this.#said.classList.toggle("view-row-error", error);
    this.#said.textContent = text;
  }
}
