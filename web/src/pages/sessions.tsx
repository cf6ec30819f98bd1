import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { asApiError, asker, onOtherUser } from "../account";
import { ApiError, type Session } from "../api";
import { sessionsChanged } from "../live";
import { Confirm } from "../parts/dialog";
import { Empty, Message } from "../parts/message";
import { notify } from "../parts/toast";
import { Words } from "../parts/words";
import { apiEnd, sentence } from "../ends";
import { api } from "../api";
import { onLink, setTitle } from "../router";
import { onListKey } from "./list-keys";
import { SearchField } from "./search-field";
import { SessionRow } from "./session-row";
import { Failure, Shell } from "./shell";

type State = "open" | "all";

const list = signal<Session[] | undefined>(undefined);
const next = signal<string | undefined>(undefined);
const state = signal<State>("open");
const error = signal<ApiError | undefined>(undefined);
const search = signal("");
const loadingMore = signal(false);
const ending = signal<{ session: Session; busy: boolean } | undefined>(undefined);

onOtherUser(() => {
  [list.value, next.value, error.value, ending.value, search.value] = [undefined, undefined, undefined, undefined, ""];
});

/** Bytes are counted all the time, so they are asked for this often, in milliseconds. */
const COUNTS_EVERY = 10_000;
const MOST_RELOADED = 500;

async function reload(): Promise<void> {
  const wanted = Math.min(Math.max(list.peek()?.length ?? 0, 1), MOST_RELOADED);
  const [asked, user] = [state.peek(), asker()];
  try {
    const all: Session[] = [];
    let after: string | undefined;
    do {
      const page = await api.sessions({ state: asked, ...(after === undefined ? {} : { after }) });
      all.push(...page.sessions);
      after = page.next;
    } while (after !== undefined && all.length < wanted);
    if (asked !== state.peek() || user !== asker()) return;
    [list.value, next.value, error.value] = [all, after, undefined];
  } catch (failure) {
    error.value = asApiError(failure);
  }
}

async function loadMore(): Promise<void> {
  if (next.value === undefined || loadingMore.value) return;
  loadingMore.value = true;
  try {
    const page = await api.sessions({ state: state.value, after: next.value });
    [list.value, next.value] = [[...(list.value ?? []), ...page.sessions], page.next];
  } catch (failure) {
    error.value = asApiError(failure);
  }
  loadingMore.value = false;
}

async function end(session: Session): Promise<void> {
  ending.value = { session, busy: true };
  try {
    await api.end(session);
    notify("The session was ended.");
  } catch (failure) {
    notify(sentence(apiEnd(asApiError(failure).code)));
  }
  ending.value = undefined;
  void reload();
}

function choose(wanted: State): void {
  if (state.value === wanted) return;
  [state.value, list.value, next.value] = [wanted, undefined, undefined];
  void reload();
}

export function Sessions() {
  const rows = useRef<HTMLUListElement>(null);
  useEffect(() => setTitle("Sessions"), []);
  useEffect(() => void reload(), [sessionsChanged.value]);
  useEffect(() => {
    const timer = setInterval(() => { if (!document.hidden && list.peek()?.some((one) => one.state === "open")) void reload(); }, COUNTS_EVERY);
    return () => clearInterval(timer);
  }, []);
  const words = search.value.trim().toLowerCase();
  const shown = (list.value ?? []).filter((one) => `${one.user} ${one.host} ${one.target} ${one.peer ?? ""} ${one.key}`.toLowerCase().includes(words));
  const count = list.value?.length ?? 0;
  return (
    <Shell>
      <div class="page-head">
        <div>
          <h1>Sessions</h1>
          <p class="muted" role="status">{list.value === undefined ? "" : `${shown.length}${next.value === undefined ? "" : " or more"} ${state.value === "open" ? "open" : "since the relay started"}`}</p>
        </div>
        <div class="tabs" role="group" aria-label="Which sessions">
          <button type="button" aria-pressed={state.value === "open"} onClick={() => choose("open")}>Open</button>
          <button type="button" aria-pressed={state.value === "all"} onClick={() => choose("all")}>All</button>
        </div>
        <SearchField label="Search sessions" value={search} list={rows} />
      </div>
      {error.value && (
        <Message>
          <Failure code={error.value.code} message={error.value.message} />
          <button type="button" class="button small" onClick={() => void reload()}>Try again</button>
        </Message>
      )}
      {list.value && count === 0 && (
        <div class="panel">
          <Empty icon="screen" title={state.value === "open" ? "No session is open" : "No session yet"}>
            <p>Sessions that your key may end appear here as soon as somebody opens a target.</p>
            <a class="button" href="./" onClick={onLink}>To the hosts</a>
          </Empty>
        </div>
      )}
      {count > 0 && shown.length === 0 && (
        <div class="panel"><Empty icon="search" title="Nothing found"><button type="button" class="button" onClick={() => { search.value = ""; }}>Clear the search</button></Empty></div>
      )}
      {shown.length > 0 && (
        <ul class="panel rows sessions" ref={rows} onKeyDown={onListKey} aria-label="Sessions">
          {shown.map((session) => <SessionRow key={session.session} session={session} onEnd={() => { ending.value = { session, busy: false }; }} />)}
        </ul>
      )}
      {next.value !== undefined && (
        <p class="more"><button type="button" class="button" disabled={loadingMore.value} onClick={() => void loadMore()}>{loadingMore.value ? "Loading…" : "Load more"}</button></p>
      )}
      {ending.value && (
        <Confirm title="End this session?" yes={ending.value.busy ? "Ending…" : "End the session"} danger busy={ending.value.busy}
          onClose={() => { ending.value = undefined; }} onYes={() => { if (ending.value) void end(ending.value.session); }}>
          <p><Words text={ending.value.session.user} /> has <strong><Words text={ending.value.session.target} /></strong> on <strong><Words text={ending.value.session.host} /></strong> open. It ends at once, and what was not saved may be lost.</p>
        </Confirm>
      )}
    </Shell>
  );
}
