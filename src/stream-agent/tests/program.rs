//! The program as a user starts it, without a configuration. That cargo builds it for this test is why
//! `cargo test` leaves it where the end-to-end tests look for it.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

fn agent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stream-agent")).args(arguments).output().expect("the program starts")
}

#[test]
fn it_prints_its_name_and_version() {
    let output = agent(&["--version"]);
    let expected = format!("stream-agent {}", env!("CARGO_PKG_VERSION"));
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(&expected), "{output:?}");
}

#[test]
fn unknown_arguments_are_a_usage_error() {
    let output = agent(&["rum"]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("rum"), "{output:?}");
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let output = agent(&["--config", "/nonexistent/config.toml", "check-config"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/config.toml"), "{output:?}");
}

/// A configuration of its own, with an issuer's key.
struct Host(tempfile::TempDir);

const LEAST: &str =
    "host_id = 'web1'\nnats.servers = ['nats://127.0.0.1:4222']\nrelay.allow = ['ws://127.0.0.1:8080']\n";

impl Host {
    fn new() -> Host {
        let dir = tempfile::tempdir().expect("a folder");
        let host = Host(dir);
        let issuers = host.path("issuers.d");
        fs::create_dir(&issuers).expect("the folder of issuers");
        // Any public key.
        let key = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
        fs::write(issuers.join("k1.pub"), key).expect("a key");
        host.write("config.toml", &format!("{LEAST}auth.issuers_dir = '{}'\n", issuers.display()));
        fs::create_dir(host.path("targets.d")).expect("the folder of targets");
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the file can be written");
    }

    /// The names in `targets.d`.
    fn targets(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("targets.d")).expect("the folder of targets");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        names.sort();
        names
    }

    fn run(&self, words: &[&str]) -> Output {
        let config = self.path("config.toml");
        agent(&[&["--config", config.to_str().expect("a path"), "target"], words].concat())
    }

    /// Standard output of a command that succeeds, with `HERE` for the folder.
    fn said(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        self.short(&output.stdout)
    }

    /// The exit code and the error of a command that fails and changes nothing.
    fn refusal(&self, words: &[&str]) -> (i32, String) {
        let before = self.targets();
        let output = self.run(words);
        assert_eq!(self.targets(), before, "{words:?}");
        assert!(!output.status.success() && output.stdout.is_empty(), "{words:?}: {output:?}");
        (output.status.code().expect("a code"), self.short(&output.stderr))
    }

    fn short(&self, bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).replace(self.0.path().to_str().expect("a path"), "HERE")
    }
}

#[test]
fn a_target_is_added_shown_and_removed() {
    let host = Host::new();
    let add = ["add", "syslog", "file", "path=/var/log/syslog", "lines=5", "--title", "The log"];
    let file = "# Made by `stream-agent target add`. `stream-agent target remove` removes it, unless it was edited.\n\
                [target.syslog]\nkind = \"file\"\ntitle = \"The log\"\nlines = 5\npath = \"/var/log/syslog\"\n";
    let diff = |sign: char| file.lines().map(|line| format!("{sign} {line}\n")).collect::<String>();
    let no_service = "no service runs with this configuration: send the agent that does SIGHUP\n";

    let dry = host.said(&[&add[..], &["--dry-run"]].concat());
    assert_eq!(dry, format!("would write HERE/targets.d/syslog.toml:\n{}{no_service}", diff('+')));
    assert!(host.targets().is_empty());
    let ends = "test it: stream-agent --config HERE/config.toml test-dial --target syslog\nopen it: stream-relay open web1 syslog\n";
    assert_eq!(
        host.said(&add),
        format!("wrote HERE/targets.d/syslog.toml:\n{}{no_service}{ends}", diff('+'))
    );
    assert_eq!(fs::read_to_string(host.path("targets.d/syslog.toml")).expect("the file"), file);
    let mode = host.path("targets.d").metadata().expect("the folder").permissions().mode() & 0o666;
    assert_eq!(
        host.path("targets.d/syslog.toml").metadata().expect("the file").permissions().mode() & 0o777,
        mode
    );

    host.write(
        "targets.d/mine.toml",
        "\n[target.mine]\nkind = 'exec'\nargv = ['/bin/cat']\nuser = 'nobody'\n",
    );
    let shown = "mine: exec, rw\n    defined  HERE/targets.d/mine.toml:2\nsyslog: file, ro\n    title    The log\n    \
                 defined  HERE/targets.d/syslog.toml:2 (by target add)\n";
    assert_eq!(host.said(&["show"]), shown);
    let one: serde_json::Value =
        serde_json::from_str(&host.said(&["show", "syslog", "--json"])).expect("JSON");
    let expected = serde_json::json!({
        "name": "syslog", "kind": "file", "title": "The log", "modes": ["ro"], "file": "HERE/targets.d/syslog.toml",
        "line": 2, "made_by_command": true, "unit": null,
    });
    assert_eq!(one["targets"], serde_json::json!([expected]));

    let removed =
        format!("removed HERE/targets.d/syslog.toml:\n{}open streams of syslog end\n{no_service}", diff('-'));
    assert_eq!(host.said(&["remove", "syslog"]), removed);
    assert_eq!(host.targets(), ["mine.toml"]);
}

#[test]
fn what_cannot_be_a_target_is_refused_and_nothing_is_changed() {
    let host = Host::new();
    host.write("targets.d/mine.toml", "\n[target.mine]\nkind = 'unix'\npath = '/run/a'\n");
    for (words, code, why) in [
        (
            &["add", "mine", "file", "path=/a"][..],
            65,
            "mine is already defined at HERE/targets.d/mine.toml:2: choose another name",
        ),
        (&["add", "../x", "file", "path=/a"], 64, "\"../x\" cannot name a target"),
        (
            &["add", "a", "file", "pth=/a"],
            78,
            "`target.a.pth`: unknown key, did you mean `path`? (nothing was changed)",
        ),
        (&["add", "a", "file", "path=var"], 78, "`target.a.path`: \"var\" is not an absolute path"),
        (&["add", "a", "fiel", "path=/a"], 78, "unknown kind \"fiel\" (did you mean `file`?)"),
        (&["add", "a", "file"], 78, "`target.a.path`: is missing"),
        (&["add", "a", "file", "/var/log/syslog"], 64, "\"/var/log/syslog\" is not KEY=VALUE"),
        (&["add", "a", "libvirt", "domains=[web1]"], 64, "[web1] is not TOML"),
        (&["add", "a", "exec", "argv=/bin/cat", "--json"], 64, "add prints no results"),
        (&["remove", "mine"], 65, "HERE/targets.d/mine.toml:2 defines mine, and is a file of yours"),
        (&["remove", "none"], 65, "there is no target none: `stream-agent target show` lists them"),
        (&["show", "none"], 65, "there is no target none"),
    ] {
        let (code_now, error) = host.refusal(words);
        assert!(code_now == code && error.contains(why), "{words:?}: {code_now} {error}");
    }
    // What is wrong elsewhere would fail the reload.
    host.write("config.toml", "nonsense = 1\n");
    let (code, error) = host.refusal(&["add", "a", "file", "path=/a"]);
    assert!(code == 78 && error.contains("HERE/config.toml:1: unknown key `nonsense`"), "{error}");
}

#[test]
fn an_edited_file_belongs_to_the_owner_and_a_shipped_one_stays() {
    let host = Host::new();
    host.write("targets.d/logs.toml", "# An example.\n");
    host.said(&["add", "logs", "journal", "units=ssh.service"]);
    assert_eq!(host.targets(), ["logs.target.toml", "logs.toml"]);
    let file = host.path("targets.d/logs.target.toml");
    let made = fs::read_to_string(&file).expect("the file");
    host.write("targets.d/logs.target.toml", &made.replace("[target", "# Mine.\n[target"));
    let (code, error) = host.refusal(&["remove", "logs"]);
    assert!(code == 65 && error.contains("HERE/targets.d/logs.target.toml:3 defines logs"), "{error}");
    fs::write(&file, made).expect("the file");
    host.said(&["remove", "logs"]);
    assert_eq!(host.targets(), ["logs.toml"]);
    host.write("targets.d/logs.target.toml", "# Mine.\n");
    let (code, error) = host.refusal(&["add", "logs", "journal", "units=ssh.service"]);
    assert!(code == 65 && error.contains("are files of yours: choose another name"), "{error}");
}
