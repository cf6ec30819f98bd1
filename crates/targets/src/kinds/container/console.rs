//! Input and output of a process in a container, with the size of its terminal.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWrite, WriteHalf};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tracing::debug;

use super::checked::CheckedOutput;
use super::engine::Api;
use super::frames::Frames;
use super::info::{ContainerInfo, PAUSE, TRIES};
use crate::support::log::Unblocked;
use crate::support::opened::{
    Ask, Asked, Input, OpenError, Opened, Opening, Output, Process, Window, cannot,
};
use crate::support::tasks::spawn;
use protocol::mode::Mode;

/// The keys that detach a client from a terminal. The engines' default (Ctrl-P Ctrl-Q) delays Ctrl-P, which shells use
/// for the previous line. Nobody types this one by accident.
pub(super) const DETACH_KEYS: &str = "ctrl-@,ctrl-_,ctrl-^,ctrl-@";

/// Opens the input and output of the container's first process.
pub(super) async fn attach(api: Api, info: ContainerInfo, opening: Opening) -> Result<Opened, OpenError> {
    info.must_run(&api)?;
    let is_rw = opening.mode == Mode::Rw;
    // A container without `-i` reads nothing, but its output is still useful.
    let listens = is_rw && info.has_stdin;
    let path = format!(
        "/containers/{}/attach?stream=1&stdin={}&stdout=1&stderr=1&detachKeys={}",
        info.id,
        u8::from(listens),
        DETACH_KEYS.replace(',', "%2C").replace('@', "%40").replace('^', "%5E"),
    );
    let (stream, early) = api.upgrade(&path, None).await.map_err(|error| api.engine.explained(error))?;
    let accepts = if listens { Accepts::Bytes } else { Accepts::Nothing };
    let (output, input) = split(stream, early, accepts, info.has_tty);
    // Docker makes the container's writes wait for the slowest attached client.
    let output = if is_rw { output } else { Box::new(Unblocked::new(output).with_words()) };
    let (status, process) = watch::channel(None);
    // All clients share the terminal, so only one that may type sets its size.
    let asked = match info.has_tty && is_rw {
        true => resizing(api.clone(), format!("/containers/{}/resize", info.id), opening.window),
        false => Box::new(cannot) as Asked,
    };
    let why = Box::pin(async move {
        let code = info.exit_state(&api).await?.status()?;
        status.send_replace(Some(code));
        Ok(())
    });
    Ok(Opened {
        output: Box::new(CheckedOutput::new(output, why)),
        input: is_rw.then(|| input.unwrap_or_else(|| Box::new(tokio::io::sink()))),
        asked,
        process: Some(Process { status: process, _ends_when_dropped: None }),
        half_close: false,
        socket: None,
    })
}

/// What a process reads from its client.
pub(super) enum Accepts {
    Nothing,
    /// Bytes, but not their end: others may still type, and engines would detach this client.
    Bytes,
    BytesAndEnd,
}

/// Splits an upgraded connection into output and input.
pub(super) fn split(
    stream: UnixStream,
    early: Bytes,
    accepts: Accepts,
    has_tty: bool,
) -> (Output, Option<Input>) {
    let early = Cursor::new(early);
    let (output, input): (Output, Option<Input>) = match accepts {
        // Keeps the socket whole: without its write half, the engine would believe that the client had left.
        Accepts::Nothing => (Box::new(early.chain(stream)), None),
        Accepts::Bytes => {
            let (output, input) = tokio::io::split(stream);
            (Box::new(early.chain(output)), Some(Box::new(KeptOpen(input))))
        }
        Accepts::BytesAndEnd => {
            let (output, input) = stream.into_split();
            (Box::new(early.chain(output)), Some(Box::new(input)))
        }
    };
    (if has_tty { output } else { Box::new(Frames::new(output)) }, input)
}

/// Input whose end is not passed on.
struct KeptOpen(WriteHalf<UnixStream>);

impl AsyncWrite for KeptOpen {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Sets the size of the terminal at `path`, only the newest if several wait. Tries again if the engine refuses, because
/// a program that was just started may not run yet.
pub(super) fn resizing(api: Api, path: String, first: Option<Window>) -> Asked {
    let (wanted, mut news) = watch::channel(first);
    spawn(async move {
        loop {
            let window = *news.borrow_and_update();
            if let Some(Window { cols, rows }) = window {
                let mut tries = 0..TRIES;
                while let Err(error) = api.post(&format!("{path}?h={rows}&w={cols}"), None).await {
                    // A container that has just ended has no terminal.
                    debug!("{}", api.engine.explained(error));
                    if tries.next().is_none() || news.has_changed().unwrap_or(true) {
                        break;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
            if news.changed().await.is_err() {
                return;
            }
        }
    });
    Box::new(move |ask| match ask {
        Ask::Resize(window) => {
            wanted.send_replace(Some(window));
            Ok(())
        }
        ask => cannot(ask),
    })
}
