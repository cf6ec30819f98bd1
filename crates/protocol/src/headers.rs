//! Names of the HTTP headers of a host's dial, and the paths of the relay.

/// The path that hosts dial.
pub const HOST_PATH: &str = "/v1/host";

/// The path for clients; the token follows.
pub const STREAM_PATH: &str = "/v1/stream/";

/// Prefix of the subprotocol by which a client shows its token instead of in the path.
pub const TOKEN_SUBPROTOCOL: &str = "stream.token.";

/// Prefix of the subprotocol by which a client shows its session's key. The relay never chooses it.
pub const SESSION_SUBPROTOCOL: &str = "stream.session.";

/// The header value for yes: a boolean of RFC 9651 section 3.3.6.
pub const YES: &str = "?1";

/// With [`YES`] the host announces that it understands session secrets. The answer then has the secret in a header of
/// this name, and spares of the session show it.
pub const SESSION_SECRET: &str = "stream-session-secret";

/// With [`YES`] later clients without key and cookie may be recognised by their address, as SPICE needs.
pub const SAME_ADDRESS: &str = "stream-same-address";

/// How many streams the host allows for one session. The grant can only lower it.
pub const MAX_STREAMS: &str = "stream-max-streams";

/// The target's [`Profile`](super::profile::Profile), by its label.
pub const PROFILE: &str = "stream-profile";

/// Simple mode: hard end of the session, in seconds.
pub const MAX_SECONDS: &str = "stream-max-seconds";

/// Simple mode: the host's id.
pub const HOST: &str = "stream-host";

/// Simple mode: the host's relay key.
pub const RELAY_KEY: &str = "stream-relay-key";

/// Marks a test by `stream-agent test-dial`: the relay closes such a client at once, and records nothing.
pub const TEST: &str = "stream-test";

/// The value of [`TEST`] in the relay's answer to a client: the request has no `X-Forwarded-For`.
pub const FORWARDED_ABSENT: &str = "absent";

/// The same: `X-Forwarded-For` came from an address that is not in `trusted_proxies`.
pub const FORWARDED_IGNORED: &str = "ignored";

/// The same: `X-Forwarded-For` came from a trusted proxy.
pub const FORWARDED_BELIEVED: &str = "believed";
