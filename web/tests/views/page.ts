// A page with one view, as the frame around it would make it, for the tests of this directory.
import { StreamSocket } from "stream-socket";
import type { View, ViewEvent, ViewFactory } from "../../src/views/view";
import css from "./page.css?text";
import { adopt } from "../../src/views/sheet";

declare global {
  interface Window {
    view: View;
    events: ViewEvent[];
    violations: string[];
    longTasks: number[];
  }
}

window.events = [];
window.violations = [];
window.longTasks = [];
document.addEventListener("securitypolicyviolation", ({ violatedDirective, sample }) => {
  window.violations.push(`${violatedDirective} ${sample}`);
});
try {
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) window.longTasks.push(duration);
  }).observe({ type: "longtask", buffered: true });
} catch { /* Firefox has no long tasks. */ }

const kinds: Record<string, () => Promise<{ create: ViewFactory }>> = {
  terminal: () => import("../../src/views/terminal"),
  log: () => import("../../src/views/log"),
};

adopt(css);
const search = new URLSearchParams(location.search);
const settings = new Map([...search].filter(([key]) => key.startsWith("set-")).map(([key, value]) => [key.slice(4), value]));
const { create } = await kinds[search.get("view") ?? ""]!();
window.view = create({
  open: () => new StreamSocket(search.get("url") ?? `ws://${location.host}/stream`),
  readOnly: search.has("read-only"),
  settings: { get: (key) => settings.get(key), set: (key, value) => void settings.set(key, value) },
  report: (event) => void window.events.push(event),
});
document.querySelector("main")!.append(window.view.element);
window.view.start();
window.view.focus();
