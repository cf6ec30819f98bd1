//! What every kind of target has to provide.

use serde::de::DeserializeOwned;

use crate::support::candidate::Findings;
use crate::support::cell::Cell;
use crate::support::opened::{OpenError, Opened, Opening};
use crate::support::params::{Param, ParamError, Params};
use crate::support::value::TargetConfigError;
use crate::support::wants::Wants;
use protocol::mode::Mode;
use protocol::profile::Profile;
use protocol::view::View;

/// How many connections a client opens to a target, as far as the kind determines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connections {
    /// One: a terminal, a log, a VNC screen.
    One,
    /// SPICE: one for each channel, and they belong together.
    Several,
    /// Unknown, because any protocol may be behind it. The owner allows more than one with `session_streams`, or by
    /// writing `max_streams`.
    Unknown,
}

/// Checked settings of one kind, and how a target with these settings is opened.
pub(super) trait Settings: Sized {
    /// The value of `kind` in the configuration.
    const NAME: &'static str;
    /// How many streams may be open at once if the owner does not say.
    const MAX_STREAMS: u32;
    /// The highest `max_streams` that the owner may write.
    const MOST_STREAMS: u32 = 4096;
    /// The profile if neither the owner nor [`Settings::profile`] says another.
    const PROFILE: Profile;
    /// The kind's own keys as the owner writes them. Must refuse unknown fields.
    type Raw: DeserializeOwned;
    /// These settings with the grant's parameters filled in.
    type Bound: Open;

    fn check(raw: Self::Raw) -> Result<Self, TargetConfigError>;

    /// The profile if the owner does not say.
    fn profile(&self) -> Profile {
        Self::PROFILE
    }

    fn connections(&self) -> Connections {
        Connections::One
    }

    /// The modes that the kind supports; the first is the default.
    fn modes(&self) -> &'static [Mode];

    /// What shows the target, if that is known.
    fn view(&self) -> Option<View> {
        self.is_terminal().then_some(View::Terminal)
    }

    /// The parameters that a grant may have.
    fn params(&self) -> Vec<Param> {
        vec![]
    }

    /// Whether clients should treat the target as a terminal.
    fn is_terminal(&self) -> bool {
        false
    }

    /// Takes the parameters that the kind knows. The caller refuses those that are left.
    fn bind(&self, params: &mut Params<'_>) -> Result<Self::Bound, ParamError>;

    async fn probe(&self) -> Result<String, OpenError>;

    /// Which process of the split agent opens it. Must not be [`Cell::Opener`] if it runs a program on this host, which
    /// would share the opener's user.
    fn cell(&self) -> Cell {
        Cell::Opener
    }

    /// What the target needs beyond the sandbox of the shipped unit.
    fn wants(&self) -> Vec<Wants>;

    /// What this host has that the kind opens, for owners who look for it, and a remark for each place that could not be
    /// searched. What does not exist here is none of both.
    async fn discover() -> Findings {
        vec![]
    }
}

/// Settings with all parameters filled in.
pub(super) trait Open {
    async fn open(&self, opening: Opening) -> Result<Opened, OpenError>;
}
