//! A program that the owner names. The grant's parameters fill the places that the owner left in its arguments.

mod interpreters;
mod script;
mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::kind::Settings;
use crate::support::access::Need;
use crate::support::cell::Cell;
use crate::support::inside::check_env;
use crate::support::opened::OpenError;
use crate::support::params::{Param, ParamError, Params, RawRule, Rule};
use crate::support::program::Program;
use crate::support::value::{TargetConfigError, absolute, absolute_file, without_nul};
use crate::support::wants::Wants;
use protocol::mode::Mode;
use protocol::profile::Profile;
use template::Template;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    argv: Vec<String>,
    #[serde(default)]
    pty: bool,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
    user: Option<String>,
    #[serde(default)]
    network: bool,
    #[serde(default, with = "humantime_serde")]
    timeout: Option<Duration>,
    #[serde(default)]
    params: BTreeMap<String, RawRule>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exec {
    /// The program without its arguments.
    program: Program,
    arguments: Vec<Template>,
    rules: BTreeMap<String, Rule>,
    /// Whether it may use the network, as far as the agent can keep it away.
    network: bool,
}

impl Exec {
    /// Whether it runs as the agent's own user, because the owner names none.
    pub(crate) fn has_no_user(&self) -> bool {
        self.program.user.is_none()
    }

    /// The user that the owner names.
    pub(crate) fn user(&self) -> Option<&str> {
        self.program.user.as_deref()
    }
}

impl Settings for Exec {
    const NAME: &'static str = "exec";
    /// Each stream is a process. A log serves many readers better.
    const MAX_STREAMS: u32 = 4;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;
    type Bound = Program;

    fn check(raw: Raw) -> Result<Exec, TargetConfigError> {
        let mut argv = raw.argv.into_iter();
        let Some(path) = argv.next() else {
            return Err(TargetConfigError::at(
                "argv",
                "is empty: it begins with the program's absolute path",
            ));
        };
        let path = absolute_file("argv", path.into())?;
        let rules = check_rules(raw.params)?;
        let arguments = check_arguments(&path, argv.collect(), &rules)?;
        check_env(&raw.env)?;
        if raw.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(TargetConfigError::at("timeout", "must be longer than nothing"));
        }
        let program = Program {
            env: raw.env,
            cwd: absolute("cwd", raw.cwd.unwrap_or_else(|| PathBuf::from("/")))?,
            user: raw.user,
            timeout: raw.timeout,
            has_home: true,
            ..Program::new(path, vec![], raw.pty)
        };
        Ok(Exec { program, arguments, rules, network: raw.network })
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Rw, Mode::Ro]
    }

    fn params(&self) -> Vec<Param> {
        self.rules.iter().map(|(name, rule)| rule.param(name)).collect()
    }

    fn is_terminal(&self) -> bool {
        self.program.pty
    }

    fn bind(&self, params: &mut Params<'_>) -> Result<Program, ParamError> {
        let mut values = BTreeMap::new();
        for (name, rule) in &self.rules {
            values.insert(name.as_str(), rule.take(name, params)?);
        }
        let arguments = self.arguments.iter().map(|argument| argument.fill(&values)).collect();
        Ok(Program { arguments, ..self.program.clone() })
    }

    fn cell(&self) -> Cell {
        match self.has_no_user() && !self.network {
            true => Cell::Program,
            false => Cell::Own,
        }
    }

    fn wants(&self) -> Vec<Wants> {
        let program = Wants::Path(self.program.path.clone(), Need::Run);
        let user = self.program.user.clone().map(Wants::User);
        let network = self.network.then_some(Wants::Network);
        [Some(program), user, network].into_iter().flatten().collect()
    }

    async fn probe(&self) -> Result<String, OpenError> {
        self.program.probe().await
    }
}

fn check_rules(raw: BTreeMap<String, RawRule>) -> Result<BTreeMap<String, Rule>, TargetConfigError> {
    let checked = raw.into_iter().map(|(name, raw)| {
        if !template::is_name(&name) {
            let message =
                format!("\"{name}\" cannot name a parameter: a-z, 0-9 and _ can, the first a letter");
            return Err(TargetConfigError::at("params", message));
        }
        let rule = Rule::check("params", raw)
            .map_err(|error| TargetConfigError::at("params", format!("{name}: {}", error.message)))?;
        Ok((name, rule))
    });
    checked.collect()
}

fn check_arguments(
    program: &Path,
    arguments: Vec<String>,
    rules: &BTreeMap<String, Rule>,
) -> Result<Vec<Template>, TargetConfigError> {
    arguments.iter().try_for_each(|argument| without_nul("argv", argument.as_bytes()))?;
    // Without `params` braces are plain text, because programs such as awk(1) use them.
    if rules.is_empty() {
        return Ok(arguments.into_iter().map(Template::plain).collect());
    }
    let wrong = |message: String| TargetConfigError::at("argv", message);
    let templates: Vec<_> = arguments.iter().map(|argument| Template::read(argument)).collect();
    let used: Vec<_> = templates.iter().flat_map(Template::names).collect();
    if let Some(unknown) = used.iter().find(|name| !rules.contains_key(**name)) {
        return Err(wrong(format!("{{{unknown}}} has no rule: add params.{unknown}.pattern")));
    }
    if let Some(unused) = rules.keys().find(|name| !used.contains(&name.as_str())) {
        let message = format!("{unused} has no place: write {{{unused}}} in argv, or leave it out");
        return Err(TargetConfigError::at("params", message));
    }
    let program = program.to_string_lossy();
    let words: Vec<_> = std::iter::once(&*program).chain(arguments.iter().map(String::as_str)).collect();
    if let Some(name) = script::with_parameter(&words) {
        return Err(wrong(format!(
            "has a parameter where {name} would run it, or a part of it: write \"$1\" in the script, and the parameter as \
             an argument of its own after it, or call a script of your own"
        )));
    }
    Ok(templates)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::Target;
    use crate::testing::{in_time, target};
    use protocol::mode::Mode;
    use tokio::io::AsyncReadExt;

    const UNIT: &str = "kind = 'exec'\nargv = ['/usr/bin/printf', '%s|', '--unit={unit}', '{unit}.{n}', '{', '{U}']\n\
        params.unit.pattern = '[a-z]+'\nparams.n = { pattern = '[0-9]{1,3}', default = '7' }";

    fn refusal(target: &Target, given: &[(&str, &str)]) -> String {
        let given: BTreeMap<_, _> = given.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        target.bind(&given).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn parameters_fill_their_places_and_nothing_else() {
        let target = target(UNIT);
        assert_eq!(target.info().params, ["n", "unit"]);
        let given = BTreeMap::from([("unit".to_owned(), "ssh".to_owned())]);
        let mut opened = in_time(target.bind(&given).unwrap().open_alone(Mode::Rw, None)).await.unwrap();
        let mut said = String::new();
        in_time(opened.output.read_to_string(&mut said)).await.unwrap();
        assert_eq!(said, "--unit=ssh|ssh.7|{|{U}|");
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_the_rule() {
        let target = target(UNIT);
        assert_eq!(refusal(&target, &[]), "parameter `unit` is missing");
        assert!(refusal(&target, &[("unit", "SSH")]).contains("does not match"));
        assert!(refusal(&target, &[("unit", "-x")]).contains("dash"));
        assert!(refusal(&target, &[("unit", "a"), ("n", "1234")]).contains("`n` does not match"));
        assert!(refusal(&target, &[("unit", "a"), ("m", "1")]).contains("`m` is not a parameter"));
    }

    #[test]
    fn places_and_rules_belong_together() {
        let complaint = |text: &str| {
            let text = format!("kind = 'exec'\n{text}");
            let error = Target::from_table("t", text.parse().unwrap()).unwrap_err();
            (error.key.unwrap_or_default(), error.message)
        };
        let cases = [
            ("argv = ['/bin/a', '{b}']\nparams.a.pattern = 'a'", "argv", "{b} has no rule"),
            ("argv = ['/bin/a', 'b']\nparams.a.pattern = 'a'", "params", "a has no place"),
            ("argv = ['/bin/a', '{a}']\nparams.a.pattern = '('", "params", "a: pattern"),
            ("argv = ['/bin/a', '{a}']\nparams.a.patern = 'a'", "params", "patern"),
            ("argv = ['/bin/a', '{a}']\nparams.A.pattern = 'a'", "params", "cannot name"),
            ("argv = ['/bin/sh', '-c', 'ls {a}']\nparams.a.pattern = '.*'", "argv", "write \"$1\""),
            (
                "argv = ['/usr/bin/env', 'bash', '-lc', 'ls {a}']\nparams.a.pattern = '.*'",
                "argv",
                "where bash",
            ),
            ("argv = ['/bin/a']\ntimeout = '0s'", "timeout", "longer"),
        ];
        for (text, key, words) in cases {
            let (found, message) = complaint(text);
            assert_eq!(found, key, "{text}: {message}");
            assert!(message.contains(words), "{text}: {message}");
        }
        // Without parameters braces mean nothing.
        target("kind = 'exec'\nargv = ['/usr/bin/awk', '{print $1}', '{a}']");
        target(
            "kind = 'exec'\nargv = ['/bin/sh', '-c', 'ls \"$1\"', 'sh', '{a}']\nparams.a.pattern = '[a-z]+'",
        );
    }
}
