use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::Window;
use crate::testing::in_time;

fn log(is_raw: bool) -> (DuplexStream, Opened) {
    let (writer, reader) = duplex(1 << 20);
    (writer, opened(reader, is_raw, None))
}

fn filter(pattern: &str, invert: bool) -> Ask {
    Ask::Filter { pattern: pattern.to_owned(), invert }
}

async fn says(opened: &mut Opened, text: &str) {
    let mut said = vec![0; text.len()];
    in_time(opened.output.read_exact(&mut said)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&said), text);
}

async fn is_quiet(opened: &mut Opened) {
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_millis(20), opened.output.read(&mut byte)).await;
    assert!(read.is_err(), "{byte:?}");
}

#[tokio::test]
async fn control_characters_are_shown_unless_the_log_is_raw() {
    let (mut writer, mut shown) = log(false);
    writer.write_all(b"a\x1b[2J\r\n").await.unwrap();
    says(&mut shown, "a^[[2J\n").await;
    let (mut writer, mut raw) = log(true);
    writer.write_all(b"a\x1b[2J\r\n").await.unwrap();
    says(&mut raw, "a\x1b[2J\r\n").await;
}

#[tokio::test]
async fn only_lines_that_pass_the_filter_are_sent() {
    let (mut writer, mut log) = log(false);
    writer.write_all(b"begun ").await.unwrap();
    says(&mut log, "begun ").await;
    (log.asked)(filter("err(or)?", false)).unwrap();
    // The rest of a line that was begun belongs to it.
    writer.write_all(b"line\nno\nan er").await.unwrap();
    says(&mut log, "line\n").await;
    is_quiet(&mut log).await;
    writer.write_all(b"ror\x07\nno\n").await.unwrap();
    says(&mut log, "an error^G\n").await;
    (log.asked)(filter("^$|error", true)).unwrap();
    writer.write_all(b"error\n\nyes\n").await.unwrap();
    says(&mut log, "yes\n").await;
    (log.asked)(filter("never", false)).unwrap();
    writer.write_all(b"held").await.unwrap();
    is_quiet(&mut log).await;
    // Without a filter nothing is held back.
    (log.asked)(filter("", false)).unwrap();
    says(&mut log, "held").await;
    drop(writer);
    assert_eq!(in_time(log.output.read(&mut [0; 8])).await.unwrap(), 0);
}

#[tokio::test]
async fn the_last_line_needs_no_end_and_a_long_one_is_judged_by_its_beginning() {
    let (mut writer, mut log) = log(false);
    (log.asked)(filter("^yes", false)).unwrap();
    let long = "x".repeat(200_000);
    writer.write_all(format!("no{long}\nyes{long}\nno\nyes").as_bytes()).await.unwrap();
    drop(writer);
    let mut said = String::new();
    in_time(log.output.read_to_string(&mut said)).await.unwrap();
    assert!(said == format!("yes{long}\nyes"), "{} bytes", said.len());
}

#[tokio::test]
async fn a_paused_log_says_nothing_until_it_is_resumed() {
    let (mut writer, mut log) = log(false);
    (log.asked)(Ask::Pause).unwrap();
    writer.write_all(b"later\n").await.unwrap();
    is_quiet(&mut log).await;
    (log.asked)(Ask::Resume).unwrap();
    says(&mut log, "later\n").await;
}

#[tokio::test]
async fn a_log_that_can_starts_over() {
    let (mut writer, reader) = duplex(1000);
    let again: Again = Box::new(|time| {
        let (mut writer, reader) = duplex(1000);
        Box::pin(async move {
            writer.write_all(format!("since {time}\n").as_bytes()).await.unwrap();
            Ok(Box::new(reader) as Output)
        })
    });
    let mut log = opened(reader, false, Some(again));
    writer.write_all(b"half").await.unwrap();
    says(&mut log, "half").await;
    (log.asked)(Ask::Since(17)).unwrap();
    says(&mut log, "\nsince 17\n").await;
}

#[tokio::test]
async fn what_cannot_be_done_is_refused() {
    let (_writer, log) = log(false);
    assert!((log.asked)(filter("(", false)).unwrap_err().to_string().contains("unclosed group"));
    assert!((log.asked)(filter("a{1000}{1000}", false)).is_err());
    assert!((log.asked)(Ask::Since(0)).unwrap_err().to_string().contains("cannot go back"));
    (log.asked)(Ask::Resize(Window { cols: 1, rows: 1 })).unwrap();
}

#[test]
fn an_expression_that_would_take_long_is_refused() {
    let said = Filter::new("(.?){200}x", false).err().unwrap().to_string();
    assert!(said.contains("size limit"), "{said}");
    // The engine's table has no room for this one, so it steps through all states for each byte.
    let filter = Filter::new(".*é.{150}z", false).unwrap();
    let line = format!("{}é{}z", "é".repeat(500), "€".repeat(150));
    assert!(filter.passes(line.as_bytes()) && !filter.passes("é".repeat(1000).as_bytes()));
    Filter::new(
        r"^\w{3} \d+ [\d:]+ \S+ sshd\[\d+\]: (Accepted|Failed) \w+ for (invalid user )?\S+ from",
        false,
    )
    .unwrap();
}
