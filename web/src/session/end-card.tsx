import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { apiEnd, closeEnd, type End } from "../ends";
import { Icon } from "../parts/icons";
import { visible } from "../parts/text";
import { mayTakeFocus } from "./focus";

/** How a session ended or was refused, with what the other side said. */
export interface Ending { code: number | string; said: string; exit?: number }

export function endOf({ code }: Ending): End {
  return typeof code === "number" ? closeEnd(code) : apiEnd(code);
}

interface EndCardProps {
  ending: Ending;
  /** Nothing is behind it that should stay visible. */
  alone?: boolean;
  /** The buttons: a new session, the way back. */
  children?: ComponentChildren;
  /** Instead of what the table says to do. */
  todo?: string;
}

/** What happened, why, and what to do. What was on the screen stays visible behind it. */
export function EndCard({ ending, alone, children, todo }: EndCardProps) {
  const card = useRef<HTMLDivElement>(null);
  const id = useId();
  const end = endOf(ending);
  // The card and not its button: somebody may still be typing, and Enter must not open a session.
  useEffect(() => { if (card.current && mayTakeFocus(card.current)) card.current.focus(); }, [ending.code, ending.said]);
  const { exit } = ending;
  const program = exit !== undefined && ending.code === 1000;
  const title = !program ? end.what : exit === 0 ? "The program ended." : `The program ended with status ${exit}.`;
  return (
    <div class={`end-card ${program && exit !== 0 ? "warn" : end.tone}${alone ? " alone" : ""}`} role="alertdialog"
      aria-labelledby={id} aria-describedby={`${id}-why`} tabIndex={-1} ref={card}>
      <Icon name={end.tone === "good" ? "check" : "warning"} size={22} />
      <div class="end-words">
        <h2 id={id}>{title}</h2>
        <div id={`${id}-why`}>
          <p>{program ? programWhy(exit) : end.why} {todo ?? end.todo}</p>
        </div>
        <p class="end-facts muted">
          {ending.said !== "" && <>{speaker(ending.code)}: “<bdi>{visible(ending.said, { longest: 400 })}</bdi>” · </>}
          {ending.code !== "closed" && <>code {visible(String(ending.code))}</>}
        </p>
      </div>
      {children !== undefined && <div class="end-buttons">{children}</div>}
    </div>
  );
}

function speaker(code: number | string): string {
  if (code === "view_failed" || code === "wrong_view") return "The browser said";
  return typeof code === "number" || code === "wrong_password" ? "The other side said" : "The relay said";
}

function programWhy(exit: number): string {
  if (exit === 0) return "It finished without an error.";
  if (exit > 128 && exit < 160) return `A signal (number ${exit - 128}) ended it.`;
  return "A status other than 0 usually means that something did not work.";
}
