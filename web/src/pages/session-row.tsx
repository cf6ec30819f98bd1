import type { Session } from "../api";
import { closeEnd } from "../ends";
import { bytes, exact, now, since } from "../parts/time";
import { Words } from "../parts/words";

const STATES = { waiting: "Waiting for its user", open: "Open", ended: "Ended" };

export function SessionRow({ session, onEnd }: { session: Session; onEnd(): void }) {
  const { state, host, target, user, key, peer, mode, code, reason, streams } = session;
  const from = state === "ended" ? session.ended : session.started ?? session.created;
  const time = since(from, now.value);
  const params = Object.entries(session.params ?? {}).map(([name, value]) => `${name}=${value}`).join(" ");
  return (
    <li class="session-row" data-row-of>
      <span class={`state ${state === "open" ? "on" : ""}`}><span class="dot" aria-hidden="true" /></span>
      <div class="session-what">
        <span class="session-target"><Words text={target} /> <span class="muted">on</span> <Words text={host} />{mode === "ro" && <span class="badge">Read-only</span>}</span>
        {params !== "" && <span class="muted small"><Words text={params} mono /></span>}
        <span class="muted small" title={exact(from ?? "")}>
          {STATES[state]}{time === "" ? "" : state === "ended" ? ` ${time} ago` : ` for ${time}`}
          {streams > 1 && ` · ${streams} connections`}
          {state === "ended" && code !== undefined && <> · {closeEnd(code).what}{reason ? <> “<Words text={reason} />”</> : ""} ({code})</>}
        </span>
      </div>
      <div class="session-who">
        <span><Words text={user} /></span>
        <span class="muted small">{key !== user && <>key <Words text={key} /></>}{key !== user && peer && " · "}{peer && <>from <Words text={peer} mono /></>}</span>
      </div>
      <div class="session-bytes muted small">
        {session.bytes_out !== undefined && <span title="To the user">↓ {bytes(session.bytes_out)}<span class="sr"> to the user</span></span>}
        {session.bytes_in !== undefined && <span title="From the user">↑ {bytes(session.bytes_in)}<span class="sr"> from the user</span></span>}
      </div>
      <div class="session-end">
        {state !== "ended" && <button type="button" class="button small danger-quiet" data-row onClick={onEnd} aria-label={`End the session of ${user}`}>End</button>}
      </div>
    </li>
  );
}
