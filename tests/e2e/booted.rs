//! What only a booted system has: the journal, and machines of systemd-machined. systemd runs in a container, and the
//! programs run inside it.

use std::path::Path;

use tokio::process::Command;
use tokio::time::timeout;

use crate::world::{AGENT, RELAY, SOON, World, parts_cache};

const TARGETS: &str = "\
    [target.journal]\nkind = 'journal'\nunits = ['app*']\noutput = 'cat'\nlines = 100\n\
    [target.errors]\nkind = 'journal'\nunits = ['*']\npriority = 'err'\noutput = 'json'\nlines = 100\n\
    [target.shell]\nkind = 'machine'\nmachines = ['in*']\naction = 'shell'\nargv = ['/bin/sh']\n\
    [target.login]\nkind = 'machine'\nmachines = ['inner']\n";

/// Boots a system whose only job is a script of `tests/parts/booted`, and returns its output.
async fn booted(world: &World, script: &str) -> String {
    let tree = parts_cache().join("tree");
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parts/booted");
    let dir = world.dir.path().display().to_string();
    // The system sees only this folder of cargo's, so paths must not lead through another one.
    let [agent, relay] = [AGENT, RELAY].map(|program| Path::new(program).canonicalize().unwrap());
    let (programs, agent, relay) = (agent.parent().unwrap().display(), agent.display(), relay.display());
    let environment = format!("DIR={dir}\nIP={}\nAGENT={agent}\nRELAY={relay}\n", world.ip);
    std::fs::write(world.path("environment"), environment + "export DIR IP AGENT RELAY\n").unwrap();
    std::fs::write(world.path("script"), format!("exec bash /parts/{script} {dir}\n")).unwrap();
    // Its own cgroup, because several systems at once would use each other's.
    let cgroups = ["systemd", "unified"].map(|kind| format!("/sys/fs/cgroup/{kind}/stream-{}", world.ip));
    let enter: String =
        cgroups.iter().map(|path| format!("mkdir -p {path} && echo $$ > {path}/cgroup.procs; ")).collect();
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("{enter} exec \"$@\"")).arg("sh");
    command.args(["systemd-nspawn", "-q", "-D"]).arg(&tree);
    command.args(["--volatile=overlay", "--boot", "--register=no", "--keep-unit", "--private-network"]);
    command.args(["--capability=all", "--system-call-filter=bpf", "--system-call-filter=@mount"]);
    command.arg(format!("--machine=stream-{}", std::process::id()));
    command
        .arg(format!("--bind={}:/tree", tree.display()))
        .arg(format!("--bind-ro={}:/parts", parts.display()));
    command
        .arg(format!("--bind={dir}"))
        .arg(format!("--bind={dir}:/in"))
        .arg(format!("--bind-ro={programs}"));
    command.arg(format!("--bind-ro={}:/nats", parts_cache().join("nats").display()));
    command
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = timeout(SOON * 9, command.output()).await.expect("the system does not end").unwrap();
    for path in cgroups {
        let _ = std::fs::remove_dir(path);
    }
    let said = std::fs::read_to_string(world.path("said")).unwrap_or_default();
    let console = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{console}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test]
async fn the_journal_and_machines_of_a_booted_system() {
    let mut world = World::new();
    world.targets = TARGETS.into();
    std::fs::write(world.path("nats/nats.conf"), "").unwrap();
    world.write_relay_config();
    world.write_agent_config();
    let said = booted(&world, "journal-and-machines").await;
    println!("{said}");
    for expected in [
        "app1: hello from app1",
        "not among the names",
        "followed: later from app1",
        "since: only this",
        "one error: bad thing",
        "machine: 42 in systemd",
        "login: login:",
        "add the service user to group systemd-journal",
    ] {
        assert!(said.contains(expected), "no `{expected}` in:\n{said}");
    }
}
