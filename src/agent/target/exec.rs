//! A program with fixed arguments, on pipes or on a terminal of its own. No shell, no placeholders.

mod input;
mod leader;
mod members;
mod output;
mod pty;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{AccessFlags, access};
use serde::Deserialize;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::access::{Need, explain, wrong_type};
use super::config::{TargetConfigError, absolute, absolute_file, without_nul};
use super::kind::Settings;
use super::opened::{OpenError, Opened, Opening, Process, Window, blocking};
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;
use input::{PipeInput, PtyInput};
use leader::Leader;
use output::ExecOutput;
use pty::Pty;

/// Where programs look for others: that of systemd for its services.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The size of a terminal until its client tells one: that of a VT100.
const WINDOW: Window = Window { cols: 80, rows: 24 };

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    argv: Vec<String>,
    #[serde(default)]
    pty: bool,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
}

/// Checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exec {
    program: PathBuf,
    arguments: Vec<String>,
    pty: bool,
    /// Set over the few variables that every program gets.
    env: BTreeMap<String, String>,
    cwd: PathBuf,
}

impl Settings for Exec {
    const NAME: &'static str = "exec";
    /// Each is a process; a command that many people need is better served by a log.
    const MAX_STREAMS: u32 = 4;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;

    fn check(raw: Raw) -> Result<Exec, TargetConfigError> {
        let mut argv = raw.argv.into_iter();
        let Some(program) = argv.next() else {
            return Err(TargetConfigError::at(
                "argv",
                "is empty: it begins with the program's absolute path",
            ));
        };
        let program = absolute_file("argv", program.into())?;
        let arguments: Vec<_> = argv.collect();
        arguments.iter().try_for_each(|argument| without_nul("argv", argument.as_bytes()))?;
        for (name, value) in &raw.env {
            if name.is_empty() || name.contains('=') {
                return Err(TargetConfigError::at("env", format!("\"{name}\" cannot name a variable")));
            }
            without_nul("env", name.as_bytes())?;
            without_nul("env", value.as_bytes())?;
        }
        let cwd = absolute("cwd", raw.cwd.unwrap_or_else(|| PathBuf::from("/")))?;
        Ok(Exec { program, arguments, pty: raw.pty, env: raw.env, cwd })
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Rw, Mode::Ro]
    }

    async fn open(&self, Opening { mode, window, .. }: Opening) -> Result<Opened, OpenError> {
        let exec = self.clone();
        // fork(2) copies the page tables, and a program may lie on a disk that is asleep.
        let started = blocking(move || exec.start(mode, window.unwrap_or(WINDOW))).await?;
        started.opened().map_err(|error| OpenError::system(self.program.display(), error))
    }

    async fn probe(&self) -> Result<String, OpenError> {
        let exec = self.clone();
        blocking(move || {
            exec.look()?;
            Ok(format!("{} is there and may be run", exec.program.display()))
        })
        .await
    }
}

impl Exec {
    fn start(&self, mode: Mode, window: Window) -> Result<Started, OpenError> {
        self.look()?;
        let started = if self.pty { self.on_terminal(mode, window) } else { self.on_pipes(mode) };
        started.map_err(|error| OpenError::system(format_args!("starting {}", self.program.display()), error))
    }

    /// Looks what would fail, in words that are better than those of execve(2).
    fn look(&self) -> Result<(), OpenError> {
        let failed = |path: &Path, error: io::Error| explain(path, Need::Run, &error);
        let program = fs::metadata(&self.program).map_err(|error| failed(&self.program, error))?;
        if !program.is_file() {
            return Err(wrong_type(&self.program, "a program", &program));
        }
        access(&self.program, AccessFlags::X_OK).map_err(|error| failed(&self.program, error.into()))?;
        let cwd = fs::metadata(&self.cwd).map_err(|error| failed(&self.cwd, error))?;
        match cwd.is_dir() {
            true => Ok(()),
            false => Err(wrong_type(&self.cwd, "a directory to run in", &cwd)),
        }
    }

    fn on_terminal(&self, mode: Mode, window: Window) -> io::Result<Started> {
        let (master, slave) = pty::open(window)?;
        let mut command = self.command();
        command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
        let leader = Leader::start(command, true)?;
        Ok(Started { leader, ends: Ends::Terminal { master, is_rw: mode == Mode::Rw } })
    }

    fn on_pipes(&self, mode: Mode) -> io::Result<Started> {
        let mut command = self.command();
        let (output, stdout) = io::pipe()?;
        // One pipe for both, so that their order is kept.
        command.stdout(stdout.try_clone()?).stderr(stdout);
        let input = match mode {
            Mode::Ro => {
                command.stdin(Stdio::null());
                None
            }
            Mode::Rw => {
                let (stdin, input) = io::pipe()?;
                command.stdin(stdin);
                Some(input.into())
            }
        };
        let leader = Leader::start(command, false)?;
        Ok(Started { leader, ends: Ends::Pipes { output: output.into(), input } })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.cwd).env_clear();
        command.env("PATH", PATH).env("LANG", "C.UTF-8");
        if self.pty {
            command.env("TERM", "xterm-256color");
        }
        command.envs(&self.env);
        command
    }
}

/// A program that runs, and our ends of what it reads and writes.
struct Started {
    leader: Leader,
    ends: Ends,
}

enum Ends {
    Terminal { master: OwnedFd, is_rw: bool },
    Pipes { output: OwnedFd, input: Option<OwnedFd> },
}

impl Started {
    fn opened(self) -> io::Result<Opened> {
        let over = CancellationToken::new();
        let mut opened = match self.ends {
            Ends::Terminal { master, is_rw } => {
                let pty = Pty::new(master)?;
                let resized = pty.clone();
                let mut opened = Opened::read_only(ExecOutput::new(pty.clone(), over.clone()));
                opened.input = is_rw.then(|| Box::new(PtyInput::new(pty)) as _);
                opened.resize = Some(Box::new(move |window| resized.resize(window)));
                opened
            }
            Ends::Pipes { output, input } => {
                let mut opened = Opened::read_only(ExecOutput::new(output::pipe(output)?, over.clone()));
                if let Some(input) = input {
                    opened.input = Some(Box::new(PipeInput::new(pipe::Sender::from_owned_fd(input)?)));
                }
                opened
            }
        };
        let dropped = CancellationToken::new();
        let (send, status) = watch::channel(None);
        tokio::spawn(self.leader.supervise(dropped.clone(), over, send));
        opened.process = Some(Process { status, _ends_when_dropped: dropped.drop_guard() });
        Ok(opened)
    }
}

#[cfg(test)]
mod tests;
