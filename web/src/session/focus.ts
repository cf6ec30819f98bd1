/** Whether an element of a pane may take the focus: not from the session beside it, and not from a dialog. */
export function mayTakeFocus(element: HTMLElement): boolean {
  const { activeElement } = document;
  if (activeElement === null || activeElement === document.body) return true;
  return element.closest(".pane")?.contains(activeElement) === true && activeElement.closest("dialog") === null;
}
