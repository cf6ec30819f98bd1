//! The processes of one session (setsid(2)), in whatever process group a shell has put them.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;

use crate::daemon::pollable::pollable;

/// Those of the session that have not ended. Goes through `/proc`, which blocks for as long as
/// that is long.
pub(super) fn members(session: i32) -> Vec<Pidfd> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| is_member(*pid, session))
        // The number may have been given to another process before it was pinned: look again.
        .filter_map(|pid| Pidfd::open(pid).ok().filter(|_| is_member(pid, session)))
        .collect()
}

/// Whether the process is of the session and is no mere zombie (proc_pid_stat(5)).
fn is_member(pid: i32, session: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // After the name, which may have anything in it, in parentheses: state, parent, group, session.
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let mut fields = fields.split(' ');
    let is_alive = !matches!(fields.next(), Some("Z" | "X") | None);
    is_alive && fields.nth(2) == Some(session.to_string().as_str())
}

/// A process, and never another one that was given its number (pidfd_open(2)).
#[derive(Debug)]
pub(super) struct Pidfd(OwnedFd);

#[allow(unsafe_code)]
impl Pidfd {
    /// # Errors
    /// `ESRCH` when there is no such process, `ENOSYS` before Linux 5.3.
    pub(super) fn open(pid: i32) -> io::Result<Pidfd> {
        // SAFETY: takes two integers and returns a new descriptor (always close-on-exec) or -1.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        // SAFETY: the descriptor is new, so nobody else owns it; the kernel's are never larger.
        Ok(Pidfd(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    pub(super) fn signal(&self, signal: Signal) {
        let (fd, number) = (self.0.as_raw_fd(), signal as i32);
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open, and a null `siginfo` means that of kill(2). It fails for
        // a process that has ended, or that is another user's (sudo) and cannot be ended by us.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, number, no_info, 0) };
    }
}

impl Pidfd {
    /// Waits until the process has ended, reaped or not.
    pub(super) async fn ended(&self) {
        // An error means that nothing can be waited for; callers look again.
        if let Ok(fd) = self.0.try_clone().and_then(pollable) {
            let _ = fd.readable().await;
        }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
