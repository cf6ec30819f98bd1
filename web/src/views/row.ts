import css from "./row.css?text";
import { adopt } from "./sheet";

/** A row above a view, for its search and its questions. Plain elements, so text stays text. */
export class Row {
  readonly element = document.createElement("div");

  constructor(label: string, role: "search" | "group" = "group") {
    adopt(css);
    this.element.className = "view-row";
    this.element.setAttribute("role", role);
    this.element.setAttribute("aria-label", label);
    this.element.hidden = true;
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      this.hide();
      this.onclose?.();
    });
  }

  /** The user closed it. */
  onclose: (() => void) | undefined;

  get shown(): boolean { return !this.element.hidden; }
  show(): void { this.element.hidden = false; }
  hide(): void { this.element.hidden = true; }

  button(text: string, label: string, run: () => void): HTMLButtonElement {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    if (label !== text) {
      button.setAttribute("aria-label", label);
      button.title = label;
    }
    button.addEventListener("click", run);
    this.element.append(button);
    return button;
  }

  toggle(text: string, label: string, changed: (pressed: boolean) => void): HTMLButtonElement {
    const button = this.button(text, label, () => {
      const pressed = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(pressed));
      changed(pressed);
    });
    button.setAttribute("aria-pressed", "false");
    return button;
  }

  input(label: string, type: "search" | "text" = "search"): HTMLInputElement {
    const input = document.createElement("input");
    input.type = type;
    input.placeholder = label;
    input.setAttribute("aria-label", label);
    input.autocomplete = "off";
    input.spellcheck = false;
    input.setAttribute("autocapitalize", "off");
    this.element.append(input);
    return input;
  }

  text(live: boolean, className = "view-row-text"): HTMLElement {
    const text = document.createElement("span");
    text.className = className;
    if (live) text.setAttribute("role", "status");
    this.element.append(text);
    return text;
  }

  close(): void {
    this.button("✕", "Close", () => {
      this.hide();
      this.onclose?.();
    });
  }
}

/** A pressed state that the program changed. */
export function press(button: HTMLButtonElement, pressed: boolean): void {
  button.setAttribute("aria-pressed", String(pressed));
}
