import { useSignal, type Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { View } from "../views/view";

type Modifier = "ctrl" | "alt";
/** Off, for the next key, or until it is tapped again. */
type Stick = "off" | "next" | "held";

/** Key, label, and how it is spoken if the label is a sign. */
type Key = [key: string, label: string, spoken?: string];

const MAIN: Key[] = [["Escape", "Esc"], ["Tab", "Tab"]];
const ARROWS: Key[] = [
  ["ArrowLeft", "←", "Arrow left"], ["ArrowDown", "↓", "Arrow down"], ["ArrowUp", "↑", "Arrow up"], ["ArrowRight", "→", "Arrow right"],
];
const MORE: Key[] = [
  ["Home", "Home"], ["End", "End"], ["PageUp", "PgUp"], ["PageDown", "PgDn"], ["Insert", "Ins"], ["Delete", "Del"],
  ...Array.from({ length: 12 }, (_, index): Key => [`F${index + 1}`, `F${index + 1}`]),
];

/** Keys that a phone does not have. Ctrl and Alt stick for the next key; a second tap holds them. */
export function PhoneBar({ view, body }: { view: View; body: () => HTMLElement | null }) {
  const ctrl = useSignal<Stick>("off");
  const alt = useSignal<Stick>("off");
  const more = useSignal(false);
  const bar = useRef<HTMLDivElement>(null);

  const modifiers = () => ({ ...(ctrl.value !== "off" ? { ctrl: true } : {}), ...(alt.value !== "off" ? { alt: true } : {}) });
  const press = (key: string) => {
    view.key?.(key, modifiers());
    if (ctrl.value === "next") ctrl.value = "off";
    if (alt.value === "next") alt.value = "off";
  };
  useEffect(() => {
    // With a sticking modifier, the next key of the phone's own keyboard goes through the bar. Some keyboards
    // report only text that is about to be inserted, and no keys.
    const element = body();
    if (element === null) return;
    const sticking = () => ctrl.value !== "off" || alt.value !== "off";
    const take = (event: Event, key: string) => {
      event.preventDefault();
      event.stopPropagation();
      press(key);
    };
    const onKey = (event: KeyboardEvent) => {
      const plain = !event.ctrlKey && !event.altKey && !event.metaKey && !event.isComposing;
      if (sticking() && plain && (event.key.length === 1 || /^(Enter|Backspace|Tab|Arrow)/.test(event.key))) take(event, event.key);
    };
    const onInput = (event: InputEvent) => {
      if (sticking() && event.data?.length === 1) take(event, event.data);
    };
    element.addEventListener("keydown", onKey, true);
    element.addEventListener("beforeinput", onInput, true);
    return () => {
      element.removeEventListener("keydown", onKey, true);
      element.removeEventListener("beforeinput", onInput, true);
    };
  }, [view]);

  const key = ([name, label, spoken]: Key) => (
    <button type="button" key={name} aria-label={spoken} onClick={() => press(name)}>{label}</button>
  );
  const sticky = (name: Modifier, label: string, state: Signal<Stick>) => (
    <button type="button" aria-pressed={state.value !== "off"} class={state.value} title="Tap for the next key, tap twice to hold"
      onClick={() => { state.value = state.value === "off" ? "next" : state.value === "next" ? "held" : "off"; }} key={name}>{label}</button>
  );
  return (
    <div class="phone-bar" role="toolbar" aria-label="Keys" ref={bar}
      // The view keeps the focus, so that the phone's keyboard stays open.
      onPointerDown={(event) => event.preventDefault()}>
      {more.value && <div class="phone-row more-keys">{MORE.map(key)}</div>}
      <div class="phone-row">
        {MAIN.map(key)}
        {sticky("ctrl", "Ctrl", ctrl)}
        {sticky("alt", "Alt", alt)}
        {ARROWS.map(key)}
        <button type="button" aria-expanded={more.value} aria-label="Fn, more keys" onClick={() => { more.value = !more.value; }}>Fn</button>
      </div>
    </div>
  );
}
