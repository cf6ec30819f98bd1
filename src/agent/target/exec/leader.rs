//! A program in a session of its own, from its start until nothing of the session is left.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::members::{Pidfd, members};

/// Time between SIGHUP and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// How long a killed process may take to go; what is in a system call on a dead disk takes longer.
const KILL_WAIT: Duration = Duration::from_secs(1);

/// Rounds of SIGKILL: a process may fork while the others are being killed.
const KILL_ROUNDS: usize = 5;

/// Rounds of SIGKILL when the runtime is gone, and the pause after each: a tenth of a second in all.
const HURRIED_ROUNDS: usize = 50;
const HURRIED_PAUSE: Duration = Duration::from_millis(2);

/// The first process of a session. Killed with its whole session if it is dropped unsupervised.
pub(super) struct Leader {
    child: Child,
    pidfd: Pidfd,
    is_reaped: bool,
}

impl Leader {
    /// Starts `command`; with `is_terminal` its standard input becomes its controlling terminal.
    pub(super) fn start(mut command: Command, is_terminal: bool) -> io::Result<Leader> {
        // SAFETY: between fork and exec only async-signal-safe calls are allowed
        // (signal-safety(7)); `begin_session` makes system calls only and allocates nothing.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(move || begin_session(is_terminal));
        }
        let mut child = command.spawn()?;
        match Pidfd::open(session_of(&child)) {
            Ok(pidfd) => Ok(Leader { child, pidfd, is_reaped: false }),
            Err(error) => {
                // Without it the child cannot be watched; both can only fail if it is gone.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Waits for the end of the program, or for its stream to be dropped, and ends the session.
    pub(super) async fn supervise(
        mut self,
        dropped: CancellationToken,
        over: CancellationToken,
        status: watch::Sender<Option<i32>>,
    ) {
        tokio::select! {
            () = self.pidfd.ended() => {}
            () = dropped.cancelled() => self.end_session().await,
        }
        // A process that SIGKILL does not end (another user's, or one in the kernel) is waited for.
        self.pidfd.ended().await;
        let code = self.status();
        over.cancel();
        // Fails where nobody wants to know.
        let _ = status.send(Some(code));
        // What the program left behind. It is reaped after that: while it is a zombie its number
        // means this session and no other.
        self.end_session().await;
        self.reap();
    }

    async fn end_session(&self) {
        let deadline = Instant::now() + GRACE;
        let mut kills = 0;
        loop {
            // Looked for anew each time: a process may fork between being seen and being signalled.
            let left = self.members().await;
            if left.is_empty() {
                return;
            }
            let grace = deadline.saturating_duration_since(Instant::now());
            if !grace.is_zero() {
                for member in &left {
                    member.signal(Signal::SIGHUP);
                    // One that is stopped hears the first only when it goes on.
                    member.signal(Signal::SIGCONT);
                }
                all_ended(&left, grace).await;
            } else if kills < KILL_ROUNDS {
                kills += 1;
                left.iter().for_each(|member| member.signal(Signal::SIGKILL));
                all_ended(&left, KILL_WAIT).await;
            } else {
                let session = session_of(&self.child);
                tracing::warn!(session, "processes of an ended target could not be killed");
                return;
            }
        }
    }

    async fn members(&self) -> Vec<Pidfd> {
        let session = session_of(&self.child);
        tokio::task::spawn_blocking(move || members(session)).await.unwrap_or_default()
    }

    /// The exit status as a shell says it, of a program that has ended.
    fn status(&self) -> i32 {
        match waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Ok(WaitStatus::Exited(_, code)) => code,
            Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
            // Real-time signals, which nix has no name for.
            _ => 128,
        }
    }

    fn reap(&mut self) {
        self.is_reaped = self.child.wait().is_ok();
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        // The runtime is going down, or opening took too long: there is no time for manners.
        for _ in 0..HURRIED_ROUNDS {
            let left = members(session_of(&self.child));
            if left.is_empty() {
                break;
            }
            left.iter().for_each(|member| member.signal(Signal::SIGKILL));
            std::thread::sleep(HURRIED_PAUSE);
        }
        // Not waited for: what could not be killed would hold up the whole program.
        let _ = self.child.try_wait();
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
    // Whether they have ended or not is seen by looking again.
    let _ = tokio::time::timeout(limit, all).await;
}

/// Runs in the child, between fork and exec.
#[allow(unsafe_code)]
fn begin_session(is_terminal: bool) -> io::Result<()> {
    nix::unistd::setsid()?;
    if is_terminal {
        // SAFETY: takes integers only; standard input is the terminal by now.
        Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
    }
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL runs none of our code. It fails for SIGKILL and SIGSTOP, which are so
        // anyway. std has emptied the mask and restored SIGPIPE; ignored signals would stay ignored.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // Ours are all close-on-exec; this is for what the agent itself was started with. Only marked,
    // because std tells a failed exec through a descriptor of its own. ENOSYS before Linux 5.11.
    // SAFETY: takes integers only.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Ok(())
}
