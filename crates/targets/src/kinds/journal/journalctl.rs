//! Runs journalctl(1), with options and never through a shell. Its errors go to the agent's log.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::kind::Open;
use crate::support::opened::{OpenError, Opened, Opening, Output, Process};
use crate::support::program::Program;
use protocol::failure::Failure;

const JOURNALCTL: &str = "/usr/bin/journalctl";

/// Its path on hosts on which /bin is a separate directory (Debian 10 and older, and upgrades of these).
const OLDER: &str = "/bin/journalctl";

/// The longest output that is read whole, in bytes: names of units, or one entry.
const MOST: u64 = 16 << 20;

/// From this version on, `--follow` shows only this boot by default. Before 242, there is no `--boot=all`.
const FOLLOWS_ONE_BOOT: u32 = 250;

/// Checks that it can be run.
pub(super) async fn probe() -> Result<String, OpenError> {
    program(vec![]).probe().await
}

fn program(arguments: Vec<String>) -> Program {
    let is_older = !Path::new(JOURNALCTL).exists() && Path::new(OLDER).exists();
    let program = Program::new(if is_older { OLDER } else { JOURNALCTL }, arguments, false);
    Program { is_ours: true, ..program }
}

/// A running journalctl, which ends when this is dropped.
pub(super) struct Journalctl {
    output: Output,
    process: Option<Process>,
}

impl Journalctl {
    pub(super) async fn start(arguments: Vec<String>, opening: &Opening) -> Result<Journalctl, OpenError> {
        let always = ["--quiet", "--no-pager", "--all"].map(str::to_owned);
        let program = program(always.into_iter().chain(arguments).collect());
        let Opened { output, process, .. } = program.open(opening.clone()).await?;
        Ok(Journalctl { output, process })
    }

    /// Runs it to its end and returns its output.
    pub(super) async fn said(arguments: Vec<String>, opening: &Opening) -> Result<Vec<u8>, OpenError> {
        let (mut run, mut said) = (Journalctl::start(arguments, opening).await?, Vec::new());
        let read = (&mut run).take(MOST).read_to_end(&mut said).await.map(drop);
        let ended = match read {
            Ok(()) => run.ended(said.is_empty()).await,
            Err(error) => Err(error),
        };
        ended.map_err(|error| OpenError::system("reading the journal", error))?;
        Ok(said)
    }

    /// Checks that it ended successfully. Some versions exit with 1 if there is nothing to show.
    pub(super) async fn ended(&mut self, has_said_nothing: bool) -> io::Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        match process.exit().await {
            0 => Ok(()),
            1 if has_said_nothing => Ok(()),
            code => Err(Failure::ReaderEnded.error(format_args!("journalctl has ended with {code}"))),
        }
    }
}

impl AsyncRead for Journalctl {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buf)
    }
}

/// A run that follows the journal forever, so that its end is an error.
pub(super) struct Endless(pub(super) Journalctl);

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        match buf.filled().len() == before && buf.remaining() > 0 {
            true => Poll::Ready(Err(Failure::ReaderEnded.error("journalctl has ended"))),
            false => Poll::Ready(Ok(())),
        }
    }
}

/// Whether `--follow` shows only this boot. Asked each time, because systemd may be upgraded while the agent runs.
pub(super) async fn follows_one_boot(opening: &Opening) -> Result<bool, OpenError> {
    let said = Journalctl::said(vec!["--version".to_owned()], opening).await?;
    Ok(version(&String::from_utf8_lossy(&said)).is_none_or(|version| version >= FOLLOWS_ONE_BOOT))
}

/// The number in `systemd 252 (252.39-1~deb12u2)`.
fn version(said: &str) -> Option<u32> {
    let number = said.split_whitespace().nth(1)?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_of_all_distributions_are_understood() {
        for (said, number) in [
            ("systemd 252 (252.39-1~deb12u2)\n+PAM", Some(252)),
            ("systemd 239 (239-82.el8_10.5)", Some(239)),
            ("systemd 257~rc1 (257~rc1-1)", Some(257)),
            ("systemd 255.4 (255.4-1)", Some(255)),
            ("", None),
        ] {
            assert_eq!(super::version(said), number, "{said}");
        }
    }
}
