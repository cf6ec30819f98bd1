//! The journal as hosts have it: units that start later, several boots, journals of other hosts, odd names.
//! systemd-journal-remote writes the journals, as on a central log host.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::world::{Client, World, eventually};

const BOOT: &str = "22222222222222222222222222222222";
const OLDER: &str = "11111111111111111111111111111111";

/// An entry of a unit: its fields. Later ones override earlier ones.
type Fields = Vec<(&'static str, String)>;

fn entry(unit: &str, message: &str) -> Fields {
    [("_SYSTEMD_UNIT", unit), ("MESSAGE", message)].map(|(name, value)| (name, value.to_owned())).into()
}

/// Adds entries to a journal file, and creates the file if necessary.
fn write(file: &Path, boot: &str, ago: Duration, entries: &[Fields]) {
    let begin = SystemTime::now() - ago;
    let begin = begin.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    let mut all = Vec::new();
    for (number, fields) in entries.iter().enumerate() {
        let now = begin + number as u128;
        let head = format!("__REALTIME_TIMESTAMP={now}\n__MONOTONIC_TIMESTAMP={}\n", now % 10_000_000_000);
        all.extend(head.into_bytes());
        let common = [("_BOOT_ID", boot), ("_MACHINE_ID", &"a".repeat(32)), ("_HOSTNAME", "host")];
        let common = common.map(|(name, value)| (name, value.to_owned()));
        let more =
            [("PRIORITY", "6"), ("SYSLOG_IDENTIFIER", "prog"), ("_PID", "42"), ("_TRANSPORT", "stdout")];
        let more = more.map(|(name, value)| (name, value.to_owned()));
        let is_new = |(name, _): &&(&str, String)| !fields.iter().any(|(other, _)| other == name);
        for (name, value) in common.iter().chain(more.iter()).filter(is_new).chain(fields) {
            if value == "-" {
                continue;
            }
            all.extend(name.as_bytes());
            match value.contains('\n') {
                true => {
                    all.push(b'\n');
                    all.extend((value.len() as u64).to_le_bytes());
                }
                false => all.push(b'='),
            }
            all.extend(value.as_bytes());
            all.push(b'\n');
        }
        all.push(b'\n');
    }
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut command = Command::new("/lib/systemd/systemd-journal-remote");
    command.arg(format!("--output={}", file.display())).arg("-");
    let mut writer = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    writer.stdin.take().unwrap().write_all(&all).unwrap();
    assert!(writer.wait().unwrap().success());
}

fn add(file: &Path, entries: &[Fields]) {
    write(file, BOOT, Duration::ZERO, entries);
}

/// Targets of kind journal, each with its keys, that read `DIR/j`.
fn targets(tables: &[(&str, &str)]) -> String {
    let table = |(name, keys): &(&str, &str)| {
        let place = if keys.contains("directory") { "" } else { "directory = 'DIR/j'\n" };
        format!("[target.{name}]\nkind = 'journal'\nsession_streams = 1\noutput = 'cat'\n{place}{keys}\n")
    };
    tables.iter().map(table).collect()
}

fn journal(world: &World) -> PathBuf {
    world.path("j/system.journal")
}

async fn open_unit(world: &World, target: &str, unit: &str) -> Client {
    Client::connect(&world.url_with(target, &[&format!("unit={unit}")]).await, &[]).await
}

#[tokio::test]
async fn units_that_start_later_are_shown_once_and_no_others_are() {
    const ROUNDS: usize = 12;
    let mut world = World::new();
    world.targets = targets(&[
        ("web", "units = ['web@*']"),
        ("all", "units = ['web@*', 'db']\nsince = '1d'\nmax_streams = 50"),
    ]);
    add(&journal(&world), &[entry("ssh.service", "ssh is up")]);
    world.start().await;
    // No such unit exists yet.
    let mut early = world.open("web").await;
    add(&journal(&world), &[entry("ssh.service", "ssh again"), entry("web@1.service", "web 1 is up")]);
    assert_eq!(early.read_until("web 1 is up\n").await, "web 1 is up\n");
    let about = |unit: &str, pid: &str, message: &str| {
        let mut fields = entry("init.scope", message);
        fields.extend([("UNIT", unit.to_owned()), ("_PID", pid.to_owned())]);
        fields
    };
    add(
        &journal(&world),
        &[
            about("web@2.service", "1", "Started web 2"),
            about("web@3.service", "77", "anybody may say so"),
            about("ssh.service", "1", "Started ssh"),
            entry("xweb@1.service", "another unit"),
            entry("web@2.service", "web 2 is up"),
        ],
    );
    assert_eq!(early.read_until("web 2 is up\n").await, "Started web 2\nweb 2 is up\n");
    // A client that opens the log while units start and write gets every line once, in order.
    let file = journal(&world);
    let writer = tokio::task::spawn_blocking(move || {
        for round in 0..ROUNDS {
            let line = |number: usize| {
                let unit = ["web@1.service", "db.service", "ssh.service"][number % 3];
                let new = format!("web@new{round}.service");
                let unit = if number == 20 { &new } else { unit };
                entry(unit, &format!("{unit} {round}.{number}"))
            };
            add(&file, &(0..60).map(line).collect::<Vec<_>>());
        }
        add(&file, &[entry("db.service", "the end")]);
    });
    let mut clients = Vec::new();
    while !writer.is_finished() && clients.len() < 12 {
        clients.push(world.open("all").await);
    }
    writer.await.unwrap();
    let mut expected = vec!["web 1 is up".to_owned(), "Started web 2".into(), "web 2 is up".into()];
    for (round, number) in (0..ROUNDS).flat_map(|round| (0..60).map(move |number| (round, number))) {
        match (number, number % 3) {
            (20, _) => expected.push(format!("web@new{round}.service {round}.{number}")),
            (_, 0) => expected.push(format!("web@1.service {round}.{number}")),
            (_, 1) => expected.push(format!("db.service {round}.{number}")),
            _ => {}
        }
    }
    expected.push("the end".into());
    for client in &mut clients {
        assert_eq!(client.read_until("the end\n").await.lines().collect::<Vec<_>>(), expected);
    }
}

/// Where the agent picks the entries, it writes them as journalctl(1) does.
#[tokio::test]
async fn entries_of_globs_look_as_those_of_journalctl() {
    const FORMS: [&str; 6] = ["short", "short-iso", "short-precise", "verbose", "json", "cat"];
    let mut world = World::new();
    let tables: Vec<_> =
        FORMS.map(|form| format!("units = ['w*']\nlines = 50\nraw = true\noutput = '{form}'")).into();
    world.targets = FORMS.iter().zip(&tables).map(|(form, keys)| targets(&[(form, keys)])).collect();
    world.targets = world.targets.replace("output = 'cat'\ndirectory", "directory");
    let with = |message: &str, more: &[(&'static str, &str)]| {
        let mut fields = entry("w.service", message);
        fields.extend(more.iter().map(|(name, value)| (*name, value.to_string())));
        fields
    };
    let entries = [
        with("plain", &[]),
        with("two\nlines\n\n", &[("PRIORITY", "3")]),
        with("", &[("SYSLOG_IDENTIFIER", "-"), ("_COMM", "command")]),
        with("\x1b[31mred\x07 \u{85} ä", &[("SYSLOG_IDENTIFIER", "-"), ("_PID", "-"), ("SYSLOG_PID", "7")]),
        with("-", &[("OTHER", "no message"), ("MANY", "one"), ("MANY", "two"), ("LINES", "a\nb")]),
        with("sourced", &[("_SOURCE_REALTIME_TIMESTAMP", "1795898813000007"), ("_HOSTNAME", "-")]),
        with("last", &[]),
    ];
    add(&journal(&world), &entries);
    world.start().await;
    for form in FORMS {
        let output = Command::new("journalctl")
            .args(["-q", "--no-pager", "--all", "--output", form, "--directory"])
            .arg(world.path("j"))
            .output()
            .unwrap();
        let expected = String::from_utf8_lossy(&output.stdout).into_owned();
        let (mut client, mut shown) = (world.open(form).await, String::new());
        while shown.lines().count() < expected.lines().count() {
            shown += &client.read_until("\n").await;
        }
        if form == "json" {
            let values = |text: &str| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let (shown, expected): (Vec<Value>, Vec<Value>) = (values(&shown), values(&expected));
            assert_eq!(shown, expected);
        } else {
            assert_eq!(shown, expected, "{form}");
        }
    }
}

#[tokio::test]
async fn lines_and_since_reach_beyond_the_last_boot() {
    let mut world = World::new();
    world.targets = targets(&[
        ("all", "units = ['*']"),
        ("unit", "units = ['a.service']\nsince = '3d'"),
        ("globs", "units = ['a*']"),
        ("users", "units = ['a.service']\nuser_units = true"),
    ]);
    let file = journal(&world);
    write(&file, OLDER, Duration::from_secs(7200), &[entry("a.service", "before the reboot")]);
    add(&file, &[entry("a.service", "after the reboot")]);
    world.start().await;
    let both = "before the reboot\nafter the reboot\n";
    for target in ["all", "unit", "globs", "users"] {
        let mut client = world.open(target).await;
        assert_eq!(client.read_until("after the reboot\n").await, both, "{target}");
        add(&file, &[entry("a.service", "now")]);
        assert_eq!(client.read_until("now\n").await, "now\n", "{target}");
        fs::remove_dir_all(world.path("j")).unwrap();
        write(&file, OLDER, Duration::from_secs(7200), &[entry("a.service", "before the reboot")]);
        add(&file, &[entry("a.service", "after the reboot")]);
        // What a client requests itself.
        let said = world.path(&format!("{target}.since"));
        let mut command = world.open_command(&["h1", target, "--stdio", "--since", "1d"]);
        let open = command.stdin(Stdio::null()).stdout(fs::File::create(&said).unwrap()).spawn().unwrap();
        let shown = || fs::read_to_string(&said).unwrap();
        eventually(|| shown().ends_with(both), || format!("{target}: {}", shown())).await;
        drop(open);
    }
}

#[tokio::test]
async fn journals_of_other_hosts_and_archived_ones_are_shown() {
    let mut world = World::new();
    world.targets = targets(&[
        ("remote", "units = ['*']\ndirectory = 'DIR/remote'"),
        ("globs", "units = ['a*']\ndirectory = 'DIR/remote'"),
        ("archived", "units = ['a.service']\ndirectory = 'DIR/archived'"),
    ]);
    for (host, boot, message) in [("10.0.0.1", OLDER, "of one"), ("10.0.0.2", BOOT, "of two")] {
        let mut fields = entry("a.service", message);
        fields.extend([("_MACHINE_ID", host[7..].repeat(32)), ("_HOSTNAME", host.to_owned())]);
        write(&world.path(&format!("remote/remote-{host}.journal")), boot, Duration::from_secs(5), &[fields]);
    }
    let archived = "system@0005f000000000000000000000000001-0000000000000001-0005f00000000000.journal";
    add(&journal(&world), &[entry("a.service", "archived")]);
    fs::create_dir(world.path("archived")).unwrap();
    fs::rename(journal(&world), world.path("archived").join(archived)).unwrap();
    world.start().await;
    for target in ["remote", "globs"] {
        let mut client = world.open(target).await;
        assert_eq!(client.read_until("of two\n").await, "of one\nof two\n", "{target}");
    }
    world.open("archived").await.read_until("archived\n").await;
}

#[tokio::test]
async fn units_with_escapes_and_of_users_can_be_asked_for() {
    let mut world = World::new();
    world.targets = targets(&[
        ("all", "units = ['*']"),
        ("one", "units = ['mnt-my\\x2ddisk.mount']"),
        ("globs", "units = ['mnt-*.mount']"),
        ("users", "units = ['*']\nuser_units = true"),
        ("sync", "units = ['sync*']\nuser_units = true"),
        ("system", "units = ['sync*', 'mnt*']"),
    ]);
    let users = |unit: &str, message: &str| {
        let mut fields = entry("user@1000.service", message);
        fields.push(("_SYSTEMD_USER_UNIT", unit.to_owned()));
        fields
    };
    let disk = r"mnt-my\x2ddisk.mount";
    let entries =
        [users("other.service", "not asked for"), users("sync.service", "of a user"), entry(disk, "mounted")];
    add(&journal(&world), &entries);
    world.start().await;
    for target in ["all", "globs"] {
        assert_eq!(open_unit(&world, target, disk).await.read_until("\n").await, "mounted\n", "{target}");
    }
    for target in ["one", "globs", "system"] {
        assert_eq!(world.open(target).await.read_until("\n").await, "mounted\n", "{target}");
    }
    assert_eq!(open_unit(&world, "users", "sync").await.read_until("\n").await, "of a user\n");
    assert_eq!(
        open_unit(&world, "users", "user@1000.service").await.read_until("of a user").await.lines().count(),
        2
    );
    assert_eq!(world.open("sync").await.read_until("\n").await, "of a user\n");
    // Without the key the log would be empty.
    open_unit(&world, "all", "sync.service").await.closed_with(4403).await;
    assert!(world.agent().said().contains("user_units = true"), "{}", world.agent().said());
}

#[tokio::test]
async fn a_journalctl_that_is_killed_is_no_clean_end_of_globs() {
    let mut world = World::new();
    world.targets = targets(&[("web", "units = ['web@*']")]);
    add(&journal(&world), &[entry("web@1.service", "web 1 is up")]);
    world.start().await;
    let mut client = world.open("web").await;
    client.read_until("web 1 is up\n").await;
    let directory = world.path("j").display().to_string();
    let reader = || {
        let processes = fs::read_dir("/proc").unwrap();
        let mut pids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        let argv = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        pids.find(|pid| argv(pid).contains("--follow") && argv(pid).contains(&directory))
    };
    eventually(|| reader().is_some(), || "nothing follows".into()).await;
    kill(Pid::from_raw(reader().unwrap()), Signal::SIGKILL).unwrap();
    client.closed_with(4502).await;
}
