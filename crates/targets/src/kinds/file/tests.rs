use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::testing::{in_time, target};
use crate::{Ask, Opened, Output, Target};
use protocol::failure::Failure;
use protocol::mode::Mode;

mod follow;
mod history;
mod which;

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
