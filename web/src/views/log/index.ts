import type { StreamSocket } from "stream-socket";
import { adopt } from "../sheet";
import type { Action, View, ViewContext, ViewFactory } from "../view";
import { FilterRow, type Filter } from "./filter-row";
import { highlight } from "./highlight";
import { List } from "./list";
import css from "./log.css?text";
import { fillRow } from "./row";
import { Search } from "./search";
import { SearchRow } from "./search-row";
import { StatusBar } from "./status";
import { LineStore } from "./store";
import { SINCE, type Since } from "./since";
import { isDark } from "../dark";

class LogView implements View {
  readonly element = document.createElement("div");
  readonly #context: ViewContext;
  readonly #store = new LineStore();
  readonly #list: List;
  readonly #search: Search;
  readonly #searchRow: SearchRow;
  readonly #filterRow: FilterRow;
  readonly #status: StatusBar;
  readonly #over = new AbortController();
  #socket: StreamSocket | undefined;
  #paused = false;
  #ended = false;
  #since: Since | undefined;
  /** What was asked for before the newest requests, in case that the host refuses them. */
  #earlier: { filter: Filter; since: Since | undefined } = { filter: { pattern: "", invert: false }, since: undefined };
  #reported = true;
  #ticking: ReturnType<typeof setInterval> | undefined;

  constructor(context: ViewContext) {
    this.#context = context;
    adopt(css);
    this.element.className = "log-view";
    this.#search = new Search(this.#store, () => {
      this.#searchRow.counted();
      this.#list.changed();
    });
    this.#list = new List(this.#store, {
      fill: (row, line) => fillRow(row, this.#store, line),
      shown: (rows) => highlight(rows, this.#search.pattern, this.#searchRow.current),
      followed: () => this.#tick(),
    });
    this.#list.layer.setAttribute("role", "log");
    this.#list.layer.setAttribute("aria-label", "Lines of the log");
    this.#searchRow = new SearchRow(this.#search, () => this.#list.top, (line) => {
      this.#list.show(line);
      this.#tick();
    }, () => this.#rowClosed());
    this.#filterRow = new FilterRow((filter, earlier) => this.#filter(filter, earlier), () => this.#rowClosed());
    this.#status = new StatusBar(() => this.#follow(true));
    this.element.append(this.#searchRow.row.element, this.#filterRow.row.element, this.#list.element, this.#status.element);
  }

  get sockets(): readonly StreamSocket[] {
    return this.#socket === undefined ? [] : [this.#socket];
  }

  start(): void {
    const { signal } = this.#over;
    this.#list.wrap = this.#context.settings.get("wrap") !== "false";
    this.#list.start();
    const recolour = () => this.element.classList.toggle("log-dark", isDark(this.element));
    recolour();
    document.addEventListener("themechange", recolour, { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour, { signal });
    this.element.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.#ticking = setInterval(() => this.#tick(), 500);
    this.#tick();
    this.#connect();
  }

  focus(): void {
    this.#list.element.focus({ preventScroll: true });
  }

  actions(): Action[] {
    const { filter } = this.#filterRow;
    return [
      { id: "follow", label: "Follow", icon: "follow", hint: "End", pressed: this.#list.follow, run: () => this.#follow(!this.#list.follow) },
      { id: "pause", label: this.#paused ? "Resume" : "Pause", icon: this.#paused ? "play" : "pause", pressed: this.#paused, run: () => this.#pause() },
      { id: "search", label: "Search", icon: "search", hint: "Ctrl+F", pressed: this.#searchRow.row.shown, run: () => this.#toggle(this.#searchRow) },
      { id: "filter", label: "Filter on the host", icon: "filter", pressed: this.#filterRow.row.shown || filter.pattern !== "", run: () => this.#toggle(this.#filterRow) },
      { id: "since", label: "Show earlier lines", icon: "clock", items: SINCE.map((since) => ({
        id: since.id, label: since.label, icon: "clock", pressed: this.#since?.id === since.id, run: () => this.#restart(since),
      })) },
      { id: "wrap", label: "Wrap lines", icon: "wrap", pressed: this.#list.wrap, run: () => this.#wrap() },
      { id: "clear", label: "Clear", icon: "clear", run: () => this.#clear() },
    ];
  }

  key(key: string): void {
    if (!this.#list.key(key)) this.element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  }

  download(): { name: string; data: Blob } {
    const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
    return { name: `log-${time}.log`, data: new Blob(this.#store.parts(), { type: "text/plain" }) };
  }

  dispose(): void {
    this.#over.abort();
    clearInterval(this.#ticking);
    this.#search.stop();
    highlight(new Map(), undefined, undefined);
    this.#list.dispose();
    this.#socket?.close();
    this.element.remove();
  }

  #connect(): void {
    const socket = this.#socket = this.#context.open();
    const { report } = this.#context;
    const { signal } = this.#over;
    socket.addEventListener("open", () => report({ type: "connected" }), { signal });
    socket.addEventListener("message", ({ data }) => {
      this.#store.append(new Uint8Array(data));
      this.#came();
    }, { signal });
    socket.addEventListener("control", ({ detail }) => {
      if (detail.type === "exit") report({ type: "exit", code: detail.code });
      if (detail.type === "refused") this.#refused(detail.what, detail.message);
    }, { signal });
    socket.addEventListener("close", ({ code, reason }) => {
      this.#store.flush();
      this.#ended = true;
      this.#came();
      this.#tick();
      report({ type: "ended", code, reason });
    }, { signal });
  }

  #came(): void {
    this.#list.changed();
    if (this.#search.pattern !== undefined) this.#search.more();
  }

  #mark(text: string): void {
    this.#store.mark(text);
    this.#came();
  }

  #refused(what: string, message: string): void {
    if (what === "filter") this.#filterRow.refused(message, this.#earlier.filter);
    if (what === "since") this.#since = this.#earlier.since;
    this.#mark(`The host refused this: ${message}`);
    this.#context.report({ type: "notice", text: message });
    this.#changed();
  }

  #filter(filter: Filter, earlier: Filter): void {
    this.#earlier.filter = earlier;
    if (!this.#ask(() => this.#socket!.control({ type: "filter", ...filter }))) return;
    // Asked for again, so that the earlier lines are filtered as well.
    if (this.#since !== undefined) this.#restart(this.#since);
    else this.#mark(filter.pattern === "" ? "From here on: no filter" :
      `From here on: only lines that ${filter.invert ? "do not match" : "match"} ${filter.pattern}`);
    this.#changed();
  }

  #restart(since: Since): void {
    const time = Math.floor(Date.now() / 1000) - since.seconds;
    if (!this.#ask(() => this.#socket!.control({ type: "since", time }))) return;
    this.#earlier.since = this.#since;
    this.#since = since;
    // What is there stays: the host may refuse, because not every log can start again.
    this.#mark(`From here on: again, since ${new Date(time * 1000).toLocaleString()}`);
    this.#follow(true);
  }

  #pause(): void {
    if (!this.#ask(() => this.#socket!.control({ type: this.#paused ? "resume" : "pause" }))) return;
    this.#paused = !this.#paused;
    this.#changed();
  }

  #ask(send: () => boolean): boolean {
    const sent = this.#socket !== undefined && !this.#ended && send();
    if (!sent) this.#context.report({ type: "notice", text: this.#ended ? "The log has ended. Open it again first." : "This server takes no requests." });
    return sent;
  }

  #follow(follow: boolean): void {
    this.#list.follow = follow;
    this.#changed();
  }

  #wrap(): void {
    this.#list.wrap = !this.#list.wrap;
    this.#context.settings.set("wrap", String(this.#list.wrap));
    this.#changed();
  }

  #clear(): void {
    this.#store.clear();
    this.#search.start(this.#search.pattern);
    this.#list.refill();
    this.#changed();
  }

  #toggle(of: { row: { shown: boolean; hide(): void; onclose?: (() => void) | undefined }; open(): void }): void {
    if (of.row.shown) {
      of.row.hide();
      of.row.onclose?.();
    } else of.open();
    this.#changed();
  }

  #rowClosed(): void {
    this.focus();
    this.#changed();
  }

  #key(event: KeyboardEvent): void {
    const search = event.key.toLowerCase() === "f" && (event.ctrlKey || event.metaKey) && !event.altKey;
    const typing = event.target instanceof HTMLInputElement;
    // The browser's own search sees only the rows in sight.
    if (search || event.key === "/" && !typing) {
      event.preventDefault();
      this.#searchRow.open();
      this.#changed();
    } else if (event.key === "End" && !typing) {
      event.preventDefault();
      this.#follow(true);
    } else if (event.key === "Home" && !typing) {
      event.preventDefault();
      this.#list.show(this.#store.first);
      this.#changed();
    }
  }

  #changed(): void {
    this.#tick();
    this.#context.report({ type: "actions" });
  }

  #tick(): void {
    const { first, next, bytes } = this.#store;
    const { filter } = this.#filterRow;
    const states = [
      this.#paused ? "Paused on the host" : "",
      filter.pattern === "" ? "" : `Filter: ${filter.invert ? "not " : ""}${filter.pattern}`,
      this.#since?.label ?? "",
      this.#ended ? "Ended" : "",
    ].filter(Boolean);
    const spoken = this.#status.update({ follow: this.#list.follow, states, seen: this.#list.seen, first, next, bytes });
    this.#list.layer.setAttribute("aria-live", spoken ? "polite" : "off");
    if (this.#reported !== this.#list.follow) {
      this.#reported = this.#list.follow;
      this.#context.report({ type: "actions" });
    }
  }
}

export const create: ViewFactory = (context) => new LogView(context);
