import { useEffect, useRef } from "preact/hooks";
import { Icon, kindIcon } from "../parts/icons";
import type { ViewKind } from "../views/view";
import { VIEW_NAMES } from "./guess";

const EXPLAINED: Readonly<Record<ViewKind, string>> = {
  terminal: "Shells, consoles, serial lines",
  log: "Lines that only come, with search",
  vnc: "A screen of a VNC server",
  spice: "A screen of a virtual machine",
};

/** The choice between the views, where nobody knows what a target is. */
export function ChooseView({ title, onChoose }: { title: string; onChoose(view: ViewKind): void }) {
  const first = useRef<HTMLButtonElement>(null);
  useEffect(() => first.current?.focus(), []);
  return (
    <>
      <h2>{title}</h2>
      <p class="muted">The host does not say what it is. If the wrong one is chosen, close it and choose another.</p>
      <div class="choices">
        {(Object.keys(VIEW_NAMES) as ViewKind[]).map((view, index) => (
          <button type="button" class="choice" key={view} {...(index === 0 ? { ref: first } : {})} onClick={() => onChoose(view)}>
            <Icon name={kindIcon("", view)} size={22} />
            <span><strong>{VIEW_NAMES[view]}</strong><span class="muted">{EXPLAINED[view]}</span></span>
          </button>
        ))}
      </div>
    </>
  );
}
