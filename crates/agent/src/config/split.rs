//! `[split]`: how far the opener of a split agent believes the network half.

use serde::Deserialize;

use service::config::{ConfigError, Loaded};

use super::auth::Mode;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSplit {
    /// For simple mode, in which nothing proves that a platform has asked.
    trust_network_half: bool,
    /// Whether programs whose target does not say may use the network.
    pub(super) network: bool,
    /// Whether an opener is kept ready for the next session.
    pub(super) spare: bool,
}

impl Default for RawSplit {
    fn default() -> RawSplit {
        RawSplit { trust_network_half: false, network: false, spare: true }
    }
}

impl RawSplit {
    /// Both halves check it: neither begins in simple mode if the owner has not said so.
    pub(super) fn check(&self, mode: Mode, loaded: &Loaded) -> Result<(), ConfigError> {
        if mode == Mode::Signed || self.trust_network_half {
            return Ok(());
        }
        let why = "in simple mode nothing proves to the opener that a platform has asked: use signed commands, run the \
                   agent unsplit, or let the opener believe the network half (trust_network_half = true in [split])";
        let error = loaded.error_at(&["auth", "mode"], why);
        Err(error.corrected_by(Some("[split]"), "trust_network_half = true"))
    }
}
