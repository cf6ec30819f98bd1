import type { ComponentChildren } from "preact";
import { Icon } from "./icons";

/** A sentence about something that did not work, or that a person should know. */
export function Message({ tone = "danger", children }: { tone?: "danger" | "warn" | "info"; children: ComponentChildren }) {
  return (
    <div class={`message ${tone}`} role={tone === "danger" ? "alert" : "status"}>
      <Icon name={tone === "info" ? "info" : "warning"} />
      <div>{children}</div>
    </div>
  );
}

interface EmptyProps { icon: string; title: string; alone?: boolean; children?: ComponentChildren }

/** What a list says when nothing is in it: why, and what to do. `alone`: it is all that the page shows. */
export function Empty({ icon, title, alone, children }: EmptyProps) {
  return (
    <div class={alone ? "empty alone" : "empty"}>
      <Icon name={icon} size={32} />
      {alone ? <h1>{title}</h1> : <h2>{title}</h2>}
      {children}
    </div>
  );
}
