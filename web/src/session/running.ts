import { batch, signal } from "@preact/signals";
import { StreamSocket } from "stream-socket";
import { permissionsOf, settingsOf, type Place, type Settings } from "../settings";
import type { Action, EndCode, View, ViewEvent, ViewKind } from "../views/view";
import { mayTakeFocus } from "./focus";
import { loadView } from "./views";

/** What is needed to show a session. The URL is good for one session only, and is never used again. */
export interface Connection {
  url: string;
  view: ViewKind;
  readOnly: boolean;
  place: Place;
  /** When the session ends at the latest, in milliseconds since 1970, if that is known. */
  endsAt?: number;
}

/** How it ended: by a close code, because the view gave up, or because the person closed it. */
export interface Ended { code: EndCode | "closed"; reason: string }

/** Figures of the connection, of all its sockets together. */
export interface Figures { bytesIn: number; bytesOut: number; roundTrip?: number; stalled?: number }

export interface PasswordQuestion { user: boolean; answer(password: string, user?: string): void }

const NOTICE_SHOWN_FOR = 6000;
/** How long a view has to report the end of its socket, in milliseconds. */
const VIEW_SAYS_END_WITHIN = 2000;

/** One session with its view: what the frame around it shows. */
export class Running {
  readonly connection: Connection;
  readonly settings: Settings;
  /** Only for this target: whether the other side's clipboard may be copied here. */
  readonly permissions: Settings;
  readonly connected = signal(false);
  readonly title = signal<string | undefined>(undefined);
  readonly actions = signal<Action[]>([]);
  readonly notice = signal<string | undefined>(undefined);
  /** What the view says of its state for as long as it lasts; "" is nothing. */
  readonly status = signal("");
  readonly exit = signal<number | undefined>(undefined);
  readonly ended = signal<Ended | undefined>(undefined);
  readonly password = signal<PasswordQuestion | undefined>(undefined);
  /** The other side's clipboard. */
  readonly clipboard = signal<string | undefined>(undefined);
  readonly figures = signal<Figures>({ bytesIn: 0, bytesOut: 0 });
  /** Set when the view is there. */
  readonly view = signal<View | undefined>(undefined);
  /** Called when the other side's clipboard has changed. */
  onClipboard: ((text: string) => void) | undefined;
  #sessionKey: string | undefined;
  #opened = false;
  #disposed = false;
  #timer: ReturnType<typeof setInterval> | undefined;
  #noticeTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(connection: Connection) {
    // A log has nothing to send, whatever was granted.
    this.connection = connection.view === "log" ? { ...connection, readOnly: true } : connection;
    this.settings = settingsOf(connection.place, connection.view);
    this.permissions = permissionsOf(connection.place);
  }

  /** Loads the view and starts it in `parent`, in place of what was there. */
  async start(parent: HTMLElement): Promise<void> {
    try {
      const create = await loadView(this.connection.view);
      if (this.#disposed) return;
      const view = create({
        open: () => this.#open(),
        readOnly: this.connection.readOnly,
        settings: this.settings,
        report: (event) => this.#reported(event),
      });
      parent.replaceChildren(view.element);
      view.start();
      if (mayTakeFocus(parent)) view.focus();
      batch(() => { this.view.value = view; this.actions.value = view.actions(); });
      this.#timer = setInterval(() => this.#measure(), 1000);
    } catch (error) {
      this.#finish({ code: "view_failed", reason: error instanceof Error ? error.message : String(error) });
    }
  }

  /** Ends it because the person wants that. */
  close(): void {
    this.password.value = undefined;
    for (const socket of this.view.value?.sockets ?? []) socket.close(1000);
    this.#finish({ code: "closed", reason: "" });
  }

  dispose(): void {
    this.#disposed = true;
    clearInterval(this.#timer);
    clearTimeout(this.#noticeTimer);
    this.view.value?.dispose();
  }

  #open(): StreamSocket {
    const first = !this.#opened;
    this.#opened = true;
    const socket = new StreamSocket(this.connection.url, this.#sessionKey === undefined ? {} : { sessionKey: this.#sessionKey });
    if (first) {
      socket.addEventListener("control", ({ detail }) => { if (detail.type === "session") this.#sessionKey = detail.key; });
      socket.addEventListener("close", ({ code, reason }) => {
        setTimeout(() => {
          // A screen that asks for a password again has a new socket, and reports its end itself.
          const goesOn = this.view.value?.sockets.some(({ readyState }) => readyState < WebSocket.CLOSING);
          if (goesOn !== true) this.#finish({ code, reason });
        }, VIEW_SAYS_END_WITHIN);
      });
    }
    return socket;
  }

  #reported(event: ViewEvent): void {
    switch (event.type) {
      case "connected": this.connected.value = true; break;
      case "title": this.title.value = event.text; break;
      case "exit": this.exit.value = event.code; break;
      case "notice": this.say(event.text); break;
      case "status": this.status.value = event.text; break;
      case "clipboard":
        this.clipboard.value = event.text;
        this.onClipboard?.(event.text);
        break;
      case "password": this.password.value = event; break;
      case "ended": this.#finish(event); break;
      case "actions": this.actions.value = this.view.value?.actions() ?? []; break;
    }
  }

  /** Shows a sentence for a few seconds. */
  say(text: string): void {
    this.notice.value = text;
    clearTimeout(this.#noticeTimer);
    this.#noticeTimer = setTimeout(() => { this.notice.value = undefined; }, NOTICE_SHOWN_FOR);
  }

  #finish({ code, reason }: Ended): void {
    if (this.ended.value !== undefined || this.#disposed) return;
    this.#measure();
    clearInterval(this.#timer);
    batch(() => { this.ended.value = { code, reason }; this.password.value = undefined; });
  }

  #measure(): void {
    const sum: Figures = { bytesIn: 0, bytesOut: 0 };
    for (const { stats } of this.view.value?.sockets ?? []) {
      sum.bytesIn += stats.bytesIn;
      sum.bytesOut += stats.bytesOut;
      if (stats.roundTrip !== undefined) sum.roundTrip = Math.min(sum.roundTrip ?? Infinity, stats.roundTrip);
      if (stats.stalled !== undefined) sum.stalled = Math.max(sum.stalled ?? 0, stats.stalled);
    }
    this.figures.value = sum;
  }
}
