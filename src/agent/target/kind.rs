//! What every kind of target has to provide, and the enum over all of them.

use serde::de::DeserializeOwned;

use super::config::TargetConfigError;
use super::opened::{OpenError, Opened, Opening};
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;

/// Checked settings of one kind, and how a target with these settings is opened.
pub(super) trait Settings: Sized {
    /// The word that stands as `kind` in the configuration.
    const NAME: &'static str;
    /// Streams at once where the owner does not say.
    const MAX_STREAMS: u32;
    /// The most streams that make sense.
    const MOST_STREAMS: u32 = 4096;
    /// What streams are tuned for where the owner does not say.
    const PROFILE: Profile;
    /// The kind's own keys, as they are written. Must refuse unknown fields.
    type Raw: DeserializeOwned;

    fn check(raw: Self::Raw) -> Result<Self, TargetConfigError>;

    /// What the target can be opened for; the first is the default.
    fn modes(&self) -> &'static [Mode];

    async fn open(&self, opening: Opening) -> Result<Opened, OpenError>;

    async fn probe(&self) -> Result<String, OpenError>;
}

/// An enum and not a trait object: settings can be compared, and futures need no box.
macro_rules! kinds {
    ($($variant:ident($settings:ty),)+) => {
        mod all {
            use super::*;
            use super::config::{self, Limits};
            use super::kind::Settings;

            /// One of the kinds, with its checked settings.
            #[derive(Clone, Debug, PartialEq)]
            pub(in crate::agent::target) enum Kind { $($variant($settings)),+ }

            impl Kind {
                /// Names of all kinds.
                pub(in crate::agent::target) const NAMES: &[&str] = &[$(<$settings>::NAME),+];

                /// Reads and checks a kind's own keys; `None` for an unknown kind.
                pub(in crate::agent::target) fn from_table(
                    name: &str,
                    table: toml::Table,
                ) -> Option<Result<(Kind, Limits), TargetConfigError>> {
                    match name {
                        $(<$settings>::NAME => Some(config::read::<$settings>(table).map(
                            |(settings, limits)| (Kind::$variant(settings), limits),
                        )),)+
                        _ => None,
                    }
                }

                pub(in crate::agent::target) fn name(&self) -> &'static str {
                    match self { $(Kind::$variant(_) => <$settings>::NAME),+ }
                }

                pub(in crate::agent::target) async fn open(
                    &self,
                    opening: Opening,
                ) -> Result<Opened, OpenError> {
                    match self { $(Kind::$variant(settings) => settings.open(opening).await),+ }
                }

                pub(in crate::agent::target) async fn probe(&self) -> Result<String, OpenError> {
                    match self { $(Kind::$variant(settings) => settings.probe().await),+ }
                }
            }
        }
    };
}

pub(super) use kinds;
