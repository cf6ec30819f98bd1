/** A piece of a line that looks the same throughout. Classes are ours; nothing of a log becomes a style or a tag. */
export interface Piece { text: string; classes: string }

// Controls except tab, what changes the direction of text, what has no width, and ends of lines that are none.
const HIDDEN = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/;
const HIDDEN_ALL = new RegExp(HIDDEN.source, "g");
const COLOURS = /\x1b\[([\d;]*)m/g;
const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

/** The text of a line as it is shown: colours left out, hidden characters as escapes. */
export function plain(text: string): string {
  if (!HIDDEN.test(text)) return text;
  return text.replace(COLOURS, "").replace(HIDDEN_ALL, escapeOf);
}

/** The pieces of a line. Their texts together are `plain` of it. */
export function pieces(text: string): Piece[] {
  if (!HIDDEN.test(text)) return [{ text, classes: "" }];
  const result: Piece[] = [];
  const style = new Style();
  let at = 0;
  for (const match of text.matchAll(COLOURS)) {
    add(result, text.slice(at, match.index), style.classes);
    style.apply(match[1]!);
    at = match.index + match[0].length;
  }
  add(result, text.slice(at), style.classes);
  return result;
}

function add(result: Piece[], text: string, classes: string): void {
  let at = 0;
  for (const match of text.matchAll(HIDDEN_ALL)) {
    if (match.index > at) result.push({ text: text.slice(at, match.index), classes });
    result.push({ text: escapeOf(match[0]), classes: "log-escape" });
    at = match.index + 1;
  }
  if (at < text.length) result.push({ text: text.slice(at), classes });
}

/** As the host writes them: `^[` for controls, `<9B>` for those of eight bits; and `<U+202E>` for others. */
function escapeOf(character: string): string {
  const code = character.charCodeAt(0);
  if (code === 0x7f) return "^?";
  if (code < 0x20) return `^${String.fromCharCode(code + 64)}`;
  const hex = code.toString(16).toUpperCase();
  return code < 0xa0 ? `<${hex}>` : `<U+${hex.padStart(4, "0")}>`;
}

/** Colour and weight, from SGR. Backgrounds and "concealed" are left out: text must not be hidden by them. */
class Style {
  #colour = "";
  #bold = false;
  #dim = false;
  #italic = false;
  #underline = false;

  get classes(): string {
    return [
      this.#colour, this.#bold ? "log-bold" : "", this.#dim ? "log-dim" : "", this.#italic ? "log-italic" : "",
      this.#underline ? "log-underline" : "",
    ].filter(Boolean).join(" ");
  }

  apply(parameters: string): void {
    const codes = parameters.split(";").map(Number);
    for (let at = 0; at < codes.length; at++) {
      const code = codes[at]!;
      if (code === 38 || code === 48) {
        // 256 colours: the first 16 have names. True colours are left out.
        if (codes[at + 1] === 5) {
          if (code === 38) this.#colour = named(codes[at + 2]!);
          at += 2;
        } else if (codes[at + 1] === 2) {
          if (code === 38) this.#colour = "";
          at += 4;
        }
      } else if (code === 0) {
        this.#colour = "";
        this.#bold = this.#dim = this.#italic = this.#underline = false;
      } else if (code === 1) this.#bold = true;
      else if (code === 2) this.#dim = true;
      else if (code === 3) this.#italic = true;
      else if (code === 4) this.#underline = true;
      else if (code === 22) this.#bold = this.#dim = false;
      else if (code === 23) this.#italic = false;
      else if (code === 24) this.#underline = false;
      else if (code === 39) this.#colour = "";
      else if (code >= 30 && code <= 37) this.#colour = named(code - 30);
      else if (code >= 90 && code <= 97) this.#colour = named(code - 90);
    }
  }
}

function named(number: number): string {
  return number >= 0 && number < 16 ? `log-${NAMES[number % 8]}` : "";
}
