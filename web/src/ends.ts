/**
 * Every way in which a session can end or be refused, in sentences: what happened, why, and what to do.
 * The close codes are those of docs/protocol.md, the codes of errors those of docs/platform.md.
 */
export interface End {
  /** Whether all is well, a person may want to know, or something failed. */
  tone: "good" | "warn" | "bad";
  what: string;
  why: string;
  todo: string;
  /** What helps: a new session now, or nothing that a button can do. */
  again: boolean;
}

const end = (tone: End["tone"], again: boolean, what: string, why: string, todo: string): End => ({ tone, again, what, why, todo });

/** By close code of the websocket. */
export const CLOSE_CODES: Readonly<Record<number, End>> = {
  1000: end("good", true, "The target has ended.",
    "What you had open finished by itself: the program ended, the log is complete or the machine closed its side.",
    "Nothing is lost. Open it again if you need more."),
  1001: end("warn", true, "The host left.",
    "The other side closed the session in good order, for example because its agent stops or restarts.",
    "Open a new session. If it does not work at once, wait until the host is online again."),
  1002: end("bad", true, "The connection was closed because of a protocol error.",
    "This page or something on the way, such as a proxy, sent what the relay does not understand.",
    "Load the page again and open a new session. If it happens again, report the code 1002 to your administrator."),
  1006: end("bad", true, "The connection was lost.",
    "Your network, a proxy on the way or the relay broke it off without a reason.",
    "Check your network, then open a new session. What ran on the host may have ended with the connection."),
  1007: end("bad", true, "The connection was closed because of invalid text.",
    "A control message was not UTF-8. This page or something on the way damaged it.",
    "Load the page again and open a new session. If it happens again, report the code 1007 to your administrator."),
  1012: end("warn", true, "The relay is restarting.",
    "It is being updated or its settings changed, and every session through it ends.",
    "Wait a few seconds, then open a new session."),
  4400: end("bad", true, "The relay did not accept the request.",
    "The address of the session is damaged, or a proxy on the way changed the request.",
    "Open a new session. If it happens again, report the code 4400 to your administrator."),
  4401: end("bad", true, "The address of the session is incomplete.",
    "Its token does not have the form of one. The end of the address may be missing.",
    "Open a new session, or copy the whole address."),
  4403: end("bad", true, "You may not open this.",
    "The host's owner does not allow it in this way, or does not allow this page to connect.",
    "Ask the owner of the host, or your administrator, to allow it."),
  4404: end("warn", true, "No host waits for this session.",
    "The address was used before, is older than 60 seconds, or its session is over.",
    "Open a new session."),
  4408: end("warn", true, "The host did not connect in time.",
    "The session is open, but the host did not bring one more connection for it within five seconds.",
    "Open a new session. If it happens again, the host is overloaded or cannot reach the relay."),
  4409: end("warn", true, "This session is already in use.",
    "Its address was used before, maybe in another tab, and it does not allow one more connection.",
    "Open a new session. If you did not use the address yourself, ask your administrator."),
  4410: end("warn", true, "The session was ended.",
    "An administrator ended it, its time is over, or the owner of the host does not allow it any more.",
    "Open a new session if you still need it and may have it."),
  4413: end("bad", true, "A message was too large.",
    "This page or something on the way sent more at once than the relay accepts.",
    "Open a new session. If you pasted a very long text, paste it in parts."),
  4414: end("warn", true, "The connection stood still for too long.",
    "The host took nothing of what you sent for 30 seconds: its network is down, or the program there does not read.",
    "Open a new session. If you pasted a very long text, paste it in parts."),
  4429: end("warn", true, "Too many sessions are waiting.",
    "A limit on the relay or on the host is reached.",
    "Close sessions that you do not need, wait a moment, then open a new session."),
  4502: end("bad", true, "The target failed.",
    "The host could not open it, or it broke while it was open.",
    "Open a new session. If it fails again, the host's own log says why: look for this session."),
  4503: end("bad", true, "The connection to the host was lost.",
    "The host lost its network or its power, or its agent was ended.",
    "Wait until the host is online again, then open a new session."),
  4504: end("bad", true, "The target did not answer in time.",
    "The host tried to open it, and got no answer.",
    "Check on the host whether it runs, then open a new session."),
};

/** By code of an error of the API, of a host's refusal, and of this page. */
export const API_CODES: Readonly<Record<string, End>> = {
  // The API
  bad_request: end("bad", false, "The relay did not understand the request.", "A name or a value in it is not valid.",
    "Check what you entered."),
  unauthorized: end("bad", false, "You are not signed in.", "The key is unknown, or your sign-in has ended.",
    "Sign in with a key that your administrator gave you."),
  key_expired: end("bad", false, "Your key has expired.", "It was valid until a date that is over.",
    "Ask your administrator for a new key."),
  link_used: end("bad", false, "This link was already used.", "A sign-in link works once.",
    "Ask for a new link. If you did not use it yourself, ask your administrator."),
  link_expired: end("bad", false, "This link has expired.", "A sign-in link is valid for ten minutes.",
    "Ask for a new link."),
  plain_http: end("bad", false, "Sign-in needs a safe connection.",
    "This page came over plain HTTP, so everybody on the way could read your key.",
    "Open the page by https://, or on the relay's own machine."),
  other_host: end("bad", false, "This is not the relay's address for browsers.",
    "Sign-in belongs to one address, and this page came from another.",
    "Open the address that your administrator gave you, or that is in `public_urls` of the relay."),
  sign_in_off: end("bad", false, "Nobody can sign in here.", "The relay cannot use the directory that it needs for this.",
    "Ask your administrator: the relay's log has the cause."),
  cross_site: end("bad", false, "The relay refused the request because it does not come from its own page.",
    "Another site asked for it, or a proxy on the way changed the address of the page.",
    "Open the relay's own address. If you did, report the code cross_site to your administrator."),
  forbidden: end("bad", false, "Your key does not allow this.", "It lists which hosts, targets and ways to open them are allowed.",
    "Ask your administrator to allow it."),
  unknown_host: end("bad", false, "This host is not known.", "No agent with this name was seen since the relay started, and no key lists it.",
    "Check the name, or start the host's agent."),
  no_viewer: end("bad", false, "There is no file for a desktop viewer.", "A client has come already, none came in time, or the target is not a SPICE screen.",
    "Ask for a new session, or open the target in this page."),
  unsupported_type: end("bad", false, "The relay did not understand the page.", "The request was not JSON: a proxy on the way may have changed it.",
    "Reload the page. If it happens again, report the code unsupported_type to your administrator."),
  host_offline: end("warn", true, "The host is offline.", "No agent of this host is connected.",
    "Start the host or its agent, then try again."),
  unknown_session: end("warn", false, "This session is not known.", "It has ended long ago, or the relay was restarted.",
    "Look at the list of sessions."),
  not_found: end("bad", false, "The relay has nothing at this address.", "The relay may be older than this page.",
    "Load the page again."),
  method_not_allowed: end("bad", false, "The relay does not know this request.", "The relay may be older than this page.",
    "Load the page again."),
  request_timeout: end("warn", true, "The request took too long.", "The relay did not get all of it within ten seconds.",
    "Check your network, then try again."),
  unsupported_media_type: end("bad", false, "The relay did not accept the form of the request.", "The relay may be older than this page.",
    "Load the page again."),
  too_large: end("bad", false, "The request is too large.", "The relay takes at most 64 KiB.", "Enter shorter values."),
  too_many_requests: end("warn", true, "You ask too often.", "Your key allows a number of requests in a minute.",
    "Wait a minute, then try again."),
  busy: end("warn", true, "Too many sessions are open.", "A limit of your key or of the host is reached.",
    "End sessions that you do not need, then try again."),
  internal: end("bad", true, "Something is wrong in the program.", "This is a fault, and not your doing.",
    "Try again. If it happens again, report to your administrator when it happened."),
  host_not_understood: end("bad", false, "The host's answer was not understood.", "Its agent has another version than the relay.",
    "Ask your administrator to update the agent of this host."),
  unavailable: end("bad", true, "The relay cannot reach its hosts.", "Its connection to NATS is down, or does not permit the request.",
    "Try again in a minute. If it stays so, ask your administrator."),
  host_not_answering: end("warn", true, "The host does not answer.", "It is connected, but it is overloaded or cannot reach the relay.",
    "Try again in a moment."),
  // A host's refusal
  bad_command: end("bad", false, "The host did not understand the request.", "Its agent has another version than the relay.",
    "Ask your administrator to update the agent of this host."),
  unsupported_version: end("bad", false, "The host does not know this version of the request.", "Its agent has another version than the relay.",
    "Ask your administrator to update the agent of this host."),
  wrong_auth_mode: end("bad", false, "The host expects another kind of permission.", "Relay and host have different settings under [auth].",
    "Ask your administrator to set the same mode at both."),
  grant_malformed: end("bad", false, "The host did not accept the permission.", "It is damaged or incomplete.",
    "Report the code grant_malformed to your administrator."),
  grant_algorithm: end("bad", false, "The host did not accept the permission.", "It is signed in a way that hosts refuse.",
    "Report the code grant_algorithm to your administrator."),
  grant_unknown_issuer: end("bad", false, "The host does not know this platform.", "The platform's public key is not on the host.",
    "Ask your administrator to copy the key to the host's folder issuers.d."),
  grant_signature: end("bad", false, "The host did not accept the permission.", "Its signature does not fit the key that the host has.",
    "Ask your administrator to copy the platform's present key to the host."),
  grant_expired: end("warn", true, "The permission came too late.", "It is valid for less than a minute, and the clocks may differ.",
    "Try again. If it happens again, set the clocks of relay and host."),
  grant_audience: end("bad", false, "The permission is for another host.", "Two hosts may have mixed up their names.",
    "Ask your administrator to check the host's id."),
  grant_replayed: end("warn", true, "The permission was used before.", "Each one is valid once.", "Try again."),
  grant_proof: end("bad", false, "The host could not prove who it is.", "Its key is missing or is not the expected one.",
    "Ask your administrator to check the host's key."),
  relay_key: end("bad", false, "The host does not have the relay's key.", "It is missing or wrong in the host's settings.",
    "Ask your administrator to set it."),
  relay_not_allowed: end("bad", false, "The host does not trust this relay.", "The relay's address is not on the host's list.",
    "Ask the owner of the host to add it."),
  target_not_allowed: end("bad", false, "The host has no such target.", "It is not on the list of what the owner allows, or was removed.",
    "Choose another target, or ask the owner of the host to add it."),
  mode_not_allowed: end("bad", false, "The target cannot be opened in this way.", "Its owner allows it only read-only, or only for writing.",
    "Open it in the other way."),
  params_not_allowed: end("warn", false, "The target does not take these values.", "The owner of the host has rules for them.",
    "Correct the values and try again."),
  relay_unreachable: end("bad", true, "The host cannot reach the relay.", "Its network, a proxy or a certificate is in the way.",
    "Try again. If it happens again, run stream-agent test-dial on the host."),
  relay_refused: end("bad", true, "The relay refused the host.", "The two do not agree about the permission.",
    "Try again. If it happens again, ask your administrator."),
  no_session: end("warn", false, "The host has no such session.", "It has ended meanwhile.", "Nothing needs to be done."),
  relay_starting: end("warn", true, "The relay has just started.", "For a few seconds it cannot know what was used before.",
    "Try again in a few seconds."),
  stopping: end("warn", true, "The host's agent is stopping.", "It is being restarted or shut down.",
    "Wait until the host is online again, then try again."),
  // This page
  unreachable: end("bad", true, "The relay does not answer.", "Your network is down, or the relay is.",
    "Check your network, then try again."),
  not_understood: end("bad", true, "The answer was not understood.", "It does not come from a relay, but maybe from a proxy on the way.",
    "Try again. If it happens again, ask your administrator."),
  closed: end("good", true, "You closed the session.", "Nothing is running in it any more.", "Open a new session if you need one."),
  wrong_view: end("bad", true, "This view cannot show the target.", "What the target sends is not VNC or SPICE.",
    "Open it in another way, or ask the owner of the host what it is."),
  wrong_password: end("bad", true, "The screen refused the password.", "It is not the one that the screen was given on the host.",
    "Open a new session and enter it again, or ask for the password."),
  view_failed: end("bad", true, "This page could not show the session.", "A part of the page could not be loaded or failed.",
    "Load the page again, then open a new session."),
};

const UNKNOWN_CLOSE = end("bad", true, "The session ended.", "The other side gave a reason that this page does not know.",
  "Open a new session. If it happens again, report the code to your administrator.");
const UNKNOWN_ERROR = end("bad", true, "The relay refused the request.", "It gave a reason that this page does not know.",
  "Try again. If it happens again, report the code to your administrator.");

export function closeEnd(code: number): End {
  return CLOSE_CODES[code] ?? UNKNOWN_CLOSE;
}

export function apiEnd(code: string): End {
  return Object.hasOwn(API_CODES, code) ? API_CODES[code] ?? UNKNOWN_ERROR : UNKNOWN_ERROR;
}

/** All of it in one text. */
export function sentence(of: End): string {
  return `${of.what} ${of.why} ${of.todo}`;
}
