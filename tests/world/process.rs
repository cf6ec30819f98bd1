//! A started program: its end, its output, and what the kernel counts of it.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::SOON;

/// A started process, with its output in a file. Dropping it kills it.
pub(crate) struct Process {
    pub child: Child,
    pub log: PathBuf,
}

impl Process {
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Process {
        command.stdin(Stdio::null());
        Process::start_with_input(command, log)
    }

    /// Standard input is the command's own.
    fn start_with_input(mut command: Command, log: PathBuf) -> Process {
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        command.stdout(out.try_clone().unwrap()).stderr(out).kill_on_drop(true);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Process { child, log }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().expect("the process has ended").try_into().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for its end, and gives its exit status.
    pub(crate) async fn ended(&mut self) -> i32 {
        let status =
            timeout(SOON, self.child.wait()).await.unwrap_or_else(|_| panic!("still runs:\n{}", self.said()));
        status.unwrap().code().unwrap_or(-1)
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.pid()).into()
    }

    /// Open file descriptors.
    pub(crate) fn fds(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(self.proc("task")).unwrap().count()
    }

    /// Resident memory, in KiB.
    pub(crate) fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How often its threads have gone to sleep, which equals how often they woke up.
    pub(crate) fn sleeps(&self) -> u64 {
        let threads = std::fs::read_dir(self.proc("task")).unwrap();
        let of = |thread: std::io::Result<std::fs::DirEntry>| -> u64 {
            let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.unwrap().trim().parse().unwrap()
        };
        threads.map(of).sum()
    }

    /// Bytes that it has read, from files, sockets and everything else (proc_pid_io(5)).
    pub(crate) fn bytes_read(&self) -> u64 {
        let io = std::fs::read_to_string(self.proc("io")).unwrap();
        io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
    }

    /// Waits until its output contains a text.
    pub(crate) async fn says(&self, text: &str) {
        eventually(|| self.said().contains(text), || format!("no `{text}` in:\n{}", self.said())).await;
    }
}

/// Polls for an event, with a deadline.
pub(crate) async fn eventually(happened: impl FnMut() -> bool, complaint: impl Fn() -> String) {
    within(SOON, happened, complaint).await;
}

/// Polls for an event, with this deadline.
pub(crate) async fn within(
    long: Duration,
    mut happened: impl FnMut() -> bool,
    complaint: impl Fn() -> String,
) {
    let deadline = Instant::now() + long;
    while !happened() {
        assert!(Instant::now() < deadline, "{}", complaint());
        sleep(Duration::from_millis(10)).await;
    }
}

/// Starts a daemon and waits for its READY=1, as systemd would.
pub(crate) async fn started(mut command: Command, dir: &TempDir, name: &str) -> Process {
    command.stdin(Stdio::null());
    started_with_input(command, dir, name).await
}

/// The same; standard input is the command's own.
pub(crate) async fn started_with_input(mut command: Command, dir: &TempDir, name: &str) -> Process {
    static SOCKETS: AtomicU32 = AtomicU32::new(0);
    let number = SOCKETS.fetch_add(1, Ordering::Relaxed);
    let path = dir.path().join(format!("notify-{number}"));
    let socket = UnixDatagram::bind(&path).unwrap();
    command.env("NOTIFY_SOCKET", &path);
    let mut process = Process::start_with_input(command, dir.path().join(format!("{name}.log")));
    let ready = async {
        let mut message = [0; 4096];
        loop {
            let n = socket.recv(&mut message).await.unwrap();
            if String::from_utf8_lossy(&message[..n]).lines().any(|line| line == "READY=1") {
                return;
            }
        }
    };
    let ended = tokio::select! {
        ready = timeout(SOON, ready) => ready.err().map(|_| "is not ready".to_owned()),
        status = process.child.wait() => Some(format!("ended with {status:?}")),
    };
    if let Some(why) = ended {
        panic!("{name} {why}:\n{}", process.said());
    }
    // A task keeps the socket open, so that later messages do not fail.
    tokio::spawn(async move { while socket.recv(&mut [0; 4096]).await.is_ok() {} });
    process
}
