//! A program's signals and tasks. Signals cancel tokens, and the end waits for tracked tasks for a limited time. It never
//! exits the process.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::children::Children;

/// A program has one, which is created inside the runtime.
///
/// SIGTERM or SIGINT cancels [`stopping`](Lifecycle::stopping). A second one also cancels
/// [`aborting`](Lifecycle::aborting). SIGHUP changes [`reloads`](Lifecycle::reloads).
#[derive(Debug)]
pub struct Lifecycle {
    control: Control,
    children: Children,
    tasks: TaskTracker,
    listener: JoinHandle<()>,
}

impl Lifecycle {
    /// Takes over SIGTERM, SIGINT and SIGHUP, until the process ends, and reaps what it inherits.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn start() -> io::Result<Lifecycle> {
        let children = Children::default();
        children.reap_inherited()?;
        let control = Control::new();
        let signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        };
        let listener = tokio::spawn(listen(signals, control.clone()));
        Ok(Lifecycle { control, children, tasks: TaskTracker::new(), listener })
    }

    /// Cancelled when the program must stop: accept nothing new, and close what is open.
    pub fn stopping(&self) -> CancellationToken {
        self.control.stopping.clone()
    }

    /// Cancelled when the wait is over: drop the rest.
    pub fn aborting(&self) -> CancellationToken {
        self.control.aborting.clone()
    }

    /// Changes with each SIGHUP. Several during one reload count as one change.
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.control.reloads.subscribe()
    }

    /// Where every child process is started.
    pub fn children(&self) -> &Children {
        &self.children
    }

    /// Spawn here the tasks that the end must wait for.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Waits until all tracked tasks are done, `limit` is over, or a second signal arrives. Then cancels
    /// [`aborting`](Lifecycle::aborting). Call it after `stopping` is cancelled.
    pub async fn drain(&self, limit: Duration) -> Drained {
        self.tasks.close();
        let aborting = self.aborting();
        let waited = tokio::select! {
            biased;
            waited = timeout(limit, self.tasks.wait()) => Some(waited),
            () = aborting.cancelled() => None,
        };
        aborting.cancel();
        match waited {
            Some(Ok(())) => Drained::Done,
            Some(Err(_)) => Drained::TimedOut(self.tasks.len()),
            None => Drained::Aborted(self.tasks.len()),
        }
    }
}

impl Drop for Lifecycle {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All tasks ended by themselves.
    Done,
    /// The time ended with this many tasks left.
    TimedOut(usize),
    /// A second signal arrived with this many tasks left.
    Aborted(usize),
}

/// The state that signals change.
#[derive(Clone, Debug)]
struct Control {
    stopping: CancellationToken,
    aborting: CancellationToken,
    reloads: watch::Sender<u64>,
}

impl Control {
    fn new() -> Control {
        Control {
            stopping: CancellationToken::new(),
            aborting: CancellationToken::new(),
            reloads: watch::Sender::new(0),
        }
    }

    fn stop(&self, why: &str) {
        if self.stopping.is_cancelled() {
            warn!("{why} again: not waiting any longer");
            self.aborting.cancel();
        } else {
            info!("{why}: stopping");
            self.stopping.cancel();
        }
    }

    fn reload(&self) {
        self.reloads.send_modify(|count| *count += 1);
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

async fn listen(mut signals: Signals, control: Control) {
    loop {
        tokio::select! {
            Some(()) = signals.terminate.recv() => control.stop("SIGTERM"),
            Some(()) = signals.interrupt.recv() => control.stop("SIGINT"),
            Some(()) = signals.hangup.recv() => control.reload(),
            else => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, raise};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn at_rest() -> Lifecycle {
        Lifecycle {
            control: Control::new(),
            children: Children::default(),
            tasks: TaskTracker::new(),
            listener: tokio::spawn(async {}),
        }
    }

    /// The only test with real signals, because all listeners of the process would receive them.
    #[tokio::test]
    async fn signals_reload_then_stop_then_abort() {
        let lifecycle = Lifecycle::start().unwrap();
        let mut reloads = lifecycle.reloads();
        raise(Signal::SIGHUP).unwrap();
        timeout(SOON, reloads.changed()).await.unwrap().unwrap();
        assert!(!lifecycle.stopping().is_cancelled());

        raise(Signal::SIGTERM).unwrap();
        timeout(SOON, lifecycle.stopping().cancelled()).await.unwrap();
        assert!(!lifecycle.aborting().is_cancelled());

        lifecycle.tasks().spawn(std::future::pending::<()>());
        let draining = lifecycle.drain(SOON * 6);
        raise(Signal::SIGINT).unwrap();
        assert_eq!(timeout(SOON, draining).await.unwrap(), Drained::Aborted(1));
    }

    #[tokio::test]
    async fn a_drain_waits_for_the_tasks_and_then_aborts_the_rest() {
        let lifecycle = at_rest();
        let stopping = lifecycle.stopping();
        lifecycle.tasks().spawn(async move { stopping.cancelled().await });
        lifecycle.control.stop("SIGTERM");
        assert_eq!(lifecycle.drain(SOON).await, Drained::Done);
        assert!(lifecycle.aborting().is_cancelled());

        let lifecycle = at_rest();
        let aborting = lifecycle.aborting();
        let task = lifecycle.tasks().spawn(async move { aborting.cancelled().await });
        assert_eq!(lifecycle.drain(Duration::from_millis(10)).await, Drained::TimedOut(1));
        timeout(SOON, task).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn reloads_that_come_together_are_one_change() {
        let lifecycle = at_rest();
        let mut reloads = lifecycle.reloads();
        lifecycle.control.reload();
        lifecycle.control.reload();
        assert!(reloads.has_changed().unwrap());
        reloads.borrow_and_update();
        assert!(!reloads.has_changed().unwrap());
    }
}
