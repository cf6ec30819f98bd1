import type { Action } from "../view.js";

/** Something stands in the field always, so that the keyboard has something to delete. */
const FILL = "_".repeat(16);

/** Opens a phone's keyboard, and gives on what is written there. */
export class TouchKeyboard {
  readonly #field = document.createElement("textarea");
  readonly #type: (text: string) => void;
  #before = FILL;

  constructor(parent: HTMLElement, type: (text: string) => void) {
    this.#type = type;
    const field = this.#field;
    field.className = "screen-input";
    field.ariaLabel = "Types on the guest's keyboard";
    field.tabIndex = -1;
    field.autocapitalize = "off";
    field.autocomplete = "off";
    field.spellcheck = false;
    field.addEventListener("input", () => this.#changed());
    field.addEventListener("blur", () => this.#fill());
    this.#fill();
    parent.append(field);
  }

  /** One action, on devices that are touched. */
  actions(): Action[] {
    if (navigator.maxTouchPoints === 0) return [];
    return [{ id: "touch-keyboard", label: "Keyboard", icon: "keyboard", run: () => this.#field.focus() }];
  }

  #fill(): void {
    this.#field.value = this.#before = FILL;
  }

  // Phones replace whole words when they correct, so what changed is found by comparing.
  #changed(): void {
    const before = this.#before;
    const now = this.#field.value;
    let same = 0;
    while (same < before.length && same < now.length && before[same] === now[same]) same += 1;
    this.#type("\b".repeat(before.length - same) + now.slice(same));
    this.#before = now;
    if (now.length < 4 || now.length > 400) this.#fill();
  }
}
