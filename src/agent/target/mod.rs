//! Local targets: what a host owner allows to be opened, and how each kind is opened.
//!
//! This folder is the one place where a kind is added: a file here, a line in `kinds!`.
//! An opened target is bytes out, bytes in and perhaps a process; nothing here knows the relay.

mod access;
mod config;
mod container;
mod display;
mod exec;
mod fifo;
mod file;
mod incus;
mod journal;
mod kind;
mod libvirt;
mod log;
mod lxc;
mod machine;
mod names;
mod opened;
mod params;
mod passing;
mod program;
mod qmp;
pub mod sandbox;
mod serial;
mod tcp;
#[cfg(test)]
pub(in crate::agent) mod testing;
mod unix;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::command::TargetInfo;
use crate::protocol::end::End;
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;

pub use config::TargetConfigError;
use opened::Opening;
pub use opened::{Ask, Input, OpenError, Opened, Output, Process, Window, all_gone};
pub use params::ParamError;
use params::Params;

/// One thing on this host that may be opened, as its owner described it.
///
/// Two targets are equal when nothing that the owner wrote differs, defaults included.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The only thing about a target that travels in grants.
    pub name: String,
    /// For people, where the owner gave one.
    pub title: Option<String>,
    /// What may be granted; never empty, the first is the default.
    pub modes: Vec<Mode>,
    /// Streams at once, by all sessions together.
    pub max_streams: u32,
    /// Streams of one session in all.
    pub session_streams: u32,
    /// Whether later clients of a session that can show nothing may be known by their address.
    pub same_address: bool,
    /// How long opening may take.
    pub open_timeout: Duration,
    /// What its streams are tuned for.
    pub profile: Profile,
    kind: all::Kind,
}

kind::kinds! {
    Tcp(tcp::Tcp),
    Unix(unix::Unix),
    Fifo(fifo::Fifo),
    File(file::File),
    Journal(journal::Journal),
    Exec(exec::Exec),
    Libvirt(libvirt::Libvirt),
    Qmp(qmp::Qmp),
    Serial(serial::Serial),
    Lxc(lxc::Lxc),
    Incus(incus::Incus),
    Machine(machine::Machine),
    Container(container::Container),
}

impl Target {
    /// All kinds, each with the keys that it has for itself.
    pub fn kinds() -> Vec<(&'static str, &'static [&'static str])> {
        all::Kind::keys()
    }

    /// The word that stands as `kind` in the configuration.
    pub fn kind_name(&self) -> &'static str {
        self.kind.name()
    }

    /// Whether it is a terminal, which has a size.
    pub fn is_terminal(&self) -> bool {
        self.kind.is_terminal()
    }

    /// Whether a client runs a program of this host as the user that the agent has.
    pub fn runs_as_agent(&self) -> bool {
        matches!(&self.kind, all::Kind::Exec(exec) if exec.has_no_user())
    }

    /// What may be told about the target: never addresses, paths or programs.
    pub fn info(&self) -> TargetInfo {
        TargetInfo {
            name: self.name.clone(),
            kind: self.kind_name().to_owned(),
            title: self.title.clone(),
            modes: self.modes.clone(),
            params: self.kind.params(),
            terminal: self.kind.is_terminal(),
        }
    }

    /// Fills in a grant's parameters: only what comes out of it can be opened.
    ///
    /// # Errors
    /// The first parameter that is unknown, missing or against its rule.
    pub fn bind(&self, params: &BTreeMap<String, String>) -> Result<Bound, ParamError> {
        let mut params = Params::new(params);
        let kind = self.kind.bind(&mut params)?;
        params.finish()?;
        let Target { modes, open_timeout, profile, .. } = self;
        Ok(Bound {
            kind,
            modes: modes.clone(),
            open_timeout: *open_timeout,
            profile: *profile,
            name: self.kind_name(),
        })
    }

    /// Looks whether the target could be opened, and says what was found. Runs nothing, takes
    /// no byte from anybody; sockets are connected and closed.
    ///
    /// # Errors
    /// As for [`Target::open`].
    pub async fn probe(&self) -> Result<String, OpenError> {
        in_time(self.open_timeout, self.kind_name(), self.kind.probe()).await
    }
}

/// A target with a grant's parameters in their places.
#[derive(Clone, Debug)]
pub struct Bound {
    kind: all::Bound,
    modes: Vec<Mode>,
    open_timeout: Duration,
    profile: Profile,
    name: &'static str,
}

impl Bound {
    /// Opens the target. Kinds without a terminal ignore `window`.
    ///
    /// # Errors
    /// [`End::TargetTimeout`] after `open_timeout`, [`End::NotAllowed`] for a mode that the
    /// owner did not list, else [`End::TargetFailed`].
    pub async fn open(&self, mode: Mode, window: Option<Window>) -> Result<Opened, OpenError> {
        // The allowlist has looked already; a mistake there must not become a way in.
        if !self.modes.contains(&mode) {
            let message = format!("mode {mode} is not among the modes of this target");
            return Err(OpenError { end: End::NotAllowed, message });
        }
        let opening = Opening { mode, window, profile: self.profile };
        in_time(self.open_timeout, self.name, self.kind.open(opening)).await
    }
}

async fn in_time<T>(
    limit: Duration,
    kind: &str,
    work: impl Future<Output = Result<T, OpenError>>,
) -> Result<T, OpenError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => {
            let limit = humantime_serde::re::humantime::format_duration(limit);
            let message = format!("the {kind} target did not open in {limit}");
            Err(OpenError { end: End::TargetTimeout, message })
        }
    }
}
