/** Where a layout has a character: the place of the key, and what is held with it. */
export interface Place {
  code: string;
  shift: boolean;
  altGraph: boolean;
  /** The key waits for a second one: a space follows, so that the character itself appears. */
  dead: boolean;
}

interface Layout { label: string; plain: string; shift: string; altGraph: Record<string, string>; dead: string }

const letters = (row: string): string[] => [...row].map((letter) => `Key${letter}`);

/** The keys of the rows below, in their order. */
const CODES = [
  "Backquote", ...[..."1234567890"].map((digit) => `Digit${digit}`), "Minus", "Equal",
  ...letters("QWERTYUIOP"), "BracketLeft", "BracketRight", "Backslash",
  ...letters("ASDFGHJKL"), "Semicolon", "Quote", "IntlBackslash",
  ...letters("ZXCVBNM"), "Comma", "Period", "Slash",
];

/** One character for each of CODES; a space where the layout has none that can be typed. */
const LAYOUTS = {
  us: {
    label: "English (US)",
    plain: "`1234567890-=qwertyuiop[]\\asdfghjkl;' zxcvbnm,./",
    shift: "~!@#$%^&*()_+QWERTYUIOP{}|ASDFGHJKL:\" ZXCVBNM<>?",
    altGraph: {},
    dead: "",
  },
  gb: {
    label: "English (UK)",
    plain: "`1234567890-=qwertyuiop[]#asdfghjkl;'\\zxcvbnm,./",
    shift: "¬!\"£$%^&*()_+QWERTYUIOP{}~ASDFGHJKL:@|ZXCVBNM<>?",
    altGraph: { Digit4: "€" },
    dead: "",
  },
  de: {
    label: "German",
    plain: "^1234567890ß´qwertzuiopü+#asdfghjklöä<yxcvbnm,.-",
    shift: "°!\"§$%&/()=?`QWERTZUIOPÜ*'ASDFGHJKLÖÄ>YXCVBNM;:_",
    altGraph: {
      Digit2: "²", Digit3: "³", Digit7: "{", Digit8: "[", Digit9: "]", Digit0: "}", Minus: "\\",
      KeyQ: "@", KeyE: "€", BracketRight: "~", IntlBackslash: "|", KeyM: "µ",
    },
    dead: "^´`",
  },
  fr: {
    label: "French",
    plain: "²&é\"'(-è_çà)=azertyuiop^$*qsdfghjklmù<wxcvbn,;:!",
    shift: " 1234567890°+AZERTYUIOP¨£µQSDFGHJKLM%>WXCVBN?./§",
    altGraph: {
      Digit2: "~", Digit3: "#", Digit4: "{", Digit5: "[", Digit6: "|", Digit7: "`", Digit8: "\\", Digit9: "^",
      Digit0: "@", Minus: "]", Equal: "}", KeyE: "€",
    },
    dead: "¨~`",
  },
} satisfies Record<string, Layout>;

export type LayoutName = keyof typeof LAYOUTS;

export const LAYOUT_NAMES = Object.keys(LAYOUTS) as LayoutName[];
export const layoutLabel = (name: LayoutName): string => LAYOUTS[name].label;
export const isLayout = (name: string | undefined): name is LayoutName => name !== undefined && Object.hasOwn(LAYOUTS, name);

const places = new Map<LayoutName, Map<string, Place>>();

/** Where this layout has a character, if it can be typed at all. */
export function placeOf(character: string, name: LayoutName): Place | undefined {
  let map = places.get(name);
  if (map === undefined) places.set(name, map = mapOf(LAYOUTS[name]));
  return map.get(character);
}

function mapOf(layout: Layout): Map<string, Place> {
  const map = new Map<string, Place>();
  const add = (character: string | undefined, code: string, shift: boolean, altGraph: boolean): void => {
    if (character === undefined || character === " " || map.has(character)) return;
    // French has ^ twice: by AltGr it appears at once.
    const dead = layout.dead.includes(character) && !(altGraph && character === "^");
    map.set(character, { code, shift, altGraph, dead });
  };
  for (const [code, character] of Object.entries(layout.altGraph)) {
    // A key of its own is simpler than AltGr, unless that key is a dead one.
    const own = layout.plain.includes(character) || layout.shift.includes(character);
    if (!own || character === "^") add(character, code, false, true);
  }
  for (const [at, code] of CODES.entries()) add([...layout.plain][at], code, false, false);
  for (const [at, code] of CODES.entries()) add([...layout.shift][at], code, true, false);
  for (const [code, character] of Object.entries(layout.altGraph)) add(character, code, false, true);
  map.set(" ", { code: "Space", shift: false, altGraph: false, dead: false });
  return map;
}
