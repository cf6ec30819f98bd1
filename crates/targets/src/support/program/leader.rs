//! A program in its own session, from its start until nothing of the session is left.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use rustix::process::{Signal, ioctl_tiocsctty};
use rustix::stdio::stdin;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::foreground::Foreground;
use super::identity::Identity;
use super::members::{Pidfd, members};
use crate::support::tasks::spawn_blocking;
use service::children::Children;

/// Time between SIGHUP and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// How long to wait for a killed process; one in a system call on a dead disk takes longer.
const KILL_WAIT: Duration = Duration::from_secs(1);

/// How often SIGKILL is sent, because a process may fork while the others are being killed.
const KILL_ROUNDS: usize = 5;

/// How often SIGKILL is sent when the runtime is gone, and the pause after each time: a tenth of a second in all.
const HURRIED_ROUNDS: usize = 50;
const HURRIED_PAUSE: Duration = Duration::from_millis(2);

/// The exit status of timeout(1) for a program that took too long.
const TIMED_OUT: i32 = 124;

/// The first process of a session. If dropped without supervision, kills its whole session.
pub(super) struct Leader {
    child: Child,
    children: Children,
    pidfd: Pidfd,
    foreground: Foreground,
    is_reaped: bool,
}

impl Leader {
    /// Starts `command`; with `is_terminal` its standard input becomes its controlling terminal.
    pub(super) fn start(
        children: &Children,
        mut command: Command,
        is_terminal: bool,
        identity: Option<Identity>,
    ) -> io::Result<Leader> {
        // SAFETY: between fork and exec only async-signal-safe calls are allowed
        // (signal-safety(7)); `begin_session` makes system calls only and allocates nothing.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(move || {
                begin_session(is_terminal)?;
                identity.as_ref().map_or(Ok(()), Identity::assume)
            });
        }
        let mut child = children.spawn(&mut command)?;
        match Pidfd::open(session_of(&child)) {
            Ok(pidfd) => {
                let foreground = Foreground::new(Pid::from_raw(session_of(&child)));
                Ok(Leader { child, children: children.clone(), pidfd, foreground, is_reaped: false })
            }
            Err(error) => {
                // Without a pidfd the child cannot be watched. Both calls fail only if it is gone.
                let _ = child.kill();
                children.reap(&mut child);
                Err(error)
            }
        }
    }

    pub(super) fn foreground(&self) -> Foreground {
        self.foreground.clone()
    }

    /// Waits until the program ends, its time is over or its stream is gone, and then ends the session.
    pub(super) async fn supervise(
        mut self,
        timeout: Option<Duration>,
        dropped: CancellationToken,
        exited: CancellationToken,
        status: watch::Sender<Option<i32>>,
    ) {
        let mut is_too_late = false;
        tokio::select! {
            () = self.pidfd.ended() => {}
            () = dropped.cancelled() => self.end_session().await,
            () = time_is_over(timeout) => {
                is_too_late = true;
                self.end_session().await;
            }
        }
        // Waits for a process that SIGKILL does not end (another user's, or one in the kernel).
        self.pidfd.ended().await;
        let code = if is_too_late { TIMED_OUT } else { self.status() };
        exited.cancel();
        // Fails if nobody waits for the status.
        let _ = status.send(Some(code));
        // Ends what the program left behind. The program is reaped after that: while it is a zombie, its number means
        // this session and no other.
        self.end_session().await;
        self.reap();
    }

    async fn end_session(&self) {
        let deadline = Instant::now() + GRACE;
        let mut kills = 0;
        loop {
            // Searched again each time, because a process may fork before it receives the signal.
            let left = self.members().await;
            if left.is_empty() {
                return;
            }
            let grace = deadline.saturating_duration_since(Instant::now());
            if !grace.is_zero() {
                for member in &left {
                    member.signal(Signal::HUP);
                    // A stopped process receives SIGHUP only when it continues.
                    member.signal(Signal::CONT);
                }
                all_ended(&left, grace).await;
            } else if kills < KILL_ROUNDS {
                kills += 1;
                left.iter().for_each(|member| member.signal(Signal::KILL));
                all_ended(&left, KILL_WAIT).await;
            } else {
                let process_session = session_of(&self.child);
                tracing::warn!(process_session, "processes of an ended target could not be killed");
                return;
            }
        }
    }

    async fn members(&self) -> Vec<Pidfd> {
        let session = session_of(&self.child);
        spawn_blocking(move || members(session)).await.unwrap_or_default()
    }

    /// The exit status, as a shell reports it, of a program that has ended.
    fn status(&self) -> i32 {
        match waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Ok(WaitStatus::Exited(_, code)) => code,
            Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
            // A real-time signal, which nix does not know.
            _ => 128,
        }
    }

    fn reap(&mut self) {
        self.foreground.close();
        self.is_reaped = self.children.reap(&mut self.child);
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        self.foreground.close();
        // The runtime is shutting down, or opening took too long: there is no time for SIGHUP.
        for _ in 0..HURRIED_ROUNDS {
            let left = members(session_of(&self.child));
            if left.is_empty() {
                break;
            }
            left.iter().for_each(|member| member.signal(Signal::KILL));
            std::thread::sleep(HURRIED_PAUSE);
        }
        // Does not wait, because a process that could not be killed would delay the whole program.
        self.children.give_up(&mut self.child);
    }
}

async fn time_is_over(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

fn session_of(child: &Child) -> i32 {
    child.id().cast_signed()
}

async fn all_ended(processes: &[Pidfd], limit: Duration) {
    let all = async {
        for process in processes {
            process.ended().await;
        }
    };
    // Callers search for members again, whatever the result.
    let _ = tokio::time::timeout(limit, all).await;
}

/// Runs in the child, between fork and exec.
#[allow(unsafe_code)]
fn begin_session(is_terminal: bool) -> io::Result<()> {
    nix::unistd::setsid()?;
    if is_terminal {
        ioctl_tiocsctty(stdin())?;
    }
    for signal in 1..=libc::SIGRTMAX() {
        // No crate resets the real-time signals, too.
        // SAFETY: SIG_DFL runs none of our code. It fails for SIGKILL and SIGSTOP, which are so
        // anyway. std has emptied the mask and restored SIGPIPE; ignored signals would stay ignored.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // The agent's descriptors are all close-on-exec; this is for those that it inherited. They are only marked, because
    // std reports a failed exec through its own descriptor. ENOSYS before Linux 5.11.
    // No crate has close_range(2).
    // SAFETY: takes integers only.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Ok(())
}
