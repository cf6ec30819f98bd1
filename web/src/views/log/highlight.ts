const NAME = "log-match";
const CURRENT = "log-current";
/** Most marks in one row: a pattern may match every character. */
const MOST = 200;

/** Marks what matches in the rows, where the browser has highlights. They change no element. */
export function highlight(rows: ReadonlyMap<number, HTMLElement>, pattern: RegExp | undefined, current: number | undefined): void {
  if (typeof Highlight === "undefined" || CSS.highlights === undefined) return;
  if (pattern === undefined) {
    CSS.highlights.delete(NAME);
    CSS.highlights.delete(CURRENT);
    return;
  }
  const all: Range[] = [];
  const one: Range[] = [];
  for (const [line, row] of rows) {
    if (row.dataset["mark"] === undefined) (line === current ? one : all).push(...ranges(row, pattern));
  }
  CSS.highlights.set(NAME, new Highlight(...all));
  CSS.highlights.set(CURRENT, new Highlight(...one));
}

function ranges(row: HTMLElement, pattern: RegExp): Range[] {
  const result: Range[] = [];
  const text = row.textContent ?? "";
  const nodes = textsOf(row);
  pattern.lastIndex = 0;
  for (let match = pattern.exec(text); match !== null && result.length < MOST; match = pattern.exec(text)) {
    if (match[0] === "") {
      pattern.lastIndex += 1;
      continue;
    }
    const range = new Range();
    const start = place(nodes, match.index);
    const end = place(nodes, match.index + match[0].length);
    if (start === undefined || end === undefined) continue;
    range.setStart(...start);
    range.setEnd(...end);
    result.push(range);
  }
  return result;
}

function textsOf(row: HTMLElement): Text[] {
  const texts: Text[] = [];
  const walker = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) texts.push(node as Text);
  return texts;
}

function place(nodes: Text[], offset: number): [Text, number] | undefined {
  for (const node of nodes) {
    if (offset <= node.length) return [node, offset];
    offset -= node.length;
  }
  return undefined;
}
