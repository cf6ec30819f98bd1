//! `[limits]`: how many, how long, how often.

use std::time::Duration;

use serde::Deserialize;

use service::config::{ConfigError, Loaded};
use websocket::connection::Limits;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub(super) streams: u32,
    pub(super) unused: Option<usize>,
    #[serde(with = "humantime_serde")]
    pub(super) session: Duration,
    #[serde(with = "humantime_serde")]
    ping_interval: Duration,
    #[serde(with = "humantime_serde")]
    write_stall: Duration,
    #[serde(with = "humantime_serde")]
    pub(super) drain_timeout: Duration,
}

impl Default for RawLimits {
    fn default() -> RawLimits {
        let websocket = Limits::default();
        RawLimits {
            streams: 64,
            unused: None,
            session: Duration::from_secs(12 * 3600),
            ping_interval: websocket.ping_interval,
            write_stall: websocket.write_stall,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl RawLimits {
    pub(super) fn check(&self, loaded: &Loaded) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| loaded.error_at(&["limits", key], why);
        for (key, value) in [
            ("session", self.session),
            ("ping_interval", self.ping_interval),
            ("write_stall", self.write_stall),
        ] {
            if value.is_zero() {
                return Err(wrong(key, "must be longer than 0s"));
            }
        }
        if self.streams == 0 {
            return Err(wrong("streams", "must be at least 1"));
        }
        if self.unused == Some(0) {
            return Err(wrong("unused", "must be at least 1: no URL could be used then"));
        }
        Ok(())
    }

    /// The limits of each websocket.
    pub(super) fn websocket(&self) -> Limits {
        Limits { ping_interval: self.ping_interval, write_stall: self.write_stall, ..Limits::default() }
    }
}
