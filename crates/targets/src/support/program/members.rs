//! The processes of one session (setsid(2)), in all of its process groups.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use service::pollable::pollable;

/// The processes of the session that have not ended. Blocks while it reads `/proc`.
pub(super) fn members(session: i32) -> Vec<Pidfd> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| is_member(*pid, session))
        // The number may have been given to another process before the pidfd was opened, so it is checked again.
        .filter_map(|pid| Pidfd::open(pid).ok().filter(|_| is_member(pid, session)))
        .collect()
}

/// Whether the process is in the session and is not a zombie (proc_pid_stat(5)).
fn is_member(pid: i32, session: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // After the name, which is in parentheses and may contain anything: state, parent, group, session.
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let mut fields = fields.split(' ');
    let is_alive = !matches!(fields.next(), Some("Z" | "X") | None);
    is_alive && fields.nth(2) == Some(session.to_string().as_str())
}

/// A process, and never another one with the same number (pidfd_open(2)).
#[derive(Debug)]
pub(super) struct Pidfd(OwnedFd);

impl Pidfd {
    /// # Errors
    /// `ESRCH` when there is no such process, `ENOSYS` before Linux 5.3.
    pub(super) fn open(pid: i32) -> io::Result<Pidfd> {
        let pid = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
        Ok(Pidfd(pidfd_open(pid, PidfdFlags::empty())?))
    }

    pub(super) fn signal(&self, signal: Signal) {
        // Fails for a process that has ended, and for another user's (sudo), which the agent cannot end.
        let _ = pidfd_send_signal(&self.0, signal);
    }

    /// Waits until the process has ended, reaped or not.
    pub(super) async fn ended(&self) {
        // On an error, nothing can be waited for, and callers check again.
        if let Ok(fd) = self.0.try_clone().and_then(pollable) {
            let _ = fd.readable().await;
        }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
