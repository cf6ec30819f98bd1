import type { ViewFactory, ViewKind } from "../views/view";

/** The views, each loaded when it is needed. */
const MODULES: Readonly<Record<ViewKind, () => Promise<{ create: ViewFactory }>>> = {
  terminal: () => import("../views/terminal"),
  log: () => import("../views/log"),
  vnc: () => import("../views/vnc"),
  spice: () => import("../views/spice"),
};

export async function loadView(kind: ViewKind): Promise<ViewFactory> {
  return (await MODULES[kind]()).create;
}
