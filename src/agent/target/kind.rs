//! What every kind of target has to provide, and the enum over all of them.

use serde::de::DeserializeOwned;

use super::config::TargetConfigError;
use super::opened::{OpenError, Opened, Opening};
use super::params::{ParamError, Params};
use super::sandbox::Wants;
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;

/// How many connections a client of a target opens, as far as its kind tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connections {
    /// One: a terminal, a log, a VNC screen.
    One,
    /// SPICE: one for each channel, and they belong together.
    Several,
    /// Any protocol may be behind it. More than one are the owner's choice: `session_streams`, or `max_streams`
    /// where it is written.
    Unknown,
}

/// Checked settings of one kind, and how a target with these settings is opened.
pub(super) trait Settings: Sized {
    /// The word that stands as `kind` in the configuration.
    const NAME: &'static str;
    /// Streams at once where the owner does not say.
    const MAX_STREAMS: u32;
    /// The most streams that make sense.
    const MOST_STREAMS: u32 = 4096;
    /// What streams of most targets of the kind are tuned for.
    const PROFILE: Profile;
    /// The kind's own keys, as they are written. Must refuse unknown fields.
    type Raw: DeserializeOwned;
    /// What is opened: these settings with a grant's parameters in their places.
    type Bound: Open;

    fn check(raw: Self::Raw) -> Result<Self, TargetConfigError>;

    /// What its streams are tuned for where the owner does not say.
    fn profile(&self) -> Profile {
        Self::PROFILE
    }

    /// How many connections a client opens.
    fn connections(&self) -> Connections {
        Connections::One
    }

    /// What the target can be opened for; the first is the default.
    fn modes(&self) -> &'static [Mode];

    /// Names of the parameters that a grant may have.
    fn params(&self) -> Vec<String> {
        vec![]
    }

    /// Whether a terminal stands behind it.
    fn is_terminal(&self) -> bool {
        false
    }

    /// Takes the parameters that have a place here; what is left is refused by the caller.
    fn bind(&self, params: &mut Params<'_>) -> Result<Self::Bound, ParamError>;

    async fn probe(&self) -> Result<String, OpenError>;

    /// What the service's sandbox has to give for it.
    fn wants(&self) -> Vec<Wants>;
}

/// Settings with nothing left open.
pub(super) trait Open {
    async fn open(&self, opening: Opening) -> Result<Opened, OpenError>;
}

/// An enum and not a trait object: settings can be compared, and futures need no box.
macro_rules! kinds {
    ($($variant:ident($settings:ty),)+) => {
        mod all {
            use super::*;
            use super::config::{self, Limits};
            use super::kind::{Open, Settings};
            use super::params::{ParamError, Params};
            use super::sandbox::Wants;

            /// One of the kinds, with its checked settings.
            #[derive(Clone, Debug, PartialEq)]
            pub(in crate::agent::target) enum Kind { $($variant($settings)),+ }

            /// One of the kinds, with nothing left open.
            #[derive(Clone, Debug)]
            pub(in crate::agent::target) enum Bound { $($variant(<$settings as Settings>::Bound)),+ }

            impl Kind {
                /// Names of all kinds.
                pub(in crate::agent::target) const NAMES: &[&str] = &[$(<$settings>::NAME),+];

                /// The keys that each kind has for itself.
                pub(in crate::agent::target) fn keys() -> Vec<(&'static str, &'static [&'static str])> {
                    vec![$((<$settings>::NAME, config::keys::<<$settings as Settings>::Raw>())),+]
                }

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

                pub(in crate::agent::target) fn params(&self) -> Vec<String> {
                    match self { $(Kind::$variant(settings) => settings.params()),+ }
                }

                pub(in crate::agent::target) fn is_terminal(&self) -> bool {
                    match self { $(Kind::$variant(settings) => settings.is_terminal()),+ }
                }

                pub(in crate::agent::target) fn wants(&self) -> Vec<Wants> {
                    match self { $(Kind::$variant(settings) => settings.wants()),+ }
                }

                pub(in crate::agent::target) fn bind(
                    &self,
                    params: &mut Params<'_>,
                ) -> Result<Bound, ParamError> {
                    match self { $(Kind::$variant(settings) => settings.bind(params).map(Bound::$variant)),+ }
                }

                pub(in crate::agent::target) async fn probe(&self) -> Result<String, OpenError> {
                    match self { $(Kind::$variant(settings) => settings.probe().await),+ }
                }
            }

            impl Bound {
                pub(in crate::agent::target) async fn open(
                    &self,
                    opening: Opening,
                ) -> Result<Opened, OpenError> {
                    match self { $(Bound::$variant(bound) => bound.open(opening).await),+ }
                }
            }
        }
    };
}

pub(super) use kinds;
