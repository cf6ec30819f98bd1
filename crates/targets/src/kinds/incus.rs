//! An instance of Incus or LXD: its console, or a program in it, through their client program.

use std::path::PathBuf;

use serde::Deserialize;

use crate::kind::Settings;
use crate::support::access::Need;
use crate::support::cell::Cell;
use crate::support::inside::argv_inside;
use crate::support::names::Names;
use crate::support::opened::OpenError;
use crate::support::params::{Param, ParamError, Params};
use crate::support::program::Program;
use crate::support::value::{TargetConfigError, absolute_file};
use crate::support::wants::Wants;
use protocol::mode::Mode;
use protocol::profile::Profile;

/// LXD's client is called `lxc`, and is in another folder.
const PROGRAM: &str = "/usr/bin/incus";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    instances: Names,
    program: Option<PathBuf>,
    project: Option<String>,
    argv: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Incus {
    instances: Names,
    program: PathBuf,
    project: Option<String>,
    /// The program and its arguments; none for the console.
    argv: Option<Vec<String>>,
}

impl Settings for Incus {
    const NAME: &'static str = "incus";
    const MAX_STREAMS: u32 = 4;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;
    type Bound = Program;

    fn check(raw: Raw) -> Result<Incus, TargetConfigError> {
        Ok(Incus {
            instances: raw.instances,
            program: absolute_file("program", raw.program.unwrap_or_else(|| PROGRAM.into()))?,
            project: raw.project,
            argv: raw.argv.map(argv_inside).transpose()?,
        })
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Rw, Mode::Ro]
    }

    fn params(&self) -> Vec<Param> {
        self.instances.wants("instance")
    }

    fn is_terminal(&self) -> bool {
        true
    }

    fn bind(&self, params: &mut Params<'_>) -> Result<Program, ParamError> {
        let name = self.instances.pick("instance", params)?;
        // REMOTE:NAME would be on another machine.
        if name.contains(':') {
            return Err(ParamError::new("instance", "is not a name of this host: it has a colon in it"));
        }
        // Keeps a user's remotes, and advice to new users, out of the stream.
        let mut arguments = vec!["--force-local".to_owned()];
        arguments.extend(self.project.iter().map(|project| format!("--project={project}")));
        match &self.argv {
            None => arguments.extend(["console".to_owned(), name]),
            Some(argv) => {
                arguments.extend([
                    "exec".to_owned(),
                    name,
                    "--force-interactive".to_owned(),
                    "--".to_owned(),
                ]);
                arguments.extend_from_slice(argv);
            }
        }
        Ok(Program::new(&self.program, arguments, true))
    }

    fn cell(&self) -> Cell {
        // The socket of Incus belongs to a group.
        Cell::Own
    }

    fn wants(&self) -> Vec<Wants> {
        vec![
            Wants::Path(self.program.clone(), Need::Run),
            Wants::Path("/var/lib/incus/unix.socket".into(), Need::Connect),
        ]
    }

    async fn probe(&self) -> Result<String, OpenError> {
        Program::new(&self.program, vec![], true).probe().await
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::bound_argv;

    #[test]
    fn the_command_names_one_instance_of_this_host() {
        let console = "kind = 'incus'\ninstances = ['*']\nproject = 'p'";
        assert_eq!(
            bound_argv(console, "instance", "web1").unwrap(),
            "/usr/bin/incus --force-local --project=p console web1"
        );
        let shell = "kind = 'incus'\ninstances = ['web1']\nprogram = '/snap/bin/lxc'\nargv = ['/bin/bash']";
        assert_eq!(
            bound_argv(shell, "instance", "web1").unwrap(),
            "/snap/bin/lxc --force-local exec web1 --force-interactive -- /bin/bash"
        );
        assert!(bound_argv(console, "instance", "other:web1").unwrap_err().contains("colon"));
    }
}
