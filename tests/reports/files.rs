//! Files and pipes as services write them.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use tokio_tungstenite::tungstenite::Message;

use crate::world::{Client, World};

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

async fn connected(world: &World, target: &str) -> Client {
    Client::connect(&world.url(target).await, &["stream.v1"]).await
}

/// What the host says until it contains something, besides control messages.
async fn said_until(client: &mut Client, text: &str) -> String {
    let mut said = String::new();
    while !said.contains(text) {
        match client.next().await {
            Message::Binary(piece) => said.push_str(&String::from_utf8_lossy(&piece)),
            Message::Text(_) => {}
            other => panic!("{other:?} after {said:?}, waiting for {text:?}"),
        }
    }
    said
}

#[tokio::test]
async fn holes_of_a_log_are_not_shown() {
    let mut world = World::new();
    world.targets = "[target.log]\nkind = 'file'\npath = 'DIR/app.log'\nhistory = 3\n".into();
    let log = world.path("app.log");
    let mut writer = File::create(&log).unwrap();
    writer.seek(SeekFrom::Start(1 << 30)).unwrap();
    writer.write_all(b"first\n").unwrap();
    world.start().await;
    let mut client = connected(&world, "log").await;
    assert_eq!(said_until(&mut client, "first\n").await, "first\n");
    // As copytruncate does to a writer without O_APPEND: it goes on at its old offset.
    for line in ["after rotation\n", "later\n"] {
        writer.set_len(0).unwrap();
        writer.write_all(line.as_bytes()).unwrap();
        assert_eq!(said_until(&mut client, line.trim_end()).await.trim(), line.trim_end());
    }
    // What was rotated has a hole, too.
    fs::rename(&log, world.path("app.log.1")).unwrap();
    append(&log, "now\n");
    said_until(&mut client, "now").await;
    client.send_text(r#"{"type":"since","time":0}"#).await;
    let said = said_until(&mut client, "now").await;
    assert!(said.contains("later") && said.len() < 100, "{} bytes", said.len());
}

#[tokio::test]
async fn a_file_without_a_size_is_refused() {
    let world = World::with("[target.load]\nkind = 'file'\npath = '/proc/loadavg'\n").await;
    world.open("load").await.closed_with(4502).await;
    assert!(world.agent().said().contains("size of 0"), "{}", world.agent().said());
}

#[tokio::test]
async fn a_line_without_its_end_is_not_joined_with_the_next_file() {
    let mut world = World::new();
    world.targets = "[target.log]\nkind = 'file'\npath = 'DIR/app.log'\nhistory = 3\n".into();
    let log = world.path("app.log");
    append(&log, "half a li");
    world.start().await;
    let mut client = connected(&world, "log").await;
    said_until(&mut client, "half a li").await;
    fs::rename(&log, world.path("app.log.1")).unwrap();
    append(&log, "new file\nno end");
    assert_eq!(said_until(&mut client, "no end").await, "\nnew file\nno end");
    OpenOptions::new().write(true).truncate(true).open(&log).unwrap();
    append(&log, "truncated");
    assert_eq!(said_until(&mut client, "truncated").await, "\ntruncated");
    client.send_text(r#"{"type":"since","time":0}"#).await;
    assert_eq!(said_until(&mut client, "\ntruncated").await, "\nhalf a li\ntruncated");
}

#[tokio::test]
async fn a_fifo_that_is_made_again_is_read() {
    let mut world = World::new();
    world.targets = "[target.pipe]\nkind = 'fifo'\npath = 'DIR/pipe'\n".into();
    let pipe = world.path("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    world.start().await;
    let mut client = connected(&world, "pipe").await;
    for run in ["first run", "second run", "third run"] {
        // Without a reader it would wait here, and this test with it.
        let (pipe, text) = (pipe.clone(), run.to_owned());
        let writing = tokio::task::spawn_blocking(move || {
            OpenOptions::new().write(true).open(&pipe).unwrap().write_all(text.as_bytes()).unwrap();
            fs::remove_file(&pipe).unwrap();
            mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        });
        said_until(&mut client, run).await;
        writing.await.unwrap();
    }
}
