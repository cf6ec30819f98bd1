import type { Mode, Target } from "../api";
import type { ViewKind } from "../views/view";
import { asView } from "./address";

const LOG_KINDS = new Set(["file", "files", "journal", "fifo"]);

/** How a target is shown: as its host says, else by what is known of it; `undefined` if nobody knows. */
export function viewOf(target: Target): ViewKind | undefined {
  const said = asView(target.view);
  if (said !== undefined) return said;
  if (target.terminal === true || target.kind === "serial") return "terminal";
  if (LOG_KINDS.has(target.kind)) return "log";
  const words = `${target.name} ${target.title ?? ""}`.toLowerCase();
  if (words.includes("spice")) return "spice";
  if (words.includes("vnc")) return "vnc";
  if (target.kind === "exec") return "terminal";
  return undefined;
}

export const VIEW_NAMES: Readonly<Record<ViewKind, string>> = {
  terminal: "Terminal", log: "Log", vnc: "Screen (VNC)", spice: "Screen (SPICE)",
};

/** Modes that both the target and the key allow, the target's default first. */
export function modesOf(target: Target, key: readonly Mode[] | undefined): Mode[] {
  return target.modes.filter((mode) => key === undefined || key.includes(mode));
}
