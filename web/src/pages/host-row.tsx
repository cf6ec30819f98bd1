import { Icon } from "../parts/icons";
import { Message } from "../parts/message";
import { exact, now, since } from "../parts/time";
import { Words } from "../parts/words";
import { collapse, expand, loadTargets, type Row } from "./host-list";
import { Failure } from "./shell";
import { TargetRow } from "./target-row";

export function HostRow({ host, open, targets, matches }: Row) {
  const id = `targets-${host.host}`;
  const shown = targets?.state === "loaded" ? targets.targets.filter(({ name }) => matches === undefined || matches.has(name)) : [];
  const time = since(host.since, now.value);
  return (
    <li class="host" data-row-of>
      <button type="button" class="host-button" data-row aria-expanded={open} aria-controls={open ? id : undefined}
        onClick={() => (open ? collapse(host.host) : expand(host.host))}>
        <span class={open ? "turn open" : "turn"}><Icon name="chevron" size={16} /></span>
        <span class={host.online ? "state on" : "state"}>
          <span class="dot" aria-hidden="true" />
        </span>
        <span class="host-name"><Words text={host.host} /></span>
        <span class="host-facts">
          <span class={host.online ? "word on" : "word"} title={exact(host.since ?? "")}>
            {host.online ? "Online" : "Offline"}{time !== "" && <span class="muted"> for {time}</span>}
          </span>
          {host.version !== undefined && <span class="version muted"><Words text={host.version} mono /></span>}
        </span>
      </button>
      {open && (
        <div class="targets" id={id}>
          {(targets === undefined || targets.state === "loading") && <p class="targets-note muted" role="status">Asking the host for its targets…</p>}
          {targets?.state === "failed" && (
            <Message tone={targets.error.code === "host_offline" ? "warn" : "danger"}>
              <Failure code={targets.error.code} message={targets.error.code === "host_offline" ? "" : targets.error.message} />
              <button type="button" class="button small" onClick={() => void loadTargets(host.host)}>Try again</button>
            </Message>
          )}
          {targets?.state === "loaded" && targets.targets.length === 0 && (
            <p class="targets-note muted">
              Nothing here that your key may open. The owner of the host allows targets in <code>targets.d</code>; your administrator lists them for your key.
            </p>
          )}
          {shown.length > 0 && (
            <ul aria-label={`Targets of ${host.host}`}>
              {shown.map((target) => <TargetRow key={target.name} host={host.host} target={target} />)}
            </ul>
          )}
        </div>
      )}
    </li>
  );
}
