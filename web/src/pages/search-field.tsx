import type { Signal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "../parts/icons";
import { focusFirst } from "./list-keys";

interface SearchFieldProps { label: string; value: Signal<string>; list: RefObject<HTMLElement | null> }

/** A search that `/` reaches from anywhere on the page; arrow down goes on to the list. */
export function SearchField({ label, value, list }: SearchFieldProps) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isEditable(event.target)) return;
      event.preventDefault();
      input.current?.select();
      input.current?.focus();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  return (
    <div class="search">
      <Icon name="search" size={16} />
      <input ref={input} type="search" aria-label={label} placeholder={label} value={value.value} spellcheck={false}
        autocomplete="off" autocapitalize="off" aria-keyshortcuts="/"
        onInput={(event) => { value.value = event.currentTarget.value; }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown" || event.key === "Enter") {
            event.preventDefault();
            focusFirst(list.current);
          } else if (event.key === "Escape") value.value = "";
        }} />
      <kbd aria-hidden="true">/</kbd>
    </div>
  );
}

function isEditable(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.closest("dialog") !== null);
}
