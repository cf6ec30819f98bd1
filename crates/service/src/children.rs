//! Child processes. Some are started here, and their status is waited for. Others are inherited, as
//! process 1 of a container or as a subreaper (PR_SET_CHILD_SUBREAPER(2const)), and are reaped as soon as they end.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use nix::sys::prctl::get_child_subreaper;
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::{Pid, getpid};
use tokio::signal::unix::{SignalKind, signal};

/// Before the next look, if a program is being started: its child exists then, but is not yet in the list.
const PAUSE: Duration = Duration::from_millis(100);

/// The children of this process. Every user must have the same one (clones are), because the children that are not in
/// its list are reaped as inherited ones.
#[derive(Clone, Debug, Default)]
pub struct Children(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// PIDs of the children that were started here and are not reaped yet.
    own: Mutex<BTreeSet<i32>>,
    /// Held for reading from before a fork until the child is in `own`. `own` itself is not held meanwhile: a program
    /// on a disk that does not answer must not keep others from being started.
    starting: RwLock<()>,
}

impl Children {
    /// Starts a child that only [`Children::reap`] and [`Children::give_up`] reap.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let _starting = self.0.starting.read().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        self.own().insert(pid_of(&child));
        Ok(child)
    }

    /// Waits for the end of a child and reaps it; `false` if waiting failed.
    pub fn reap(&self, child: &mut Child) -> bool {
        let pid = Pid::from_raw(pid_of(child));
        // The kernel may give the PID to another child as soon as this one is reaped. So the PID leaves the list under
        // the same lock, and the wait, which may be long, comes before it.
        let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        let mut own = self.own();
        let is_reaped = child.wait().is_ok();
        own.remove(&pid.as_raw());
        is_reaped
    }

    /// Reaps a child if it has ended. Otherwise it is treated as an inherited one from now on.
    pub fn give_up(&self, child: &mut Child) {
        let mut own = self.own();
        let _ = child.try_wait();
        own.remove(&pid_of(child));
    }

    /// Starts to reap inherited children, if this process can inherit any.
    ///
    /// # Errors
    /// When the handler of SIGCHLD cannot be installed.
    pub(super) fn reap_inherited(&self) -> io::Result<()> {
        if getpid().as_raw() != 1 && !get_child_subreaper().unwrap_or(false) {
            return Ok(());
        }
        let mut ends = signal(SignalKind::child())?;
        let children = self.clone();
        tokio::spawn(async move {
            loop {
                let reaping = children.clone();
                if !tokio::task::spawn_blocking(move || reaping.reap_orphans()).await.unwrap_or(true) {
                    tokio::time::sleep(PAUSE).await;
                } else if ends.recv().await.is_none() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Reaps the inherited children that have ended; `false` if a program is being started, which hides what is whose.
    fn reap_orphans(&self) -> bool {
        let Ok(_nothing_starts) = self.0.starting.try_write() else { return false };
        let own = self.own();
        for pid in ended_children().into_iter().filter(|pid| !own.contains(pid)) {
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
        true
    }

    fn own(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.0.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// PIDs of the children that have ended and are not reaped (proc_pid_stat(5)). waitid(2) cannot list them: it shows the
/// same child again until that one is reaped.
fn ended_children() -> Vec<i32> {
    let us = getpid().to_string();
    let is_ended = |pid: &i32| {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        // After the name, which may have anything in it, in parentheses: state, parent.
        let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
        let mut fields = fields.split(' ');
        fields.next() == Some("Z") && fields.next() == Some(us.as_str())
    };
    let Ok(processes) = fs::read_dir("/proc") else { return vec![] };
    processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(is_ended).collect()
}

fn pid_of(child: &Child) -> i32 {
    child.id().cast_signed()
}
