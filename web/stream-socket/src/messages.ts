/** Names of signals for what runs in the foreground, without `SIG`. */
export type SignalName = "HUP" | "INT" | "QUIT" | "KILL" | "TERM" | "USR1" | "USR2" | "TSTP" | "CONT";

/** Control messages of a client. */
export type ClientMessage =
  | { type: "resize"; cols: number; rows: number }
  | { type: "ack"; bytes: number }
  | { type: "eof" }
  | { type: "signal"; name: SignalName }
  | { type: "pause" }
  | { type: "resume" }
  | { type: "filter"; pattern: string; invert: boolean }
  | { type: "since"; time: number }
  | { type: "ping"; id: number };

/** Control messages of a host or relay. */
export type HostMessage =
  | { type: "exit"; code: number }
  | { type: "eof" }
  | { type: "refused"; what: string; message: string }
  | { type: "session"; key: string }
  | { type: "pong"; id: number };

/** Reads a control message. What is not one, or has a type that this version does not know, is `undefined`. */
export function parseHostMessage(text: string): HostMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { type, code, what, message, key, id } = value as Record<string, unknown>;
  switch (type) {
    case "exit":
      return typeof code === "number" ? { type, code } : undefined;
    case "eof":
      return { type };
    case "refused":
      return typeof what === "string" && typeof message === "string" ? { type, what, message } : undefined;
    case "session":
      return typeof key === "string" ? { type, key } : undefined;
    case "pong":
      return typeof id === "number" ? { type, id } : undefined;
    default:
      return undefined;
  }
}
