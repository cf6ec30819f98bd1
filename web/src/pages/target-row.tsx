import { useSignal } from "@preact/signals";
import { me } from "../account";
import { type Mode, type Target } from "../api";
import { Icon, kindIcon, kindWords } from "../parts/icons";
import { Menu, type Item } from "../parts/menu";
import { visible } from "../parts/text";
import { Words } from "../parts/words";
import { go, onLink } from "../router";
import { openPath, type Wanted } from "../session/address";
import { VIEW_NAMES, modesOf, viewOf } from "../session/guess";
import { openInViewer } from "../session/viewer-file";
import type { ViewKind } from "../views/view";
import { lastOpened } from "./host-list";
import { ParamsDialog } from "./params-dialog";

/** What a click is going to open, once the person has filled in the target's parameters. */
type Choice = { mode?: Mode; view?: ViewKind; viewer?: boolean };

export function TargetRow({ host, target }: { host: string; target: Target }) {
  const asking = useSignal<Choice | undefined>(undefined);
  const busy = useSignal(false);
  const view = viewOf(target);
  const modes = modesOf(target, me.value?.modes);
  const both = modes.length > 1;
  const hasParams = (target.params?.length ?? 0) > 0;
  const main: Choice = both ? { mode: "rw" } : modes[0] === "ro" ? { mode: "ro" } : {};

  const wanted = ({ mode, view: chosen }: Choice, params: Record<string, string> = {}): Wanted =>
    ({ host, target: target.name, params, ...(mode ? { mode } : {}), ...(chosen ? { view: chosen } : {}) });
  const start = async (choice: Choice, params: Record<string, string> = {}) => {
    asking.value = undefined;
    if (!choice.viewer) { lastOpened.path = openPath(wanted(main)); go(openPath(wanted(choice, params)), { asked: true }); return; }
    busy.value = true;
    await openInViewer({ host, target: target.name, params });
    busy.value = false;
  };
  const choose = (choice: Choice) => { if (hasParams) asking.value = choice; else void start(choice); };

  const items: Item[] = [
    ...(both ? [{ label: "Open read-only", icon: "eye", run: () => choose({ mode: "ro" }) }] : []),
    ...(view === "spice" ? [{ label: "Open in a desktop viewer", hint: ".vv file", icon: "download", run: () => choose({ viewer: true }) }] : []),
    { label: "Open as…", heading: true },
    ...(Object.keys(VIEW_NAMES) as ViewKind[]).filter((other) => other !== view)
      .map((other) => ({ label: VIEW_NAMES[other], run: () => choose({ ...main, view: other }) })),
  ];
  const title = visible(target.title ?? target.name);
  return (
    <li class="target" data-row-of>
      <span class="tile"><Icon name={kindIcon(target.kind, view)} /></span>
      <div class="target-words">
        <a class="target-link" data-row href={openPath(wanted(main))}
          onClick={(event) => {
            if (!hasParams) { lastOpened.path = openPath(wanted(main)); onLink(event); return; }
            event.preventDefault();
            choose(main);
          }}>
          <span class="sr">Open </span><Words text={target.title ?? target.name} />
        </a>
        <span class="target-sub muted">
          {target.title !== undefined && <><Words text={target.name} mono /> · </>}{kindWords(target.kind)}
          {view !== undefined && view !== "log" && view !== "terminal" && <> · {view.toUpperCase()}</>}
          {hasParams && <> · asks for <Words text={(target.params ?? []).join(", ")} /></>}
        </span>
      </div>
      {modes.length === 1 && modes[0] === "ro" && <span class="badge">Read-only</span>}
      <div class="target-buttons">
        {both && <button type="button" class="button small quiet wide-only" onClick={() => choose({ mode: "ro" })}>Open read-only</button>}
        {view === "spice" && (
          <button type="button" class="button small quiet wide-only" disabled={busy.value} title="Downloads a .vv file for remote-viewer"
            onClick={() => choose({ viewer: true })}>Desktop viewer</button>
        )}
        {view === undefined
          ? <Menu label={`Open ${title} as`} class="button small" items={items.filter(({ label }) => label !== "Open read-only")}>Open as…<Icon name="down" size={14} /></Menu>
          : <span class="button small wide-only" aria-hidden="true">Open</span>}
        {view !== undefined && <Menu label={`More ways to open ${title}`} items={items} />}
      </div>
      {asking.value && (
        <ParamsDialog target={target} button={asking.value.viewer ? "Download" : "Open"} onClose={() => { asking.value = undefined; }}
          onDone={(params) => void start(asking.value ?? {}, params)} />
      )}
    </li>
  );
}
