//! Names of the HTTP headers of a host's dial, and the paths of the relay.

/// Where hosts dial in.
pub const HOST_PATH: &str = "/v1/host";

/// Where clients come in; the token follows.
pub const STREAM_PATH: &str = "/v1/stream/";

/// A client that keeps its token out of the path offers a subprotocol that begins so.
pub const TOKEN_SUBPROTOCOL: &str = "stream.token.";

/// How many streams the host allows for the target: the grant can only lower it.
pub const MAX_STREAMS: &str = "stream-max-streams";

/// What the host's owner tuned the target for: the word of a [`Profile`](super::profile::Profile).
pub const PROFILE: &str = "stream-profile";

/// Simple mode: hard end of the session, in seconds.
pub const MAX_SECONDS: &str = "stream-max-seconds";

/// Simple mode: which host this is.
pub const HOST: &str = "stream-host";

/// Simple mode: the host's relay key.
pub const RELAY_KEY: &str = "stream-relay-key";
