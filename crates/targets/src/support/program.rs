//! A program that runs for one stream, on pipes or on its own terminal: started without a shell, in a session that ends
//! with the stream.

mod foreground;
mod hangup;
mod identity;
mod input;
mod leader;
mod members;
mod output;
mod pty;

use protocol::mode::Mode;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::kind::Open;
use crate::support::access::{Need, explain, wrong_type};
use crate::support::opened::{Ask, OpenError, Opened, Opening, Process, Unable, Window, blocking, cannot};
use crate::support::shared::Shared;
use foreground::Foreground;
use identity::Identity;
use input::{PipeInput, PtyInput};
use leader::Leader;
use output::{PipeOutput, PtyOutput};
use pty::Pty;
use service::children::Children;

/// The `PATH` of programs: the same as systemd's for services.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The size of a terminal until its client sends one: that of a VT100.
const WINDOW: Window = Window { cols: 80, rows: 24 };

/// A program with all its arguments, and how it is run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) pty: bool,
    /// Added to the few variables that every program gets, or replaces them.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: PathBuf,
    /// The user to run as; `None` for the agent's own.
    pub(crate) user: Option<String>,
    /// After this time the program is ended.
    pub(crate) timeout: Option<Duration>,
    /// Whether its errors go to the agent's log instead of the client, because they name what is on the host.
    pub(crate) is_ours: bool,
    /// Whether it gets its user's `HOME`, `USER`, `LOGNAME` and `SHELL`, as on a console. Not for programs that enter a
    /// container, which has other users.
    pub(crate) has_home: bool,
}

impl Program {
    /// A program that runs as the agent's own user, in `/`.
    pub(crate) fn new(path: impl Into<PathBuf>, arguments: Vec<String>, pty: bool) -> Program {
        let cwd = PathBuf::from("/");
        Program {
            path: path.into(),
            arguments,
            pty,
            env: BTreeMap::new(),
            cwd,
            user: None,
            timeout: None,
            is_ours: false,
            has_home: false,
        }
    }

    /// Checks that it could be run.
    pub(crate) async fn probe(&self) -> Result<String, OpenError> {
        let program = self.clone();
        blocking(move || {
            program.look()?;
            Ok(format!("{} is there and may be run", program.path.display()))
        })
        .await
    }

    fn start(&self, mode: Mode, window: Window, children: &Children) -> Result<Started, OpenError> {
        let identity = self.look()?;
        let started = match self.pty {
            true => self.on_terminal(mode, window, identity, children),
            false => self.on_pipes(mode, identity, children),
        };
        started.map_err(|error| OpenError::system(format_args!("starting {}", self.path.display()), error))
    }

    /// Checks what would fail, for better messages than those of execve(2).
    fn look(&self) -> Result<Option<Identity>, OpenError> {
        let failed = |path: &Path, error: io::Error| explain(path, Need::Run, &error);
        let program = fs::metadata(&self.path).map_err(|error| failed(&self.path, error))?;
        if !program.is_file() {
            return Err(wrong_type(&self.path, "a program", &program));
        }
        access(&self.path, AccessFlags::X_OK).map_err(|error| failed(&self.path, error.into()))?;
        let cwd = fs::metadata(&self.cwd).map_err(|error| failed(&self.cwd, error))?;
        match cwd.is_dir() {
            true => Ok(self.user.as_deref().map(Identity::look_up).transpose()?.flatten()),
            false => Err(wrong_type(&self.cwd, "a directory to run in", &cwd)),
        }
    }

    fn on_terminal(
        &self,
        mode: Mode,
        window: Window,
        identity: Option<Identity>,
        children: &Children,
    ) -> io::Result<Started> {
        let (master, slave) = pty::open(window)?;
        if let Some(identity) = &identity {
            identity.own(&slave)?;
        }
        let mut command = self.command();
        command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
        let ends = Ends::Terminal { master, is_rw: mode == Mode::Rw };
        let leader = Leader::start(children, command, true, identity)?;
        Ok(Started { leader, ends, mode, timeout: self.timeout })
    }

    fn on_pipes(&self, mode: Mode, identity: Option<Identity>, children: &Children) -> io::Result<Started> {
        let mut command = self.command();
        let (output, stdout) = io::pipe()?;
        match self.is_ours {
            true => command.stdout(stdout),
            // Both share a pipe, so that their order is kept.
            false => command.stdout(stdout.try_clone()?).stderr(stdout),
        };
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
        let ends = Ends::Pipes { output: output.into(), input };
        let leader = Leader::start(children, command, false, identity)?;
        Ok(Started { leader, ends, mode, timeout: self.timeout })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).current_dir(&self.cwd).env_clear();
        command.env("PATH", PATH).env("LANG", "C.UTF-8");
        if self.pty {
            command.env("TERM", "xterm-256color");
        }
        if self.has_home {
            command.envs(identity::variables(self.user.as_deref()));
        }
        command.envs(&self.env);
        command
    }
}

impl Open for Program {
    async fn open(&self, Opening { mode, window, shared, .. }: Opening) -> Result<Opened, OpenError> {
        let program = self.clone();
        // Takes time: fork(2) copies the page tables, and the program may be on a sleeping disk.
        let children = shared.children().clone();
        let started = blocking(move || program.start(mode, window.unwrap_or(WINDOW), &children)).await?;
        started.opened(&shared).map_err(|error| OpenError::system(self.path.display(), error))
    }
}

/// A running program, and our ends of its pipes or terminal.
struct Started {
    leader: Leader,
    ends: Ends,
    mode: Mode,
    timeout: Option<Duration>,
}

enum Ends {
    Terminal { master: OwnedFd, is_rw: bool },
    Pipes { output: OwnedFd, input: Option<OwnedFd> },
}

impl Started {
    fn opened(self, shared: &Shared) -> io::Result<Opened> {
        let exited = CancellationToken::new();
        let foreground = self.leader.foreground();
        let (mut opened, pty) = match self.ends {
            Ends::Terminal { master, is_rw } => {
                let pty = Pty::new(master)?;
                let mut opened = Opened::read_only(PtyOutput::new(pty.clone(), exited.clone()));
                opened.input = is_rw.then(|| Box::new(PtyInput::new(pty.clone())) as _);
                (opened, Some(pty))
            }
            Ends::Pipes { output, input } => {
                let mut opened = Opened::read_only(PipeOutput::new(output, exited.clone())?);
                if let Some(input) = input {
                    opened.input = Some(Box::new(PipeInput::new(pipe::Sender::from_owned_fd(input)?)));
                }
                (opened, None)
            }
        };
        let mode = self.mode;
        opened.asked = Box::new(move |ask| asked(&ask, mode, pty.as_ref(), &foreground));
        let dropped = CancellationToken::new();
        let (send, status) = watch::channel(None);
        shared.spawn_cleanup(self.leader.supervise(self.timeout, dropped.clone(), exited, send));
        opened.process = Some(Process { status, _ends_when_dropped: Some(dropped.drop_guard()) });
        Ok(opened)
    }
}

fn asked(ask: &Ask, mode: Mode, pty: Option<&Pty>, foreground: &Foreground) -> Result<(), Unable> {
    match (ask, pty) {
        (Ask::Resize(window), Some(pty)) => pty.resize(*window),
        (Ask::Signal(_), _) if mode == Mode::Ro => return Err(Unable::ReadOnly),
        (Ask::Signal(signal), pty) => foreground.signal(*signal, pty.and_then(Pty::foreground)),
        _ => return cannot(ask.clone()),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
