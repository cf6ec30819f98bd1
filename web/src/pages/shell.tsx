import type { ComponentChildren } from "preact";
import { me, signOut, signOutFailed } from "../account";
import { apiEnd } from "../ends";
import { reachable } from "../live";
import { Icon } from "../parts/icons";
import { Menu, type Item } from "../parts/menu";
import { Message } from "../parts/message";
import { visible } from "../parts/text";
import { notify } from "../parts/toast";
import { Words } from "../parts/words";
import { onLink, route } from "../router";
import { themeItems } from "../parts/theme-menu";

async function leave(everywhere: boolean): Promise<void> {
  await signOut(everywhere);
  if (signOutFailed.peek() === undefined) notify(everywhere ? "You are signed out in every browser." : "You are signed out.");
}

/** That somebody who wanted to sign out is not signed out, or not for sure. It stays until that has changed. */
function SignOutFailed() {
  if (signOutFailed.value === undefined) return null;
  const { everywhere, error } = signOutFailed.value;
  return (
    <div class="banner">
      <Message>
        {me.value
          ? <><strong>You are still signed in.</strong> <button type="button" class="button small" onClick={() => void leave(everywhere)}>Try again</button></>
          : <><strong>You are signed out in this browser only.</strong> To end every other sign-in, sign in again and choose “Sign out everywhere”.</>}
        {" "}<Failure code={error.code} message={error.message} />
      </Message>
    </div>
  );
}

/** The page around a list: name, ways to the other pages, and the menu of the account. */
export function Shell({ children }: { children: ComponentChildren }) {
  const here = route.value.path;
  const account = me.value;
  const items: Item[] = [
    ...themeItems(),
    { label: "Account", heading: true },
    { label: "Sign out", run: () => void leave(false) },
    { label: "Sign out everywhere", run: () => void leave(true) },
  ];
  const link = (path: string, words: string) => (
    <a href={path === "" ? "./" : path} onClick={onLink} aria-current={here === path ? "page" : undefined}>{words}</a>
  );
  return (
    <div class="shell">
      <a class="skip" href={`${location.pathname}${location.search}#content`}>Skip to the content</a>
      <header class="top">
        <div class="top-inner">
          <a class="brand" href="./" onClick={onLink}><Icon name="mark" size={22} /><span>stream</span></a>
          {account && <nav aria-label="Pages">{link("", "Hosts")}{link("sessions", "Sessions")}</nav>}
          <span class="grow" />
          {account
            ? (
              <Menu label="Account and colours" class="account" items={items}>
                <Icon name="user" /><span class="account-name"><Words text={account.user} /></span>
                <Icon name="down" size={14} /><span class="sr">Account and colours</span>
              </Menu>
            )
            : <Menu label="Colours" icon="sun" items={themeItems()} />}
        </div>
      </header>
      <SignOutFailed />
      {account && !reachable.value && (
        <div class="banner"><Message tone="warn">The relay does not answer. What you see may be out of date; this page tries again by itself.</Message></div>
      )}
      <main id="content" tabIndex={-1}>{children}</main>
    </div>
  );
}

/** How a failed call reads: our sentence, and what the relay said in its own words. */
export function Failure({ code, message }: { code: string; message: string }) {
  return (
    <>
      <strong>{apiEnd(code).what}</strong> {apiEnd(code).why} {apiEnd(code).todo}
      {message !== "" && <span class="said">The relay said: “{visible(message)}” ({visible(code)})</span>}
    </>
  );
}
