use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::agent::target::testing::{in_time, target};
use crate::agent::target::{Ask, Opened, Output, Target};
use crate::protocol::failure::Failure;
use crate::protocol::mode::Mode;

fn log_in(dir: &Path) -> (PathBuf, Target) {
    let log = dir.join("log");
    (log.clone(), target(&format!("kind = 'file'\npath = '{}'\nlines = 2", log.display())))
}

async fn open(target: &Target) -> Opened {
    in_time(target.open(Mode::Ro, None)).await.unwrap()
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// As logrotate does it: `log.1` becomes `log.2`, `log` becomes `log.1`.
fn rotate(log: &Path) {
    let aged = |age: usize| if age == 0 { log.to_owned() } else { log.with_extension(age.to_string()) };
    for age in (0..40).rev() {
        if aged(age).exists() {
            fs::rename(aged(age), aged(age + 1)).unwrap();
        }
    }
}

async fn expect(output: &mut Output, text: &str) {
    let mut said = vec![0; text.len()];
    in_time(output.read_exact(&mut said)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&said), text);
}

async fn expect_quiet(output: &mut Output) {
    let mut byte = [0];
    let read = std::future::poll_fn(|cx| {
        let mut buf = tokio::io::ReadBuf::new(&mut byte);
        let polled = std::pin::Pin::new(&mut *output).poll_read(cx, &mut buf).is_pending();
        std::task::Poll::Ready(polled)
    });
    assert!(read.await, "there was something to read");
}

#[tokio::test]
async fn the_last_lines_come_first_and_then_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = log_in(dir.path());
    append(&log, "one\ntwo\nthree");
    let mut opened = open(&target).await;
    assert!(opened.input.is_none());
    expect(&mut opened.output, "two\nthree").await;
    expect_quiet(&mut opened.output).await;
    append(&log, " and more\n");
    expect(&mut opened.output, " and more\n").await;
}

#[tokio::test]
async fn a_log_that_is_rotated_while_it_is_written_arrives_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = log_in(dir.path());
    append(&log, "");
    let mut output = open(&target).await.output;
    let lines = |from: usize, to: usize| (from..to).map(|line| format!("line {line}\n"));
    let writer = log.clone();
    let writing = std::thread::spawn(move || {
        for line in lines(0, 4000) {
            append(&writer, &line);
            if line.ends_with("999\n") {
                rotate(&writer);
            }
        }
    });
    expect(&mut output, &lines(0, 4000).collect::<String>()).await;
    writing.join().unwrap();
}

#[tokio::test]
async fn files_that_come_and_go_between_two_looks_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = log_in(dir.path());
    append(&log, "");
    let mut output = open(&target).await.output;
    // One thread, and nothing is awaited: the watcher sees all of it at once.
    for round in 0..10 {
        append(&log, &format!("round {round}\n"));
        rotate(&log);
    }
    append(&log, "last\n");
    expect(&mut output, &(0..10).map(|round| format!("round {round}\n")).collect::<String>()).await;
    expect(&mut output, "last\n").await;
}

#[tokio::test]
async fn rotations_are_noticed_while_the_reader_stalls() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = log_in(dir.path());
    append(&log, "first\n");
    let mut output = open(&target).await.output;
    let mut all = "first\n".to_owned();
    for round in 0..8 {
        rotate(&log);
        let text = format!("{round}{}\n", "x".repeat(100_000));
        append(&log, &text);
        all.push_str(&text);
        // Nothing is read, but the file is open before it is deleted.
        in_time(is_open_here(&log)).await;
        fs::remove_file(log.with_extension("1")).unwrap();
    }
    expect(&mut output, &all).await;
}

#[tokio::test]
async fn more_rotations_than_may_wait_are_found_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = log_in(dir.path());
    append(&log, "first\n");
    let mut output = open(&target).await.output;
    let mut all = "first\n".to_owned();
    for round in 0..35 {
        rotate(&log);
        let text = format!("round {round}\n");
        append(&log, &text);
        all.push_str(&text);
        tokio::task::yield_now().await;
    }
    expect(&mut output, &all).await;
}

/// Until this process has the file open.
async fn is_open_here(path: &Path) {
    let path = fs::canonicalize(path).unwrap();
    loop {
        let mut open = fs::read_dir("/proc/self/fd").unwrap().flatten();
        if open.any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == path)) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_writer_may_go_on_in_the_old_file_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = log_in(dir.path());
    append(&log, "a\n");
    let mut output = open(&target).await.output;
    expect(&mut output, "a\n").await;
    let mut old = OpenOptions::new().append(true).open(&log).unwrap();
    rotate(&log);
    append(&log, "");
    in_time(is_open_here(&log)).await;
    expect_quiet(&mut output).await;
    old.write_all(b"b\n").unwrap();
    expect(&mut output, "b\n").await;
    // The last words in the old file, then the first in the new one, with nobody looking between.
    old.write_all(b"c\n").unwrap();
    append(&log, "d\n");
    expect(&mut output, "c\nd\n").await;
}

#[tokio::test]
async fn empty_rotations_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = log_in(dir.path());
    append(&log, "a\n");
    let mut output = open(&target).await.output;
    for _ in 0..5 {
        rotate(&log);
        append(&log, "");
        in_time(is_open_here(&log)).await;
        expect_or_quiet(&mut output).await;
    }
    append(&log, "z\n");
    let mut said = [0; 2];
    in_time(output.read_exact(&mut said)).await.unwrap();
    assert_eq!(&said, b"z\n");
}

/// Takes what is there, if there is anything.
async fn expect_or_quiet(output: &mut Output) {
    let mut said = [0; 16];
    let _ = tokio::time::timeout(Duration::ZERO, output.read(&mut said)).await;
}

#[tokio::test]
async fn a_truncated_log_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = log_in(dir.path());
    append(&log, "before\n");
    let mut output = open(&target).await.output;
    expect(&mut output, "before\n").await;
    // Each shorter than what was there: nothing tells a file that has grown again already.
    for text in ["three\n", "two\n", "1\n"] {
        fs::copy(&log, log.with_extension("1")).unwrap();
        OpenOptions::new().write(true).open(&log).unwrap().set_len(0).unwrap();
        append(&log, text);
        expect(&mut output, text).await;
    }
}

#[tokio::test]
async fn a_log_that_is_deleted_and_made_again_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = log_in(dir.path());
    append(&log, "a\n");
    let mut output = open(&target).await.output;
    expect(&mut output, "a\n").await;
    for round in 0..3 {
        fs::remove_file(&log).unwrap();
        expect_quiet(&mut output).await;
        let text = format!("{round}\n");
        append(&log, &text);
        expect(&mut output, &text).await;
    }
}

#[tokio::test]
async fn the_stream_breaks_off_when_the_directory_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let (log, target) = log_in(&inner);
    append(&log, "a\n");
    let mut output = open(&target).await.output;
    fs::remove_dir_all(&inner).unwrap();
    let mut said = vec![];
    let error = in_time(output.read_to_end(&mut said)).await.unwrap_err();
    assert_eq!((&said[..], Failure::of(&error)), (&b"a\n"[..], Failure::Gone));
}

#[tokio::test]
async fn while_nothing_is_written_nobody_wakes_up() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = log_in(dir.path());
    append(&log, "a\n");
    let mut output = open(&target).await.output;
    expect(&mut output, "a\n").await;
    let mut polls = 0;
    let mut byte = [0];
    let mut read = std::pin::pin!(output.read(&mut byte));
    let counted = std::future::poll_fn(|cx| {
        polls += 1;
        read.as_mut().poll(cx)
    });
    // The time is what is tested.
    assert!(tokio::time::timeout(Duration::from_millis(300), counted).await.is_err());
    assert!(polls <= 3, "{polls}");
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = log_in(dir.path());
    append(&log, "a\n");
    let opened = open(&target).await;
    in_time(is_open_here(&log)).await;
    drop(opened);
    let metrics = tokio::runtime::Handle::current().metrics();
    let all_ended = async {
        while metrics.num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    };
    in_time(all_ended).await;
}

#[tokio::test]
async fn what_is_not_a_plain_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target_of_log) = log_in(dir.path());
    let refusal = async |target: &Target| {
        let error = in_time(target.open(Mode::Ro, None)).await.err().unwrap();
        assert_eq!(in_time(target.probe()).await.unwrap_err(), error);
        error.message
    };
    assert_eq!(refusal(&target_of_log).await, format!("{} does not exist", log.display()));
    fs::create_dir(&log).unwrap();
    assert!(refusal(&target_of_log).await.ends_with("not a regular file"));
    fs::remove_dir(&log).unwrap();
    nix::unistd::mkfifo(&log, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(refusal(&target_of_log).await.ends_with("not a regular file"));
}

#[tokio::test]
async fn a_symbolic_link_is_followed_only_when_the_owner_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    let (log, target_of_log) = log_in(dir.path());
    append(&real, "a\n");
    std::os::unix::fs::symlink(&real, &log).unwrap();
    let error = in_time(target_of_log.open(Mode::Ro, None)).await.err().unwrap();
    assert!(error.message.contains(&format!("name {} instead", real.display())), "{error}");
    assert!(error.message.ends_with("or set follow_symlinks = true"), "{error}");
    // Nor a directory that is a link, nor a link that takes the log's place later.
    std::os::unix::fs::symlink(dir.path(), dir.path().join("sub")).unwrap();
    let (_, through) = log_in(&dir.path().join("sub"));
    assert!(in_time(through.open(Mode::Ro, None)).await.is_err());

    let text = format!("kind = 'file'\npath = '{}'\nfollow_symlinks = true", log.display());
    let mut output = open(&target(&text)).await.output;
    expect(&mut output, "a\n").await;
    rotate(&real);
    append(&real, "b\n");
    expect(&mut output, "b\n").await;
    rotate(&real);
    std::os::unix::fs::symlink("/etc/passwd", &real).unwrap();
    append(&dir.path().join("new"), "c\n");
    fs::rename(dir.path().join("new"), &real).unwrap();
    expect(&mut output, "c\n").await;
}

/// logrotate makes the new file for its owner alone and then gives it away. Root may read it at
/// once, so this says something only where the tests run as another user.
#[tokio::test]
async fn a_file_that_may_be_read_only_later_is_waited_for() {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = log_in(dir.path());
    append(&log, "a\n");
    let mut output = open(&target).await.output;
    expect(&mut output, "a\n").await;
    rotate(&log);
    let mut new = OpenOptions::new().append(true).create_new(true).mode(0o200).open(&log).unwrap();
    // The watcher looks, and is refused.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    new.write_all(b"b\n").unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
    expect(&mut output, "b\n").await;
}

fn picked(target: &Target, file: &str) -> crate::agent::target::Bound {
    target.bind(&[("file".to_owned(), file.to_owned())].into()).unwrap()
}

#[tokio::test]
async fn one_of_several_files_is_picked_and_none_outside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    fs::create_dir_all(path.join("logs/sub")).unwrap();
    append(&path.join("logs/a.log"), "a\n");
    append(&path.join("logs/sub/b.log"), "b\n");
    append(&path.join("secret.log"), "secret\n");
    std::os::unix::fs::symlink("../secret.log", path.join("logs/out.log")).unwrap();
    std::os::unix::fs::symlink("a.log", path.join("logs/in.log")).unwrap();
    std::os::unix::fs::symlink("..", path.join("logs/up")).unwrap();
    let text = |more: &str| {
        format!("kind = 'file'\npaths = ['{0}/logs/*.log', '{0}/logs/*/*.log']\n{more}", path.display())
    };
    let target = target(&text(""));
    assert_eq!(target.info().params, ["file"]);
    assert_eq!(in_time(target.probe()).await.unwrap(), "5 files match");
    for (file, said) in [("a.log", "a\n"), ("sub/b.log", "b\n")] {
        let mut opened = in_time(picked(&target, file).open(Mode::Ro, None)).await.unwrap();
        expect(&mut opened.output, said).await;
    }
    for file in ["out.log", "in.log", "up/secret.log"] {
        assert!(in_time(picked(&target, file).open(Mode::Ro, None)).await.is_err(), "{file}");
    }
    // Links may be followed where the owner says so, and still not out of the tree.
    let following = super::super::testing::target(&text("follow_symlinks = true"));
    let mut opened = in_time(picked(&following, "in.log").open(Mode::Ro, None)).await.unwrap();
    expect(&mut opened.output, "a\n").await;
    for file in ["out.log", "up/secret.log"] {
        let error = in_time(picked(&following, file).open(Mode::Ro, None)).await.err().unwrap();
        assert!(error.message.contains("leads out of"), "{error}");
    }
}

/// Somebody who may write to the tree swaps files and directories for links while they are being opened.
#[test]
fn what_is_swapped_ten_thousand_times_never_leads_out() {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    for tree in ["allowed/app", "outside/app"] {
        fs::create_dir_all(path.join(tree)).unwrap();
    }
    append(&path.join("allowed/app/log"), "inside\n");
    append(&path.join("outside/app/log"), "SECRET\n");
    symlink(path.join("outside/app"), path.join("allowed/dir-link")).unwrap();
    symlink(path.join("outside/app/log"), path.join("allowed/file-link")).unwrap();
    let is_over = AtomicBool::new(false);
    let log = |follow_symlinks| {
        let reading = super::Reading { lines: 10, history: 0, follow_symlinks, is_raw: false };
        let picked = super::Picked { path: path.join("allowed/app/log"), base: Some(path.join("allowed")) };
        super::Log { picked, reading }
    };
    let (mut opened, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let swap = |a: &str, b: &str| {
                let (a, b) = (path.join(a), path.join(b));
                // The file may have moved with its directory: then there is nothing to swap.
                let _ = renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE);
            };
            while !is_over.load(Ordering::Relaxed) {
                for _ in 0..2 {
                    swap("allowed/app", "allowed/dir-link");
                }
                for _ in 0..2 {
                    swap("allowed/app/log", "allowed/file-link");
                }
            }
        });
        for round in 0..10_000 {
            let log = log(round % 2 == 0);
            // Following needs quiet moments to begin, which there are few of.
            let found = match round % 100 {
                0 => log.find(None).map(|(_, file, ..)| file).ok(),
                _ => log.place().ok().and_then(|place| place.open(place.name()).ok()),
            };
            let Some(mut file) = found else {
                refused += 1;
                continue;
            };
            let mut said = String::new();
            file.read_to_string(&mut said).unwrap();
            assert_eq!(said, "inside\n");
            opened += 1;
        }
        is_over.store(true, Ordering::Relaxed);
    });
    println!("{opened} times opened, {refused} times refused");
    // Otherwise the race did not take place.
    assert!(opened > 100 && refused > 100, "{opened} {refused}");
}

fn gzip(from: &Path, to: &Path) {
    let mut encoder =
        flate2::write::GzEncoder::new(fs::File::create(to).unwrap(), flate2::Compression::fast());
    encoder.write_all(&fs::read(from).unwrap()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(from).unwrap();
}

fn written_at(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

#[tokio::test]
async fn what_was_rotated_away_comes_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let (log, silent) = log_in(dir.path());
    let name = |end: &str| PathBuf::from(format!("{}{end}", log.display()));
    for (end, text, at) in
        [(".4", "four\n", 100), (".3", "three\n", 200), (".2", "two\n", 300), (".1", "one\n", 400)]
    {
        append(&name(end), text);
        written_at(&name(end), at);
    }
    for end in [".3", ".2"] {
        gzip(&name(end), &name(&format!("{end}.gz")));
    }
    written_at(&name(".3.gz"), 200);
    written_at(&name(".2.gz"), 300);
    // Being made just now.
    append(&name(".1.gz"), "unfinished");
    std::os::unix::fs::symlink("/etc/passwd", name(".5")).unwrap();
    append(&dir.path().join("other.1"), "other\n");
    append(&log, "now\n");

    let opened = in_time(silent.open(Mode::Ro, None)).await.unwrap();
    assert!((opened.asked)(Ask::Since(0)).unwrap_err().to_string().contains("cannot go back"));
    let with = |history| target(&format!("kind = 'file'\npath = '{}'\nhistory = {history}", log.display()));
    for (history, since, expected) in [
        (9, 0, "now\nfour\nthree\ntwo\none\nnow\n"),
        (9, 250, "now\ntwo\none\nnow\n"),
        (2, 0, "now\ntwo\none\nnow\n"),
        (9, 500, "now\nnow\n"),
    ] {
        let mut opened = in_time(with(history).open(Mode::Ro, None)).await.unwrap();
        expect(&mut opened.output, "now\n").await;
        (opened.asked)(Ask::Since(since)).unwrap();
        expect(&mut opened.output, &expected[4..]).await;
        append(&log, "more\n");
        expect(&mut opened.output, "more\n").await;
        fs::write(&log, "now\n").unwrap();
    }
}

/// Asks for everything, and reads until the end of the log as it is now.
async fn all_of(log: &Path) -> String {
    let target = target(&format!("kind = 'file'\npath = '{}'\nhistory = 9\nlines = 0", log.display()));
    let mut opened = in_time(target.open(Mode::Ro, None)).await.unwrap();
    (opened.asked)(Ask::Since(0)).unwrap();
    let mut said = vec![];
    while !said.ends_with(b"now\n") {
        let mut bytes = vec![0; 64 * 1024];
        let n = in_time(opened.output.read(&mut bytes)).await.unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&bytes[..n]);
    }
    String::from_utf8(said).unwrap()
}

/// `history` is consent to the log's rotations, and to nothing else that is beside it.
#[tokio::test]
async fn neighbours_of_a_log_are_not_its_history() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = log_in(dir.path());
    let name = |end: &str| PathBuf::from(format!("{}{end}", log.display()));
    append(&log, "now\n");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o644)).unwrap();
    for end in [".key", "-private.txt", ".1~", ".swp", ".10.0.0.5", ".3", ".4"] {
        append(&name(end), "SECRET\n");
        fs::set_permissions(name(end), fs::Permissions::from_mode(0o644)).unwrap();
    }
    // More private than the log is now, and another user's.
    fs::set_permissions(name(".3"), fs::Permissions::from_mode(0o600)).unwrap();
    if nix::unistd::Uid::effective().is_root() {
        chown(name(".4"), Some(65534), None).unwrap();
    } else {
        fs::remove_file(name(".4")).unwrap();
    }
    for end in [".2", "-20260101", ".old"] {
        append(&name(end), "older\n");
        fs::set_permissions(name(end), fs::Permissions::from_mode(0o644)).unwrap();
    }
    assert_eq!(all_of(&log).await, "older\nolder\nolder\nnow\n");
}

/// What is packed in another way, or damaged, is said; the rest of the log follows.
#[tokio::test]
async fn one_bad_file_of_the_history_does_not_end_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = log_in(dir.path());
    let name = |end: &str| PathBuf::from(format!("{}{end}", log.display()));
    let make = |end: &str, bytes: &[u8], at| {
        fs::write(name(end), bytes).unwrap();
        written_at(&name(end), at);
    };
    append(&name(".plain"), &"line\n".repeat(50_000));
    gzip(&name(".plain"), &name(".1.gz"));
    let packed = fs::read(name(".1.gz")).unwrap();
    make(".9", &packed, 100);
    make(".8.xz", b"\xfd7zXZ\0and so on", 200);
    make(".7.gz", &[0; 100], 300);
    make(".6.gz", b"", 400);
    make(".5", b"\x28\xb5\x2f\xfd\x04", 500);
    make(".4.gz", &packed[..packed.len() / 2], 600);
    fs::remove_file(name(".1.gz")).unwrap();
    append(&log, "now\n");
    let said = all_of(&log).await;
    let (first, rest) = said.split_at(5 * 50_000);
    assert_eq!(first, "line\n".repeat(50_000));
    assert_eq!(rest.matches("is left out").count(), 3, "{}", &rest[..200]);
    assert!(rest.ends_with("[the rest of this older file cannot be read: it is damaged]\nnow\n"), "{said}");
    assert!(!said.contains(['^', '\u{0}']) && rest.contains("line\nline\n"));
}
