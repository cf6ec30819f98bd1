import RFB, { type Credentials } from "@novnc/novnc";
import type { StreamSocket } from "stream-socket";
import { ScreenFrame } from "./screen/frame.js";
import { Keyboard } from "./screen/keyboard.js";
import { plainName } from "./screen/text.js";
import { TouchKeyboard } from "./screen/touch.js";
import type { Action, EndCode, View, ViewContext, ViewFactory } from "./view.js";

type Modifiers = Parameters<NonNullable<View["key"]>>[1];

/** A screen by VNC: noVNC, with the session's socket beneath it. */
class VncView implements View {
  readonly #context: ViewContext;
  readonly #frame: ScreenFrame;
  readonly #keyboard: Keyboard;
  readonly #touch: TouchKeyboard;
  readonly #picture = document.createElement("div");
  #rfb: RFB | undefined;
  #canvas: HTMLCanvasElement | null = null;
  #socket: StreamSocket | undefined;
  #failure = "";
  #ended = false;
  #disposed = false;

  constructor(context: ViewContext) {
    this.#context = context;
    this.#frame = new ScreenFrame(context, () => this.#rescale());
    this.#picture.className = "screen-picture";
    this.#frame.element.append(this.#picture);
    this.#keyboard = new Keyboard(context, (code, keysym, down) => this.#rfb?.sendKey(keysym, code, down), () => !this.#takesPlaces);
    this.#touch = new TouchKeyboard(this.#frame.element, (text) => void this.type(text));
  }

  get element(): HTMLElement { return this.#frame.element; }
  get sockets(): readonly StreamSocket[] { return this.#socket === undefined ? [] : [this.#socket]; }

  /** The server takes places of keys (QEMU), and not only characters. noVNC does not say it in another way. */
  get #takesPlaces(): boolean {
    return (this.#rfb as { _qemuExtKeyEventSupported?: boolean } | undefined)?._qemuExtKeyEventSupported === true;
  }

  start(): void {
    const socket = this.#socket = this.#context.open();
    const rfb = this.#rfb = new RFB(this.#picture, socket, { shared: true });
    rfb.background = "transparent";
    rfb.viewOnly = this.#context.readOnly;
    this.#rescale();
    rfb.addEventListener("connect", () => {
      const canvas = this.#canvas = this.#picture.querySelector("canvas");
      if (canvas !== null) {
        canvas.role = "application";
        canvas.ariaLabel = "The guest's screen";
        canvas.tabIndex = 0;
      }
      this.#context.report({ type: "connected" });
      this.focus();
    });
    rfb.addEventListener("desktopname", ({ detail }) => this.#context.report({ type: "title", text: plainName(detail.name) }));
    rfb.addEventListener("clipboard", ({ detail }) => this.#context.report({ type: "clipboard", text: detail.text }));
    rfb.addEventListener("credentialsrequired", ({ detail }) => this.#ask(detail.types.includes("username")));
    // The agent dials the server from its own host, and no key of the server's is known here: there is nothing to compare.
    rfb.addEventListener("serververification", () => rfb.approveServer());
    rfb.addEventListener("securityfailure", ({ detail }) => {
      this.#failure = plainName(detail.reason ?? "") || "The screen refused the password.";
    });
    rfb.addEventListener("disconnect", () => {
      this.#keepPicture();
      // noVNC gave up, and does not say why.
      if (socket.readyState !== WebSocket.CLOSED) this.#end(this.#failure !== "" ? "wrong_password" : this.#canvas === null ? "wrong_view" : "view_failed", this.#failure);
    });
    socket.addEventListener("close", ({ code, reason }) => this.#end(code, reason));
  }

  focus(): void {
    this.#rfb?.focus({ preventScroll: true });
  }

  actions(): Action[] {
    const keys = this.#context.readOnly ? [] : [...this.#touch.actions(), ...this.#keyboard.actions()];
    return [...this.#frame.actions(), ...keys];
  }

  key(key: string, modifiers: Modifiers): void {
    this.#keyboard.key(key, modifiers);
  }

  type(text: string): Promise<void> {
    return this.#context.readOnly ? Promise.resolve() : this.#keyboard.type(text);
  }

  paste(text: string): void {
    this.#rfb?.clipboardPasteFrom(text);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#keyboard.stop();
    this.#rfb?.disconnect();
    this.#frame.dispose();
  }

  #rescale(): void {
    if (this.#rfb === undefined) return;
    const { scale } = this.#frame;
    // A guest that does not follow, or not exactly, is scaled.
    this.#rfb.scaleViewport = scale !== "actual";
    this.#rfb.resizeSession = scale === "guest" && !this.#context.readOnly;
  }

  #end(code: EndCode, reason: string): void {
    if (this.#disposed || this.#ended) return;
    this.#ended = true;
    this.#keyboard.stop();
    this.#context.report({ type: "ended", code, reason });
  }

  #ask(user: boolean): void {
    this.#context.report({
      type: "password", user,
      answer: (password, name) => {
        const credentials: Credentials = { password, target: "" };
        if (name !== undefined) credentials.username = name;
        this.#rfb?.sendCredentials(credentials);
      },
    });
  }

  // noVNC takes its picture away when the session ends, but it is what a person wants to read then.
  #keepPicture(): void {
    if (this.#disposed || this.#canvas === null) return;
    this.#picture.classList.add("screen-ended");
    this.#picture.append(this.#canvas);
  }
}

export const create: ViewFactory = (context) => new VncView(context);
