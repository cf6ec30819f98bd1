//! One target, from its table to its opening.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::command::TargetInfo;
use protocol::end::End;
use protocol::mode::Mode;
use protocol::profile::Profile;
use protocol::view::View;

use super::kind::Connections;
use super::kinds::{self, Kind};
use super::support::cell::Cell;
use super::support::opened::{OpenError, Opened, Opening, Window};
use super::support::params::{ParamError, Params};
use super::support::shared::Shared;
use super::support::value::TargetConfigError;
use super::table::{
    Common, check_max_streams, check_modes, check_open_timeout, check_session_streams, check_view, keys,
    nearest, parse, take,
};

/// The longest name of a target, which occurs in grants, logs and listings.
const MAX_NAME: usize = 64;

/// Something on this host that may be opened, as its owner described it.
///
/// Two targets are equal if all their settings are, including defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The name, which is all that a grant contains of a target.
    pub name: String,
    /// A title for people, if the owner gave one.
    pub title: Option<String>,
    /// The modes that may be granted; at least one, and the first is the default.
    pub modes: Vec<Mode>,
    /// How many streams of all sessions may be open at once.
    pub max_streams: u32,
    /// How many streams one session may have in all.
    pub session_streams: u32,
    /// Whether later clients of a session that cannot authenticate may be recognized by their address.
    pub same_address: bool,
    /// How long opening may take.
    pub open_timeout: Duration,
    /// What its streams are tuned for.
    pub profile: Profile,
    /// What shows it to a person, if the owner says or the kind knows.
    pub view: Option<View>,
    pub(super) kind: Kind,
}

impl Target {
    /// Reads and checks the value of a name in `[target]`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its key.
    pub fn from_value(name: &str, value: toml::Value) -> Result<Target, TargetConfigError> {
        let message = match value {
            toml::Value::Table(table) => return Target::from_table(name, table),
            toml::Value::Array(array) if array.iter().all(toml::Value::is_table) => {
                format!("is one target: write [target.{name}], and not [[target.{name}]]")
            }
            _ if is_key(name) => {
                "is a key of a target, and the target needs a name: write [target.NAME] above it, such as [target.shell]".into()
            }
            _ => format!("is no target: write [target.{name}], and its keys below it"),
        };
        Err(TargetConfigError::whole(message))
    }

    /// Reads and checks `[target.NAME]`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its key.
    pub fn from_table(name: &str, mut table: toml::Table) -> Result<Target, TargetConfigError> {
        Target::check_name(name)?;
        if !table.contains_key("kind") {
            if let Some((below, toml::Value::Table(_))) = table.iter().next() {
                let message = format!(
                    "is no target: where \"{name}.{below}\" is its name, write [target.\"{name}.{below}\"], with quotation marks"
                );
                return Err(TargetConfigError::whole(message));
            }
            let message = format!("missing key `kind`, which is one of: {}", Kind::NAMES.join(", "));
            return Err(TargetConfigError::whole(message));
        }
        let common: Common = parse(take(&mut table, keys::<Common>()))?;
        let (kind, limits) = Kind::from_table(&common.kind, table).ok_or_else(|| {
            let known = Kind::NAMES;
            let likely = nearest(&common.kind, known).map(|known| format!(" (did you mean `{known}`?)"));
            let likely = likely.unwrap_or_default();
            let message =
                format!("unknown kind \"{}\"{likely}, which is one of: {}", common.kind, known.join(", "));
            TargetConfigError::at("kind", message)
        })??;
        let max_streams = check_max_streams(common.max_streams, &limits, kind.name())?;
        let session_streams = check_session_streams(&common, &limits, max_streams)?;
        Ok(Target {
            name: name.to_owned(),
            title: common.title,
            modes: check_modes(common.modes, &limits, kind.name())?,
            max_streams,
            session_streams,
            same_address: limits.connections != Connections::One,
            open_timeout: check_open_timeout(common.open_timeout)?,
            profile: common.profile.unwrap_or(limits.profile),
            view: check_view(common.view)?.or_else(|| kind.view()),
            kind,
        })
    }

    /// Checks the name of a target.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_name(name: &str) -> Result<(), TargetConfigError> {
        let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let all = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !first || !all || name.len() > MAX_NAME {
            return Err(TargetConfigError::whole(format!(
                "\"{name}\" cannot name a target: 1 to {MAX_NAME} letters, digits, dots, dashes and \
                 underscores, the first a letter or a digit"
            )));
        }
        Ok(())
    }

    /// All kinds, each with the keys that only it has.
    pub fn kinds() -> Vec<(&'static str, &'static [&'static str])> {
        Kind::keys()
    }

    /// The value of `kind` in the configuration.
    pub fn kind_name(&self) -> &'static str {
        self.kind.name()
    }

    /// Whether clients should treat it as a terminal, which has a size.
    pub fn is_terminal(&self) -> bool {
        self.kind.is_terminal()
    }

    /// Whether it runs a program as the agent's own user.
    pub fn runs_as_agent(&self) -> bool {
        matches!(&self.kind, Kind::Exec(exec) if exec.has_no_user())
    }

    /// The user that the owner names for its program.
    pub fn user(&self) -> Option<&str> {
        match &self.kind {
            Kind::Exec(exec) => exec.user(),
            _ => None,
        }
    }

    /// Which process of the split agent opens it. Looks at no file.
    pub fn cell(&self) -> Cell {
        self.kind.cell()
    }

    /// What clients may know about the target: never addresses, paths or programs.
    pub fn info(&self) -> TargetInfo {
        let (mut params, mut choices) = (Vec::new(), BTreeMap::new());
        for param in self.kind.params() {
            choices.extend(param.choices.map(|values| (param.name.clone(), values)));
            params.push(param.name);
        }
        TargetInfo {
            name: self.name.clone(),
            kind: self.kind_name().to_owned(),
            title: self.title.clone(),
            modes: self.modes.clone(),
            params,
            terminal: self.kind.is_terminal(),
            view: self.view,
            choices,
        }
    }

    /// Fills in a grant's parameters. Only the result can be opened.
    ///
    /// # Errors
    /// The first parameter that is unknown, missing or against its rule.
    pub fn bind(&self, params: &BTreeMap<String, String>) -> Result<Bound, ParamError> {
        let mut params = Params::new(params);
        let kind = self.kind.bind(&mut params)?;
        params.finish()?;
        let Target { modes, open_timeout, profile, .. } = self;
        Ok(Bound {
            kind,
            modes: modes.clone(),
            open_timeout: *open_timeout,
            profile: *profile,
            name: self.kind_name(),
        })
    }

    /// Checks that the target could be opened, and describes it. Runs nothing, and reads no byte from anybody. Sockets
    /// are connected to and closed.
    ///
    /// # Errors
    /// As for [`Target::open`].
    pub async fn probe(&self) -> Result<String, OpenError> {
        in_time(self.open_timeout, self.kind_name(), self.kind.probe()).await
    }
}

/// A target with all parameters filled in.
#[derive(Clone, Debug)]
pub struct Bound {
    pub(super) kind: kinds::Bound,
    modes: Vec<Mode>,
    open_timeout: Duration,
    profile: Profile,
    name: &'static str,
}

impl Bound {
    /// Opens the target. Kinds without a terminal ignore `window`.
    ///
    /// # Errors
    /// [`End::TargetTimeout`] after `open_timeout`, [`End::NotAllowed`] for a mode that the
    /// owner did not list, else [`End::TargetFailed`].
    pub async fn open(
        &self,
        mode: Mode,
        window: Option<Window>,
        shared: &Shared,
    ) -> Result<Opened, OpenError> {
        // The allowlist has already checked this. Checked again so that a mistake there does not give access.
        if !self.modes.contains(&mode) {
            let message = format!("mode {mode} is not among the modes of this target");
            return Err(OpenError { end: End::NotAllowed, message });
        }
        let opening = Opening { mode, window, profile: self.profile, shared: shared.clone() };
        in_time(self.open_timeout, self.name, self.kind.open(opening)).await
    }
}

async fn in_time<T>(
    limit: Duration,
    kind: &str,
    work: impl Future<Output = Result<T, OpenError>>,
) -> Result<T, OpenError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => {
            let limit = humantime_serde::re::humantime::format_duration(limit);
            let message = format!("the {kind} target did not open in {limit}");
            Err(OpenError { end: End::TargetTimeout, message })
        }
    }
}

/// Whether any target has a key of this name.
fn is_key(name: &str) -> bool {
    keys::<Common>().contains(&name) || Kind::keys().iter().any(|(_, keys)| keys.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<Target, TargetConfigError> {
        Target::from_table("vm1", text.parse().unwrap())
    }

    fn complaint(text: &str) -> (String, String) {
        let error = target(text).unwrap_err();
        (error.key.clone().unwrap_or_default(), error.message)
    }

    #[test]
    fn defaults_depend_on_the_kind() {
        let tcp = target("kind = 'tcp'\naddress = '127.0.0.1:5901'").unwrap();
        assert_eq!((tcp.kind_name(), tcp.title.as_deref(), tcp.max_streams), ("tcp", None, 8));
        assert_eq!((&*tcp.modes, tcp.open_timeout), (&[Mode::Rw][..], Duration::from_secs(10)));
        let file = target("kind = 'file'\npath = '/var/log/syslog'").unwrap();
        assert_eq!((file.max_streams, &*file.modes), (16, &[Mode::Ro][..]));
        let fifo = target("kind = 'fifo'\npath = '/run/x'").unwrap();
        assert_eq!((fifo.max_streams, &*fifo.modes), (1, &[Mode::Ro][..]));
        let exec = target("kind = 'exec'\nargv = ['/bin/login']\npty = true").unwrap();
        assert_eq!((exec.max_streams, &*exec.modes), (4, &[Mode::Rw][..]));
        let exec = target("kind = 'exec'\nargv = ['/bin/df']").unwrap();
        assert_eq!((exec.kind_name(), &*exec.modes), ("exec", &[Mode::Rw][..]));
    }

    #[test]
    fn a_session_has_one_stream_unless_the_protocol_or_the_owner_wants_more() {
        let qmp = "kind = 'qmp'\npath = '/run/a'\n";
        for (text, streams, same_address) in [
            ("kind = 'exec'\nargv = ['/bin/sh']\npty = true\nmax_streams = 4", 1, false),
            ("kind = 'exec'\nargv = ['/bin/sh']\nsession_streams = 2", 2, false),
            ("kind = 'serial'\npath = '/dev/ttyS0'", 1, false),
            ("kind = 'file'\npath = '/a'\nmax_streams = 100", 1, false),
            ("kind = 'tcp'\naddress = '127.0.0.1:22'", 1, true),
            ("kind = 'unix'\npath = '/run/a'\nmax_streams = 8", 8, true),
            ("kind = 'tcp'\naddress = '127.0.0.1:22'\nmax_streams = 50\nsession_streams = 1", 1, true),
            (&format!("{qmp}display = 'spice'"), 8, true),
            (&format!("{qmp}display = 'vnc'\nmax_streams = 20"), 1, false),
            ("kind = 'libvirt'\ndomains = ['a']", 8, true),
            ("kind = 'libvirt'\ndomains = ['a']\ndisplay = 'vnc'", 1, false),
        ] {
            let target = target(text).unwrap();
            assert_eq!((target.session_streams, target.same_address), (streams, same_address), "{text}");
        }
    }

    #[test]
    fn what_the_owner_writes_is_taken() {
        let text = "kind = 'unix'\npath = '/run/a'\ntitle = 'Screen'\nmodes = ['ro', 'rw']\n\
                    max_streams = 2\nopen_timeout = '1s 500ms'";
        let unix = target(text).unwrap();
        assert_eq!((unix.title.as_deref(), unix.max_streams), (Some("Screen"), 2));
        assert_eq!(unix.open_timeout, Duration::from_millis(1500));
        assert_eq!(unix.modes, [Mode::Ro, Mode::Rw]);
        assert_eq!(unix, target(text).unwrap());
        assert_ne!(unix, target(&text.replace("/run/a", "/run/b")).unwrap());
        assert_eq!(
            serde_json::to_string(&unix.info()).unwrap(),
            r#"{"name":"vm1","kind":"unix","title":"Screen","modes":["ro","rw"]}"#
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest() {
        let (key, message) = complaint("kind = 'tcp'\nadress = '127.0.0.1:1'");
        assert_eq!((key.as_str(), message.as_str()), ("adress", "unknown key, did you mean `address`?"));
        let (key, message) = complaint("kind = 'tcp'\nmax_stream = 1");
        assert_eq!(key, "max_stream");
        assert!(message.contains("`max_streams`"), "{message}");
        let (key, message) = complaint("kind = 'file'\npath = '/a'\ncolour = 1");
        assert_eq!(key, "colour");
        assert_eq!(message, "unknown key, known are path, paths, lines, history, follow_symlinks, raw");
        let (key, message) = complaint("kind = 'tpc'");
        assert_eq!(key, "kind");
        assert!(
            message.starts_with("unknown kind \"tpc\" (did you mean `tcp`?), which is one of: tcp, "),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_or_missing_value_is_reported_with_its_key() {
        let cases = [
            ("kind = 'tcp'\naddress = 5", "address", "write \"5\""),
            ("kind = 'tcp'", "", "missing key `address`"),
            ("path = '/x'", "", "missing key `kind`, which is one of: "),
            ("kind = 'file'\npaths = '/x'", "paths", "write [\"/x\"]"),
            ("kind = 'file'\npath = '/x'\nopen_timeout = 5", "open_timeout", "write \"5s\""),
            ("kind = 'file'\npath = 'x'", "path", "absolute"),
            ("kind = 'file'\npath = '/x/'", "path", "name a file"),
            ("kind = 'file'\npath = '/x'\nmodes = ['rw']", "modes", "kind file cannot"),
            ("kind = 'unix'\npath = '/x'\nmodes = []", "modes", "empty"),
            ("kind = 'unix'\npath = '/x'\nmodes = ['ro', 'ro']", "modes", "twice"),
            ("kind = 'unix'\npath = '/x'\nmodes = ['rwx']", "modes", "unknown value `rwx`"),
            ("kind = 'unix'\npath = '/x'\nmax_streams = 0", "max_streams", "from 1"),
            ("kind = 'fifo'\npath = '/x'\nmax_streams = 2", "max_streams", "must be 1"),
            ("kind = 'unix'\npath = '/x'\nsession_streams = 9", "session_streams", "from 1 to 8"),
            ("kind = 'unix'\npath = '/x'\nsession_streams = 0", "session_streams", "from 1"),
            ("kind = 'unix'\npath = '/x'\nopen_timeout = '0s'", "open_timeout", "longer"),
            (
                "kind = 'unix'\npath = '/x'\nopen_timeout = 'soon'",
                "open_timeout",
                "\"soon\" is not a duration",
            ),
            ("kind = 'exec'\nargv = []", "argv", "empty"),
            ("kind = 'exec'\nargv = ['df']", "argv", "absolute"),
            ("kind = 'exec'\nargv = ['/bin/df']\nenv = { 'A=B' = '1' }", "env", "A=B"),
        ];
        for (text, key, words) in cases {
            let (found, message) = complaint(text);
            assert_eq!(found, key, "{text}: {message}");
            assert!(message.contains(words), "{text}: {message}");
        }
    }

    #[test]
    fn no_program_and_nothing_with_needs_is_opened_by_the_opener() {
        for (text, cell) in [
            ("kind = 'tcp'\naddress = '127.0.0.1:22'", Cell::Opener),
            ("kind = 'unix'\npath = '/run/a'", Cell::Opener),
            ("kind = 'file'\npath = '/a'", Cell::Opener),
            ("kind = 'fifo'\npath = '/a'", Cell::Opener),
            ("kind = 'qmp'\npath = '/run/a'\ndisplay = 'vnc'", Cell::Opener),
            ("kind = 'exec'\nargv = ['/bin/df']", Cell::Program),
            ("kind = 'exec'\nargv = ['/bin/df']\nuser = 'root'", Cell::Own),
            ("kind = 'serial'\npath = '/dev/ttyS0'", Cell::Shared),
            ("kind = 'journal'\nunits = ['*']", Cell::Own),
            ("kind = 'libvirt'\ndomains = ['a']", Cell::Own),
            ("kind = 'lxc'\ncontainers = ['a']", Cell::Own),
            ("kind = 'incus'\ninstances = ['a']", Cell::Own),
            ("kind = 'machine'\nmachines = ['a']\naction = 'login'", Cell::Own),
            ("kind = 'container'\nengine = 'docker'\ncontainers = ['a']\naction = 'logs'", Cell::Own),
        ] {
            assert_eq!(target(text).unwrap().cell(), cell, "{text}");
        }
    }

    #[test]
    fn a_name_is_a_plain_word() {
        let table: toml::Table = "kind = 'unix'\npath = '/x'".parse().unwrap();
        for name in ["a", "7", "vm-1.screen_0", &"x".repeat(64)] {
            assert_eq!(Target::from_table(name, table.clone()).unwrap().name, name);
        }
        for name in ["", "-a", ".a", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(Target::from_table(name, table.clone()).is_err(), "{name}");
        }
    }
}
