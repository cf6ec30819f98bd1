/** The part of noVNC 1.7 that the page uses. */
declare module "@novnc/novnc" {
  import type { StreamSocket } from "stream-socket";

  export interface Credentials { username?: string; password?: string; target?: string }

  interface Events {
    connect: CustomEvent<object>;
    disconnect: CustomEvent<{ clean: boolean }>;
    credentialsrequired: CustomEvent<{ types: ("username" | "password" | "target")[] }>;
    serververification: CustomEvent<{ type: string; publickey: Uint8Array }>;
    securityfailure: CustomEvent<{ status: number; reason?: string }>;
    clipboard: CustomEvent<{ text: string }>;
    desktopname: CustomEvent<{ name: string }>;
  }

  export default class RFB {
    constructor(target: HTMLElement, channel: StreamSocket, options?: { shared?: boolean; credentials?: Credentials });
    viewOnly: boolean;
    scaleViewport: boolean;
    resizeSession: boolean;
    clipViewport: boolean;
    background: string;
    addEventListener<K extends keyof Events>(type: K, listener: (event: Events[K]) => void): void;
    approveServer(): void;
    sendCredentials(credentials: Credentials): void;
    sendKey(keysym: number, code: string, down: boolean): void;
    clipboardPasteFrom(text: string): void;
    focus(options?: FocusOptions): void;
    disconnect(): void;
  }
}
