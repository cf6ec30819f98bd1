import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "../parts/icons";
import type { Item } from "../parts/menu";
import { visible } from "../parts/text";
import { Words } from "../parts/words";
import { copiesHere, copy, hasClipboard, sendWhenEntered } from "./clipboard";
import { Countdown } from "./countdown";
import { frameActions } from "./frame-actions";
import { ConfirmPaste, PasteByHand, needsConfirmation } from "./paste-dialog";
import { PasswordDialog } from "./password-dialog";
import { PhoneBar } from "./phone-bar";
import { Quality } from "./quality";
import type { Running } from "./running";
import { Toolbar } from "./toolbar";
import { TypeDialog } from "./type-dialog";

interface FrameProps {
  running: Running | undefined;
  name: string;
  place: string;
  back: ComponentChildren;
  more: Item[];
  /** What lies over the view: an end, a question, or that something is being opened. */
  over: ComponentChildren;
}

export type Asking = { what: "type" } | { what: "paste"; text: string } | { what: "by-hand" };

/** The frame around a session's view. */
export function Frame({ running, name, place, back, more, over }: FrameProps) {
  const pane = useRef<HTMLElement>(null);
  const body = useRef<HTMLDivElement>(null);
  const bar = useRef<HTMLDivElement>(null);
  const asking = useSignal<Asking | undefined>(undefined);
  const offered = useSignal<string | undefined>(undefined);
  const full = useSignal(false);
  const view = running?.view.value;
  const live = running !== undefined && running.ended.value === undefined;
  const mayWrite = live && running.connection.readOnly === false;

  const leave = () => view?.focus();
  const paste = (text: string) => {
    if (running?.connection.view === "terminal" && needsConfirmation(text)) asking.value = { what: "paste", text };
    else {
      asking.value = undefined;
      view?.paste?.(text);
      if (running && hasClipboard(running)) running.say("The text is on the other side's clipboard now. Paste it there.");
      leave();
    }
  };

  useEffect(() => {
    if (running === undefined || body.current === null) return;
    void running.start(body.current);
    running.onClipboard = (text) => {
      if (copiesHere(running)) void copy(running, text);
      else offered.value = text;
    };
    return () => { offered.value = undefined; };
  }, [running]);

  useEffect(() => {
    const element = body.current;
    if (element === null || !mayWrite || running?.connection.view !== "terminal") return;
    // Before the terminal sees it: several lines are shown first.
    const onPaste = (event: ClipboardEvent) => {
      const text = event.clipboardData?.getData("text/plain");
      if (!text || isField(event.target)) return;
      event.preventDefault();
      event.stopPropagation();
      paste(text);
    };
    element.addEventListener("paste", onPaste, true);
    return () => element.removeEventListener("paste", onPaste, true);
  }, [running, view, mayWrite]);

  useEffect(() => {
    if (running === undefined || view === undefined || body.current === null || !mayWrite) return;
    return sendWhenEntered(running, view, body.current);
  }, [running, view, mayWrite]);

  useEffect(() => {
    const onChange = () => { full.value = document.fullscreenElement === pane.current; };
    document.addEventListener("fullscreenchange", onChange);
    return () => document.removeEventListener("fullscreenchange", onChange);
  }, []);

  useEffect(() => {
    const element = body.current;
    // A view takes all keys, so one has to lead out of it.
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "F6" || !event.ctrlKey || !event.shiftKey) return;
      event.preventDefault();
      event.stopPropagation();
      bar.current?.querySelector<HTMLElement>("a, button")?.focus();
    };
    element?.addEventListener("keydown", onKey, true);
    return () => element?.removeEventListener("keydown", onKey, true);
  }, []);

  useEffect(() => {
    if (!mayWrite) return;
    // Ctrl-W is a key of every shell: closing the tab by it asks first.
    const onLeave = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener("beforeunload", onLeave);
    return () => removeEventListener("beforeunload", onLeave);
  }, [mayWrite]);

  const title = running?.title.value;
  const actions = running && view ? [...running.actions.value, ...frameActions({ running, view, live, mayWrite, pane: pane.current, full: full.value, paste, asking })] : [];
  return (
    <section class="pane" ref={pane} aria-label={visible(`${name}, ${place}`)}>
      <div ref={bar}>
        <Toolbar back={back} actions={actions} onLeave={leave}
          more={[...more, ...(view ? keyItems(leave) : [])]}
          title={<><Words text={name} />{place !== "" && <span class="muted"> <Words text={place} /></span>}{title && <span class="muted own-title"> <Words text={title} /></span>}</>}
          badge={<>
            {running?.connection.readOnly && running.connection.view !== "log" && <span class="badge">Read-only</span>}
            <span role="status">{live && running.status.value !== "" && <span class="badge">{running.status.value}</span>}</span>
          </>}
          quality={running && <Quality running={running} />} />
      </div>
      {live && running.connection.endsAt !== undefined && <Countdown endsAt={running.connection.endsAt} />}
      {live && running.figures.value.stalled !== undefined && (
        <div class="strip warn" role="status"><Icon name="warning" size={16} /><span>Nothing comes from the host at present. Your keys are sent as soon as the connection works again.</span></div>
      )}
      {live && offered.value !== undefined && (
        <div class="strip" role="status">
          <Icon name="clipboard" size={16} /><span>The other side copied a text.</span><span class="grow" />
          <button type="button" class="button small" onClick={() => { void copy(running, offered.value ?? ""); offered.value = undefined; leave(); }}>Copy it here</button>
          <button type="button" class="icon-button" aria-label="Do not copy" onClick={() => { offered.value = undefined; leave(); }}><Icon name="close" size={16} /></button>
        </div>
      )}
      <div class="pane-body">
        <div class="pane-view" ref={body} />
        {running?.notice.value !== undefined && <div class="pane-notice" role="status">{visible(running.notice.value)}</div>}
        {over}
      </div>
      {view?.key && mayWrite && <PhoneBar view={view} body={() => body.current} />}
      {view && live && asking.value?.what === "type" && <TypeDialog view={view} onClose={() => { asking.value = undefined; leave(); }} />}
      {view && live && asking.value?.what === "by-hand" && <PasteByHand onText={paste} onClose={() => { asking.value = undefined; leave(); }} />}
      {view && live && asking.value?.what === "paste" && (
        <ConfirmPaste text={asking.value.text} onClose={() => { asking.value = undefined; leave(); }}
          onPaste={() => { if (asking.value?.what === "paste") view.paste?.(asking.value.text); asking.value = undefined; leave(); }} />
      )}
      {live && running.password.value && (
        <PasswordDialog question={running.password.value}
          onDone={() => { running.password.value = undefined; leave(); }} onCancel={() => running.close()} />
      )}
    </section>
  );
}

/** How to get out of a view that takes all keys, and back. */
function keyItems(leave: () => void): Item[] {
  return [
    { label: "Keyboard", heading: true },
    { label: "Out of the view", hint: "Ctrl+Shift+F6", run: leave },
    { label: "Back into the view", hint: "Esc", run: leave },
  ];
}

/** Whether pasting belongs to a field of the view's own, such as its search, and not to the terminal. */
function isField(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement;
}
