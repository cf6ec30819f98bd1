//! Names of the HTTP headers of a host's dial, and the paths of the relay.

/// Where hosts dial in.
pub const HOST_PATH: &str = "/v1/host";

/// Where clients come in; the token follows.
pub const STREAM_PATH: &str = "/v1/stream/";

/// A client that keeps its token out of the path offers a subprotocol that begins so.
pub const TOKEN_SUBPROTOCOL: &str = "stream.token.";

/// A later client of a session shows the session's key as a subprotocol that begins so. It is never chosen.
pub const SESSION_SUBPROTOCOL: &str = "stream.session.";

/// Yes, as the value of a header (RFC 9651 section 3.3.6).
pub const YES: &str = "?1";

/// With [`YES`] the host understands that the answer gives its session a secret in a header of this name; spares of
/// the session show it.
pub const SESSION_SECRET: &str = "stream-session-secret";

/// With [`YES`] later clients that can show neither key nor cookie may be known by their address: as SPICE needs.
pub const SAME_ADDRESS: &str = "stream-same-address";

/// How many streams the host allows for one session: the grant can only lower it.
pub const MAX_STREAMS: &str = "stream-max-streams";

/// What the host's owner tuned the target for: the word of a [`Profile`](super::profile::Profile).
pub const PROFILE: &str = "stream-profile";

/// Simple mode: hard end of the session, in seconds.
pub const MAX_SECONDS: &str = "stream-max-seconds";

/// Simple mode: which host this is.
pub const HOST: &str = "stream-host";

/// Simple mode: the host's relay key.
pub const RELAY_KEY: &str = "stream-relay-key";

/// `stream-agent test-dial` says that it only looks: the relay closes such a client at once and records nothing.
pub const TEST: &str = "stream-test";
