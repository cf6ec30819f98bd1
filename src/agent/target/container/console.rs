//! The bytes of a container's first process or of another one in it, both ways, with the size of its terminal.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWrite, WriteHalf};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tracing::debug;

use super::super::log::Unblocked;
use super::super::opened::{Ask, Asked, Input, OpenError, Opened, Opening, Output, Process, Window, cannot};
use super::ending::Ending;
use super::engine::Api;
use super::found::{Found, PAUSE, TRIES};
use super::frames::Frames;
use crate::protocol::mode::Mode;

/// What detaches a client from a terminal. The engines' own, Ctrl-P Ctrl-Q, holds back the key that shells
/// have for the line before; nobody types this one.
pub(super) const DETACH_KEYS: &str = "ctrl-@,ctrl-_,ctrl-^,ctrl-@";

/// Opens what the first process of the container says and hears.
pub(super) async fn attach(api: Api, found: Found, opening: Opening) -> Result<Opened, OpenError> {
    found.must_run(&api)?;
    let is_rw = opening.mode == Mode::Rw;
    // Without -i it hears nothing, and is still worth looking at.
    let listens = is_rw && found.has_stdin;
    let path = format!(
        "/containers/{}/attach?stream=1&stdin={}&stdout=1&stderr=1&detachKeys={}",
        found.id,
        u8::from(listens),
        DETACH_KEYS.replace(',', "%2C").replace('@', "%40").replace('^', "%5E"),
    );
    let (stream, early) = api.upgrade(&path, None).await.map_err(|error| api.engine.explained(error))?;
    let hears = if listens { Hears::Bytes } else { Hears::Nothing };
    let (output, input) = split(stream, early, hears, found.has_tty);
    // Docker lets the container's own writes wait for the slowest that is attached.
    let output = if is_rw { output } else { Box::new(Unblocked::new(output).with_words()) };
    let (status, process) = watch::channel(None);
    // Its terminal belongs to all that look at it; only who types may say how large it is.
    let asked = match found.has_tty && is_rw {
        true => resizing(api.clone(), format!("/containers/{}/resize", found.id), opening.window),
        false => Box::new(cannot) as Asked,
    };
    let why = Box::pin(async move {
        let code = found.over(&api).await?.status()?;
        status.send_replace(Some(code));
        Ok(())
    });
    Ok(Opened {
        output: Box::new(Ending::new(output, why)),
        input: is_rw.then(|| input.unwrap_or_else(|| Box::new(tokio::io::sink()))),
        asked,
        process: Some(Process { status: process, _ends_when_dropped: None }),
        half_close: false,
    })
}

/// What is told to whoever is behind a connection.
pub(super) enum Hears {
    Nothing,
    /// Bytes, but not their end: others may have more to say, and engines would let go of this client.
    Bytes,
    BytesAndEnd,
}

/// The two halves of an upgraded connection.
pub(super) fn split(
    stream: UnixStream,
    early: Bytes,
    hears: Hears,
    has_tty: bool,
) -> (Output, Option<Input>) {
    let early = Cursor::new(early);
    let (output, input): (Output, Option<Input>) = match hears {
        // The socket whole: without its write half it would look as if the client had left.
        Hears::Nothing => (Box::new(early.chain(stream)), None),
        Hears::Bytes => {
            let (output, input) = tokio::io::split(stream);
            (Box::new(early.chain(output)), Some(Box::new(Endless(input))))
        }
        Hears::BytesAndEnd => {
            let (output, input) = stream.into_split();
            (Box::new(early.chain(output)), Some(Box::new(input)))
        }
    };
    (if has_tty { output } else { Box::new(Frames::new(output)) }, input)
}

/// What is written to it never ends.
struct Endless(WriteHalf<UnixStream>);

impl AsyncWrite for Endless {
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

/// Tells the engine the size of the terminal at `path`, the newest if there are several to tell. Tells it again where
/// the engine does not take it: a program that was just started may not run yet.
pub(super) fn resizing(api: Api, path: String, first: Option<Window>) -> Asked {
    let (wanted, mut news) = watch::channel(first);
    tokio::spawn(async move {
        loop {
            let window = *news.borrow_and_update();
            if let Some(Window { cols, rows }) = window {
                let mut tries = 0..TRIES;
                while let Err(error) = api.post(&format!("{path}?h={rows}&w={cols}"), None).await {
                    // A container that has just ended has no size any more.
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
