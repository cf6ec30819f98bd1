//! A program with fixed arguments: no shell, no placeholders, an environment of its own.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{AccessFlags, Pid, access};
use serde::Deserialize;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::pty::{self, Pty};
use super::{Input, OpenError, Opened, Output, Window, Wrong, absolute, wrong};
use crate::protocol::mode::Mode;

/// How long processes have after SIGHUP before SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// The environment's search path: that of a system service.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    argv: Vec<String>,
    #[serde(default)]
    pty: bool,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default = "root")]
    cwd: String,
}

fn root() -> String {
    "/".into()
}

impl Raw {
    pub(super) fn check(&self) -> Result<Exec, Wrong> {
        let Some((program, arguments)) = self.argv.split_first() else {
            return wrong("argv", "no program: write the absolute path of one, and its arguments");
        };
        let has_nul = |text: &String| text.contains('\0');
        if self.argv.iter().any(has_nul) || self.env.iter().any(|(key, value)| has_nul(key) || has_nul(value))
        {
            return wrong("argv", "a NUL byte cannot be passed to a program");
        }
        if self.env.keys().any(|key| key.is_empty() || key.contains('=')) {
            return wrong("env", "a variable's name is not empty and has no `=`");
        }
        Ok(Exec {
            program: absolute("argv", program)?,
            arguments: arguments.to_vec(),
            pty: self.pty,
            env: self.env.clone(),
            cwd: absolute("cwd", &self.cwd)?,
        })
    }
}

/// A checked program target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    program: PathBuf,
    arguments: Vec<String>,
    pty: bool,
    env: BTreeMap<String, String>,
    cwd: PathBuf,
}

impl Exec {
    pub(super) fn open(&self, mode: Mode) -> Result<Opened, OpenError> {
        if self.pty { self.on_terminal(mode) } else { self.on_pipes(mode) }
            .map_err(|error| self.failed(&error))
    }

    /// Whether the program is there and may be run. It is not.
    pub(super) fn probe(&self) -> Result<String, OpenError> {
        let meta = std::fs::metadata(&self.program).map_err(|error| self.failed(&error))?;
        let is_program = meta.is_file() && meta.permissions().mode() & 0o111 != 0;
        if !is_program || access(&self.program, AccessFlags::X_OK).is_err() {
            return Err(OpenError::failed(format!(
                "{} is no program that we may run",
                self.program.display()
            )));
        }
        if !Path::is_dir(&self.cwd) {
            return Err(OpenError::failed(format!("working directory {} is not there", self.cwd.display())));
        }
        Ok(format!("{} can be run", self.program.display()))
    }

    fn on_terminal(&self, mode: Mode) -> io::Result<Opened> {
        let (pty, slave) = Pty::open(Window::default())?;
        let mut command = self.command();
        command.env("TERM", "xterm-256color").envs(&self.env);
        pty::attach(&mut command, &slave)?;
        let exit = Running::spawn(command)?;
        drop(slave);
        let input: Option<Input> = match mode {
            Mode::Rw => Some(Box::new(pty.clone())),
            Mode::Ro => None,
        };
        let resized = pty.clone();
        Ok(Opened {
            output: Box::new(pty),
            input,
            resize: Some(Box::new(move |window| resized.resize(window))),
            exit: Some(exit),
            half_close: false,
        })
    }

    fn on_pipes(&self, mode: Mode) -> io::Result<Opened> {
        // One pipe for both, so that output and errors stay in the order in which they were written.
        let (output, said) = io::pipe()?;
        let mut command = self.command();
        command.envs(&self.env).stdout(said.try_clone()?).stderr(said).process_group(0);
        command.stdin(if mode == Mode::Rw { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn()?;
        // The command holds the pipe's write ends: with them open there would be no end of file.
        drop(command);
        let input = child.stdin.take().map(|input| Box::new(input) as Input);
        let output: Output = Box::new(pipe::Receiver::from_owned_fd(output.into())?);
        Ok(Opened { output, input, resize: None, exit: Some(Running::watch(child)), half_close: false })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.cwd).kill_on_drop(true);
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8");
        command
    }

    fn failed(&self, error: &io::Error) -> OpenError {
        OpenError::failed(format!("{}: {error}", self.program.display()))
    }
}

/// A running process group. Dropping it ends the group.
struct Running {
    /// Dropped: the task that waits for the process ends it.
    _wanted: oneshot::Sender<()>,
    status: oneshot::Receiver<i32>,
}

impl Running {
    fn spawn(mut command: Command) -> io::Result<super::Exit> {
        let child = command.spawn()?;
        Ok(Running::watch(child))
    }

    /// Waits for the process in a task of its own, so that it is reaped whatever becomes of the stream.
    fn watch(child: Child) -> super::Exit {
        let (wanted, unwanted) = oneshot::channel();
        let (tell, status) = oneshot::channel();
        tokio::spawn(reap(child, unwanted, tell));
        let running = Running { _wanted: wanted, status };
        Box::pin(running.ended())
    }

    async fn ended(mut self) -> i32 {
        // The task is gone without an answer only when the whole program is ending.
        (&mut self.status).await.unwrap_or(128)
    }
}

async fn reap(mut child: Child, unwanted: oneshot::Receiver<()>, tell: oneshot::Sender<i32>) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let guard = Group(group);
    let waited = tokio::select! {
        waited = child.wait() => waited,
        _ = unwanted => {
            guard.signal(Signal::SIGHUP);
            // A stopped process would not hear it.
            guard.signal(Signal::SIGCONT);
            match timeout(GRACE, child.wait()).await {
                Ok(waited) => waited,
                Err(_) => {
                    guard.signal(Signal::SIGKILL);
                    child.wait().await
                }
            }
        }
    };
    // What the process left running in its group goes with it: its output would never end.
    drop(guard);
    // Nobody may be listening any more.
    let _ = tell.send(waited.map_or(128, as_a_shell_says));
}

/// A process group; killed when dropped, also when the runtime goes away.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // An empty group is what we want in the end.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

fn as_a_shell_says(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(128)
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::tests::target;
    use super::*;

    fn exec(argv: &str, more: &str) -> super::super::Target {
        target(&format!("kind = 'exec'\nargv = {argv}\n{more}"))
    }

    async fn until(opened: &mut Opened, end: &str) -> String {
        let mut said = String::new();
        let read = async {
            while !said.contains(end) {
                said.push(opened.output.read_u8().await.unwrap().into());
            }
        };
        timeout(Duration::from_secs(10), read).await.unwrap();
        said
    }

    async fn tell(opened: &mut Opened, text: &str) {
        opened.input.as_mut().unwrap().write_all(text.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn a_megabyte_through_a_program_comes_back_the_same() {
        let mut opened = exec("['/bin/cat']", "").open(Mode::Rw).await.unwrap();
        let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
        let mut input = opened.input.take().unwrap();
        let mut got = Vec::new();
        let send = async {
            input.write_all(&sent).await.unwrap();
            drop(input);
        };
        let (_, read) = tokio::join!(send, opened.output.read_to_end(&mut got));
        read.unwrap();
        assert!(got == sent);
        assert_eq!(opened.exit.unwrap().await, 0);
    }

    #[tokio::test]
    async fn output_and_errors_keep_their_order_and_nothing_is_lost_at_the_end() {
        for _ in 0..100 {
            let script = "['/bin/sh', '-c', 'echo a; echo b >&2; echo c; exit 7']";
            let mut opened = exec(script, "modes = ['ro']").open(Mode::Ro).await.unwrap();
            let mut said = String::new();
            opened.output.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "a\nb\nc\n");
            assert_eq!(opened.exit.unwrap().await, 7);
        }
    }

    #[tokio::test]
    async fn a_terminal_echoes_resizes_and_says_how_it_ended() {
        let mut opened =
            exec("['/bin/sh']", "pty = true\nenv = { PS1 = '$ ' }").open(Mode::Rw).await.unwrap();
        until(&mut opened, "$ ").await;
        tell(&mut opened, "stty size; tty\n").await;
        let said = until(&mut opened, "/dev/pts/").await;
        assert!(said.contains("stty size") && said.contains("24 80"), "{said}");
        opened.resize.as_ref().unwrap()(Window { cols: 132, rows: 50 });
        tell(&mut opened, "stty size\n").await;
        until(&mut opened, "50 132").await;
        tell(&mut opened, "exit 7\n").await;
        let mut rest = String::new();
        opened.output.read_to_string(&mut rest).await.unwrap();
        assert_eq!(opened.exit.unwrap().await, 7);
    }

    #[tokio::test]
    async fn the_end_of_input_ends_a_program_on_a_terminal() {
        let mut opened = exec("['/bin/cat']", "pty = true").open(Mode::Rw).await.unwrap();
        opened.input.take().unwrap().shutdown().await.unwrap();
        let mut said = String::new();
        timeout(Duration::from_secs(10), opened.output.read_to_string(&mut said)).await.unwrap().unwrap();
        assert_eq!(opened.exit.unwrap().await, 0);
    }

    #[tokio::test]
    async fn dropping_it_ends_the_whole_group() {
        for pty in [true, false] {
            // The grandchild ignores SIGHUP: only SIGKILL ends it.
            let script = "['/bin/sh', '-c', 'trap \"\" HUP; sleep 1000 & echo $!; echo $$; echo .; wait']";
            let mut opened = exec(script, &format!("pty = {pty}")).open(Mode::Rw).await.unwrap();
            let said = until(&mut opened, ".").await;
            let pids: Vec<i32> = said.lines().filter_map(|line| line.trim().parse().ok()).collect();
            assert_eq!(pids.len(), 2, "{said}");
            drop(opened);
            let gone = async {
                while pids.iter().any(|pid| kill(Pid::from_raw(*pid), None) != Err(Errno::ESRCH)) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(10), gone).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_environment_is_only_what_is_written() {
        let mut opened = exec("['/usr/bin/env']", "env = { A = 'b' }").open(Mode::Rw).await.unwrap();
        let mut said = String::new();
        opened.output.read_to_string(&mut said).await.unwrap();
        let mut lines: Vec<&str> = said.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["A=b", "LANG=C.UTF-8", &format!("PATH={PATH}")]);
    }

    #[tokio::test]
    async fn what_cannot_be_run_is_said() {
        let missing = exec("['/nowhere/program']", "");
        assert!(missing.probe().await.is_err());
        assert!(missing.open(Mode::Rw).await.err().unwrap().message.contains("/nowhere/program"));
        assert!(exec("['/etc/passwd']", "").probe().await.is_err());
        assert!(exec("['/bin/sh']", "").probe().await.unwrap().contains("can be run"));
    }
}
