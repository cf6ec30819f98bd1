//! A new user's first minutes: follows README and the demo word by word.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::AGENT;

fn programs() -> &'static Path {
    Path::new(AGENT).parent().unwrap()
}

/// README's first stream is pasted as one block, so no line may depend on how fast the previous one started.
#[test]
fn the_first_stream_works_as_it_is_pasted() {
    let section = include_str!("../../README.md").split("## The first stream").nth(1).unwrap();
    let blocks: Vec<&str> = section.split("```\n").skip(1).step_by(2).collect();
    let folder = tempfile::tempdir().unwrap();
    // It uses the well-known ports, so it runs in a network namespace. Everything that it starts ends with it.
    let script = format!("ip link set lo up\n{}\n{}\nwait\necho stopped", blocks[0], blocks[1]);
    let path = format!("{}:{}", programs().display(), std::env::var("PATH").unwrap());
    let mut pasted = Command::new("timeout")
        .args(["60", "unshare", "-n", "-p", "-f", "--kill-child", "--mount-proc", "bash", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    pasted.stdin.take().unwrap().write_all(b"echo the answer is $((6 * 7))\nexit\n").unwrap();
    let output = pasted.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("the answer is 42") && said.ends_with("stopped\n"), "{said}");
    assert!(!said.contains("FAIL"), "{said}");
}

/// The demo fits a terminal of 80 columns, and leaves nothing behind when that terminal is closed.
#[test]
fn the_demo_ends_with_its_terminal() {
    if !programs().ends_with("debug") {
        return; // it runs what `cargo build` has built
    }
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/demo/run"))
        .env("CARGO_TARGET_DIR", programs().parent().unwrap())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    for line in lines.by_ref().take_while(|line| !line.contains("curl")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // The terminal closes before anything is printed on it.
    drop(lines);
    kill(Pid::from_raw(demo.id().cast_signed()), Signal::SIGHUP).unwrap();
    demo.wait().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
