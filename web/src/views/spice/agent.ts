/** Messages of the agent in the guest: VDAgentMessage, cut into pieces by SPICE. */
export const MONITORS_CONFIG = 2;
export const CLIPBOARD = 4;
export const ANNOUNCE_CAPABILITIES = 6;
export const CLIPBOARD_GRAB = 7;
export const CLIPBOARD_REQUEST = 8;
export const CLIPBOARD_RELEASE = 9;

export const CAP_MONITORS_CONFIG = 1;
export const CAP_REPLY = 2;
export const CAP_CLIPBOARD_BY_DEMAND = 5;
export const CAP_CLIPBOARD_SELECTION = 6;

export const UTF8_TEXT = 1;
const HEADER = 20;
/** A clipboard larger than this is not taken. */
const MOST = 4 << 20;

/** Puts the pieces together. */
export class AgentReader {
  readonly #message: (type: number, data: Uint8Array) => void;
  #header = new Uint8Array(HEADER);
  #headed = 0;
  #data: Uint8Array | undefined;
  #size = 0;
  #taken = 0;

  constructor(message: (type: number, data: Uint8Array) => void) {
    this.#message = message;
  }

  read(piece: Uint8Array): void {
    while (piece.length > 0) {
      if (this.#headed < HEADER) {
        const taken = piece.subarray(0, HEADER - this.#headed);
        this.#header.set(taken, this.#headed);
        this.#headed += taken.length;
        piece = piece.subarray(taken.length);
        if (this.#headed < HEADER) return;
        this.#size = new DataView(this.#header.buffer).getUint32(16, true);
        this.#data = this.#size <= MOST ? new Uint8Array(this.#size) : undefined;
        this.#taken = 0;
      }
      const taken = piece.subarray(0, this.#size - this.#taken);
      this.#data?.set(taken, this.#taken);
      this.#taken += taken.length;
      piece = piece.subarray(taken.length);
      if (this.#taken < this.#size) return;
      this.#headed = 0;
      if (this.#data !== undefined) this.#message(new DataView(this.#header.buffer).getUint32(4, true), this.#data);
    }
  }
}

/** Bytes of the data of an agent's message, in the form that spice-html5 sends. */
export function agentBytes(bytes: Uint8Array): { buffer_size(): number; to_buffer(buffer: ArrayBuffer, at?: number): number } {
  return {
    buffer_size: () => bytes.length,
    to_buffer(buffer, at = 0) {
      new Uint8Array(buffer).set(bytes, at);
      return at + bytes.length;
    },
  };
}

/** Numbers of 32 bits, as bytes. */
export function words(...values: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  for (const [at, value] of values.entries()) view.setUint32(at * 4, value, true);
  return new Uint8Array(view.buffer);
}

/** The clipboard of the guest, through its agent. Text only. */
export class AgentClipboard {
  readonly #send: (type: number, data: Uint8Array) => void;
  readonly #received: (text: string) => void;
  /** Both sides name the selection in each message of the clipboard. */
  #selections = false;
  #offered: string | undefined;

  constructor(send: (type: number, data: Uint8Array) => void, received: (text: string) => void) {
    this.#send = send;
    this.#received = received;
  }

  capabilities(capabilities: number): void {
    this.#selections = (capabilities & (1 << CAP_CLIPBOARD_SELECTION)) !== 0;
  }

  /** Offers a text to the guest, which asks for it when somebody pastes there. */
  offer(text: string): void {
    this.#offered = text;
    this.#say(CLIPBOARD_GRAB, words(UTF8_TEXT));
  }

  message(type: number, data: Uint8Array): void {
    // Selection 0 is the clipboard; the others are what is marked (X11), which nobody asked to have here.
    if (this.#selections) {
      if (data[0] !== 0) return;
      data = data.subarray(4);
    }
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    if (type === CLIPBOARD_GRAB) {
      this.#offered = undefined;
      const types = Array.from({ length: Math.floor(data.length / 4) }, (_, at) => view.getUint32(at * 4, true));
      if (types.includes(UTF8_TEXT)) this.#say(CLIPBOARD_REQUEST, words(UTF8_TEXT));
    } else if (type === CLIPBOARD_REQUEST && this.#offered !== undefined) {
      const text = new TextEncoder().encode(this.#offered);
      const answer = new Uint8Array(4 + text.length);
      answer.set(words(UTF8_TEXT));
      answer.set(text, 4);
      this.#say(CLIPBOARD, answer);
    } else if (type === CLIPBOARD && data.length > 4 && view.getUint32(0, true) === UTF8_TEXT) {
      this.#received(new TextDecoder().decode(data.subarray(4)).replace(/\0+$/, ""));
    }
  }

  #say(type: number, data: Uint8Array): void {
    if (!this.#selections) return this.#send(type, data);
    const named = new Uint8Array(4 + data.length);
    named.set(data, 4);
    this.#send(type, named);
  }
}
