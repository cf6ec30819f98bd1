import { useEffect, useRef } from "preact/hooks";
import { hostsChanged } from "../live";
import { Empty, Message } from "../parts/message";
import { setTitle } from "../router";
import { hosts, lastOpened, listError, loadMore, loadingMore, next, reload, rows, search, searchMore } from "./host-list";
import { HostRow } from "./host-row";
import { onListKey } from "./list-keys";
import { Failure, Shell } from "./shell";
import { SearchField } from "./search-field";

export function Hosts() {
  const list = useRef<HTMLUListElement>(null);
  useEffect(() => {
    setTitle("Hosts");
    if (lastOpened.path !== "") list.current?.querySelector<HTMLElement>(`[href="${CSS.escape(lastOpened.path)}"]`)?.focus();
  }, []);
  useEffect(() => {
    // The first view may have its list already.
    if (hosts.peek() === undefined || hostsChanged.value > 0) void reload();
  }, [hostsChanged.value]);
  useEffect(() => {
    const timer = setTimeout(() => void searchMore(), 150);
    return () => clearTimeout(timer);
  }, [search.value, next.value]);

  const online = hosts.value?.filter((host) => host.online).length ?? 0;
  const count = hosts.value?.length ?? 0;
  const searching = search.value.trim() !== "";
  return (
    <Shell>
      <div class="page-head">
        <div>
          <h1>Hosts</h1>
          {hosts.value && count > 0 && (
            <p class="muted" role="status">
              {searching ? `${rows.value.length} found` : `${online} online, ${count - online} offline${next.value === undefined ? "" : ", more not loaded"}`}
            </p>
          )}
        </div>
        <SearchField label="Search hosts and targets" value={search} list={list} />
      </div>
      {listError.value && (
        <Message>
          <Failure code={listError.value.code} message={listError.value.message} />
          <button type="button" class="button small" onClick={() => void reload()}>Try again</button>
        </Message>
      )}
      {hosts.value === undefined && listError.value === undefined && <Waiting />}
      {hosts.value && count === 0 && (
        <div class="panel">
          <Empty icon="machine" title="No host yet">
            <p>A host appears here as soon as its agent is connected and your key may see it.</p>
            <ol class="steps">
              <li>Install <code>stream-agent</code> on the machine.</li>
              <li>Allow something in <code>/etc/stream-agent/targets.d</code>.</li>
              <li>Run <code>stream-agent test-dial</code> on it: it says what is missing.</li>
            </ol>
            <p>Is it running already? Then ask your administrator whether your key lists the host.</p>
          </Empty>
        </div>
      )}
      {searching && rows.value.length === 0 && count > 0 && (
        <div class="panel">
          <Empty icon="search" title="Nothing found">
            <p>Targets are searched on hosts that you have expanded. Expand a host to search in it, too.</p>
            <button type="button" class="button" onClick={() => { search.value = ""; }}>Clear the search</button>
          </Empty>
        </div>
      )}
      {rows.value.length > 0 && (
        <ul class="panel rows" ref={list} onKeyDown={onListKey} aria-label="Hosts">
          {rows.value.map((row) => <HostRow key={row.host.host} {...row} />)}
        </ul>
      )}
      {next.value !== undefined && !searching && (
        <p class="more">
          <button type="button" class="button" disabled={loadingMore.value} onClick={() => void loadMore()}>
            {loadingMore.value ? "Loading…" : "Load more"}
          </button>
        </p>
      )}
    </Shell>
  );
}

function Waiting() {
  return (
    <div class="panel rows" role="status" aria-label="Loading">
      {[0, 1, 2, 3].map((row) => <div class="row-waiting" key={row}><span /><span /></div>)}
    </div>
  );
}
