//! The floors: the target itself, and forwarders of two TCP hops that do nothing but forward.

use std::process::Command;

use super::process::Process;
use super::{Chain, Entry, Ground, Started, Starter, Traits, free_port};
use crate::wire::Door;

pub const STARTERS: [(&str, Starter); 4] =
    [("direct", direct), ("splice", splice), ("copy-64k", copy_64k), ("copy-8k", copy_8k)];

fn direct(ground: &Ground<'_>) -> anyhow::Result<Started> {
    let door = Door { address: ground.target, tls: None, path: None };
    let traits = Traits::default();
    let entry = Entry::Fixed(door);
    let chain =
        Chain { name: "direct", what: "TCP to the target, nothing in between", roles: vec![], entry, traits };
    Ok(Started { chains: vec![chain], processes: vec![] })
}

fn splice(ground: &Ground<'_>) -> anyhow::Result<Started> {
    let what = "two TCP hops, kernel splice, 1 MiB pipes: the floor";
    forwarders(ground, "splice", what, &["--splice"])
}

fn copy_64k(ground: &Ground<'_>) -> anyhow::Result<Started> {
    let what = "two TCP hops, tokio's copy_bidirectional with 64 KiB buffers";
    forwarders(ground, "copy-64k", what, &["--buffer", "65536"])
}

fn copy_8k(ground: &Ground<'_>) -> anyhow::Result<Started> {
    let what = "two TCP hops, tokio's copy_bidirectional as it is (8 KiB buffers)";
    forwarders(ground, "copy-8k", what, &["--buffer", "8192"])
}

fn forwarders(
    ground: &Ground<'_>,
    name: &'static str,
    what: &'static str,
    how: &[&str],
) -> anyhow::Result<Started> {
    let mut processes = vec![];
    let mut roles = vec![];
    let mut to = ground.target;
    for (role, listen) in [("agent", "127.0.0.1".parse()?), ("relay", ground.listen)] {
        let address = free_port(listen)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["forward", "--listen", &address.to_string(), "--to", &to.to_string()]).args(how);
        let mut process = Process::start(&mut command, ground.dir, &format!("{name}-{role}"))?;
        process.says("listening")?;
        roles.push(process.role(role));
        processes.push(process);
        to = address;
    }
    let entry = Entry::Fixed(Door { address: to, tls: None, path: None });
    let traits = Traits { two_hops: true, holds_many: false };
    Ok(Started { chains: vec![Chain { name, what, roles, entry, traits }], processes })
}
