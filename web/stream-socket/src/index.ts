export { StreamSocket } from "./socket.js";
export type { StreamSocketEventMap, StreamSocketOptions } from "./socket.js";
export type { ClientMessage, HostMessage, SignalName } from "./messages.js";
export type { Stats } from "./quality.js";
export { webSocketTransport } from "./transport.js";
export type { Connect, Transport, TransportEvents } from "./transport.js";
