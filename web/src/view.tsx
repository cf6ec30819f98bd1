import "./styles/app.css";
import { render } from "preact";
import { signal } from "@preact/signals";
import { NoAddress, ViewPage } from "./pages/view";
import { Toasts } from "./parts/toast";
import { embedded, listenToParent, sendToParent } from "./session/embed";
import { parseFragment, type Given } from "./session/given";
import { applyTheme } from "./settings";

const isEmbed = /\/embed\/?$/.test(location.pathname);

/** The address leaves the address bar and the history before anything else happens. */
function takeAddress(): Given | undefined {
  if (isEmbed || location.hash.length < 2) return undefined;
  const fragment = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search);
  return parseFragment(fragment);
}

const address = signal(takeAddress());

addEventListener("hashchange", () => { address.value = takeAddress() ?? address.value; });

function App() {
  if (isEmbed) {
    const wish = embedded.value;
    if (wish === undefined) return <NoAddress embedded />;
    return (
      <ViewPage key={wish.given.url} given={wish.given} onOpen={() => sendToParent({ event: "open" })}
        onEnd={(code, sentence) => sendToParent({ event: "end", code, sentence })}
        onRenew={wish.renew ? () => sendToParent({ event: "renew" }) : undefined} />
    );
  }
  return address.value === undefined ? <NoAddress embedded={false} /> : <ViewPage key={address.value.url} given={address.value} />;
}

applyTheme();
if (isEmbed) listenToParent();
const root = document.getElementById("app");
if (root) {
  root.textContent = "";
  render(<><App /><Toasts /></>, root);
}
