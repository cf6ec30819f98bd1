import { useEffect, useMemo } from "preact/hooks";
import { me } from "../account";
import { Icon } from "../parts/icons";
import { Empty } from "../parts/message";
import { visible } from "../parts/text";
import { onLink, route, setTitle, wasAsked } from "../router";
import { openPath, parseOpen, type Wanted } from "../session/address";
import { EndCard, type Ending } from "../session/end-card";
import { Frame } from "../session/frame";
import { Opening } from "../session/opening";
import type { Running } from "../session/running";
import { Split } from "../session/split";
import { OpenQuestion } from "./open-question";
import { themeItems } from "../parts/theme-menu";
import { Working } from "../parts/working";
import { besideItems, showOnly } from "./beside";

/** One session, or two side by side. */
export function Open() {
  const { path, query } = route.value;
  const wanted = parseOpen(path, query);
  const first = wanted?.[0];
  const second = wanted?.[1];
  useEffect(() => {
    if (first) setTitle([first, second].filter((one) => one !== undefined).map(({ target, host }) => visible(`${target} on ${host}`)).join(" | "));
  }, [path]);
  if (first === undefined) return <BadAddress />;
  const pane = (one: Wanted, beside: boolean) => <Pane key={openPath(one)} wanted={one} all={wanted ?? []} beside={beside} />;
  return (
    <main class="session-page">
      <h1 class="sr">{visible(`Session: ${first.target} on ${first.host}`)}</h1>
      {second === undefined ? pane(first, false) : <Split first={pane(first, true)} second={pane(second, true)} />}
    </main>
  );
}

function BadAddress() {
  return (
    <main class="session-page">
      <Empty alone icon="warning" title="This address is not complete">
        <p>It has the form <code>/open/HOST/TARGET</code>, or <code>/open/HOST/TARGET|HOST/TARGET</code> for two side by side.</p>
        <a class="button" href="./" onClick={onLink}>To the hosts</a>
      </Empty>
    </main>
  );
}

function Pane({ wanted, all, beside }: { wanted: Wanted; all: Wanted[]; beside: boolean }) {
  const opening = useMemo(() => new Opening(wanted, wasAsked()), []);
  useEffect(() => {
    void opening.start();
    return () => opening.dispose();
  }, [opening]);
  const running = opening.running.value;
  const title = opening.target.value?.title ?? wanted.target;
  // These lead to another step of the history, which would count as the answer.
  const byLink = opening.question.value?.what === "link";
  return (
    <Frame running={running} name={title} place={wanted.host}
      back={<a class="icon-button" href="./" onClick={onLink} aria-label="Back to the hosts" title="Back to the hosts"><Icon name="back" /></a>}
      more={[
        ...(beside || byLink ? [] : besideItems(wanted)),
        ...(all.length > 1 && !byLink ? [{ label: "Show only this one", run: () => showOnly(wanted) }] : []),
        ...themeItems(),
        ...(running && running.ended.value === undefined ? [{ label: "Session", heading: true }, { label: "Close the session", danger: true, run: () => running.close() }] : []),
      ]}
      over={<Over opening={opening} running={running} />} />
  );
}

/** What lies over the view at present. */
function Over({ opening, running }: { opening: Opening; running: Running | undefined }) {
  if (opening.busy.value !== undefined) return <Working words={opening.busy.value} />;
  if (opening.question.value) return <OpenQuestion opening={opening} question={opening.question.value} />;
  const ending = endingOf(opening, running);
  if (ending !== undefined) {
    return (
      <EndCard ending={ending} alone={running === undefined}>
        {me.value === null
          ? <a class="button primary" href="sign-in" onClick={onLink}>Sign in</a>
          : (
            <button type="button" class="button primary" onClick={() => void opening.proceed()}>
              {opening.running.value === undefined ? "Try again" : "Open a new session"}
            </button>
          )}
        <a class="button" href="./" onClick={onLink}>To the hosts</a>
      </EndCard>
    );
  }
  return running && !running.connected.value && running.view.value === undefined ? <Working words="Loading the view…" /> : null;
}

function endingOf(opening: Opening, running: Running | undefined): Ending | undefined {
  const failure = opening.failure.value;
  if (failure) return { code: failure.code, said: failure.message };
  const ended = running?.ended.value;
  if (!running || !ended) return undefined;
  const exit = running.exit.value;
  return { code: ended.code, said: ended.reason, ...(exit === undefined ? {} : { exit }) };
}
