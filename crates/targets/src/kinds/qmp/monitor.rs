//! QEMU's machine protocol (QMP): a line of JSON for each command, answer and event.

use std::io;
use std::os::fd::AsFd;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::support::passing;

/// The longest line in bytes. QEMU's answers to the commands used here have about a hundred.
const MAX_LINE: u64 = 64 << 10;

/// How many events may come before an answer.
const MAX_EVENTS: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum MonitorError {
    #[error(transparent)]
    Connection(#[from] io::Error),
    #[error("{0}")]
    Refused(String),
}

/// A connection to QEMU. Dropping it admits the next client.
pub(super) struct Monitor(BufReader<UnixStream>);

impl Monitor {
    pub(super) fn new(stream: UnixStream) -> Monitor {
        Monitor(BufReader::new(stream))
    }

    /// Waits until QEMU serves this client, which gets QEMU's greeting then.
    pub(super) async fn greeting(&mut self) -> Result<(), MonitorError> {
        if self.line().await?.get("QMP").is_none() {
            return Err(invalid("it greets otherwise").into());
        }
        self.ask("qmp_capabilities", json!({})).await.map(drop)
    }

    pub(super) async fn ask(&mut self, command: &str, arguments: Value) -> Result<Value, MonitorError> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.0.write_all(line.as_bytes()).await?;
        self.answer().await
    }

    /// Sends a command with a descriptor.
    pub(super) async fn pass(&mut self, command: &Value, descriptor: &impl AsFd) -> Result<(), MonitorError> {
        let line = format!("{command}\n");
        passing::send(self.0.get_mut(), line.as_bytes(), descriptor.as_fd()).await?;
        self.answer().await.map(drop)
    }

    async fn answer(&mut self) -> Result<Value, MonitorError> {
        for _ in 0..MAX_EVENTS {
            let mut line = self.line().await?;
            if let Some(answer) = line.get_mut("return") {
                return Ok(answer.take());
            }
            if let Some(error) = line.get("error") {
                return Err(MonitorError::Refused(error["desc"].as_str().unwrap_or("no reason").to_owned()));
            }
        }
        Err(invalid("it sends events and no answer").into())
    }

    async fn line(&mut self) -> io::Result<Value> {
        let mut line = Vec::new();
        let read = (&mut self.0).take(MAX_LINE).read_until(b'\n', &mut line).await?;
        match line.last() {
            Some(b'\n') => serde_json::from_slice(&line).map_err(|_| invalid("it speaks no JSON")),
            _ if read as u64 == MAX_LINE => Err(invalid("its line has no end")),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
