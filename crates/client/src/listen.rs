//! `open --listen`: each local connection gets a stream of its own.

use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use service::descriptors::raise_limit;
use service::exit::{Exit, ExitError, OrExit};
use service::listen::ListenAddress;

use super::acceptor::{Acceptor, LocalConnection};
use super::bridge::{self, LocalSide};
use super::opener::{Opener, Source};
use super::outcome::{EndReason, StreamOutcome};
use super::peer_watch::PeerWatch;
use super::terminal::notify;

/// The pause after a failed accept, so that the loop does not spin while the process has no free descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long streams may take to close after a signal.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a target may work on what a local program sent before it closed its connection.
const TARGET_GRACE: Duration = Duration::from_secs(3);

impl Opener {
    /// Accepts local connections until a signal.
    pub(super) async fn listen(
        self: Arc<Self>,
        address: &ListenAddress,
        as_json: bool,
    ) -> Result<(), ExitError> {
        self.check_target().await?;
        // Each local connection needs several, and shells start programs with 1024.
        raise_limit();
        let acceptor = Acceptor::bind(address)
            .await
            .map_err(with_remedy)
            .with_context(|| format!("listen at {address}"));
        let acceptor = acceptor.or_exit(Exit::Unavailable)?;
        let bound = acceptor.address().context("listen")?;
        if acceptor.is_open_to_others().context("listen")? {
            notify(&format!("{bound} is not loopback: anyone who reaches it reaches the target"));
        }
        match as_json {
            true => println!("{}", json!({ "listening": bound })),
            false => println!("listening at {bound}"),
        }
        let mut interrupted = signal(SignalKind::interrupt()).context("signals")?;
        let mut terminated = signal(SignalKind::terminate()).context("signals")?;
        let stop = CancellationToken::new();
        let mut accepting = std::pin::pin!(self.accept(acceptor, stop.clone()));
        tokio::select! {
            ended = &mut accepting => return ended,
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        stop.cancel();
        // The wait is short, so a second signal need not cut it.
        tokio::time::timeout(CLOSE_TIMEOUT, accepting).await.unwrap_or(Ok(()))
    }

    /// Accepts until `stop`, and then waits for the streams to end. A URL is good for one session, which ends with its
    /// last stream. A second connection is accepted only if the session can have more streams.
    pub(super) async fn accept(
        self: Arc<Self>,
        acceptor: Acceptor,
        stop: CancellationToken,
    ) -> Result<(), ExitError> {
        let is_url = matches!(self.source, Source::Url(_));
        let (mut streams, mut outcome) = (JoinSet::<Result<(), ExitError>>::new(), Ok(()));
        loop {
            let accepted = tokio::select! {
                accepted = acceptor.accept() => accepted,
                () = stop.cancelled() => break,
                Some(ended) = streams.join_next() => {
                    match ended {
                        Ok(ended) if is_url => outcome = outcome.and(ended),
                        Ok(Err(error)) => error.report("stream-relay"),
                        // A panic was printed when it happened.
                        Ok(Ok(())) | Err(_) => {}
                    }
                    if is_url && streams.is_empty() {
                        return outcome;
                    }
                    continue;
                }
            };
            let connection = match accepted {
                Ok(connection) => connection,
                Err(error) => {
                    notify(&format!("accept failed: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if is_url && !streams.is_empty() && !self.key.is_known() {
                notify("the URL is good for one connection, and it is open: another one was refused");
                continue;
            }
            let (this, stop) = (self.clone(), stop.clone());
            streams.spawn(async move { this.serve(connection, &stop).await });
        }
        drop(acceptor);
        while let Some(ended) = streams.join_next().await {
            if let Ok(Err(error)) = ended {
                error.report("stream-relay");
            }
        }
        outcome
    }

    async fn serve(&self, connection: LocalConnection, stop: &CancellationToken) -> Result<(), ExitError> {
        let LocalConnection { input, output, peer } = connection;
        let mut session = None;
        let outcome = self.bridge(input, output, &peer, stop, &mut session).await;
        if !outcome.as_ref().is_ok_and(StreamOutcome::is_complete) {
            peer.reset_on_close();
        }
        match outcome? {
            // A local program that breaks its own connection needs no error from us.
            StreamOutcome { reason: EndReason::Local(..), .. } => Ok(()),
            outcome => outcome.result(session.as_deref()).map(drop),
        }
    }

    async fn bridge(
        &self,
        input: impl AsyncRead + Unpin,
        output: impl AsyncWrite + Unpin,
        peer: &PeerWatch,
        stop: &CancellationToken,
        session: &mut Option<String>,
    ) -> Result<StreamOutcome, ExitError> {
        const NAME: &str = "local connection";
        let dialled = tokio::select! {
            dialled = self.dial() => dialled?,
            () = stop.cancelled() => return Ok(StreamOutcome { reason: EndReason::User, status: None }),
        };
        let websocket = dialled.websocket;
        *session = dialled.session;
        let (count, over) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let input = Counted { inner: input, count: count.clone(), over: over.clone() };
        let local_left = async {
            over.cancelled().await;
            peer.closed().await;
            if count.load(Ordering::Relaxed) > 0 {
                sleep(TARGET_GRACE).await;
            }
        };
        let stopped = async {
            tokio::select! {
                () = stop.cancelled() => EndReason::User,
                () = local_left => EndReason::OutputClosed,
            }
        };
        let (input, output) = ((input, NAME), (output, NAME));
        let side = LocalSide { input, output, control: None, ends_with_host: false, key: self.key.clone() };
        Ok(bridge::run(websocket, side, stopped).await)
    }
}

fn with_remedy(error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AddrInUse => anyhow!("{error}: choose another port; port 0 takes a free one"),
        ErrorKind::AddrNotAvailable => anyhow!("{error}: it is not an address of this machine"),
        _ => error.into(),
    }
}

/// Counts the bytes that a local program sends. Cancels `over` at their end.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
    over: CancellationToken,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        match buf.filled().len() - before {
            0 => self.over.cancel(),
            read => drop(self.count.fetch_add(read as u64, Ordering::Relaxed)),
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::super::testing::{World, args, opener};
    use super::*;

    async fn acceptor() -> (Acceptor, SocketAddr) {
        let acceptor = Acceptor::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = acceptor.address().unwrap().parse().unwrap();
        (acceptor, address)
    }

    async fn echoes(local: SocketAddr, text: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(local).await.unwrap();
        stream.write_all(text).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn every_local_connection_has_a_session_of_its_own() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let (acceptor, local) = acceptor().await;
        let stop = CancellationToken::new();
        let accepting = tokio::spawn(opener(&world, dir.path(), &[]).accept(acceptor, stop.clone()));
        let (one, two) = tokio::join!(echoes(local, b"one"), echoes(local, b"two"));
        assert_eq!((one.as_slice(), two.as_slice()), (&b"one"[..], &b"two"[..]));
        assert_eq!(world.requests.lock().unwrap().len(), 2);

        // A refusal ends the connection, not the listener.
        *world.refusal.lock().unwrap() = Some((409, r#"{"code":"busy","message":"full"}"#.into()));
        assert_eq!(read_until_reset(TcpStream::connect(local).await.unwrap()).await, b"");
        *world.refusal.lock().unwrap() = None;
        let mut open = TcpStream::connect(local).await.unwrap();
        open.write_all(b"x").await.unwrap();
        assert_eq!(open.read_u8().await.unwrap(), b'x');
        // A stop ends the streams that are still open.
        stop.cancel();
        accepting.await.unwrap().unwrap();
        assert_eq!(read_until_reset(open).await, b"");
    }

    /// The bytes before the reset. Without a reset, the program would take them for all that there is.
    async fn read_until_reset(mut stream: TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        let error = stream.read_to_end(&mut all).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        all
    }

    #[tokio::test]
    async fn a_url_is_good_for_one_connection() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("url");
        std::fs::write(&file, format!("{}\nmore\n", world.url())).unwrap();
        let line = ["--url-file", file.to_str().unwrap(), "--platform", "http://ignored.invalid"];
        let opener = Arc::new(Opener::new(&args(&line).unwrap()).unwrap());
        let (acceptor, local) = acceptor().await;
        let accepting = tokio::spawn(opener.clone().accept(acceptor, CancellationToken::new()));
        assert_eq!(echoes(local, b"once").await, b"once");
        accepting.await.unwrap().unwrap();
        assert!(TcpStream::connect(local).await.is_err());
        assert!(world.requests.lock().unwrap().is_empty(), "the platform was not needed");
        assert_eq!(opener.print(false, false).await.unwrap_err().exit, Exit::Usage);
    }
}
