/** Text from hosts, users and targets, made safe to read: what hides or reorders characters is written as an escape. */

// Emoji with their variation selectors and joiners stay as they are, because titles of people have them.
const EMOJI = String.raw`\p{Extended_Pictographic}[\u{fe0e}\u{fe0f}]?(?:\u{200d}\p{Extended_Pictographic}[\u{fe0e}\u{fe0f}]?)*`;
// Control, format (also bidirectional), private, unassigned, half characters, line and paragraph separators, and
// characters that look like nothing. The same set as in crates/protocol/src/name.rs.
const HIDDEN = String.raw`[\p{C}\p{Zl}\p{Zp}\u{34f}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180b}-\u{180f}\u{2800}\u{3164}\u{fe00}-\u{fe0f}\u{ffa0}\u{e0100}-\u{e01ef}]`;
const PATTERN = new RegExp(`(${EMOJI})|(${HIDDEN})`, "gu");

/** The longest text that is shown, in UTF-16 units. */
const LONGEST = 2000;

export interface Shown {
  /** Keep line feeds and tabs, for text in a box of several lines. */
  lines?: boolean;
  longest?: number;
}

/** `text` with visible escapes: `\n`, `\u{202e}`. */
export function visible(text: string, how: Shown = {}): string {
  const longest = how.longest ?? LONGEST;
  const cut = text.length > longest ? `${text.slice(0, longest)}…` : text;
  return cut.replace(PATTERN, (all, emoji: string | undefined) => {
    if (emoji !== undefined) return emoji;
    if (how.lines && (all === "\n" || all === "\t")) return all;
    return escaped(all);
  });
}

/** Whether `text` has characters that `visible` would escape. */
export function hides(text: string): boolean {
  return visible(text, { lines: true, longest: Infinity }) !== text;
}

function escaped(character: string): string {
  switch (character) {
    case "\n": return "\\n";
    case "\r": return "\\r";
    case "\t": return "\\t";
    default: return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  }
}
