import "./styles/app.css";
import { render } from "preact";
import { signal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { loadMe, me, meError } from "./account";
import { followChanges } from "./live";
import { Empty, Message } from "./parts/message";
import { Toasts } from "./parts/toast";
import { reload } from "./pages/host-list";
import { Hosts } from "./pages/hosts";
import { Open } from "./pages/open";
import { Sessions } from "./pages/sessions";
import { Failure, Shell } from "./pages/shell";
import { SignIn } from "./pages/sign-in";
import { Working } from "./parts/working";
import { go, onLink, route } from "./router";
import { applyTheme } from "./settings";

/** How long the page stays empty until the relay has answered, in milliseconds. */
const PATIENCE = 200;

/** The secret of a sign-in link. It leaves the address bar and the history before anything else happens. */
const link = signal(takeSecret());

function takeSecret(): string | undefined {
  if (route.value.path !== "sign-in" || location.hash.length < 2) return undefined;
  const secret = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search);
  return secret;
}

addEventListener("hashchange", () => { link.value = takeSecret() ?? link.value; });

function App() {
  const account = me.value;
  const { path } = route.value;
  // A session that runs goes on when the sign-in has ended; only a new one needs another sign-in.
  const shown = useRef<string | undefined>(undefined);
  const goesOn = shown.current === path && path.startsWith("open/");
  if (account) shown.current = path;
  if (link.value !== undefined || (account === null && !goesOn)) {
    return <SignIn link={link.value} onLinkGone={() => { link.value = undefined; }} />;
  }
  if (account === undefined && !goesOn) {
    return (
      <Shell>
        <h1 class="sr">stream</h1>
        {meError.value
          ? <Message><Failure code={meError.value.code} message={meError.value.message} /> <button type="button" class="button small" onClick={() => void loadMe()}>Try again</button></Message>
          : <Working words="Loading…" />}
      </Shell>
    );
  }
  if (path === "sign-in") { go("", { replace: true }); return null; }
  if (path === "" || path === "index.html") return <Hosts />;
  if (path === "sessions") return <Sessions />;
  if (path.startsWith("open/")) return <Open />;
  return (
    <Shell>
      <div class="panel"><Empty alone icon="other" title="There is no such page"><a class="button" href="./" onClick={onLink}>To the hosts</a></Empty></div>
    </Shell>
  );
}

/** What the first view shows. */
async function load(): Promise<void> {
  await loadMe();
  if (me.value && route.value.path === "") await reload();
}

function show(): void {
  const root = document.getElementById("app");
  if (!root) return;
  root.textContent = "";
  render(<><App /><Toasts /></>, root);
}

applyTheme();
followChanges();
// A relay that answers at once saves the page from being drawn twice. Later than that, the page says that it waits.
void Promise.race([load(), new Promise((done) => setTimeout(done, PATIENCE))]).then(show);
