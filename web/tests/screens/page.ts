// A page around one screen, as small as can be: page.html?view=vnc&url=ws://…&readonly=1&scale=fit
import { StreamSocket } from "stream-socket";
import type { View, ViewEvent, ViewFactory } from "../../src/views/view.js";

const query = new URLSearchParams(location.search);
const settings = new Map<string, string>([["scale", query.get("scale") ?? "fit"]]);
const events: ViewEvent[] = [];
const violations: string[] = [];
const place = document.querySelector("#place")!;
const title = document.querySelector("h1")!;

document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sourceFile, lineNumber }) => {
  violations.push(`${violatedDirective} ${blockedURI} ${sourceFile}:${lineNumber}`);
});

const modules: Record<string, () => Promise<{ create: ViewFactory }>> = {
  vnc: () => import("../../src/views/vnc.js"),
  spice: () => import("../../src/views/spice/index.js"),
};

const { create } = await modules[query.get("view") ?? ""]!();
const view: View = create({
  // A plain bridge chooses no subprotocol, and a browser takes that only if none was offered.
  open: () => new StreamSocket(query.get("url")!, { protocols: [] }),
  readOnly: query.has("readonly"),
  settings: { get: (key) => settings.get(key), set: (key, value) => void settings.set(key, value) },
  report(event) {
    events.push(event);
    if (event.type === "title") title.textContent = event.text;
  },
});
place.append(view.element);
view.start();

/** What the test may look at and do. */
Object.assign(window, { screenTest: { view, events, settings, violations } });
