/** The part of spice-html5 0.2.1 that the page uses; with what build/plugins/spice.mjs changes in it. */
declare module "@spice-project/spice-html5/src/spiceconn.js" {
  import type { StreamSocket } from "stream-socket";

  export interface Message { type: number; size: number; data?: ArrayBuffer }
  export interface Options {
    uri: string;
    open?: () => StreamSocket;
    parent?: SpiceConn;
    password?: string;
    type?: number;
    chan_id?: number;
    connection_id?: number;
    onerror?: (error: unknown) => void;
    onagent?: () => void;
  }
  export class SpiceConn {
    constructor(options: Options);
    ws: StreamSocket | undefined;
    type: number;
    state: string;
    connection_id: number;
    parent?: SpiceConn;
    password?: string;
    onerror?: (error: unknown) => void;
    process_message(message: Message): boolean;
    process_channel_message(message: Message): boolean;
    send_ticket(ticket: number[]): void;
    log_info(...words: string[]): void;
    log_warn(...words: string[]): void;
    log_err(...words: string[]): void;
    cleanup(): void;
  }
}

declare module "@spice-project/spice-html5/src/main.js" {
  import { SpiceConn } from "@spice-project/spice-html5/src/spiceconn.js";
  import type { SpiceDisplayConn } from "@spice-project/spice-html5/src/display.js";

  export interface Channel { type: number; id: number }
  interface AgentMessage { buffer_size(): number; to_buffer(buffer: ArrayBuffer): void }
  export class SpiceMainConn extends SpiceConn {
    screen: HTMLElement;
    choose(channels: Channel[]): Channel[];
    mouse_mode: number;
    agent_connected?: boolean;
    inputs?: SpiceConn & { waiting_for_ack: number; keyboard_modifiers?: number };
    cursor?: SpiceConn;
    display?: SpiceDisplayConn;
    handle_mouse_mode(current: number, supported: number): void;
    announce_agent_capabilities(request: number): void;
    send_agent_message(type: number, message: AgentMessage): void;
    resize_window(flags: number, width: number, height: number, depth: number, x: number, y: number): void;
    stop(): void;
  }
}

declare module "@spice-project/spice-html5/src/display.js" {
  import { SpiceConn } from "@spice-project/spice-html5/src/spiceconn.js";

  export interface Rect { left: number; top: number; right: number; bottom: number }
  export interface Base { surface_id: number; box: Rect; clip: { type: number; rects?: { rects?: Rect[] } } }
  export interface Copy {
    base: Base;
    src_area: Rect;
    image_data: ImageData;
    has_alpha: boolean;
    descriptor?: { id: bigint; flags: number } | null;
  }
  export interface Surface { format: number; draw_count: number; canvas: HTMLCanvasElement & { context: CanvasRenderingContext2D } }
  export class SpiceDisplayConn extends SpiceConn {
    surfaces: Record<number, Surface>;
    primary_surface: number | undefined;
    cache?: Record<string, ImageData>;
    streams?: object;
    draw_copy_helper(copy: Copy): boolean;
    hook_events(): void;
    unhook_events(): void;
  }
}

declare module "@spice-project/spice-html5/src/cursor.js" {
  import { SpiceConn } from "@spice-project/spice-html5/src/spiceconn.js";
  export class SpiceCursorConn extends SpiceConn {}
}

declare module "@spice-project/spice-html5/src/playback.js" {
  import { SpiceConn } from "@spice-project/spice-html5/src/spiceconn.js";
  export class SpicePlaybackConn extends SpiceConn {
    audio?: HTMLAudioElement;
  }
}

declare module "@spice-project/spice-html5/src/spicemsg.js" {
  import type { Base } from "@spice-project/spice-html5/src/display.js";
  interface Cursor {
    flags: number;
    header: { type: number; width: number; height: number; hot_spot_x: number; hot_spot_y: number; unique: bigint } | null;
    data?: ArrayBuffer;
  }
  export class SpiceMsgCursorInit { constructor(data: ArrayBuffer); visible: number; cursor: Cursor }
  export class SpiceMsgCursorSet { constructor(data: ArrayBuffer); visible: number; cursor: Cursor }
  export class SpiceMsgDisplayDrawFill { constructor(data: ArrayBuffer); base: Base }
}

declare module "@spice-project/spice-html5/src/wire.js" {
  import type { SpiceConn } from "@spice-project/spice-html5/src/spiceconn.js";
  export class SpiceWireReader {
    sc: SpiceConn;
    needed: number;
    saved_msg_header: object | undefined;
    callback: (this: SpiceConn, bytes: ArrayBuffer, header: object | undefined) => void;
    inbound(bytes: ArrayBuffer): void;
  }
}

declare module "@spice-project/spice-html5/src/spicedataview.js" {
  export class SpiceDataView {
    getUint32(at: number, little: boolean): number;
    setUint32(at: number, value: number, little: boolean): void;
  }
}

declare module "@spice-project/spice-html5/src/thirdparty/rng.js" {
  export class SecureRandom { nextBytes(bytes: number[]): void }
}
