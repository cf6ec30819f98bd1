import { toBytes } from "./bytes.js";
import { parseHostMessage, type ClientMessage, type HostMessage } from "./messages.js";
import { Quality, type Stats } from "./quality.js";
import { webSocketTransport, type Connect, type Transport } from "./transport.js";

const STREAM_V1 = "stream.v1";
/** Acknowledge after this many bytes. A host holds back at 256 KiB, so it never waits for the rest. */
const ACK_AFTER = 32 * 1024;
/** A relay takes frames of at most 1 MiB; borders of messages have no meaning. */
const MOST_PER_MESSAGE = 256 * 1024;

export interface StreamSocketOptions {
  /** Who says that bytes were processed: the socket itself when `onmessage` has returned, or `processed()`. */
  acks?: "auto" | "manual";
  /** The key that the first socket of the session has, for each later one. */
  sessionKey?: string;
  /**
   * Subprotocols to offer. Default: `["stream.v1"]`. For another server, those that it knows, or `[]`:
   * browsers refuse a server that chooses none of what was offered.
   */
  protocols?: string[];
  /** What moves the messages. Default: a websocket. */
  connect?: Connect;
}

export interface StreamSocketEventMap {
  open: Event;
  message: MessageEvent<ArrayBuffer>;
  control: CustomEvent<HostMessage>;
  error: Event;
  close: CloseEvent;
}

type Handler<K extends keyof StreamSocketEventMap> = ((event: StreamSocketEventMap[K]) => void) | null;

/**
 * One stream of a session, with the interface of a WebSocket. Messages are payload: always bytes, never text.
 * Control messages are `control` events, and sent with `control()`.
 *
 * All of noVNC's raw channel is defined on this class itself, since noVNC looks no further: do not derive from it.
 */
export class StreamSocket extends EventTarget {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;

  readonly url: string;
  /** As in the options. A viewer that got its socket from elsewhere sets it before the first message. */
  acks: "auto" | "manual";
  readonly #transport: Transport;
  readonly #quality = new Quality((id) => this.control({ type: "ping", id }));
  readonly #handlers = new Map<string, (event: never) => void>();
  #waiting: string[] = [];
  #sessionKey: string | undefined;
  #bytesIn = 0;
  #bytesOut = 0;
  #takesPart = false;
  #unacknowledged = 0;
  #processed = 0;

  constructor(url: string | URL, options: StreamSocketOptions = {}) {
    super();
    this.url = String(url);
    this.acks = options.acks ?? "auto";
    this.#sessionKey = options.sessionKey;
    const protocols = [...(options.protocols ?? [STREAM_V1])];
    if (options.sessionKey !== undefined) protocols.push(`stream.session.${options.sessionKey}`);
    this.#transport = (options.connect ?? webSocketTransport())(this.url, protocols, {
      opened: () => this.#opened(),
      received: (data) => this.#received(data),
      failed: () => this.#emit(new Event("error")),
      closed: (code, reason, clean) => this.#closed(code, reason, clean),
    });
  }

  get protocol(): string { return this.#transport.protocol; }
  get readyState(): number { return this.#transport.readyState; }
  get bufferedAmount(): number { return this.#transport.bufferedAmount; }
  get extensions(): string { return ""; }
  get binaryType(): BinaryType { return "arraybuffer"; }
  set binaryType(type: BinaryType) {
    if (type !== "arraybuffer") throw new TypeError(`binaryType is always "arraybuffer", not "${type}"`);
  }

  get onopen(): Handler<"open"> { return this.#handler("open"); }
  set onopen(handler: Handler<"open">) { this.#handle("open", handler); }
  get onmessage(): Handler<"message"> { return this.#handler("message"); }
  set onmessage(handler: Handler<"message">) { this.#handle("message", handler); }
  get onerror(): Handler<"error"> { return this.#handler("error"); }
  set onerror(handler: Handler<"error">) { this.#handle("error", handler); }
  get onclose(): Handler<"close"> { return this.#handler("close"); }
  set onclose(handler: Handler<"close">) { this.#handle("close", handler); }

  /** Key for later sockets of the session. Known once the relay has sent it, if the session may have more. */
  get sessionKey(): string | undefined { return this.#sessionKey; }

  /** Whether the server speaks `stream.v1`, and so takes control messages. */
  get speaksControl(): boolean { return this.#transport.protocol === STREAM_V1; }

  get stats(): Stats {
    const { roundTrip } = this.#quality;
    const stalled = this.readyState === StreamSocket.OPEN ? this.#quality.stalled() : undefined;
    return {
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      ...(roundTrip === undefined ? {} : { roundTrip }),
      ...(stalled === undefined ? {} : { stalled }),
    };
  }

  /** Sends payload. Text goes as UTF-8. Throws an `InvalidStateError` before it is open, as a WebSocket does. */
  send(data: string | ArrayBuffer | ArrayBufferView): void {
    if (this.readyState === StreamSocket.CONNECTING) {
      throw new DOMException("the socket is not open yet: wait for open", "InvalidStateError");
    }
    const bytes = toBytes(data);
    this.#bytesOut += bytes.length;
    for (let at = 0; at < bytes.length; at += MOST_PER_MESSAGE) {
      this.#transport.send(bytes.subarray(at, at + MOST_PER_MESSAGE));
    }
  }

  /**
   * Sends a control message, or keeps it until the socket is open. False if it cannot be sent: the socket is
   * closed, or the server does not speak `stream.v1`.
   */
  control(message: ClientMessage): boolean {
    const text = JSON.stringify(message);
    if (this.readyState === StreamSocket.CONNECTING) {
      this.#waiting.push(text);
      return true;
    }
    if (this.readyState !== StreamSocket.OPEN || !this.speaksControl) return false;
    this.#transport.send(text);
    return true;
  }

  /** With `{acks: "manual"}`: this many more bytes were processed, so the host may send as many again. */
  processed(bytes: number): void {
    if (this.acks !== "manual") throw new TypeError('processed() needs the option {acks: "manual"}');
    this.#done(bytes);
  }

  /** Closes the socket. Codes: 1000, or 3000 to 4999. */
  close(code?: number, reason?: string): void {
    if (code === undefined) this.#transport.close();
    else this.#transport.close(code, reason);
  }

  override addEventListener<K extends keyof StreamSocketEventMap>(
    type: K,
    listener: ((event: StreamSocketEventMap[K]) => void) | null,
    options?: AddEventListenerOptions | boolean,
  ): void;
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: AddEventListenerOptions | boolean,
  ): void;
  override addEventListener(type: string, listener: unknown, options?: AddEventListenerOptions | boolean): void {
    super.addEventListener(type, listener as EventListener, options);
  }

  #opened(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    if (this.speaksControl) {
      for (const text of waiting) this.#transport.send(text);
      if (waiting.length > 0) this.#takePart();
      this.#quality.start();
    }
    this.#emit(new Event("open"));
  }

  #received(data: ArrayBuffer | string): void {
    this.#quality.seen();
    if (typeof data === "string") {
      if (this.speaksControl) return this.#controlled(data);
      // Payload of a plain server: viewers get bytes in every case.
      data = new TextEncoder().encode(data).buffer;
    }
    this.#takePart();
    this.#bytesIn += data.byteLength;
    this.#unacknowledged += data.byteLength;
    this.#emit(new MessageEvent("message", { data }));
    if (this.acks === "auto") this.#done(data.byteLength);
  }

  #controlled(text: string): void {
    const message = parseHostMessage(text);
    if (message === undefined) return;
    if (message.type === "pong") return this.#quality.answered(message.id);
    if (message.type === "session") this.#sessionKey = message.key;
    const event = new CustomEvent("control", { detail: message, cancelable: true });
    this.#emit(event);
    // The other side sends no more, and viewers have nothing to say to a side that left. With the
    // answer the host closes with 1000, and so says that this was an orderly end.
    if (message.type === "eof" && !event.defaultPrevented) this.control({ type: "eof" });
  }

  #closed(code: number, reason: string, clean: boolean): void {
    this.#quality.stop();
    this.#waiting = [];
    this.#emit(closeEvent(code, reason, clean));
  }

  /**
   * Once a client has acknowledged anything, the host holds back. Said behind the first control messages, or at the
   * first byte, because a terminal's size must be the first message.
   */
  #takePart(): void {
    if (this.#takesPart) return;
    this.#takesPart = true;
    this.control({ type: "ack", bytes: 0 });
  }

  #done(bytes: number): void {
    this.#processed = Math.min(this.#processed + bytes, this.#unacknowledged);
    if (this.#processed < ACK_AFTER) return;
    this.control({ type: "ack", bytes: this.#processed });
    this.#unacknowledged -= this.#processed;
    this.#processed = 0;
  }

  #emit(event: Event): void {
    this.dispatchEvent(event);
  }

  #handler<K extends keyof StreamSocketEventMap>(type: K): Handler<K> {
    return (this.#handlers.get(type) as Handler<K> | undefined) ?? null;
  }

  #handle<K extends keyof StreamSocketEventMap>(type: K, handler: Handler<K>): void {
    const earlier = this.#handlers.get(type);
    if (earlier !== undefined) this.removeEventListener(type, earlier as unknown as EventListener);
    this.#handlers.delete(type);
    if (typeof handler !== "function") return;
    this.#handlers.set(type, handler as (event: never) => void);
    this.addEventListener(type, handler);
  }
}

function closeEvent(code: number, reason: string, wasClean: boolean): CloseEvent {
  if (typeof CloseEvent === "function") return new CloseEvent("close", { code, reason, wasClean });
  // Programs outside of a browser may lack the class.
  return Object.assign(new Event("close"), { code, reason, wasClean }) as CloseEvent;
}
