//! A program in a session of its own, from its start until nothing of the session is left.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::identity::Identity;
use super::members::{Pidfd, members};
use crate::protocol::control;

/// Time between SIGHUP and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// How long a killed process may take to go; what is in a system call on a dead disk takes longer.
const KILL_WAIT: Duration = Duration::from_secs(1);

/// Rounds of SIGKILL: a process may fork while the others are being killed.
const KILL_ROUNDS: usize = 5;

/// Rounds of SIGKILL when the runtime is gone, and the pause after each: a tenth of a second in all.
const HURRIED_ROUNDS: usize = 50;
const HURRIED_PAUSE: Duration = Duration::from_millis(2);

/// What a shell's timeout(1) says of a program whose time was over.
const TIMED_OUT: i32 = 124;

/// The first process of a session. Killed with its whole session if it is dropped unsupervised.
pub(super) struct Leader {
    child: Child,
    pidfd: Pidfd,
    foreground: Foreground,
    is_reaped: bool,
}

/// Where signals of the client go. The number means this session and no other until it is reaped.
#[derive(Clone)]
pub(super) struct Foreground(Arc<Mutex<Option<Pid>>>);

impl Foreground {
    /// Signals a process group of the session: `group`, else the leader's own. One that has ended hears nothing.
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
        // Fails for what has gone, and for what is another user's (sudo).
        let _ = killpg(group.unwrap_or(leader), signal);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leader {
    /// Starts `command`; with `is_terminal` its standard input becomes its controlling terminal.
    pub(super) fn start(
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
        let mut child = command.spawn()?;
        match Pidfd::open(session_of(&child)) {
            Ok(pidfd) => {
                let foreground = Foreground(Arc::new(Mutex::new(Some(Pid::from_raw(session_of(&child))))));
                Ok(Leader { child, pidfd, foreground, is_reaped: false })
            }
            Err(error) => {
                // Without it the child cannot be watched; both can only fail if it is gone.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub(super) fn foreground(&self) -> Foreground {
        self.foreground.clone()
    }

    /// Waits for the end of the program, of its time, or of its stream, and ends the session.
    pub(super) async fn supervise(
        mut self,
        timeout: Option<Duration>,
        dropped: CancellationToken,
        over: CancellationToken,
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
        // A process that SIGKILL does not end (another user's, or one in the kernel) is waited for.
        self.pidfd.ended().await;
        let code = if is_too_late { TIMED_OUT } else { self.status() };
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
        *self.foreground.lock() = None;
        self.is_reaped = self.child.wait().is_ok();
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        *self.foreground.lock() = None;
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
