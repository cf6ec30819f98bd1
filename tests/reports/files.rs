//! Files and pipes as services write them.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use tokio_tungstenite::tungstenite::Message;

use crate::world::{Client, World, eventually};

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

async fn connected(world: &World, target: &str) -> Client {
    Client::connect(&world.url(target).await, &["stream.v1"]).await
}

/// The host's bytes until they contain a text; skips control messages.
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
    // As with copytruncate and a writer without O_APPEND, which continues at its old offset.
    for line in ["after rotation\n", "later\n"] {
        writer.set_len(0).unwrap();
        writer.write_all(line.as_bytes()).unwrap();
        assert_eq!(said_until(&mut client, line.trim_end()).await.trim(), line.trim_end());
    }
    // The rotated file has a hole, too.
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
        // Without a reader this would block.
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

fn turn(link: &Path, to: &str) {
    let new = link.with_extension("turning");
    symlink(to, &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[tokio::test]
async fn a_link_that_is_turned_to_the_next_file_is_followed() {
    let mut world = World::new();
    world.targets = "[target.file]\nkind = 'file'\npath = 'DIR/logs/current.log'\nfollow_symlinks = true\n\
        [target.dir]\nkind = 'file'\npaths = ['DIR/logs/*/app.log']\nfollow_symlinks = true\nhistory = 2\n"
        .into();
    let logs = world.path("logs");
    for dir in ["logs/v1", "logs/v2", "logs/v3", "outside"] {
        fs::create_dir_all(world.path(dir)).unwrap();
    }
    append(&logs.join("app-1.log"), "file one\n");
    append(&logs.join("v1/app.log"), "dir one\n");
    append(&world.path("outside/app.log"), "SECRET\n");
    turn(&logs.join("current.log"), "app-1.log");
    turn(&logs.join("current"), "v1");
    world.start().await;
    let mut file = connected(&world, "file").await;
    let url = world.url_with("dir", &["file=current/app.log"]).await;
    let mut dir = Client::connect(&url, &["stream.v1"]).await;
    said_until(&mut file, "file one\n").await;
    said_until(&mut dir, "dir one\n").await;
    // The next file appears before or after the link points to it; the end of the previous one is read.
    append(&logs.join("app-2.log"), "file two\n");
    append(&logs.join("app-1.log"), "end of one\n");
    turn(&logs.join("current.log"), "app-2.log");
    assert_eq!(said_until(&mut file, "file two\n").await, "end of one\nfile two\n");
    turn(&logs.join("current.log"), "app-3.log");
    append(&logs.join("app-3.log"), "file three\n");
    assert_eq!(said_until(&mut file, "file three\n").await, "file three\n");
    // The link points back: what was already read is not shown again.
    append(&logs.join("app-2.log"), "file two again\n");
    turn(&logs.join("current.log"), "app-2.log");
    assert_eq!(said_until(&mut file, "again\n").await, "file two again\n");
    // Without the link, the file that it pointed to is still followed.
    fs::remove_file(logs.join("current.log")).unwrap();
    append(&logs.join("app-2.log"), "file two still\n");
    assert_eq!(said_until(&mut file, "still\n").await, "file two still\n");
    append(&logs.join("app-4.log"), "file four\n");
    turn(&logs.join("current.log"), "app-4.log");
    assert_eq!(said_until(&mut file, "file four\n").await, "file four\n");
    // The file itself becomes a link.
    append(&logs.join("app-5.log"), "file five\n");
    turn(&logs.join("app-4.log"), "app-5.log");
    assert_eq!(said_until(&mut file, "file five\n").await, "file five\n");

    append(&logs.join("v2/app.log.1"), "rotated two\n");
    append(&logs.join("v2/app.log"), "dir two\n");
    turn(&logs.join("current"), "v2");
    assert_eq!(said_until(&mut dir, "dir two\n").await, "dir two\n");
    dir.send_text(r#"{"type":"since","time":0}"#).await;
    assert_eq!(said_until(&mut dir, "dir two\n").await, "rotated two\ndir two\n");
    // A directory outside of the allowed one is not followed, and a deployment deletes the old one.
    turn(&logs.join("current"), "../outside");
    world.agent().says("leads out of").await;
    turn(&logs.join("current"), "v3");
    fs::remove_dir_all(logs.join("v2")).unwrap();
    append(&logs.join("v3/app.log"), "dir three\n");
    assert_eq!(said_until(&mut dir, "dir three\n").await, "dir three\n");
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_followed() {
    let mut world = World::new();
    world.targets = "[target.log]\nkind = 'file'\npath = 'DIR/srv/app/logs/app.log'\n".into();
    let (srv, log) = (world.path("srv"), world.path("srv/app/logs/app.log"));
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    append(&log, "one\n");
    world.start().await;
    let mut client = connected(&world, "log").await;
    said_until(&mut client, "one\n").await;
    for (moved, text) in [("app/logs", "two\n"), ("app", "three\n"), ("", "four\n")] {
        fs::rename(srv.join(moved), world.path(&format!("old{}", text.len()))).unwrap();
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        append(&log, text);
        assert_eq!(said_until(&mut client, text).await, text);
    }
    // Moved away and back: nothing is shown twice.
    fs::rename(srv.join("app"), srv.join("away")).unwrap();
    fs::rename(srv.join("away"), srv.join("app")).unwrap();
    append(&log, "five\n");
    assert_eq!(said_until(&mut client, "five\n").await, "five\n");
}

#[tokio::test]
async fn a_file_that_is_written_again_is_shown_whatever_its_size() {
    let mut world = World::new();
    world.targets = "[target.log]\nkind = 'file'\npath = 'DIR/state'\n".into();
    let log = world.path("state");
    fs::write(&log, "state A\n").unwrap();
    world.start().await;
    let mut client = connected(&world, "log").await;
    said_until(&mut client, "state A\n").await;
    let long = "the same at the end of each\n".repeat(100);
    for text in
        ["state B\n", "state C\n", "a longer state D\n", "E\n", &format!("F{long}"), &format!("G{long}")]
    {
        fs::write(&log, text).unwrap();
        assert_eq!(said_until(&mut client, text).await, text);
    }
}

async fn paused(client: &mut Client) {
    client.send_text(r#"{"type":"pause"}"#).await;
    // The answer to the second proves that the first was received.
    client.send_text(r#"{"type":"filter","pattern":"("}"#).await;
    assert!(matches!(client.next().await, Message::Text(text) if text.contains("refused")));
}

#[tokio::test]
async fn a_file_that_was_truncated_and_grew_while_paused_is_shown_whole() {
    let mut world = World::new();
    world.targets = "[target.log]\nkind = 'file'\npath = 'DIR/app.log'\n".into();
    let log = world.path("app.log");
    append(&log, &"old line\n".repeat(10));
    world.start().await;
    let mut client = connected(&world, "log").await;
    said_until(&mut client, &"old line\n".repeat(10)).await;
    paused(&mut client).await;
    OpenOptions::new().write(true).truncate(true).open(&log).unwrap();
    let new: String = (0..300).map(|line| format!("new line {line}\n")).collect();
    append(&log, &new);
    client.send_text(r#"{"type":"resume"}"#).await;
    let said = said_until(&mut client, "new line 299\n").await;
    let rest: String = said.split_inclusive('\n').filter(|line| !line.starts_with("[lines may be")).collect();
    assert_eq!(rest, new);
}

#[tokio::test]
async fn deleted_files_are_held_in_a_small_number_and_the_rest_is_said() {
    let mut world = World::new();
    world.targets = "[target.log]\nkind = 'file'\npath = 'DIR/app.log'\n".into();
    let (log, old) = (world.path("app.log"), world.path("app.log.1"));
    append(&log, "first\n");
    world.start().await;
    let held = || {
        let fds = fs::read_dir(format!("/proc/{}/fd", world.agent().pid())).unwrap().flatten();
        let links = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
        links.filter(|link| link.to_string_lossy().ends_with("(deleted)")).count()
    };
    let mut client = connected(&world, "log").await;
    said_until(&mut client, "first\n").await;
    paused(&mut client).await;
    for round in 0..25 {
        fs::rename(&log, &old).unwrap();
        append(&log, &format!("round {round}\n"));
        fs::remove_file(&old).unwrap();
        assert!(held() <= 8, "{}", held());
    }
    client.send_text(r#"{"type":"resume"}"#).await;
    let said = said_until(&mut client, "round 24\n").await;
    let missed = said.lines().filter_map(|line| line.strip_prefix('[')?.split(' ').next());
    let missed: usize = missed.map(|word| word.parse().unwrap_or(1)).sum();
    assert!(missed >= 17 && said.matches("round").count() + missed == 25, "{said}");
    client.close().await;
    eventually(|| held() == 0, || format!("{} are still held", held())).await;
}

/// A file system whose changes the kernel does not see, like a network file system.
#[tokio::test]
async fn a_log_that_others_write_to_unseen_is_looked_at() {
    let mut world = World::new();
    world.targets = "[target.log]\nkind = 'file'\npath = 'DIR/mnt/app.log'\n".into();
    let (real, mnt) = (world.path("real"), world.path("mnt"));
    fs::create_dir_all(&real).unwrap();
    fs::create_dir_all(&mnt).unwrap();
    let log = real.join("app.log");
    append(&log, "before\n");
    let mut mount = std::process::Command::new("bindfs");
    if !mount.arg(&real).arg(&mnt).output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: bindfs cannot mount here");
        return;
    }
    let _mounted = Mounted(mnt);
    world.start().await;
    let mut client = connected(&world, "log").await;
    said_until(&mut client, "before\n").await;
    for text in ["one\n", "two\n"] {
        append(&log, text);
        assert_eq!(said_until(&mut client, text).await, text);
    }
    fs::rename(&log, real.join("app.log.1")).unwrap();
    append(&log, "in the next file\n");
    assert_eq!(said_until(&mut client, "next file\n").await, "in the next file\n");
    fs::write(&log, "written again\n").unwrap();
    assert_eq!(said_until(&mut client, "again\n").await, "written again\n");
    client.close().await;
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("fusermount").args(["-u", "-z"]).arg(&self.0).status();
    }
}
