import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "./icons";

export interface Item {
  label: string;
  hint?: string;
  icon?: string;
  /** A toggle or a choice, if defined. */
  pressed?: boolean;
  danger?: boolean;
  /** A heading: nothing to choose. */
  heading?: boolean;
  run?(): void;
}

interface MenuProps {
  label: string;
  items: readonly Item[];
  /** The content of the button; without it, `icon` alone is shown. */
  children?: ComponentChildren;
  icon?: string;
  class?: string;
  /** At which edge of the button the list lies. */
  align?: "left" | "right";
  hint?: string;
  /** Called after the list closed. */
  onClosed?(): void;
}

/** A button that opens a list of choices. */
export function Menu({ label, items, children, icon, class: className, align = "right", hint, onClosed }: MenuProps) {
  const open = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);

  const close = (focus: boolean) => {
    open.value = false;
    if (focus) button.current?.focus();
  };
  useEffect(() => {
    if (!open.value) return;
    choices(root.current)[0]?.focus();
    const outside = (event: Event) => {
      if (event.target instanceof Node && !root.current?.contains(event.target)) close(false);
    };
    document.addEventListener("pointerdown", outside, true);
    return () => document.removeEventListener("pointerdown", outside, true);
  }, [open.value]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (!open.value) return;
    const all = choices(root.current);
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to: Record<string, number> = {
      ArrowDown: (at + 1) % all.length, ArrowUp: (at - 1 + all.length) % all.length, Home: 0, End: all.length - 1,
    };
    const next = to[event.key];
    if (next !== undefined) all[next]?.focus();
    else if (event.key === "Escape") close(true);
    else if (event.key === "Tab") { close(false); return; }
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const run = (item: Item) => {
    close(true);
    item.run?.();
    onClosed?.();
  };

  return (
    <div class="menu" ref={root} onKeyDown={onKeyDown}>
      <button type="button" ref={button} class={className ?? "icon-button"} aria-haspopup="menu" aria-expanded={open.value}
        aria-label={children === undefined ? label : undefined} title={hint ?? (children === undefined ? label : undefined)}
        onClick={() => { open.value = !open.value; }}>
        {children ?? <Icon name={icon ?? "more"} />}
      </button>
      {open.value && (
        <div class={`menu-list ${align}`} role="menu" aria-label={label}>
          {items.map((item) => item.heading
            ? <div class="menu-heading" role="presentation">{item.label}</div>
            : (
              <button type="button" role={item.pressed === undefined ? "menuitem" : "menuitemcheckbox"} tabIndex={-1}
                aria-checked={item.pressed} class={item.danger ? "menu-item danger" : "menu-item"}
                onClick={() => run(item)}>
                <span class="menu-icon">{item.pressed ? <Icon name="check" size={16} />
                  : item.icon !== undefined && item.pressed === undefined && <Icon name={item.icon} size={16} />}</span>
                <span class="menu-label">{item.label}</span>
                {item.hint !== undefined && <span class="menu-hint">{item.hint}</span>}
              </button>
            ))}
        </div>
      )}
    </div>
  );
}

function choices(root: HTMLElement | null): HTMLElement[] {
  return [...(root?.querySelectorAll<HTMLElement>(".menu-item") ?? [])];
}
