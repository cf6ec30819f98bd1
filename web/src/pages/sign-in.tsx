import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { signedIn } from "../account";
import { ApiError, api, type Me } from "../api";
import { ConsentButton } from "../parts/consent-button";
import { Icon } from "../parts/icons";
import { Message } from "../parts/message";
import { Words } from "../parts/words";
import { go, route, setTitle } from "../router";
import { Failure, Shell } from "./shell";

interface SignInProps {
  /** The secret of a one-time link, until it is used. */
  link: string | undefined;
  onLinkGone(): void;
}

export function SignIn({ link, onLinkGone }: SignInProps) {
  useEffect(() => setTitle("Sign in"), []);
  const done = (account: Me) => {
    onLinkGone();
    signedIn(account);
    // A page that asked for a sign-in is shown then; the sign-in page itself leads to the hosts.
    if (route.peek().path === "sign-in") go("", { replace: true });
  };
  return (
    <Shell>
      <div class="sign-in">
        <div class="panel card">
          <Icon name="mark" size={36} />
          {link === undefined ? <ByKey onDone={done} /> : <ByLink link={link} onDone={done} onOther={onLinkGone} />}
        </div>
        <p class="muted small">Sessions, logs and screens of hosts that dial out.</p>
      </div>
    </Shell>
  );
}

function ByKey({ onDone }: { onDone(account: Me): void }) {
  const input = useRef<HTMLInputElement>(null);
  const busy = useSignal(false);
  const error = useSignal<ApiError | undefined>(undefined);
  useEffect(() => input.current?.focus(), []);
  const submit = async (event: Event) => {
    event.preventDefault();
    const key = input.current?.value.trim() ?? "";
    if (key === "" || busy.value) return;
    busy.value = true;
    error.value = undefined;
    try {
      const account = await api.signIn({ api_key: key });
      if (input.current) input.current.value = "";
      onDone(account);
    } catch (failure) {
      error.value = failure as ApiError;
      busy.value = false;
      input.current?.select();
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)}>
      <h1>Sign in</h1>
      <label for="key">API key</label>
      <input id="key" ref={input} type="password" autocomplete="off" spellcheck={false} required maxLength={4096}
        aria-describedby="key-help" />
      <p id="key-help" class="help">The key that your administrator gave you. This page uses it once and does not keep it.</p>
      {error.value && <Message><KeyFailure error={error.value} /></Message>}
      <button type="submit" class="button primary full" disabled={busy.value}>{busy.value ? "Signing in…" : "Sign in"}</button>
      <p class="help">No key? Ask your administrator for one, or for a sign-in link.</p>
    </form>
  );
}

function KeyFailure({ error }: { error: ApiError }) {
  if (error.code === "unauthorized") {
    return <><strong>This key is not known.</strong> It may be mistyped, or was removed. Copy the whole key again, or ask your administrator.</>;
  }
  return <Failure code={error.code} message={error.message} />;
}

function ByLink({ link, onDone, onOther }: { link: string; onDone(account: Me): void; onOther(): void }) {
  const account = useSignal<Me | undefined>(undefined);
  const error = useSignal<ApiError | undefined>(undefined);
  const busy = useSignal(false);
  const preview = async () => {
    error.value = undefined;
    try {
      account.value = await api.preview(link);
    } catch (failure) {
      error.value = failure as ApiError;
    }
  };
  useEffect(() => void preview(), [link]);
  const redeem = async () => {
    busy.value = true;
    error.value = undefined;
    try {
      onDone(await api.signIn({ link }));
    } catch (failure) {
      error.value = failure as ApiError;
      busy.value = false;
    }
  };
  const spent = error.value !== undefined && error.value.status === 401;
  return (
    <div>
      <h1>Sign in by link</h1>
      {error.value && <Message><LinkFailure error={error.value} /></Message>}
      {account.value === undefined && error.value === undefined && <p class="muted" role="status">Looking at the link…</p>}
      {account.value && !spent && (
        <>
          <p>This link signs you in as <strong><Words text={account.value.user} /></strong>. It works once.</p>
          <ConsentButton class="button primary full" busy={busy.value} onClick={() => void redeem()}>
            Sign in as <Words text={account.value.user} />
          </ConsentButton>
        </>
      )}
      {error.value && !spent && account.value === undefined && (
        <button type="button" class="button full" onClick={() => void preview()}>Try again</button>
      )}
      <button type="button" class="button quiet full" onClick={onOther}>Use an API key instead</button>
    </div>
  );
}

function LinkFailure({ error }: { error: ApiError }) {
  if (error.code === "unauthorized") {
    return <><strong>This link is not valid.</strong> It may be cut off, or the relay was restarted. Copy the whole link, or ask for a new one.</>;
  }
  return <Failure code={error.code} message={error.message} />;
}
