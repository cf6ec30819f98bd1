import type { AddressInfo } from "node:net";
import { WebSocket as Client, WebSocketServer, type WebSocket as ServerSide } from "ws";
import { StreamSocket, webSocketTransport, type StreamSocketOptions } from "../src/index.js";

const DEADLINE = 5000;

/** Node before 22 has no websocket of its own; this one has the same interface. */
const connect = webSocketTransport(Client as unknown as typeof WebSocket);

export interface Connection {
  offered: string[];
  socket: ServerSide;
  /** The next text message, as JSON. */
  control(): Promise<Record<string, unknown>>;
  /** Payload that came so far. */
  payload: Buffer[];
  closed: Promise<{ code: number; reason: string }>;
}

/** A real websocket server on a free port that chooses `protocol`, if it is offered. */
export async function serve(protocol: string | false = "stream.v1") {
  let offered: string[] = [];
  const server = new WebSocketServer({
    port: 0,
    host: "127.0.0.1",
    handleProtocols: (set: Set<string>) => {
      offered = [...set];
      return protocol !== false && set.has(protocol) ? protocol : false;
    },
  });
  await new Promise((listening) => server.once("listening", listening));
  const { port } = server.address() as AddressInfo;
  return {
    url: `ws://127.0.0.1:${port}/v1/stream/TOKEN`,
    connection(): Promise<Connection> {
      return within("a connection", new Promise((resolve) => server.once("connection", (socket) => {
        const texts: string[] = [];
        const waiting: ((text: string) => void)[] = [];
        const connection: Connection = {
          offered,
          socket,
          payload: [],
          control: async () => JSON.parse(texts.shift() ?? await within("a control message", new Promise<string>((next) => waiting.push(next)))),
          closed: new Promise((closed) => socket.once("close", (code, reason) => closed({ code, reason: String(reason) }))),
        };
        socket.on("message", (data, binary) => {
          if (binary) connection.payload.push(data as Buffer);
          else {
            const next = waiting.shift();
            if (next) next(String(data));
            else texts.push(String(data));
          }
        });
        resolve(connection);
      })));
    },
    stop(): Promise<void> {
      for (const client of server.clients) client.terminate();
      return new Promise((stopped) => server.close(() => stopped()));
    },
  };
}

export function open(url: string, options: StreamSocketOptions = {}): StreamSocket {
  return new StreamSocket(url, { connect, ...options });
}

/** The next event of a type. */
export function next<T extends Event>(socket: EventTarget, type: string): Promise<T> {
  return within(`the event ${type}`, new Promise((resolve) => socket.addEventListener(type, (event) => resolve(event as T), { once: true })));
}

export function within<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within ${DEADLINE} ms`)), DEADLINE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
