/** Holds the mouse for a guest that takes only its movements. */
export class PointerLock {
  readonly #element: HTMLElement;
  readonly #over = new AbortController();

  /** `changed`: the element has got the mouse, or has lost it. */
  constructor(element: HTMLElement, changed: (isHeld: boolean) => void) {
    this.#element = element;
    let was = false;
    document.addEventListener("pointerlockchange", () => {
      if (this.isHeld === was) return;
      was = this.isHeld;
      changed(was);
    }, { signal: this.#over.signal });
  }

  get isHeld(): boolean {
    return document.pointerLockElement === this.#element;
  }

  hold(): void {
    if (this.isHeld) return;
    // A browser may refuse, for example right after Esc.
    const locked = this.#element.requestPointerLock() as Promise<void> | undefined;
    locked?.catch(() => {});
  }

  release(): void {
    if (this.isHeld) document.exitPointerLock();
  }

  dispose(): void {
    this.release();
    this.#over.abort();
  }
}
