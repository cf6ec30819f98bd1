//! Logs as hosts have them: rotated while they are written, large, silent, filtered by the reader.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::world::{Client, SOON, World, eventually};

/// Writes numbered lines until it is stopped, some hundred thousand a second; gives the number of the last.
/// The file stays open, as with a program that does not know logrotate.
fn write_lines(log: &Path, is_over: &AtomicBool, written: &AtomicU64, reopens: bool) -> u64 {
    let open = || OpenOptions::new().append(true).create(true).open(log).unwrap();
    let (mut file, mut number) = (open(), 0);
    while !is_over.load(Ordering::Relaxed) {
        for _ in 0..100 {
            number += 1;
            // In one write: logrotate may be anywhere between two.
            file.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        if reopens {
            file = open();
        }
        written.store(number, Ordering::Relaxed);
        // This is the load; no test waits for it.
        std::thread::sleep(Duration::from_millis(1));
    }
    file.write_all(b"last\n").unwrap();
    number
}

/// Rotates ten times with logrotate(8), while lines are written; gives what the client saw and the last number.
async fn rotated(how: &str, reopens: bool) -> (Vec<u64>, u64) {
    let world = World::with("[target.log]\nkind = 'file'\npath = 'DIR/logs/app.log'\n").await;
    let (log, config) = (world.path("logs/app.log"), world.path("logrotate.conf"));
    std::fs::create_dir(world.path("logs")).unwrap();
    std::fs::write(&log, "").unwrap();
    std::fs::write(&config, format!("{} {{\n rotate 20\n missingok\n {how}\n}}\n", log.display())).unwrap();
    let mut client = world.open("log").await;
    let (is_over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = tokio::task::spawn_blocking({
        let (log, is_over, written) = (log.clone(), is_over.clone(), written.clone());
        move || write_lines(&log, &is_over, &written, reopens)
    });
    let rotations = async {
        for round in 1..=10 {
            let so_many = || written.load(Ordering::Relaxed) >= round * 5000;
            eventually(so_many, || "nothing is written".into()).await;
            let mut command = Command::new("/usr/sbin/logrotate");
            command.args(["-f", "-s"]).arg(world.path("state")).arg(&config);
            let output = timeout(SOON, command.output()).await.unwrap().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let reading = async {
        let mut said = vec![];
        while !said.ends_with(b"last\n") {
            match client.next().await {
                Message::Binary(piece) => said.extend_from_slice(&piece),
                other => panic!("{other:?} after {} bytes", said.len()),
            }
        }
        String::from_utf8(said).unwrap()
    };
    let ((), said) = tokio::join!(rotations, reading);
    println!("{} bytes through ten rotations", said.len());
    let numbers = said.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
    (numbers, writer.await.unwrap())
}

#[tokio::test]
async fn a_log_that_logrotate_renames_loses_no_line() {
    let (seen, last) = rotated("create", true).await;
    let first = seen[0];
    assert!(seen.iter().copied().eq(first..=last), "{} lines of {first} to {last}", seen.len());
}

#[tokio::test]
async fn a_log_that_logrotate_truncates_goes_on() {
    // What is written between its copy and its truncation is lost by logrotate itself, and a file that has grown
    // past its old length again looks as if nothing had happened; but never is anything said twice.
    let (seen, last) = rotated("copytruncate", false).await;
    assert!(seen.len() > 1000, "{} lines", seen.len());
    let twice: Vec<_> = seen.windows(2).filter(|pair| pair[0] >= pair[1]).collect();
    assert!(twice.is_empty(), "said twice: {twice:?} of {last}");
    assert!(last > 1000);
}

#[tokio::test]
async fn the_end_of_ten_gigabytes_costs_no_more_than_its_last_lines() {
    let mut world = World::with("[target.log]\nkind = 'file'\npath = 'DIR/big.log'\nlines = 3\n").await;
    let mut file = File::create(world.path("big.log")).unwrap();
    // It has holes, which read as zeros.
    file.seek(SeekFrom::Start(10 << 30)).unwrap();
    file.write_all(b"\none\ntwo\nthree\n").unwrap();
    let before = world.agent().bytes_read();
    let mut client = world.open("log").await;
    assert_eq!(client.read(14).await, b"one\ntwo\nthree\n");
    let read = world.agent().bytes_read() - before;
    println!("{read} bytes read by the agent, the dial and the command among them");
    assert!(read < 256 * 1024, "{read} bytes");
    file.write_all(b"four\n").unwrap();
    assert_eq!(client.read(5).await, b"four\n");

    // The time is what is tested: nobody is woken up while nothing is written. A timer of five ticks a second or more
    // would show in each of these spells; a ping, or what a busy machine does to threads, spares one of them.
    let mut spells = vec![];
    for _ in 0..10 {
        let before = world.agent().sleeps();
        sleep(Duration::from_millis(500)).await;
        spells.push(world.agent().sleeps() - before);
    }
    println!("{spells:?} wake-ups in spells of half a second with an idle log open");
    assert!(spells.iter().any(|woken| *woken <= 1), "{spells:?} wake-ups");
    world.agent.take().unwrap().kill().await;
}

#[tokio::test]
async fn a_client_filters_pauses_and_goes_back_and_bytes_nobody_wants_are_not_sent() {
    let world =
        World::with("[target.log]\nkind = 'file'\npath = 'DIR/app.log'\nhistory = 5\n[target.bare]\nkind = 'file'\npath = 'DIR/app.log'\n")
            .await;
    let log = world.path("app.log");
    std::fs::write(world.path("app.log.1"), "old error\nold news\n").unwrap();
    std::fs::write(&log, "error \x1b[31mred\n").unwrap();
    let mut client = Client::connect(&world.url("log").await, &["stream.v1"]).await;
    assert_eq!(client.read_until("red\n").await, "error ^[[31mred\n");
    client.send_text(r#"{"type":"filter","pattern":"error|last"}"#).await;
    client.send_text(r#"{"type":"since","time":0}"#).await;
    assert_eq!(client.read_until("red\n").await, "old error\nerror ^[[31mred\n");
    let mut file = OpenOptions::new().append(true).open(&log).unwrap();
    file.write_all("noise, 32 bytes of it, each line\n".repeat(100_000).as_bytes()).unwrap();
    file.write_all(b"last\n").unwrap();
    assert_eq!(client.read_until("last\n").await, "last\n");
    client.send_text(r#"{"type":"pause"}"#).await;
    client.send_text(r#"{"type":"filter","pattern":"("}"#).await;
    // The answer to the second proves that the first was received.
    let Message::Text(refused) = client.next().await else { panic!("no refusal") };
    let refused: serde_json::Value = serde_json::from_str(&refused).unwrap();
    assert_eq!((&refused["type"], &refused["what"]), (&"refused".into(), &"filter".into()), "{refused}");
    file.write_all(b"error while paused\n").unwrap();
    client.send_text(r#"{"type":"signal","name":"KILL"}"#).await;
    let Message::Text(refused) = client.next().await else { panic!("a paused log speaks") };
    assert!(refused.contains("cannot do that"), "{refused}");
    client.send_text(r#"{"type":"resume"}"#).await;
    assert_eq!(client.read_until("\n").await, "error while paused\n");
    client.close().await;
    let mut bare = Client::connect(&world.url("bare").await, &["stream.v1"]).await;
    bare.read_until("error while paused\n").await;
    bare.send_text(r#"{"type":"since","time":0}"#).await;
    let Message::Text(refused) = bare.next().await else { panic!("no refusal") };
    assert!(refused.contains("cannot go back"), "{refused}");
}

#[tokio::test]
async fn a_file_is_picked_by_its_name_and_never_by_a_path() {
    let world = World::with("[target.logs]\nkind = 'file'\npaths = ['DIR/logs/*.log']\n").await;
    std::fs::create_dir(world.path("logs")).unwrap();
    std::fs::write(world.path("logs/a.log"), "a\n").unwrap();
    std::fs::write(world.path("secret.log"), "secret\n").unwrap();
    let mut client = Client::connect(&world.url_with("logs", &["file=a.log"]).await, &[]).await;
    assert_eq!(client.read(2).await, b"a\n");
    for file in ["../secret.log", "/etc/passwd", "b.txt", "-a.log", "a.log\n", ".a.log"] {
        let output =
            world.open_command(&["h1", "logs", "--param", &format!("file={file}")]).output().await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains("params_not_allowed"), "{file:?}: {error}");
        assert!(error.contains("`file`"), "{error}");
    }
    // The name is allowed, so only opening shows that the file is missing.
    let mut client = Client::connect(&world.url_with("logs", &["file=b.log"]).await, &[]).await;
    client.closed_with(4502).await;
}
