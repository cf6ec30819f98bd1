//! A machine of systemd-machined (such as a container of systemd-nspawn): its login prompt, or a shell or program in
//! it, through machinectl(1).

mod discover;

use serde::Deserialize;

use crate::kind::Settings;
use crate::support::candidate::{Findings, search};
use crate::support::cell::Cell;
use crate::support::inside::argv_inside;
use crate::support::names::Names;
use crate::support::opened::OpenError;
use crate::support::params::{Param, ParamError, Params};
use crate::support::program::Program;
use crate::support::value::TargetConfigError;
use crate::support::wants::Wants;
use protocol::mode::Mode;
use protocol::profile::Profile;

const MACHINECTL: &str = "/usr/bin/machinectl";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    machines: Names,
    #[serde(default)]
    action: Action,
    user: Option<String>,
    argv: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Machine {
    machines: Names,
    action: Action,
    /// The user in the machine; root by default.
    user: Option<String>,
    /// The program and its arguments; empty for the user's shell.
    argv: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    /// Asks for a name and a password.
    #[default]
    Login,
    /// Runs as a user without a login.
    Shell,
}

impl Settings for Machine {
    const NAME: &'static str = "machine";
    const MAX_STREAMS: u32 = 4;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;
    type Bound = Program;

    fn check(raw: Raw) -> Result<Machine, TargetConfigError> {
        if raw.action == Action::Login {
            for (key, is_given) in [("user", raw.user.is_some()), ("argv", raw.argv.is_some())] {
                if is_given {
                    return Err(TargetConfigError::at(
                        key,
                        "is for action = \"shell\": who logs in says who it is",
                    ));
                }
            }
        }
        if let Some(user) = raw.user.as_ref().filter(|user| !is_user(user)) {
            return Err(TargetConfigError::at("user", format!("\"{user}\" is no name of a user")));
        }
        let argv = raw.argv.map(argv_inside).transpose()?.unwrap_or_default();
        Ok(Machine { machines: raw.machines, action: raw.action, user: raw.user, argv })
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Rw, Mode::Ro]
    }

    fn params(&self) -> Vec<Param> {
        self.machines.wants("machine")
    }

    fn is_terminal(&self) -> bool {
        true
    }

    fn bind(&self, params: &mut Params<'_>) -> Result<Program, ParamError> {
        let name = self.machines.pick("machine", params)?;
        // USER@NAME would choose the user, which is up to the owner. `.host` is the host itself.
        if name.contains('@') {
            return Err(ParamError::new("machine", "is not a machine's name: it has an @ in it"));
        }
        let mut arguments = vec!["--quiet".to_owned()];
        match (self.action, &self.user) {
            (Action::Login, _) => arguments.extend(["login".to_owned(), name]),
            (Action::Shell, None) => arguments.extend(["shell".to_owned(), name]),
            (Action::Shell, Some(user)) => arguments.extend(["shell".to_owned(), format!("{user}@{name}")]),
        }
        arguments.extend_from_slice(&self.argv);
        Ok(Program::new(MACHINECTL, arguments, true))
    }

    fn cell(&self) -> Cell {
        // polkit has a rule for the user that asks.
        Cell::Own
    }

    fn wants(&self) -> Vec<Wants> {
        vec![Wants::Polkit(match self.action {
            Action::Login => "org.freedesktop.machine1.login",
            Action::Shell => "org.freedesktop.machine1.shell",
        })]
    }

    async fn probe(&self) -> Result<String, OpenError> {
        Program::new(MACHINECTL, vec![], true).probe().await
    }

    async fn discover() -> Findings {
        search(discover::discover).await
    }
}

fn is_user(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().next().is_some_and(is_word)
        && name.bytes().all(|byte| is_word(byte) || byte == b'-' || byte == b'.')
}

#[cfg(test)]
mod tests {
    use crate::testing::bound_argv;

    #[test]
    fn the_command_names_one_machine() {
        let login = "kind = 'machine'\nmachines = ['web*']";
        assert_eq!(bound_argv(login, "machine", "web1").unwrap(), "/usr/bin/machinectl --quiet login web1");
        let shell =
            "kind = 'machine'\nmachines = ['*']\naction = 'shell'\nuser = 'www'\nargv = ['/bin/top', '-b']";
        assert_eq!(
            bound_argv(shell, "machine", "web1").unwrap(),
            "/usr/bin/machinectl --quiet shell www@web1 /bin/top -b"
        );
        assert!(bound_argv(shell, "machine", "root@web1").unwrap_err().contains('@'));
        assert!(bound_argv(shell, "machine", ".host").unwrap_err().contains("not a name"));
        assert!(
            bound_argv(&format!("{login}\nuser = 'www'"), "machine", "web1").unwrap_err().contains("shell")
        );
        assert!(bound_argv(&shell.replace("www", "-x"), "machine", "web1").unwrap_err().contains("no name"));
    }
}
