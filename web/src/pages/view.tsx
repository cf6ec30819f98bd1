import { useEffect, useMemo } from "preact/hooks";
import { signal, type Signal } from "@preact/signals";
import { Icon } from "../parts/icons";
import { Empty } from "../parts/message";
import { visible } from "../parts/text";
import { setTitle } from "../router";
import { EndCard, endOf, type Ending } from "../session/end-card";
import { Frame } from "../session/frame";
import { judge, originsOf, type Given } from "../session/given";
import { Running } from "../session/running";
import { sentence } from "../ends";
import { VIEW_NAMES } from "../session/guess";
import type { ViewKind } from "../views/view";
import { themeItems } from "../parts/theme-menu";
import { Working } from "../parts/working";
import { ChooseView } from "../session/choose-view";

interface ViewPageProps {
  given: Given;
  /** Asks the page around for a new address, if it can give one. */
  onRenew?: (() => void) | undefined;
  onOpen?(): void;
  onEnd?(code: number | string, sentence: string): void;
}

/** A session by its address alone: no cookie, no call of the API. */
export function ViewPage({ given, onRenew, onOpen, onEnd }: ViewPageProps) {
  const verdict = useMemo(() => judge(given.url, {
    origin: location.origin, allowed: new Set([...originsOf("stream-relays"), ...originsOf("stream-view-allow")]),
  }), [given]);
  const relay = verdict.allowed ? new URL(verdict.url).host : "";
  const running = useMemo(() => signal<Running | undefined>(undefined), [given]);
  const begin = (view: ViewKind) => {
    if (!verdict.allowed || running.peek() !== undefined) return;
    running.value = new Running({ url: verdict.url, view, readOnly: given.readOnly, place: undefined });
  };
  useEffect(() => {
    setTitle(visible([relay, given.title].filter((words) => words !== "").join(": ")));
    if (given.view !== undefined) begin(given.view);
    if (!verdict.allowed) onEnd?.("address_refused", `This address is not opened. ${verdict.why} ${verdict.todo}`);
    return () => running.value?.dispose();
  }, [given]);

  if (!verdict.allowed) {
    return (
      <main class="session-page">
        <Empty alone icon="lock" title="This address is not opened">
          <p class="address"><bdi>{visible(verdict.shown, { longest: 400 })}</bdi></p>
          <p>{verdict.why}</p>
          <p>{visible(verdict.todo)}</p>
        </Empty>
      </main>
    );
  }
  return <Shown running={running} given={given} relay={relay} begin={begin} onRenew={onRenew} onOpen={onOpen} onEnd={onEnd} />;
}

interface ShownProps extends Pick<ViewPageProps, "given" | "onRenew" | "onOpen" | "onEnd"> {
  running: Signal<Running | undefined>;
  /** What it is connected to. The title is what the maker of the link wrote, and comes second. */
  relay: string;
  begin(view: ViewKind): void;
}

function Shown({ running: shown, given, relay, begin, onRenew, onOpen, onEnd }: ShownProps) {
  const running = shown.value;
  const connected = running?.connected.value === true;
  const ended = running?.ended.value;
  const exit = running?.exit.value;
  const ending: Ending | undefined = ended && { code: ended.code, said: ended.reason, ...(exit === undefined ? {} : { exit }) };
  useEffect(() => { if (connected) onOpen?.(); }, [connected]);
  useEffect(() => { if (ending) onEnd?.(ending.code, sentence(endOf(ending))); }, [ended]);
  const name = given.title || (running ? VIEW_NAMES[running.connection.view] : "Session");
  return (
    <main class="session-page">
      <h1 class="sr">{visible(`${relay}: ${name}`)}</h1>
      <Frame running={running} name={relay} place={name} back={<span class="toolbar-mark"><Icon name="mark" size={20} /></span>}
        more={[
          ...themeItems(),
          ...(running && !ended ? [{ label: "Session", heading: true }, { label: "Close the session", danger: true, run: () => running.close() }] : []),
        ]}
        over={running === undefined
          ? given.view === undefined && <div class="question panel"><ChooseView title="How is this shown?" onChoose={begin} /></div>
          : ending
            ? (
              <EndCard ending={ending} todo={onRenew ? undefined : "This address cannot be used again. Ask for a new one where you got it."}>
                {onRenew && <button type="button" class="button primary" onClick={onRenew}>Ask for a new session</button>}
              </EndCard>
            )
            : running.view.value === undefined && <Working words="Loading the view…" />} />
    </main>
  );
}

/** What the page says without an address. */
export function NoAddress({ embedded }: { embedded: boolean }) {
  return (
    <main class="session-page">
      <Empty alone icon="screen" title={embedded ? "Waiting for a session" : "There is no session in this address"}>
        {embedded
          ? <p>The page around this one says what is shown here.</p>
          : <p>Open the whole link that you got. It is good for one use, so loading the page again does not work: ask for a new link.</p>}
      </Empty>
    </main>
  );
}
