// spice-html5, with what is wrong in it for us set right where its objects can be changed (build/plugins/spice.mjs
// changes the rest): loads it, so import it before its parts.
import { SpiceDataView } from "@spice-project/spice-html5/src/spicedataview.js";
import { SpiceConn } from "@spice-project/spice-html5/src/spiceconn.js";
import { SpiceDisplayConn } from "@spice-project/spice-html5/src/display.js";
import { SecureRandom } from "@spice-project/spice-html5/src/thirdparty/rng.js";
import { SpiceWireReader } from "@spice-project/spice-html5/src/wire.js";
import { SpiceMsgDisplayDrawFill } from "@spice-project/spice-html5/src/spicemsg.js";
import { clipped, drawCopy } from "./draw.js";

const DRAW_FILL = 302;
const TICKET_BYTES = 128;

// It writes addresses of websockets, which contain tokens, to the console.
SpiceConn.prototype.log_info = SpiceConn.prototype.log_warn = SpiceConn.prototype.log_err = () => {};

// A message that it does not understand must not make it lose its place among the others.
const processMessage = SpiceConn.prototype.process_message;
SpiceConn.prototype.process_message = function (message) {
  try {
    return processMessage.call(this, message);
  } catch (error) {
    console.warn(`SPICE channel ${this.type}, message ${message.type}:`, error);
    return false;
  }
};

// Its own numbers come from Math.random(), and hide the password.
SecureRandom.prototype.nextBytes = (bytes) => {
  const random = crypto.getRandomValues(new Uint8Array(bytes.length));
  for (const [at, byte] of random.entries()) bytes[at] = byte;
};

// It drops leading zeros, so the server refuses one ticket in 256.
const sendTicket = SpiceConn.prototype.send_ticket;
SpiceConn.prototype.send_ticket = function (ticket) {
  sendTicket.call(this, [...new Array<number>(Math.max(0, TICKET_BYTES - ticket.length)).fill(0), ...ticket]);
};

// It mixes the halves of a number: images get the same name, and the cache that the server may fill has no end.
Object.assign(SpiceDataView.prototype, {
  getUint64(this: SpiceDataView, at: number, little: boolean): bigint {
    const [low, high] = [this.getUint32(little ? at : at + 4, little), this.getUint32(little ? at + 4 : at, little)];
    return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  },
  setUint64(this: SpiceDataView, at: number, value: number, little: boolean): void {
    this.setUint32(little ? at : at + 4, value | 0, little);
    this.setUint32(little ? at + 4 : at, Math.floor(value / 2 ** 32), little);
  },
});

// It joins pieces two by two, which takes a minute for a large picture.
const readers = new WeakMap<SpiceWireReader, { pieces: Uint8Array[]; bytes: number }>();
SpiceWireReader.prototype.inbound = function (received) {
  let kept = readers.get(this);
  if (kept === undefined) readers.set(this, kept = { pieces: [], bytes: 0 });
  kept.pieces.push(new Uint8Array(received));
  kept.bytes += received.byteLength;
  while (this.needed > 0 && kept.bytes >= this.needed && this.sc.ws !== undefined) {
    const message = new Uint8Array(this.needed);
    let at = 0;
    while (at < message.length) {
      const piece = kept.pieces[0]!;
      const part = piece.subarray(0, message.length - at);
      message.set(part, at);
      at += part.length;
      if (part.length === piece.length) kept.pieces.shift();
      else kept.pieces[0] = piece.subarray(part.length);
    }
    kept.bytes -= message.length;
    this.callback.call(this.sc, message.buffer, this.saved_msg_header);
  }
};

// The view listens to the mouse and the keyboard itself: scaled, per screen, and only if it may.
SpiceDisplayConn.prototype.hook_events = SpiceDisplayConn.prototype.unhook_events = () => {};
SpiceDisplayConn.prototype.draw_copy_helper = drawCopy;

const processDisplay = SpiceDisplayConn.prototype.process_channel_message;
SpiceDisplayConn.prototype.process_channel_message = function (message) {
  this.cache ??= {};
  this.streams ??= [];
  if (message.type === DRAW_FILL && message.data !== undefined) {
    const { base } = new SpiceMsgDisplayDrawFill(message.data);
    const surface = this.surfaces?.[base.surface_id];
    if (surface === undefined) return false;
    return clipped(surface.canvas.context, base, () => processDisplay.call(this, message));
  }
  return processDisplay.call(this, message);
};
