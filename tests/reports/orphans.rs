//! The agent as process 1 of a container: what programs leave behind becomes its child.

use std::fs;

use nix::unistd::Uid;
use tokio::process::Command;

use crate::world::{AGENT, World, eventually, started};

/// Children of a process, reaped or not.
fn children(parent: i32) -> Vec<(i32, String)> {
    let processes = fs::read_dir("/proc").unwrap();
    let numbers = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let stats =
        numbers.filter_map(|pid: i32| Some((pid, fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)));
    let is_child =
        |stat: &str| stat.rsplit_once(") ").unwrap().1.split(' ').nth(1) == Some(&parent.to_string());
    stats.filter(|(_, stat)| is_child(stat)).collect()
}

#[tokio::test]
async fn orphans_are_reaped_and_programs_keep_their_exit_status() {
    if !Uid::effective().is_root() {
        return;
    }
    let mut world = World::new();
    world.targets = "[target.job]\nkind = 'exec'\nmax_streams = 9\n\
        argv = ['/bin/sh', '-c', ': $(setsid -f sh -c \"exec >/dev/null 2>&1; sleep 0.1; echo x >>DIR/left\"); exit 7']\n"
        .into();
    world.start_nats().await;
    world.start_relay().await;
    world.write_agent_config();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", AGENT, "--config"]);
    command.arg(world.path("agent/config.toml")).arg("run");
    world.agent = Some(started(command, &world.dir, "agent").await);
    let [(agent, _)] = children(world.agent().pid().as_raw())[..] else { panic!("unshare has no child") };
    for _ in 0..4 {
        let status = world.open_command(&["h1", "job", "--stdio"]).output().await.unwrap().status;
        assert_eq!(status.code(), Some(7));
    }
    let left = || fs::read_to_string(world.path("left")).unwrap_or_default();
    eventually(|| left().lines().count() == 4, || format!("no orphans: {}", left())).await;
    eventually(|| children(agent).is_empty(), || format!("{:?}", children(agent))).await;
}
