import { Row } from "../row";

/** Asks before a link of a terminal is opened: a program can write any address behind any words. */
export class LinkRow {
  readonly row = new Row("Open a link of the terminal");
  readonly #link = document.createElement("a");

  constructor(closed: () => void) {
    const words = this.row.text(false, "view-row-wide");
    this.#link.target = "_blank";
    this.#link.rel = "noopener noreferrer";
    this.#link.addEventListener("click", () => { this.row.hide(); closed(); });
    words.append("Open this address in a new tab? ", this.#link);
    this.row.close();
    this.row.onclose = closed;
  }

  /** Shows the address in the form in which the browser uses it, so that no sign of it misleads. */
  ask(address: string): void {
    let url: URL;
    try {
      url = new URL(address);
    } catch {
      return;
    }
    if (url.protocol !== "https:" && url.protocol !== "http:") return;
    this.#link.href = url.href;
    this.#link.textContent = url.href;
    this.row.show();
    this.#link.focus();
  }
}
