/** Figures of one socket. */
export interface Stats {
  /** Payload that came, in bytes. */
  readonly bytesIn: number;
  /** Payload that was sent, in bytes. */
  readonly bytesOut: number;
  /** The newest round trip to the host and back, in milliseconds; absent if the host answers no pings. */
  readonly roundTrip?: number;
  /** Milliseconds since which a ping is unanswered and nothing else came; absent below 2000. */
  readonly stalled?: number;
}

const FIRST_PING = 1000;
const EVERY = 5000;
const STALLED = 2000;
const MOST_WAITING = 16;

/** Measures the way to the host by pings. */
export class Quality {
  roundTrip: number | undefined;
  #waiting = new Map<number, number>();
  #lastId = 0;
  #lastSeen = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #ping: (id: number) => void;

  constructor(ping: (id: number) => void) {
    this.#ping = ping;
  }

  /** Begins to ping. Not at once: a terminal's size must be the first message. */
  start(): void {
    this.#timer = setTimeout(() => this.#tick(), FIRST_PING);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#waiting.clear();
  }

  /** Something came. */
  seen(): void {
    this.#lastSeen = performance.now();
  }

  answered(id: number): void {
    const sent = this.#waiting.get(id);
    if (sent === undefined) return;
    this.roundTrip = performance.now() - sent;
    for (const earlier of this.#waiting.keys()) if (earlier <= id) this.#waiting.delete(earlier);
  }

  stalled(): number | undefined {
    // A host that never answered a ping is an old one: its silence means nothing.
    if (this.roundTrip === undefined) return undefined;
    for (const sent of this.#waiting.values()) {
      const since = performance.now() - sent;
      if (sent > this.#lastSeen) return since >= STALLED ? since : undefined;
    }
    return undefined;
  }

  #tick(): void {
    // Nobody looks at a hidden page, and each ping wakes the host.
    if (typeof document === "undefined" || !document.hidden) {
      const id = ++this.#lastId;
      if (this.#waiting.size >= MOST_WAITING) {
        for (const oldest of this.#waiting.keys()) { this.#waiting.delete(oldest); break; }
      }
      this.#waiting.set(id, performance.now());
      this.#ping(id);
    }
    this.#timer = setTimeout(() => this.#tick(), EVERY);
  }
}
