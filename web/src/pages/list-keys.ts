/** Keys of a list whose rows have an element with `data-row`: arrows move, Home and End jump, right and left open and close. */

function rowsOf(list: HTMLElement): HTMLElement[] {
  return [...list.querySelectorAll<HTMLElement>("[data-row]")];
}

export function focusFirst(list: HTMLElement | null): void {
  if (list) rowsOf(list)[0]?.focus();
}

export function onListKey(event: KeyboardEvent): void {
  const list = event.currentTarget as HTMLElement;
  const from = event.target instanceof HTMLElement ? event.target : undefined;
  if (from === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(from.tagName)) return;
  const all = rowsOf(list);
  const row = from.closest<HTMLElement>("[data-row-of]")?.querySelector<HTMLElement>("[data-row]") ?? from;
  const at = all.indexOf(row);
  const last = all.length - 1;
  const open = row.getAttribute("aria-expanded");
  switch (event.key) {
    case "ArrowDown": all[Math.min(at + 1, last)]?.focus(); break;
    case "ArrowUp": all[Math.max(at - 1, 0)]?.focus(); break;
    case "Home": all[0]?.focus(); break;
    case "End": all[last]?.focus(); break;
    case "ArrowRight":
      if (open === "false") row.click();
      else if (open === "true") all[Math.min(at + 1, last)]?.focus();
      else return;
      break;
    case "ArrowLeft":
      if (open === "true") row.click();
      else if (open === null) row.closest("ul")?.closest("[data-row-of]")?.querySelector<HTMLElement>("[data-row]")?.focus();
      else return;
      break;
    default: return;
  }
  event.preventDefault();
}
