import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "../parts/icons";
import { Menu, type Item } from "../parts/menu";
import { visible } from "../parts/text";
import type { Action } from "../views/view";

/** Space of one button, and of what is beside the actions, in pixels. */
const BUTTON = 36;
const RESERVED = 330;

export interface ToolbarProps {
  title: ComponentChildren;
  badge: ComponentChildren;
  quality: ComponentChildren;
  /** Those of the view and those of the frame, in this order. */
  actions: Action[];
  /** What is only in the menu at the end. */
  more: Item[];
  back: ComponentChildren;
  /** The person wants to go back into the view. */
  onLeave(): void;
}

/** Actions as buttons, as many as fit; the others are in the menu at the end. */
export function Toolbar({ title, badge, quality, actions, more, back, onLeave }: ToolbarProps) {
  const bar = useRef<HTMLDivElement>(null);
  const width = useSignal(0);
  useEffect(() => {
    if (bar.current === null) return;
    const observer = new ResizeObserver(([entry]) => { width.value = entry?.contentRect.width ?? 0; });
    observer.observe(bar.current);
    return () => observer.disconnect();
  }, []);
  const fit = Math.max(0, Math.floor((width.value - RESERVED) / BUTTON));
  const shown = actions.slice(0, fit);
  const hidden = actions.slice(fit).flatMap((action) => asItems(action));
  return (
    <div class="toolbar" ref={bar} role="toolbar" aria-label="Session"
      onKeyDown={(event) => { if (event.key === "Escape" && !event.defaultPrevented) onLeave(); }}>
      {back}
      <div class="toolbar-title">{title}</div>
      {badge}
      <span class="grow" />
      {quality}
      {shown.map((action) => <ActionButton key={action.id} action={action} />)}
      {(hidden.length > 0 || more.length > 0) && <Menu label="More" items={[...hidden, ...more]} onClosed={onLeave} />}
    </div>
  );
}

function ActionButton({ action }: { action: Action }) {
  const label = visible(action.label);
  if (action.items !== undefined) {
    return <Menu label={label} icon={action.icon} items={action.items.flatMap((item) => asItems(item))} {...(action.hint ? { hint: action.hint } : {})} />;
  }
  return (
    <button type="button" class="icon-button" aria-label={label} title={action.hint ?? label} aria-pressed={action.pressed}
      onClick={() => action.run?.()}>
      <Icon name={action.icon} />
    </button>
  );
}

/** An action in a menu. One with choices becomes a heading with the choices below it. */
function asItems({ label, hint, icon, pressed, run, items }: Action): Item[] {
  const item: Item = {
    label: visible(label), icon,
    ...(hint !== undefined && items === undefined ? { hint: visible(hint) } : {}),
    ...(pressed === undefined ? {} : { pressed }),
    ...(run ? { run } : {}),
  };
  return items === undefined ? [item] : [{ ...item, heading: true }, ...items.flatMap((below) => asItems(below))];
}
