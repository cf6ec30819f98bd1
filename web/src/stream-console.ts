/**
 * `<stream-console relay="https://relay.example.com" view="terminal" title="Shell">`: a session in a frame of the relay.
 * `open(url)` shows a session, by the address that your platform got for it. Events: `open`, `end` (`detail` has
 * `code` and `sentence`), and, with the attribute `renew`, `renew` when the person asks for a new session.
 * It needs `script-src` and `frame-src` for the relay, and nothing else of your page's policy.
 */
class StreamConsole extends HTMLElement {
  #frame: HTMLIFrameElement | undefined;
  #ready = false;
  #url: string | undefined;

  get relay(): string { return this.getAttribute("relay") ?? ""; }
  set relay(value: string) { this.setAttribute("relay", value); }
  get view(): string { return this.getAttribute("view") ?? ""; }
  set view(value: string) { this.setAttribute("view", value); }

  /** Shows a session. The address is good for one use. */
  open(url: string): void {
    if (this.relay === "") throw new TypeError('stream-console: set the attribute relay="https://RELAY" first');
    this.#url = String(url);
    if (this.isConnected) this.#show();
  }

  connectedCallback(): void {
    addEventListener("message", this.#onMessage);
    if (this.#url !== undefined) this.#show();
  }

  disconnectedCallback(): void {
    removeEventListener("message", this.#onMessage);
    this.#frame?.remove();
    this.#frame = undefined;
    this.#ready = false;
  }

  #page(): URL {
    return new URL("embed", this.relay.replace(/\/*$/, "/"));
  }

  #show(): void {
    if (this.#frame?.src === this.#page().href) return this.#send();
    this.#frame?.remove();
    this.#ready = false;
    const frame = document.createElement("iframe");
    frame.title = this.title || "Session";
    frame.allow = "clipboard-read; clipboard-write; fullscreen";
    frame.referrerPolicy = "no-referrer";
    frame.src = this.#page().href;
    const { style } = frame;
    style.border = "0";
    style.width = style.height = "100%";
    style.display = "block";
    if (getComputedStyle(this).display === "inline") this.style.display = "block";
    frame.addEventListener("load", () => { this.#ready = true; this.#send(); });
    this.#frame = frame;
    this.append(frame);
  }

  #send(): void {
    const url = this.#url;
    if (!this.#ready || url === undefined) return;
    this.#url = undefined;
    // Exactly this origin: the browser gives the message to no other page that the frame may show.
    this.#frame?.contentWindow?.postMessage({
      type: "stream-open", url, view: this.view, title: this.title, mode: this.getAttribute("mode") ?? "", renew: this.hasAttribute("renew"),
    }, this.#page().origin);
  }

  #onMessage = ({ source, origin, data }: MessageEvent): void => {
    if (!this.#frame || source !== this.#frame.contentWindow || origin !== this.#page().origin) return;
    if (data?.type !== "stream-event" || !["open", "end", "renew"].includes(data.event)) return;
    this.dispatchEvent(new CustomEvent(data.event, { detail: { code: data.code, sentence: data.sentence } }));
  };
}

if (!customElements.get("stream-console")) customElements.define("stream-console", StreamConsole);
