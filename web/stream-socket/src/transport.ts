/** What a transport reports to its socket. A transport calls nothing of it before `Connect` has returned. */
export interface TransportEvents {
  opened(): void;
  /** Payload as bytes, control as text. */
  received(data: ArrayBuffer | string): void;
  failed(): void;
  /** Called once, last. */
  closed(code: number, reason: string, clean: boolean): void;
}

/**
 * What moves the messages of one {@link StreamSocket}: by default a websocket. Resume and encryption
 * are further transports, which wrap another, and viewers do not notice.
 */
export interface Transport {
  /** The chosen subprotocol, or "" if there is none. Valid once it is open. */
  readonly protocol: string;
  /** As of a websocket: 0 connecting, 1 open, 2 closing, 3 closed. */
  readonly readyState: number;
  /** Bytes that were given to `send` and have not left yet. */
  readonly bufferedAmount: number;
  send(data: Uint8Array<ArrayBuffer> | string): void;
  close(code?: number, reason?: string): void;
}

/** Begins a connection. Throws a `SyntaxError` for an address or a subprotocol that cannot be. */
export type Connect = (url: string, protocols: string[], events: TransportEvents) => Transport;

/** The transport that is a websocket. `implementation` is for programs outside of a browser. */
export function webSocketTransport(implementation?: typeof WebSocket): Connect {
  return (url, protocols, events) => {
    const socket = new (implementation ?? WebSocket)(url, protocols);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => events.opened();
    socket.onmessage = ({ data }) => events.received(data as ArrayBuffer | string);
    socket.onerror = () => events.failed();
    socket.onclose = ({ code, reason, wasClean }) => events.closed(code, reason, wasClean);
    return socket;
  };
}
