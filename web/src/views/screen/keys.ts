/** A key as both protocols need it: by its place on the keyboard, and by what it means (X11 keysym). */
export interface Key { code: string; keysym: number }

/** Sends a key's press or release to the guest. */
export type SendKey = (code: string, keysym: number, down: boolean) => void;

export type Modifier = "ctrl" | "alt" | "shift" | "meta";

export const MODIFIERS: Record<Modifier, Key> = {
  ctrl: { code: "ControlLeft", keysym: 0xffe3 },
  alt: { code: "AltLeft", keysym: 0xffe9 },
  shift: { code: "ShiftLeft", keysym: 0xffe1 },
  meta: { code: "MetaLeft", keysym: 0xffeb },
};

export const ALT_GRAPH: Key = { code: "AltRight", keysym: 0xfe03 };

/** Keys that write no character, by the name in KeyboardEvent.key. */
const NAMED: Record<string, Key> = {
  Control: MODIFIERS.ctrl, Alt: MODIFIERS.alt, Shift: MODIFIERS.shift, Meta: MODIFIERS.meta, AltGraph: ALT_GRAPH,
  Backspace: { code: "Backspace", keysym: 0xff08 },
  Tab: { code: "Tab", keysym: 0xff09 },
  Enter: { code: "Enter", keysym: 0xff0d },
  Pause: { code: "Pause", keysym: 0xff13 },
  ScrollLock: { code: "ScrollLock", keysym: 0xff14 },
  Escape: { code: "Escape", keysym: 0xff1b },
  Home: { code: "Home", keysym: 0xff50 },
  ArrowLeft: { code: "ArrowLeft", keysym: 0xff51 },
  ArrowUp: { code: "ArrowUp", keysym: 0xff52 },
  ArrowRight: { code: "ArrowRight", keysym: 0xff53 },
  ArrowDown: { code: "ArrowDown", keysym: 0xff54 },
  PageUp: { code: "PageUp", keysym: 0xff55 },
  PageDown: { code: "PageDown", keysym: 0xff56 },
  End: { code: "End", keysym: 0xff57 },
  PrintScreen: { code: "PrintScreen", keysym: 0xff61 },
  Insert: { code: "Insert", keysym: 0xff63 },
  ContextMenu: { code: "ContextMenu", keysym: 0xff67 },
  NumLock: { code: "NumLock", keysym: 0xff7f },
  CapsLock: { code: "CapsLock", keysym: 0xffe5 },
  Delete: { code: "Delete", keysym: 0xffff },
};

/** The key with this name, if it is one that writes no character. */
export function named(name: string): Key | undefined {
  const f = /^F([1-9]|1[0-2])$/.exec(name);
  if (f !== null) return { code: name, keysym: 0xffbd + Number(f[1]) };
  return Object.hasOwn(NAMED, name) ? NAMED[name] : undefined;
}

/** The keysym of a character: Latin-1 as it is, all others by their Unicode number. */
export function keysymOf(character: string): number {
  const point = character.codePointAt(0) ?? 0;
  return (point >= 0x20 && point < 0x7f) || (point >= 0xa0 && point <= 0xff) ? point : 0x01000000 | point;
}
