/** Who is signed in. */
import { signal } from "@preact/signals";
import { ApiError, api, type Me } from "./api";

/** `undefined` until the relay answered, `null` if nobody is signed in. */
export const me = signal<Me | null | undefined>(undefined);
/** Why the relay could not say who is signed in. */
export const meError = signal<ApiError | undefined>(undefined);

/** Codes after which this browser has to sign in again. */
const SIGNED_OUT = new Set(["unauthorized", "key_expired", "signed_out"]);

export async function loadMe(): Promise<void> {
  meError.value = undefined;
  try {
    me.value = await api.me();
  } catch (error) {
    const failure = asApiError(error);
    if (failure.status === 401) me.value = null;
    else meError.value = failure;
  }
}

/** The error of a call. If it says that nobody is signed in any more, the sign-in page appears. */
export function asApiError(error: unknown): ApiError {
  if (!(error instanceof ApiError)) return new ApiError(0, "internal", error instanceof Error ? error.message : String(error));
  if (error.status === 401 && SIGNED_OUT.has(error.code) && me.peek() != null) me.value = null;
  return error;
}

/** From now on this browser acts for this account. */
export function signedIn(account: Me): void {
  signOutFailed.value = undefined;
  me.value = account;
  tabs.postMessage("");
}

/** A sign-out that did not succeed, or not everywhere. */
export const signOutFailed = signal<{ everywhere: boolean; error: ApiError } | undefined>(undefined);

/** Signs out. If that fails, what the relay says afterwards counts: this browser may be signed out all the same. */
export async function signOut(everywhere: boolean): Promise<void> {
  signOutFailed.value = undefined;
  try {
    await api.signOut(everywhere);
    me.value = null;
  } catch (failure) {
    const error = asApiError(failure);
    if (me.peek() !== null && error.status !== 0) await loadMe();
    const isDone = me.peek() === null && error.status === 401 && !everywhere;
    if (!isDone) signOutFailed.value = { everywhere, error };
  }
  tabs.postMessage("");
}

/** Whose account this browser acts for; empty if nobody is signed in. */
export function asker(): string {
  const account = me.peek();
  return account ? JSON.stringify([account.key, account.user]) : "";
}

/** Calls this when somebody else, or nobody, is signed in: the next user must not see what was loaded for the last one. */
export function onOtherUser(forget: () => void): void {
  let before = asker();
  me.subscribe(() => {
    if (asker() === before) return;
    before = asker();
    forget();
  });
}

/** The other tabs have the same cookie. */
const tabs = new BroadcastChannel("stream-account");
tabs.onmessage = () => void loadMe();
