import type { Action, ViewContext } from "../view.js";
import { ALT_GRAPH, keysymOf, MODIFIERS, named, type Key, type Modifier, type SendKey } from "./keys.js";
import { isLayout, layoutLabel, LAYOUT_NAMES, placeOf, type LayoutName } from "./layouts.js";

/** A guest that is slow loses keys that come faster: a keyboard holds 16 bytes, and a character is 2 to 6 of them. */
const PACE_MS = 40;

const MODIFIER_LABELS: Record<Modifier, string> = { ctrl: "Hold Ctrl", alt: "Hold Alt", shift: "Hold Shift", meta: "Hold Win" };

/** Combinations that the browser or the system would take for itself. */
const COMBINATIONS: readonly { id: string; label: string; keys: string[] }[] = [
  { id: "ctrl-alt-del", label: "Ctrl-Alt-Del", keys: ["Control", "Alt", "Delete"] },
  { id: "alt-tab", label: "Alt-Tab", keys: ["Alt", "Tab"] },
  { id: "alt-f4", label: "Alt-F4", keys: ["Alt", "F4"] },
  ...[1, 2, 3, 4, 5, 6, 7].map((n) => ({ id: `ctrl-alt-f${n}`, label: `Ctrl-Alt-F${n}`, keys: ["Control", "Alt", `F${n}`] })),
  { id: "print", label: "Print", keys: ["PrintScreen"] },
  { id: "win", label: "Win", keys: ["Meta"] },
];

/** Keys that no keyboard event of the page stands for: the key menu, held modifiers, typed text. */
export class Keyboard {
  readonly #context: ViewContext;
  readonly #send: SendKey;
  readonly #typesAll: () => boolean;
  readonly #held = new Set<Modifier>();
  /** Texts are typed one after the other. */
  #typing: Promise<void> = Promise.resolve();
  #stopped = false;

  /** `typesAll`: the guest goes by characters and not by places of keys, so it takes any, whatever the layout. */
  constructor(context: ViewContext, send: SendKey, typesAll: () => boolean) {
    this.#context = context;
    this.#send = send;
    this.#typesAll = typesAll;
  }

  get #layout(): LayoutName {
    const kept = this.#context.settings.get("layout");
    return isLayout(kept) ? kept : "us";
  }

  actions(): Action[] {
    const modifiers = (Object.keys(MODIFIERS) as Modifier[]).map((modifier): Action => ({
      id: `hold-${modifier}`, label: MODIFIER_LABELS[modifier], icon: "key", pressed: this.#held.has(modifier),
      run: () => this.#toggle(modifier),
    }));
    const layouts = LAYOUT_NAMES.map((name): Action => ({
      id: `layout-${name}`, label: layoutLabel(name), icon: "keyboard", pressed: this.#layout === name,
      run: () => {
        this.#context.settings.set("layout", name);
        this.#context.report({ type: "actions" });
      },
    }));
    const combinations = COMBINATIONS.map(({ id, label, keys }): Action => ({
      id, label, icon: "key", run: () => this.#press(keys.map((key) => named(key)!)),
    }));
    return [
      { id: "keys", label: "Keys", icon: "keyboard", hint: "Send keys that the browser keeps", items: [...combinations, ...modifiers] },
      { id: "layout", label: "Guest's keyboard", icon: "language", hint: "The layout that the guest expects of typed text", items: layouts },
    ];
  }

  /** A key with modifiers, named as in KeyboardEvent.key. */
  key(name: string, modifiers: Partial<Record<Modifier, boolean>>): void {
    const place = placeOf(name, this.#layout);
    const key = named(name) ?? (place && { code: place.code, keysym: keysymOf(name) });
    if (key === undefined) return;
    const held = (Object.keys(MODIFIERS) as Modifier[]).filter((modifier) => modifiers[modifier]).map((modifier) => MODIFIERS[modifier]);
    if (place?.shift && !modifiers.shift) held.push(MODIFIERS.shift);
    if (place?.altGraph) held.push(ALT_GRAPH);
    this.#press([...held, key]);
  }

  /** Types a text with pauses. Says how many characters the guest cannot get. */
  type(text: string): Promise<void> {
    const done = this.#typing.then(() => this.#type(text));
    this.#typing = done.catch(() => {});
    return done;
  }

  async #type(text: string): Promise<void> {
    const layout = this.#layout;
    let left = 0;
    let held: readonly Key[] = [];
    // Capitals in a row need one Shift.
    const hold = (wanted: readonly Key[]): void => {
      for (const { code, keysym } of held) if (!wanted.some((key) => key.code === code)) this.#send(code, keysym, false);
      for (const { code, keysym } of wanted) if (!held.some((key) => key.code === code)) this.#send(code, keysym, true);
      held = wanted;
    };
    for (const character of text.replaceAll("\r\n", "\n").replaceAll("\r", "\n")) {
      const strokes = this.#strokes(character, layout);
      if (strokes.length === 0) left += 1;
      for (const { key, modifiers } of strokes) {
        if (this.#stopped) return;
        hold(modifiers);
        this.#send(key.code, key.keysym, true);
        this.#send(key.code, key.keysym, false);
        await new Promise((done) => setTimeout(done, PACE_MS));
      }
    }
    hold([]);
    if (left > 0) {
      const what = left === 1 ? "1 character is" : `${left} characters are`;
      this.#context.report({ type: "notice", text: `${what} not on the keyboard "${layoutLabel(layout)}" and not typed. Choose the guest's keyboard.` });
    }
  }

  /** What is pressed, one after the other, for a character; nothing if the guest cannot get it. */
  #strokes(character: string, layout: LayoutName): { key: Key; modifiers: Key[] }[] {
    const own = { "\n": "Enter", "\t": "Tab", "\b": "Backspace", "\u001b": "Escape" }[character];
    if (own !== undefined) return [{ key: named(own)!, modifiers: [] }];
    const place = placeOf(character, layout);
    const keysym = keysymOf(character);
    if (place === undefined) return this.#typesAll() && character >= " " ? [{ key: { code: "", keysym }, modifiers: [] }] : [];
    const modifiers = place.shift ? [MODIFIERS.shift] : [];
    // Servers that go by the character find the way to it themselves, and no key is dead for them.
    if (this.#typesAll()) return [{ key: { code: place.code, keysym }, modifiers }];
    if (place.altGraph) modifiers.push(ALT_GRAPH);
    const stroke = { key: { code: place.code, keysym }, modifiers };
    return place.dead ? [stroke, { key: { code: "Space", keysym: 0x20 }, modifiers: [] }] : [stroke];
  }

  #press(keys: readonly Key[]): void {
    for (const key of keys) this.#send(key.code, key.keysym, true);
    for (const key of [...keys].reverse()) this.#send(key.code, key.keysym, false);
    // A modifier that is held stays so, also if the combination had it.
    for (const modifier of this.#held) {
      const { code, keysym } = MODIFIERS[modifier];
      if (keys.some((key) => key.code === code)) this.#send(code, keysym, true);
    }
  }

  #toggle(modifier: Modifier): void {
    const { code, keysym } = MODIFIERS[modifier];
    const down = !this.#held.has(modifier);
    if (down) this.#held.add(modifier);
    else this.#held.delete(modifier);
    this.#send(code, keysym, down);
    this.#context.report({ type: "actions" });
  }

  /** Releases what is held, and stops typing. */
  stop(): void {
    this.#stopped = true;
    for (const modifier of this.#held) this.#send(MODIFIERS[modifier].code, MODIFIERS[modifier].keysym, false);
    this.#held.clear();
  }
}
