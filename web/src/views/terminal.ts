import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal } from "@xterm/xterm";
import xtermCss from "@xterm/xterm/css/xterm.css?text";
import { StreamSocket } from "stream-socket";
import { adopt } from "./sheet";
import { copySelection } from "./terminal/copy";
import { cleanPaste, sequence, type Modifiers } from "./terminal/keys";
import { LinkRow } from "./terminal/link";
import { SearchRow } from "./terminal/search";
import { Size } from "./terminal/size";
import css from "./terminal/terminal.css?text";
import { textOf } from "./terminal/text";
import { fontOf, themeOf } from "./terminal/theme";
import type { Action, View, ViewContext, ViewFactory } from "./view";

const SCROLLBACK = 50_000;
const FONT_SIZE = 14;
const SMALLEST = 8;
const LARGEST = 32;
/** Characters that are typed at once, and the pause after them: no serial line loses one. */
const TYPED_AT_ONCE = 8;
const TYPING_PAUSE = 10;
const LONGEST_TITLE = 200;

class TerminalView implements View {
  readonly element = document.createElement("div");
  readonly #context: ViewContext;
  readonly #terminal: Terminal;
  readonly #size: Size;
  readonly #screen = document.createElement("div");
  readonly #search: SearchRow;
  readonly #link: LinkRow;
  readonly #over = new AbortController();
  #socket: StreamSocket | undefined;
  #early = "";
  #toldReadOnly = 0;

  constructor(context: ViewContext) {
    this.#context = context;
    adopt(xtermCss);
    adopt(css);
    this.element.className = "terminal-view";
    this.#screen.className = "terminal-screen";
    this.#terminal = new Terminal({
      allowProposedApi: true,
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      disableStdin: context.readOnly,
      fontSize: this.#kept("font-size", FONT_SIZE, SMALLEST, LARGEST),
      // At 1 the lower edge of a line is cut off in some fonts, and the underscore with it.
      lineHeight: 1.15,
      linkHandler: { activate: (_, address) => this.#link.ask(address), allowNonHttpProtocols: false },
      macOptionIsMeta: true,
      minimumContrastRatio: 4.5,
      screenReaderMode: context.settings.get("screen-reader") === "true",
      scrollback: this.#kept("scrollback", SCROLLBACK, 0, 1_000_000),
    });
    this.#size = new Size(this.#terminal, this.#screen, () => this.#sendSize());
    this.#terminal.loadAddon(new Unicode11Addon());
    this.#terminal.unicode.activeVersion = "11";
    this.#terminal.loadAddon(new WebLinksAddon((_, address) => this.#link.ask(address)));
    this.#search = new SearchRow(this.#terminal, () => this.#rowClosed());
    this.#link = new LinkRow(() => this.#rowClosed());
    this.element.append(this.#search.row.element, this.#link.row.element, this.#screen);
  }

  get sockets(): readonly StreamSocket[] {
    return this.#socket === undefined ? [] : [this.#socket];
  }

  start(): void {
    const terminal = this.#terminal;
    const { signal } = this.#over;
    terminal.options.fontFamily = fontOf(this.element);
    terminal.options.theme = themeOf(this.element);
    terminal.open(this.#screen);
    this.#size.start();
    terminal.attachCustomKeyEventHandler((event) => this.#keyIsForProgram(event));
    terminal.onData((text) => this.#send(text));
    terminal.onBinary((bytes) => this.#send(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))));
    terminal.onTitleChange((title) => this.#context.report({ type: "title", text: title.slice(0, LONGEST_TITLE) }));
    terminal.onSelectionChange(() => this.#context.report({ type: "actions" }));
    const recolour = () => { terminal.options.theme = themeOf(this.element); };
    document.addEventListener("themechange", recolour, { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour, { signal });
    // In the capture phase, so that xterm does not paste by itself; a frame that wants to ask first listens further out.
    this.element.addEventListener("paste", (event) => {
      if (!this.#screen.contains(event.target as Node)) return;
      event.preventDefault();
      event.stopPropagation();
      this.paste(event.clipboardData?.getData("text/plain") ?? "");
    }, { signal, capture: true });
    this.#connect();
  }

  focus(): void {
    this.#terminal.focus();
  }

  actions(): Action[] {
    const size = this.#terminal.options.fontSize ?? FONT_SIZE;
    return [
      { id: "search", label: "Search", icon: "search", hint: "Ctrl+Shift+F", pressed: this.#search.row.shown, run: () => this.#toggleSearch() },
      { id: "copy", label: "Copy selection", icon: "copy", hint: "Ctrl+Shift+C", run: () => void this.#copy() },
      { id: "font", label: "Text size", icon: "font", items: [
        { id: "larger", label: "Larger", icon: "zoom-in", run: () => this.#resizeFont(size + 1) },
        { id: "smaller", label: "Smaller", icon: "zoom-out", run: () => this.#resizeFont(size - 1) },
        { id: "reset", label: `Reset (${size} now)`, icon: "refresh", run: () => this.#resizeFont(FONT_SIZE) },
      ] },
      { id: "screen-reader", label: "Screen reader", icon: "eye", pressed: this.#terminal.options.screenReaderMode ?? false, run: () => this.#toggleReader() },
    ];
  }

  key(key: string, modifiers: Modifiers): void {
    const { applicationCursorKeysMode } = this.#terminal.modes;
    const text = sequence(key, modifiers, applicationCursorKeysMode);
    if (text === undefined) return;
    if (this.#context.readOnly) return this.#sayReadOnly();
    this.#terminal.input(text);
  }

  async type(text: string): Promise<void> {
    if (this.#context.readOnly) return this.#sayReadOnly();
    const characters = [...cleanPaste(text).replaceAll("\n", "\r")];
    for (let at = 0; at < characters.length; at += TYPED_AT_ONCE) {
      if (this.#over.signal.aborted || this.#socket?.readyState !== StreamSocket.OPEN) return;
      this.#terminal.input(characters.slice(at, at + TYPED_AT_ONCE).join(""));
      await new Promise((later) => setTimeout(later, TYPING_PAUSE));
    }
  }

  paste(text: string): void {
    if (this.#context.readOnly) return this.#sayReadOnly();
    this.#terminal.paste(cleanPaste(text));
  }

  download(): { name: string; data: Blob } {
    const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
    return { name: `terminal-${time}.txt`, data: new Blob([textOf(this.#terminal.buffer.normal)], { type: "text/plain" }) };
  }

  dispose(): void {
    this.#over.abort();
    this.#size.dispose();
    this.#socket?.close();
    this.#terminal.dispose();
    this.element.remove();
  }

  #connect(): void {
    const socket = this.#socket = this.#context.open();
    socket.acks = "manual";
    const { report } = this.#context;
    const { signal } = this.#over;
    // Kept until the socket is open, and so the first message: the program starts with the right size.
    this.#sendSize();
    socket.addEventListener("open", () => {
      report({ type: "connected" });
      if (this.#early !== "") socket.send(this.#early);
      this.#early = "";
    }, { signal });
    socket.addEventListener("message", ({ data }) => {
      const { byteLength } = data;
      this.#terminal.write(new Uint8Array(data), () => socket.processed(byteLength));
    }, { signal });
    socket.addEventListener("control", ({ detail }) => {
      if (detail.type === "exit") report({ type: "exit", code: detail.code });
      if (detail.type === "refused") report({ type: "notice", text: detail.message });
    }, { signal });
    socket.addEventListener("close", ({ code, reason }) => {
      // After the last output is on the screen.
      this.#terminal.write("", () => {
        if (signal.aborted) return;
        this.#terminal.options.disableStdin = true;
        this.#terminal.options.cursorBlink = false;
        report({ type: "ended", code, reason });
      });
    }, { signal });
  }

  #send(data: string | Uint8Array): void {
    const socket = this.#socket;
    if (socket?.readyState === StreamSocket.OPEN) socket.send(data);
    else if (socket?.readyState === StreamSocket.CONNECTING && typeof data === "string") this.#early += data;
  }

  #keyIsForProgram(event: KeyboardEvent): boolean {
    const combination = event.ctrlKey && event.shiftKey && !event.altKey && !event.metaKey;
    if (combination && event.code === "KeyF") {
      event.preventDefault();
      if (event.type === "keydown") this.#toggleSearch(true);
      return false;
    }
    if (combination && event.code === "KeyC" || event.ctrlKey && event.key === "Insert") {
      event.preventDefault();
      if (event.type === "keydown") void this.#copy();
      return false;
    }
    if (this.#context.readOnly && event.type === "keydown" && !event.ctrlKey && !event.metaKey && event.key.length === 1) {
      this.#sayReadOnly();
    }
    return true;
  }

  #sayReadOnly(): void {
    if (performance.now() - this.#toldReadOnly < 5000 && this.#toldReadOnly > 0) return;
    this.#toldReadOnly = performance.now();
    this.#context.report({ type: "notice", text: "This session is read-only: what you type is not sent." });
  }

  async #copy(): Promise<void> {
    const done = await copySelection(this.#terminal);
    if (done !== undefined) this.#context.report({ type: "notice", text: done });
  }

  #toggleSearch(open = !this.#search.row.shown): void {
    if (open) this.#search.open();
    else {
      this.#search.row.hide();
      this.#search.row.onclose?.();
    }
    this.#context.report({ type: "actions" });
  }

  #rowClosed(): void {
    this.focus();
    this.#context.report({ type: "actions" });
  }

  #toggleReader(): void {
    const wanted = !this.#terminal.options.screenReaderMode;
    this.#terminal.options.screenReaderMode = wanted;
    this.#context.settings.set("screen-reader", String(wanted));
    this.#context.report({ type: "actions" });
  }

  #resizeFont(size: number): void {
    const fontSize = Math.min(LARGEST, Math.max(SMALLEST, size));
    this.#terminal.options.fontSize = fontSize;
    this.#context.settings.set("font-size", String(fontSize));
    this.#size.later();
    this.#context.report({ type: "actions" });
  }

  #sendSize(): void {
    const { cols, rows } = this.#terminal;
    this.#socket?.control({ type: "resize", cols, rows });
  }

  #kept(key: string, fallback: number, least: number, most: number): number {
    const value = Number(this.#context.settings.get(key) ?? fallback);
    return Number.isInteger(value) ? Math.min(most, Math.max(least, value)) : fallback;
  }
}

export const create: ViewFactory = (context) => new TerminalView(context);
