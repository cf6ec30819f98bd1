//! The processes that a client's signals go to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use protocol::control;

/// The receiver of the client's signals. The number means this session and no other until the leader is reaped.
#[derive(Clone)]
pub(super) struct Foreground(Arc<Mutex<Option<Pid>>>);

impl Foreground {
    pub(super) fn new(leader: Pid) -> Foreground {
        Foreground(Arc::new(Mutex::new(Some(leader))))
    }

    /// Signals a process group of the session: `group`, or the leader's own. Does nothing if the session has ended.
    pub(super) fn signal(&self, signal: control::Signal, group: Option<Pid>) {
        let Some(leader) = *self.lock() else { return };
        let signal = match signal {
            control::Signal::Hup => Signal::SIGHUP,
            control::Signal::Int => Signal::SIGINT,
            control::Signal::Quit => Signal::SIGQUIT,
            control::Signal::Kill => Signal::SIGKILL,
            control::Signal::Term => Signal::SIGTERM,
            control::Signal::Usr1 => Signal::SIGUSR1,
            control::Signal::Usr2 => Signal::SIGUSR2,
            control::Signal::Tstp => Signal::SIGTSTP,
            control::Signal::Cont => Signal::SIGCONT,
        };
        // Fails for a group that is gone or belongs to another user (sudo).
        let _ = killpg(group.unwrap_or(leader), signal);
    }

    /// Ignores signals from now on.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
