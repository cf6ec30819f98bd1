//! A log is followed: while it is written, rotated, truncated and made again.

use super::*;

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
    for round in 0..6 {
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
    // Shorter than what was there, as long, and longer.
    for text in ["three\n", "two\n", "1\n", "2\n", "much longer\n", "even much longer\n"] {
        expect_quiet(&mut output).await;
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
    assert_eq!((&said[..], Failure::from_error(&error)), (&b"a\n"[..], Failure::Gone));
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
