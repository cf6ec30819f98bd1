use std::fs::File;
use std::io::{Read, Write};

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::ttyname;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::testing::{in_time, target};
use crate::{Opened, Shared, Target};
use protocol::mode::Mode;

/// A terminal as QEMU makes one for a serial line: it holds the master.
fn line(more: &str) -> (File, File, Target) {
    let pty = openpty(None, None).unwrap();
    let path = ttyname(&pty.slave).unwrap();
    let text = format!("kind = 'serial'\npath = '{}'\nmodes = ['rw', 'ro']\n{more}", path.display());
    (pty.master.into(), pty.slave.into(), target(&text))
}

async fn open(target: &Target, mode: Mode, shared: &Shared) -> Opened {
    in_time(target.bind(&[].into()).unwrap().open(mode, None, shared)).await.unwrap()
}

async fn expect(opened: &mut Opened, text: &str) {
    let mut said = vec![0; text.len()];
    in_time(opened.output.read_exact(&mut said)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&said), text);
}

fn is_raw(slave: &File) -> bool {
    !tcgetattr(slave).unwrap().local_flags.contains(LocalFlags::ICANON)
}

#[tokio::test]
async fn one_types_and_all_see_the_same() {
    let (mut master, slave, target) = line("");
    let shared = Shared::default();
    let mut typing = open(&target, Mode::Rw, &shared).await;
    assert!(is_raw(&slave));
    let again = target.bind(&[].into()).unwrap();
    let error = in_time(again.open(Mode::Rw, None, &shared)).await.err().unwrap();
    assert!(error.message.contains("typing at"), "{error}");
    let mut watching = open(&target, Mode::Ro, &shared).await;
    assert!(watching.input.is_none());
    typing.input.as_mut().unwrap().write_all(b"reboot\r\x03").await.unwrap();
    let mut typed = [0; 8];
    master.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"reboot\r\x03");
    master.write_all(b"login: \x1b[2J").unwrap();
    expect(&mut typing, "login: \x1b[2J").await;
    expect(&mut watching, "login: \x1b[2J").await;
    // The next one may type when the first has left; who watches sees no difference.
    drop(typing);
    let mut next = open(&target, Mode::Rw, &shared).await;
    master.write_all(b"more").unwrap();
    expect(&mut next, "more").await;
    expect(&mut watching, "more").await;
}

#[tokio::test]
async fn the_settings_of_the_line_come_back() {
    let (_master, slave, target) = line("baud = 9600");
    let shared = Shared::default();
    let before = tcgetattr(&slave).unwrap();
    let opened = open(&target, Mode::Rw, &shared).await;
    assert!(is_raw(&slave));
    drop(opened);
    let back = async {
        while is_raw(&slave) {
            tokio::task::yield_now().await;
        }
    };
    in_time(back).await;
    assert_eq!(tcgetattr(&slave).unwrap(), before);
}

#[tokio::test]
async fn who_looks_on_and_stalls_holds_nobody_up_and_learns_of_it() {
    let (mut master, _slave, target) = line("");
    let shared = Shared::default();
    let mut typing = open(&target, Mode::Rw, &shared).await;
    let mut stalled = open(&target, Mode::Ro, &shared).await;
    let flood = tokio::task::spawn_blocking(move || {
        master.write_all(&[b'x'; 1 << 20]).unwrap();
        master
    });
    let mut said = vec![0; 1 << 20];
    in_time(typing.output.read_exact(&mut said)).await.unwrap();
    let mut master = in_time(flood).await.unwrap();
    let mut some = [0; 4096];
    in_time(stalled.output.read(&mut some)).await.unwrap();
    let mut text = String::new();
    let reported = async {
        while !text.contains("bytes were missed here") {
            // Room is made by reading, and what comes next says what did not find any.
            master.write_all(b"y").unwrap();
            expect(&mut typing, "y").await;
            let n = stalled.output.read(&mut some).await.unwrap();
            text.push_str(&String::from_utf8_lossy(&some[..n]));
        }
    };
    in_time(reported).await;
}

#[tokio::test]
async fn the_end_of_the_line_ends_the_stream() {
    let (master, slave, target) = line("");
    let shared = Shared::default();
    let mut opened = open(&target, Mode::Rw, &shared).await;
    drop((master, slave));
    let mut said = vec![];
    in_time(opened.output.read_to_end(&mut said)).await.unwrap();
    assert!(said.is_empty());
}

#[tokio::test]
async fn what_is_no_line_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("line");
    let at = |path: &std::path::Path| target(&format!("kind = 'serial'\npath = '{}'", path.display()));
    let refusal = async |target: &Target| {
        let error = in_time(target.open(Mode::Rw, None)).await.err().unwrap();
        assert_eq!(in_time(target.probe()).await.unwrap_err(), error);
        error.message
    };
    assert!(refusal(&at(&path)).await.ends_with("does not exist"));
    File::create(&path).unwrap();
    assert!(refusal(&at(&path)).await.ends_with("not a serial line or terminal"));
    // A device, and no terminal.
    let error = in_time(at("/dev/null".as_ref()).open(Mode::Rw, None)).await.err().unwrap();
    assert!(error.message.starts_with("settings of /dev/null"), "{error}");
    let error = Target::from_table("t", "kind = 'serial'\npath = '/dev/ttyS0'\nbaud = 49".parse().unwrap());
    assert!(error.unwrap_err().message.contains("115200"));
}
