// The only file that knows spice-html5; the view knows this class. README.md says why it is that client.
import "./library.js";
import { SpiceMainConn, type Channel } from "@spice-project/spice-html5/src/main.js";
import { SpiceCursorConn } from "@spice-project/spice-html5/src/cursor.js";
import { SpicePlaybackConn } from "@spice-project/spice-html5/src/playback.js";
import { SpiceMsgCursorInit, SpiceMsgCursorSet } from "@spice-project/spice-html5/src/spicemsg.js";
import type { Message, SpiceConn } from "@spice-project/spice-html5/src/spiceconn.js";
import type { StreamSocket } from "stream-socket";
import type { EndCode } from "../view.js";
import * as Agent from "./agent.js";
import { cursorStyle } from "./cursor.js";
import { Inputs } from "./inputs.js";
import { Sockets } from "./sockets.js";

const MAIN_AGENT_DATA = 109;
const MAIN_AGENT_DISCONNECTED = 108;
const MAIN_NAME = 113;
const CURSOR = { init: 101, reset: 102, set: 103, hide: 105 };
const CHANNEL = { display: 2, inputs: 3, cursor: 4, playback: 5 };
/** The size of a ticket, without its end. */
const MOST_PASSWORD = 59;

export interface SpiceEvents {
  /** The main channel is there, and the password was right. */
  connected(): void;
  /** There is a picture, or one of another size. */
  picture(canvas: HTMLCanvasElement): void;
  /** The server wants a password, or another one. Answer with `connect(password)`. */
  denied(): void;
  title(text: string): void;
  clipboard(text: string): void;
  /** The agent in the guest came or went; sound or the mouse's mode changed. */
  changed(): void;
  cursor(style: string): void;
  closed(code: EndCode, reason: string): void;
  notice(text: string): void;
}

/** One SPICE screen. */
export class SpiceClient {
  readonly #screen: HTMLElement;
  readonly #events: SpiceEvents;
  readonly #sockets: Sockets;
  /** Keyboard and mouse. */
  readonly inputs = new Inputs(() => this.#main);
  #main: SpiceMainConn | undefined;
  #playback: SpicePlaybackConn | undefined;
  #sound: Channel | undefined;
  #clipboard: Agent.AgentClipboard | undefined;
  #agentCapabilities = 0;
  #isConnected = false;
  #over = false;

  /** `screen`: where the picture appears. */
  constructor(screen: HTMLElement, open: () => StreamSocket, events: SpiceEvents) {
    this.#screen = screen;
    this.#events = events;
    this.#sockets = new Sockets(open, (code, reason) => this.#end(code, reason));
  }

  get sockets(): readonly StreamSocket[] { return this.#sockets.all; }
  get hasAgent(): boolean { return this.#main?.agent_connected === true; }
  get hasSound(): boolean { return this.#sound !== undefined && "MediaSource" in window; }
  get soundIsOn(): boolean { return this.#playback !== undefined; }

  connect(password: string): void {
    const bytes = new TextEncoder().encode(password);
    if (bytes.length > MOST_PASSWORD) {
      this.#events.notice(`A SPICE password has at most ${MOST_PASSWORD} bytes; this one has ${bytes.length}.`);
      this.#events.denied();
      return;
    }
    const main = this.#main = new SpiceMainConn({
      uri: "session", password: String.fromCharCode(...bytes),
      open: () => this.#sockets.take(),
      onerror: (error) => this.#failed(main, error),
      onagent: () => this.#events.changed(),
    });
    main.screen = this.#screen;
    main.choose = (channels) => this.#choose(channels);
    const socket = main.ws!;
    this.#sockets.main = socket;
    this.#adapt(main);
    this.#sockets.ready(socket);
  }

  /** Offers a text to the guest's clipboard. False if the guest has no agent for it. */
  offer(text: string): boolean {
    if (!this.hasAgent || (this.#agentCapabilities & (1 << Agent.CAP_CLIPBOARD_BY_DEMAND)) === 0) return false;
    this.#clipboard?.offer(text);
    return true;
  }

  /** Asks the guest for a screen of this size. False if it has no agent for it. */
  resize(width: number, height: number): boolean {
    if (!this.hasAgent) return false;
    this.#main?.resize_window(0, width, height, 32, 0, 0);
    return true;
  }

  /** Sound is off until somebody wants it: then its channel is opened. */
  setSound(on: boolean): void {
    if (!on) {
      const playback = this.#playback;
      this.#playback = undefined;
      playback?.audio?.remove();
      if (playback !== undefined) close(playback);
    } else if (this.#playback === undefined && this.#sound !== undefined && this.#main !== undefined) {
      const playback = this.#playback = new SpicePlaybackConn({
        uri: "session", parent: this.#main, connection_id: this.#main.connection_id, type: this.#sound.type, chan_id: this.#sound.id,
      });
      playback.onerror = () => {
        if (this.#playback !== playback) return;
        this.setSound(false);
        this.#events.notice("The guest's sound could not be opened.");
      };
      this.#sockets.ready(playback.ws!);
    }
    this.#events.changed();
  }

  stop(): void {
    this.#over = true;
    this.setSound(false);
    for (const channel of [this.#main?.inputs, this.#main?.cursor, this.#main?.display, this.#main]) if (channel !== undefined) close(channel);
    this.#sockets.close();
  }

  /** The channels to open now. Others (recording, USB, files) are for clients that can do something with them. */
  #choose(channels: Channel[]): Channel[] {
    this.#sound = channels.find(({ type }) => type === CHANNEL.playback);
    const wanted = channels.filter(({ type, id }) => id === 0 && (type === CHANNEL.display || type === CHANNEL.inputs || type === CHANNEL.cursor));
    // After this call spice-html5 has made them.
    queueMicrotask(() => {
      const { display, inputs, cursor } = this.#main ?? {};
      for (const channel of [display, inputs, cursor]) {
        if (channel === undefined) continue;
        channel.onerror = () => {};
        this.#sockets.ready(channel.ws!);
      }
      // A screen that takes no keys looks like one that hangs.
      for (const channel of [display, inputs]) if (channel?.ws !== undefined) this.#sockets.main = channel.ws;
      if (inputs !== undefined) this.#listen(inputs, (message) => this.inputs.take(message));
      if (cursor instanceof SpiceCursorConn) this.#listen(cursor, (message) => this.#cursor(message), false);
      if (display !== undefined) display.hook_events = () => this.#shown();
      this.#events.changed();
    });
    return wanted;
  }

  /** Lets this class see a channel's messages, after or instead of spice-html5. */
  #listen(channel: SpiceConn, see: (message: Message) => void, also = true): void {
    const process = channel.process_channel_message;
    channel.process_channel_message = (message) => {
      const done = also ? process.call(channel, message) : true;
      see(message);
      return done;
    };
  }

  #adapt(main: SpiceMainConn): void {
    const agent = new Agent.AgentReader((type, data) => this.#fromAgent(type, data));
    this.#clipboard = new Agent.AgentClipboard(
      (type, data) => main.send_agent_message(type, Agent.agentBytes(data)), (text) => this.#events.clipboard(text));
    main.announce_agent_capabilities = (request) => {
      const own = [Agent.CAP_MONITORS_CONFIG, Agent.CAP_REPLY, Agent.CAP_CLIPBOARD_BY_DEMAND, Agent.CAP_CLIPBOARD_SELECTION];
      const bits = own.reduce((sum, bit) => sum | (1 << bit), 0);
      main.send_agent_message(Agent.ANNOUNCE_CAPABILITIES, Agent.agentBytes(Agent.words(request, bits)));
    };
    const setMode = main.handle_mouse_mode;
    main.handle_mouse_mode = (current, supported) => {
      setMode.call(main, current, supported);
      if (!this.#isConnected) {
        this.#isConnected = true;
        this.#events.connected();
      }
      this.#events.changed();
    };
    const send = main.send_ticket;
    // With another socket at hand a refused password does not end the session: it has one that is open.
    main.send_ticket = (ticket) => this.#sockets.spare(() => { if (main.ws !== undefined) send.call(main, ticket); });
    const process = main.process_channel_message;
    main.process_channel_message = (message) => {
      const data = message.data;
      if (message.type === MAIN_AGENT_DATA && data !== undefined) {
        agent.read(new Uint8Array(data));
        return true;
      }
      if (message.type === MAIN_NAME && data !== undefined) {
        this.#events.title(new TextDecoder().decode(new Uint8Array(data, 4)).replace(/\0+$/, ""));
        return true;
      }
      const done = process.call(main, message);
      if (message.type === MAIN_AGENT_DISCONNECTED) this.#events.changed();
      return done;
    };
  }

  #fromAgent(type: number, data: Uint8Array): void {
    if (type === Agent.ANNOUNCE_CAPABILITIES && data.length >= 8) {
      const view = new DataView(data.buffer, data.byteOffset);
      this.#agentCapabilities = view.getUint32(4, true);
      this.#clipboard?.capabilities(this.#agentCapabilities);
      if (view.getUint32(0, true) !== 0) this.#main?.announce_agent_capabilities(0);
      this.#events.changed();
    } else {
      this.#clipboard?.message(type, data);
    }
  }

  #cursor({ type, data }: Message): void {
    if (type === CURSOR.hide) return this.#events.cursor("none");
    if (type === CURSOR.reset) return this.#events.cursor("default");
    if ((type !== CURSOR.set && type !== CURSOR.init) || data === undefined) return;
    const { cursor } = type === CURSOR.set ? new SpiceMsgCursorSet(data) : new SpiceMsgCursorInit(data);
    const { header } = cursor;
    if (header === null || cursor.data === undefined) return this.#events.cursor(type === CURSOR.init ? "default" : "none");
    this.#events.cursor(cursorStyle(header, new Uint8Array(cursor.data)));
  }

  #shown(): void {
    const { display } = this.#main ?? {};
    const surface = display?.primary_surface === undefined ? undefined : display.surfaces[display.primary_surface];
    if (surface !== undefined) this.#events.picture(surface.canvas);
  }

  #failed(main: SpiceMainConn, error: unknown): void {
    if (this.#over || this.#main !== main) return;
    const text = error instanceof Error ? error.message : "";
    if (text === "Connection timed out.") return this.#end(4504, "The screen did not answer in time.");
    // All else that comes in another state follows from the end of the socket.
    if (main.state !== "error") return;
    if (text === "Permission denied.") {
      // The next try uses the spare socket.
      this.#sockets.main = undefined;
      close(main);
      this.#events.denied();
    } else {
      this.#end(this.#isConnected ? "view_failed" : "wrong_view", text);
    }
  }

  #end(code: EndCode, reason: string): void {
    if (this.#over) return;
    this.stop();
    this.#events.closed(code, reason);
  }
}

/** Closes a channel without its picture, which stays to be read. */
function close(channel: SpiceConn): void {
  channel.state = "closing";
  channel.cleanup();
}
