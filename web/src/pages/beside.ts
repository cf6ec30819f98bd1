import type { Item } from "../parts/menu";
import { visible } from "../parts/text";
import { go } from "../router";
import { openPath, type Wanted } from "../session/address";
import { hosts, targetsOf } from "./host-list";

/** How many targets a menu offers. */
const MOST = 12;

/** Targets that the hosts page has loaded, to be opened beside `wanted`. */
export function besideItems(wanted: Wanted): Item[] {
  const items: Item[] = [];
  for (const { host, online } of hosts.value ?? []) {
    const known = targetsOf.value.get(host);
    if (!online || known?.state !== "loaded") continue;
    for (const target of known.targets) {
      if (items.length >= MOST) break;
      // Those that have to be asked for values first are opened from the list of hosts.
      if ((target.params?.length ?? 0) > 0) continue;
      items.push({
        label: visible(target.title ?? target.name), hint: visible(host),
        run: () => go(openPath(wanted, { host, target: target.name, params: {} }), { asked: true }),
      });
    }
  }
  return items.length === 0 ? [] : [{ label: "Open beside it", heading: true }, ...items];
}

export function showOnly(wanted: Wanted): void {
  go(openPath(wanted), { asked: true });
}
