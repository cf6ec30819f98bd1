import { levelOf } from "./level";
import type { LineStore } from "./store";
import { pieces, plain } from "./text";

/** Bytes of a line that are shown: longer ones would hold up the page. The download has them whole. */
const SHOWN = 10_000;
const NUMBER = new Intl.NumberFormat("en");

/** Puts a line of the store into a row, as text. */
export function fillRow(row: HTMLElement, store: LineStore, line: number): void {
  const { text, omitted } = store.line(line, SHOWN);
  const mark = store.isMark(line);
  if (mark) row.dataset["mark"] = "";
  else delete row.dataset["mark"];
  const level = mark ? undefined : levelOf(plain(text));
  if (level === undefined) delete row.dataset["level"];
  else row.dataset["level"] = level;
  const parts = pieces(text).map(({ text: part, classes }) => classes === "" ? part : span(part, classes));
  if (omitted > 0) parts.push(span(` … ${NUMBER.format(omitted)} more bytes are in the download`, "log-omitted"));
  if (parts.length === 1 && typeof parts[0] === "string") row.textContent = parts[0];
  else row.replaceChildren(...parts);
}

function span(text: string, classes: string): HTMLSpanElement {
  const element = document.createElement("span");
  element.className = classes;
  element.textContent = text;
  return element;
}
