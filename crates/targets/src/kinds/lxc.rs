//! A container of LXC: its console, or a program in it, through lxc-console(1) and lxc-attach(1).

mod discover;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::kind::Settings;
use crate::support::candidate::{Findings, search};
use crate::support::cell::Cell;
use crate::support::inside::argv_inside;
use crate::support::names::Names;
use crate::support::opened::OpenError;
use crate::support::params::{Param, ParamError, Params};
use crate::support::program::Program;
use crate::support::value::{TargetConfigError, absolute};
use crate::support::wants::Wants;
use protocol::mode::Mode;
use protocol::profile::Profile;

const CONSOLE: &str = "/usr/bin/lxc-console";
const ATTACH: &str = "/usr/bin/lxc-attach";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    containers: Names,
    path: Option<PathBuf>,
    tty: Option<u32>,
    argv: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lxc {
    containers: Names,
    /// The folder of the containers, if not LXC's default.
    path: Option<PathBuf>,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    /// The number of a terminal of the container; 0 is its console.
    Tty(u32),
    /// A program and its arguments.
    Argv(Vec<String>),
}

impl Settings for Lxc {
    const NAME: &'static str = "lxc";
    /// LXC allows only one client at a console.
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

    fn params(&self) -> Vec<Param> {
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

    fn cell(&self) -> Cell {
        // lxc-console and lxc-attach need root.
        Cell::Own
    }

    fn wants(&self) -> Vec<Wants> {
        let why = "lxc-console and lxc-attach need root and most of what the unit takes away, so a unit for them is no sandbox.\n\
                   Let LXC write its console to a file (lxc.console.logfile), or let the container run a getty on a socket.";
        vec![Wants::Root(why)]
    }

    async fn probe(&self) -> Result<String, OpenError> {
        let path = if matches!(self.what, What::Tty(_)) { CONSOLE } else { ATTACH };
        Program::new(path, vec![], true).probe().await
    }

    async fn discover() -> Findings {
        // Its containers are of no use to this kind without LXC's programs.
        let discover = || if Path::new(CONSOLE).exists() { discover::discover() } else { vec![] };
        search(discover).await
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::bound_argv;

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
