use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::stat;
use tokio::io::AsyncReadExt;

use super::*;
use crate::testing::{in_time, target};

fn fifo_in(dir: &Path) -> (PathBuf, crate::Target) {
    let path = dir.join("fifo");
    nix::unistd::mkfifo(&path, stat::Mode::S_IRWXU).unwrap();
    let target = target(&format!("kind = 'fifo'\npath = '{}'", path.display()));
    (path, target)
}

fn write(path: &Path, text: &str) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

async fn expect(opened: &mut Opened, text: &str) {
    let mut said = vec![0; text.len()];
    in_time(opened.output.read_exact(&mut said)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&said), text);
}

#[tokio::test]
async fn one_writer_after_the_other_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let (path, target) = fifo_in(dir.path());
    let mut opened = in_time(target.open(Mode::Ro, None)).await.unwrap();
    assert!(opened.input.is_none());
    for round in 0..50 {
        let text = format!("writer {round}\n");
        write(&path, &text);
        // Half of the time two writers have come and gone before anybody looks.
        if round % 2 == 0 {
            write(&path, "again\n");
            expect(&mut opened, &format!("{text}again\n")).await;
        } else {
            expect(&mut opened, &text).await;
        }
    }
}

#[tokio::test]
async fn a_fifo_that_is_away_for_a_moment_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (path, target) = fifo_in(dir.path());
    let mut opened = in_time(target.open(Mode::Ro, None)).await.unwrap();
    write(&path, "first run");
    fs::remove_file(&path).unwrap();
    expect(&mut opened, "first run").await;
    let mut byte = [0];
    // The end of the first run is seen while nothing is at the path.
    let early = tokio::time::timeout(Duration::from_millis(300), opened.output.read(&mut byte)).await;
    assert!(early.is_err(), "{early:?}");
    nix::unistd::mkfifo(&path, stat::Mode::S_IRWXU).unwrap();
    let writing = tokio::task::spawn_blocking(move || write(&path, "second run"));
    expect(&mut opened, "second run").await;
    writing.await.unwrap();
}

#[tokio::test]
async fn without_a_writer_the_reader_is_quiet() {
    let dir = tempfile::tempdir().unwrap();
    let (path, target) = fifo_in(dir.path());
    let mut opened = in_time(target.open(Mode::Ro, None)).await.unwrap();
    write(&path, "x");
    expect(&mut opened, "x").await;
    let mut byte = [0];
    let mut read = tokio_test_task(opened.output.read(&mut byte));
    // The first poll sees the writer leave; after it nothing may wake the reader.
    let wakes = read.wakes_until_idle().await;
    assert!(wakes <= 2, "{wakes}");
    write(&path, "y");
    assert_eq!(in_time(read.done()).await.unwrap(), 1);
}

/// The service is the writer: it must get on, whatever the viewer does.
#[tokio::test]
async fn a_viewer_who_pauses_does_not_hold_up_the_writer() {
    use crate::Ask;

    const LINES: usize = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let (path, target) = fifo_in(dir.path());
    let mut opened = in_time(target.open(Mode::Ro, None)).await.unwrap();
    (opened.asked)(Ask::Pause).unwrap();
    let line = format!("request {}\n", "x".repeat(40));
    let all = line.repeat(LINES);
    let writer = tokio::task::spawn_blocking({
        let path = path.clone();
        move || write(&path, &all)
    });
    // It has written 5 MB by then, and nothing was taken.
    in_time(writer).await.unwrap();
    (opened.asked)(Ask::Resume).unwrap();
    let (mut said, total) = (String::new(), LINES * line.len());
    // What was shown of the log, with the end of a line that a gap has torn, and what is said to be missing.
    let accounted = |said: &str| {
        let remarks = said.lines().filter(|line| line.starts_with('['));
        let missed =
            remarks.clone().map(|line| line[1..].split(' ').next().unwrap().parse::<usize>().unwrap());
        (
            said.len() - remarks.clone().map(|line| line.len() + 1).sum::<usize>() + missed.sum::<usize>(),
            remarks.count(),
        )
    };
    while accounted(&said).0 < total {
        let mut bytes = vec![0; 1 << 20];
        let n = in_time(opened.output.read(&mut bytes)).await.unwrap();
        said.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        while !said.ends_with('\n') {
            let n = in_time(opened.output.read(&mut bytes)).await.unwrap();
            said.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        }
    }
    let (shown, remarks) = accounted(&said);
    assert!(remarks > 0 && (total..=total + remarks).contains(&shown), "{shown} {total} {remarks}");
    write(&path, "request again\n");
    expect(&mut opened, "request again\n").await;
}

/// Polls a future and counts how often it is woken.
fn tokio_test_task<F: Future>(future: F) -> Counted<F> {
    Counted { future: Box::pin(future), polls: 0 }
}

struct Counted<F> {
    future: Pin<Box<F>>,
    polls: usize,
}

impl<F: Future> Counted<F> {
    /// Polls whenever woken, until nothing woke it for 300 ms: this is what is tested.
    async fn wakes_until_idle(&mut self) -> usize {
        let future = &mut self.future;
        let polls = &mut self.polls;
        let counted = std::future::poll_fn(|cx| {
            *polls += 1;
            future.as_mut().poll(cx)
        });
        let idle = tokio::time::timeout(std::time::Duration::from_millis(300), counted).await;
        assert!(idle.is_err(), "there was nothing to read");
        // The timeout itself polls once more at its end.
        self.polls - 1
    }

    async fn done(self) -> F::Output {
        self.future.await
    }
}

#[tokio::test]
async fn looking_lets_no_writer_begin() {
    let dir = tempfile::tempdir().unwrap();
    let (path, target) = fifo_in(dir.path());
    assert!(in_time(target.probe()).await.unwrap().ends_with("is a fifo and may be read"));
    let nonblocking = nix::fcntl::open(&path, OFlag::O_WRONLY | OFlag::O_NONBLOCK, stat::Mode::empty());
    assert_eq!(nonblocking.unwrap_err(), nix::errno::Errno::ENXIO);
}

#[tokio::test]
async fn what_is_not_a_fifo_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = fifo_in(dir.path());
    let plain = dir.path().join("plain");
    fs::write(&plain, "text").unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let open = async |path: &Path, more: &str| {
        let target = target(&format!("kind = 'fifo'\npath = '{}'\n{more}", path.display()));
        in_time(target.open(Mode::Ro, None)).await.err().map(|error| error.message)
    };
    assert!(open(&plain, "").await.unwrap().ends_with("is a regular file, not a fifo"));
    assert!(open(&link, "").await.unwrap().contains("follow_symlinks = true"));
    assert_eq!(open(&link, "follow_symlinks = true").await, None);
}
