const letters = (row: string): string[] => [...row].map((letter) => `Key${letter}`);

/** Places of keys in the order of their scan codes (set 1), from 1 on. */
const CODES = [
  "Escape", ..."1234567890".split("").map((digit) => `Digit${digit}`), "Minus", "Equal", "Backspace",
  "Tab", ...letters("QWERTYUIOP"), "BracketLeft", "BracketRight", "Enter",
  "ControlLeft", ...letters("ASDFGHJKL"), "Semicolon", "Quote", "Backquote",
  "ShiftLeft", "Backslash", ...letters("ZXCVBNM"), "Comma", "Period", "Slash", "ShiftRight", "NumpadMultiply",
  "AltLeft", "Space", "CapsLock", "F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F10", "NumLock", "ScrollLock",
  "Numpad7", "Numpad8", "Numpad9", "NumpadSubtract", "Numpad4", "Numpad5", "Numpad6", "NumpadAdd",
  "Numpad1", "Numpad2", "Numpad3", "Numpad0", "NumpadDecimal", "", "", "IntlBackslash", "F11", "F12",
];

const SCANCODES = new Map<string, number>(CODES.map((code, at) => [code, at + 1]));
for (const [code, scancode] of Object.entries({ KanaMode: 0x70, IntlRo: 0x73, Convert: 0x79, NonConvert: 0x7b, IntlYen: 0x7d })) {
  SCANCODES.set(code, scancode);
}
SCANCODES.delete("");

/** Keys that came with later keyboards have a byte 0xe0 before their code. */
const EXTENDED = new Map<string, number>(Object.entries({
  NumpadEnter: 0x1c, ControlRight: 0x1d, NumpadDivide: 0x35, PrintScreen: 0x37, AltRight: 0x38, Pause: 0x46,
  Home: 0x47, ArrowUp: 0x48, PageUp: 0x49, ArrowLeft: 0x4b, ArrowRight: 0x4d, End: 0x4f, ArrowDown: 0x50, PageDown: 0x51,
  Insert: 0x52, Delete: 0x53, MetaLeft: 0x5b, MetaRight: 0x5c, ContextMenu: 0x5d,
}));

/** What SPICE sends when the key at this place is pressed or released; undefined if there is no such key. */
export function scancode(code: string, down: boolean): number | undefined {
  const release = down ? 0 : 0x80;
  const plain = SCANCODES.get(code);
  if (plain !== undefined) return plain | release;
  const extended = EXTENDED.get(code);
  return extended === undefined ? undefined : 0xe0 | ((extended | release) << 8);
}
