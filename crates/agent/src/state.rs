//! What all sessions of the agent share. Imports none of the files that use it.

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Result;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use opener::Opener;
use protocol::audit::Record;
use service::audit::Sink;
use service::metrics::Counter;
use service::throttle::Throttle;
use websocket::dial::Dialer;

use super::config::Settings;
use super::places::Places;
use super::sessions::Sessions;

pub(crate) struct State {
    settings: RwLock<Arc<Settings>>,
    dialer: RwLock<Dialer>,
    pub(crate) opener: Opener,
    pub(crate) places: Places,
    pub(crate) sessions: Sessions,
    pub(crate) audit: Sink,
    /// Limits the records of refused commands whose sender is unknown, by the code of the refusal.
    pub(crate) unsigned: Throttle<&'static str>,
    /// Limits the records of refused signed commands, by session: anyone can repeat such a command.
    pub(crate) signed: Throttle<String>,
    /// Set when the agent accepts no new sessions.
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl State {
    /// The state of a new agent, and the records to publish.
    ///
    /// # Errors
    /// If the certificates for relays cannot be used.
    pub(crate) fn new(
        settings: Settings,
        opener: Opener,
        stopping: CancellationToken,
        tasks: TaskTracker,
    ) -> Result<(State, mpsc::Receiver<Record>)> {
        let unsigned = Throttle::new("refused commands", Counter::default());
        let (audit, published) = Sink::published(unsigned.clone());
        let state = State {
            dialer: RwLock::new(dialer(&settings)?),
            opener,
            places: Places::new(settings.streams),
            sessions: Sessions::default(),
            settings: RwLock::new(Arc::new(settings)),
            audit,
            unsigned,
            signed: Throttle::new("refusals of signed commands", Counter::default()),
            stopping,
            tasks,
        };
        Ok((state, published))
    }

    /// Applies new settings. Streams whose target was removed or changed end. Returns whether host id, prefix or NATS
    /// differ: these need a restart.
    ///
    /// # Errors
    /// If the certificates for relays cannot be used. Then nothing changes.
    pub(crate) fn reload(&self, settings: Settings) -> Result<bool> {
        let dialer = dialer(&settings)?;
        let old = self.settings();
        let needs_restart =
            settings.nats != old.nats || settings.host != old.host || settings.prefix != old.prefix;
        *self.dialer.write().unwrap_or_else(PoisonError::into_inner) = dialer;
        self.opener.replace(settings.targets.clone());
        self.places.limit(settings.streams);
        // The connection keeps its settings, and the next reload must still see the difference.
        let settings = Settings {
            host: old.host.clone(),
            prefix: old.prefix.clone(),
            nats: old.nats.clone(),
            ..settings
        };
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        Ok(needs_restart)
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn dialer(&self) -> Dialer {
        self.dialer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn dialer(settings: &Settings) -> Result<Dialer> {
    Ok(Dialer { tls: settings.trust()?, proxy: settings.proxy.clone(), limits: settings.websocket })
}
