import type { StreamSocket } from "stream-socket";

/** The websockets of a SPICE session: one for each channel, and for a moment one to spare. */
export class Sockets {
  readonly #open: () => StreamSocket;
  readonly #ended: (code: number, reason: string) => void;
  readonly #all = new Set<StreamSocket>();
  #spare: StreamSocket | undefined;
  /** The session is over when one of these closes. */
  readonly #vital = new Set<StreamSocket>();

  constructor(open: () => StreamSocket, ended: (code: number, reason: string) => void) {
    this.#open = open;
    this.#ended = ended;
  }

  get all(): readonly StreamSocket[] {
    return [...this.#all];
  }

  /** One more socket without which there is no session; undefined: those that were are no longer needed. */
  set main(socket: StreamSocket | undefined) {
    if (socket === undefined) this.#vital.clear();
    else this.#vital.add(socket);
  }

  /** The spare socket, or a new one. */
  take(): StreamSocket {
    const spare = this.#spare;
    this.#spare = undefined;
    return spare ?? this.#new();
  }

  /** Call this when the channel listens to its socket: a socket that is open already says so to it. */
  ready(socket: StreamSocket): void {
    if (socket.readyState === WebSocket.OPEN) socket.dispatchEvent(new Event("open"));
  }

  /** Opens a socket to spare, then goes on; goes on also if no more is allowed. */
  spare(then: () => void): void {
    if (this.#spare !== undefined) return then();
    const spare = this.#spare = this.#new();
    let went = false;
    const go = (): void => {
      if (!went) then();
      went = true;
    };
    spare.addEventListener("open", go, { once: true });
    spare.addEventListener("close", go, { once: true });
  }

  close(): void {
    for (const socket of this.#all) socket.close();
    this.#all.clear();
    this.#vital.clear();
    this.#spare = undefined;
  }

  #new(): StreamSocket {
    const socket = this.#open();
    this.#all.add(socket);
    socket.addEventListener("close", ({ code, reason }) => {
      this.#all.delete(socket);
      const only = this.#spare === socket && this.#vital.size === 0;
      if (this.#spare === socket) this.#spare = undefined;
      // With the spare socket a session ends that waits for a password.
      if (this.#vital.has(socket) || only) this.#ended(code, reason);
    });
    return socket;
  }
}
