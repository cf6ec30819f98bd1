export interface Modifiers { ctrl?: boolean; alt?: boolean; shift?: boolean; meta?: boolean }

/** Keys whose sequence is CSI or SS3 with a letter. */
const LETTERS: Record<string, string> = {
  ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D", Home: "H", End: "F",
  F1: "P", F2: "Q", F3: "R", F4: "S",
};
/** Keys whose sequence is CSI, a number and a tilde. */
const NUMBERS: Record<string, number> = {
  Insert: 2, Delete: 3, PageUp: 5, PageDown: 6,
  F5: 15, F6: 17, F7: 18, F8: 19, F9: 20, F10: 21, F11: 23, F12: 24,
};

/**
 * What xterm sends for a key, by its name in `KeyboardEvent.key`; `undefined` if there is nothing to send.
 * `application`: the program asked for application cursor keys.
 */
export function sequence(key: string, modifiers: Modifiers, application: boolean): string | undefined {
  const { ctrl = false, alt = false, shift = false } = modifiers;
  const escape = alt ? "\x1b" : "";
  const code = 1 + (shift ? 1 : 0) + (alt ? 2 : 0) + (ctrl ? 4 : 0);
  const letter = LETTERS[key];
  if (letter !== undefined) {
    if (code > 1) return `\x1b[1;${code}${letter}`;
    return application || /^F/.test(key) ? `\x1bO${letter}` : `\x1b[${letter}`;
  }
  const number = NUMBERS[key];
  if (number !== undefined) return code > 1 ? `\x1b[${number};${code}~` : `\x1b[${number}~`;
  switch (key) {
    case "Escape": return `${escape}\x1b`;
    case "Enter": return `${escape}\r`;
    case "Tab": return shift ? "\x1b[Z" : `${escape}\t`;
    case "Backspace": return escape + (ctrl ? "\b" : "\x7f");
  }
  const first = [...key];
  if (first.length !== 1) return undefined;
  return escape + (ctrl ? control(key) : shift ? key.toUpperCase() : key);
}

/** A character with Ctrl, as terminals of all times send it. */
function control(key: string): string {
  if (/^[a-z]$/i.test(key)) return String.fromCharCode(key.toUpperCase().charCodeAt(0) - 64);
  const others: Record<string, string> = {
    " ": "\0", "@": "\0", "2": "\0", "[": "\x1b", "3": "\x1b", "\\": "\x1c", "4": "\x1c", "]": "\x1d", "5": "\x1d",
    "^": "\x1e", "6": "\x1e", "_": "\x1f", "-": "\x1f", "/": "\x1f", "7": "\x1f", "?": "\x7f", "8": "\x7f",
  };
  return others[key] ?? key;
}

/** Text for a paste, without what could end a bracketed paste or act as a key. */
export function cleanPaste(text: string): string {
  return text.replace(/\r\n?/g, "\n").replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, "");
}
