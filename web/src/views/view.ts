import type { StreamSocket } from "stream-socket";
export type ViewKind = "terminal" | "log" | "vnc" | "spice";
export interface ViewContext {
  /** A new websocket of this session. Terminals, logs and VNC call it once, SPICE once per channel. */
  open(): StreamSocket;
  readonly readOnly: boolean;
  /** Choices that are kept per target, and for all targets of the kind as default. */
  readonly settings: { get(key: string): string | undefined; set(key: string, value: string): void };
  report(event: ViewEvent): void;
}
/** The close code of a socket, or why the view gave up. */
export type EndCode = number | "wrong_view" | "wrong_password" | "view_failed";
export type ViewEvent =
  | { type: "connected" }
  | { type: "title"; text: string }
  | { type: "exit"; code: number }
  | { type: "notice"; text: string }                    // shown for a few seconds, as text
  | { type: "status"; text: string }                    // shown in the toolbar until it is empty
  | { type: "clipboard"; text: string }                 // the other side's clipboard; the frame decides what to do with it
  | { type: "password"; user: boolean; answer(password: string, user?: string): void }
  | { type: "ended"; code: EndCode; reason: string }    // the main socket closed, or the view gave up
  | { type: "actions" };                                // actions() changed
export interface Action {
  id: string; label: string; icon: string; hint?: string;
  pressed?: boolean;              // a toggle, if defined
  run?(): void;
  items?: Action[];               // a menu, if defined
}
export interface View {
  readonly element: HTMLElement;  // fills its parent
  start(): void;                  // after element is in the document
  focus(): void;
  actions(): Action[];            // for the toolbar
  /** Key with modifiers, from the phone bar: KeyboardEvent.key names ("Escape", "ArrowUp", "F5", "c"). */
  key?(key: string, modifiers: { ctrl?: boolean; alt?: boolean; shift?: boolean; meta?: boolean }): void;
  /** Types text as keys (Type dialog), paced. */
  type?(text: string): Promise<void>;
  /** Pastes text the best way the protocol has. */
  paste?(text: string): void;
  download?(): { name: string; data: Blob };
  readonly sockets: readonly StreamSocket[];   // for byte counts, stall and round trip
  dispose(): void;
}
export type ViewFactory = (context: ViewContext) => View;   // default export of each view module: export const create: ViewFactory
