//! A container of LXC: its console, or a program in it, by lxc-console(1) and lxc-attach(1).

use std::path::PathBuf;

use serde::Deserialize;

use super::config::{TargetConfigError, absolute, without_nul};
use super::kind::Settings;
use super::names::Names;
use super::opened::OpenError;
use super::params::{ParamError, Params};
use super::program::Program;
use super::sandbox::Wants;
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;

const CONSOLE: &str = "/usr/bin/lxc-console";
const ATTACH: &str = "/usr/bin/lxc-attach";

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    containers: Names,
    path: Option<PathBuf>,
    tty: Option<u32>,
    argv: Option<Vec<String>>,
}

/// Checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lxc {
    containers: Names,
    /// Where the containers are, if not where LXC is set up to look.
    path: Option<PathBuf>,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    /// A terminal of the container; 0 is its console.
    Tty(u32),
    /// A program.
    Argv(Vec<String>),
}

impl Settings for Lxc {
    const NAME: &'static str = "lxc";
    /// LXC gives a console to one at a time.
    const MAX_STREAMS: u32 = 4;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;
    type Bound = Program;

    fn check(raw: Raw) -> Result<Lxc, TargetConfigError> {
        let what = match (raw.argv, raw.tty) {
            (Some(_), Some(_)) => {
                return Err(TargetConfigError::at(
                    "argv",
                    "cannot stand beside tty: a program has a terminal of its own",
                ));
            }
            (Some(argv), None) => What::Argv(argv_inside(argv)?),
            (None, tty) => What::Tty(tty.unwrap_or(0)),
        };
        let path = raw.path.map(|path| absolute("path", path)).transpose()?;
        Ok(Lxc { containers: raw.containers, path, what })
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Rw, Mode::Ro]
    }

    fn params(&self) -> Vec<String> {
        self.containers.wants("container")
    }

    fn is_terminal(&self) -> bool {
        true
    }

    fn bind(&self, params: &mut Params<'_>) -> Result<Program, ParamError> {
        let name = self.containers.pick("container", params)?;
        let mut arguments = vec![format!("--name={name}")];
        arguments.extend(self.path.as_ref().map(|path| format!("--lxcpath={}", path.display())));
        Ok(match &self.what {
            What::Tty(tty) => {
                arguments.push(format!("--tty={tty}"));
                Program::new(CONSOLE, arguments, true)
            }
            What::Argv(argv) => {
                arguments.extend(["--clear-env", "--set-var=TERM=xterm-256color", "--"].map(str::to_owned));
                arguments.extend_from_slice(argv);
                Program::new(ATTACH, arguments, true)
            }
        })
    }

    fn wants(&self) -> Vec<Wants> {
        let why = "lxc-console and lxc-attach need root and most of what the unit takes away, so a unit for them is no sandbox.\n\
                   Let LXC write its console to a file (lxc.console.logfile), or let the container run a getty on a socket.";
        vec![Wants::Remark(why.into())]
    }

    async fn probe(&self) -> Result<String, OpenError> {
        let path = if matches!(self.what, What::Tty(_)) { CONSOLE } else { ATTACH };
        Program::new(path, vec![], true).probe().await
    }
}

/// A program inside of a container and its arguments.
pub(super) fn argv_inside(argv: Vec<String>) -> Result<Vec<String>, TargetConfigError> {
    argv.iter().try_for_each(|argument| without_nul("argv", argument.as_bytes()))?;
    match argv.first() {
        Some(program) if program.starts_with('/') => Ok(argv),
        Some(program) => Err(TargetConfigError::at("argv", format!("\"{program}\" is not an absolute path"))),
        None => Err(TargetConfigError::at("argv", "is empty: it begins with the program's absolute path")),
    }
}

#[cfg(test)]
mod tests {
    use crate::agent::target::testing::bound_argv;

    #[test]
    fn the_command_names_one_container() {
        let console = "kind = 'lxc'\ncontainers = ['web*']\npath = '/srv/lxc'";
        assert_eq!(
            bound_argv(console, "container", "web1").unwrap(),
            "/usr/bin/lxc-console --name=web1 --lxcpath=/srv/lxc --tty=0"
        );
        let shell = "kind = 'lxc'\ncontainers = ['web1']\nargv = ['/bin/sh', '-l']";
        assert_eq!(
            bound_argv(shell, "container", "web1").unwrap(),
            "/usr/bin/lxc-attach --name=web1 --clear-env --set-var=TERM=xterm-256color -- /bin/sh -l"
        );
        assert!(bound_argv(console, "container", "db").unwrap_err().contains("not among"));
        assert!(bound_argv(console, "container", "web/../x").unwrap_err().contains("not a name"));
        assert!(
            bound_argv(&format!("{shell}\ntty = 1"), "container", "web1").unwrap_err().contains("beside tty")
        );
        assert!(
            bound_argv(&shell.replace("/bin/sh", "sh"), "container", "web1")
                .unwrap_err()
                .contains("absolute")
        );
    }
}
