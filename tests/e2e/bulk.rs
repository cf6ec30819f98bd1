//! Many bytes and slow clients: nothing is lost, and memory does not grow.

use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::world::{SOON, World};

pub(crate) const MIB: usize = 1 << 20;

/// How long a gibibyte may take on a busy machine.
const LONG: Duration = Duration::from_secs(300);

/// Bytes that do not repeat: noise, with a number in every piece.
pub(crate) struct Pattern {
    noise: Vec<u8>,
    number: u64,
}

impl Pattern {
    pub(crate) fn new() -> Pattern {
        let mut noise = vec![0; MIB];
        SystemRandom::new().fill(&mut noise).unwrap();
        Pattern { noise, number: 0 }
    }

    /// The next MiB.
    pub(crate) fn next_piece(&mut self) -> &[u8] {
        self.noise[..8].copy_from_slice(&self.number.to_be_bytes());
        self.number += 1;
        &self.noise
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&digest::digest(&digest::SHA256, bytes))
}

fn hex(digest: &digest::Digest) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes this many MiB and returns their hash.
async fn source(to: &mut (impl AsyncWrite + Unpin), mib: usize) -> String {
    let mut pattern = Pattern::new();
    let mut hash = digest::Context::new(&digest::SHA256);
    for _ in 0..mib {
        let piece = pattern.next_piece();
        hash.update(piece);
        to.write_all(piece).await.unwrap();
    }
    to.flush().await.unwrap();
    hex(&hash.finish())
}

/// Reads to the end, and returns the number of bytes and their hash.
async fn sink(from: &mut (impl AsyncRead + Unpin)) -> (usize, String) {
    let mut hash = digest::Context::new(&digest::SHA256);
    let (mut buffer, mut total) = (vec![0; MIB], 0);
    loop {
        let n = from.read(&mut buffer).await.unwrap();
        if n == 0 {
            return (total, hex(&hash.finish()));
        }
        hash.update(&buffer[..n]);
        total += n;
    }
}

/// A world with a target on a port of the test's own.
async fn with_listener() -> (World, TcpListener) {
    let mut world = World::new();
    let listener = TcpListener::bind((world.ip.as_str(), 0)).await.unwrap();
    world.targets = format!("[target.bulk]\nkind = 'tcp'\naddress = '{}'\n", listener.local_addr().unwrap());
    world.start().await;
    (world, listener)
}

fn rate(mib: usize, since: Instant) -> String {
    let seconds = since.elapsed().as_secs_f64();
    format!("{mib} MiB in {seconds:.1} s, {:.0} MiB/s", mib as f64 / seconds)
}

#[tokio::test]
async fn a_gibibyte_goes_up_through_standard_input() {
    let (world, listener) = with_listener().await;
    let mut command = world.open_command(&["h1", "bulk", "--stdio"]);
    let mut open = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = open.stdin.take().unwrap();
    let (mut peer, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    let begun = Instant::now();
    let send = async {
        let sent = source(&mut stdin, 1024).await;
        drop(stdin);
        sent
    };
    let both = async { tokio::join!(send, sink(&mut peer)) };
    let (sent, came) = timeout(LONG, both).await.unwrap();
    println!("up: {}", rate(1024, begun));
    assert_eq!(came, (1024 * MIB, sent));
    // The other direction is still open: half-close is end to end.
    peer.write_all(b"thanks").await.unwrap();
    drop(peer);
    let output = timeout(SOON, open.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"thanks".as_slice()));
}

#[tokio::test]
async fn a_gibibyte_comes_down_through_standard_output() {
    let (world, listener) = with_listener().await;
    let mut command = world.open_command(&["h1", "bulk", "--stdio"]);
    let mut open = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = open.stdout.take().unwrap();
    let (mut peer, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    let begun = Instant::now();
    let send = async {
        let sent = source(&mut peer, 1024).await;
        drop(peer);
        sent
    };
    let both = async { tokio::join!(send, sink(&mut stdout)) };
    let (sent, came) = timeout(LONG, both).await.unwrap();
    println!("down: {}", rate(1024, begun));
    assert_eq!(came, (1024 * MIB, sent));
    assert!(timeout(SOON, open.wait()).await.unwrap().unwrap().success());
}

/// A connection that gives one byte at a time for as long as the test wants.
struct Trickle {
    stream: TcpStream,
    slow: Arc<AtomicBool>,
}

impl AsyncRead for Trickle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.slow.load(Ordering::Relaxed) {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let mut one = [0];
        let mut small = ReadBuf::new(&mut one);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut small);
        buf.put_slice(small.filled());
        polled
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_client_that_takes_single_bytes_gets_them_all() {
    let (world, listener) = with_listener().await;
    let url = world.url("bulk").await;
    let stream = TcpStream::connect((world.ip.as_str(), 8080)).await.unwrap();
    // Not during the handshake, where the client itself treats single bytes as an attack.
    let slow = Arc::new(AtomicBool::new(false));
    let trickle = Trickle { stream, slow: slow.clone() };
    let (mut client, _) = tokio_tungstenite::client_async(url, trickle).await.unwrap();
    slow.store(true, Ordering::Relaxed);
    let (mut peer, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    let sending = tokio::spawn(async move { source(&mut peer, 32).await });
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut total = 0;
    loop {
        match timeout(SOON, client.next()).await.unwrap().unwrap().unwrap() {
            Message::Binary(bytes) => {
                hash.update(&bytes);
                total += bytes.len();
            }
            Message::Close(close) => break assert_eq!(u16::from(close.unwrap().code), 1000),
            _ => {}
        }
        slow.store(total < MIB, Ordering::Relaxed);
    }
    assert_eq!((total, hex(&hash.finish())), (32 * MIB, sending.await.unwrap()));
}

/// Reads the lines of `seq`, and fails if one is missing or comes twice.
struct Counted {
    next: u64,
    rest: Vec<u8>,
}

impl Counted {
    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return };
        let tail = self.rest.split_off(end + 1);
        let text = std::str::from_utf8(&self.rest).unwrap();
        for line in text.lines() {
            assert_eq!(line.parse(), Ok(self.next));
            self.next += 1;
        }
        self.rest = tail;
    }
}

#[tokio::test]
async fn a_stall_in_a_flood_loses_nothing_and_piles_up_nothing() {
    let world = World::with("[target.flood]\nkind = 'exec'\nargv = ['/usr/bin/seq', '1', 'inf']\n").await;
    let mut client = world.open("flood").await;
    let mut counted = Counted { next: 1, rest: vec![] };
    let mut flow = async |least: usize| {
        let mut total = 0;
        while total < least {
            match client.next().await {
                Message::Binary(bytes) => {
                    total += bytes.len();
                    counted.take(&bytes);
                }
                other => panic!("{other:?}"),
            }
        }
    };
    let sizes = || [world.agent().rss(), world.relay().rss()];
    let before = sizes();
    flow(16 * MIB).await;
    let flowing = sizes();
    // The stall itself is tested, so its length is measured by the clock.
    let mut stalled = flowing;
    for _ in 0..100 {
        sleep(Duration::from_millis(100)).await;
        let now = sizes();
        stalled = [stalled[0].max(now[0]), stalled[1].max(now[1])];
    }
    println!(
        "RSS of agent and relay in KiB: {before:?} idle, {flowing:?} in the flood, {stalled:?} at most in 10 s of stall"
    );
    assert!(stalled.iter().all(|size| *size < 64 << 10), "{stalled:?}");
    flow(64 * MIB).await;
    client.close().await;
    println!("{} lines, none missing", counted.next - 1);
    world.agent().says("stream ended, target flood").await;
}

/// Bytes that a target can write while its client reads none.
async fn said_to_a_stalled_client(profile: &str) -> usize {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = target.local_addr().unwrap();
    let table = format!("[target.t]\nkind = 'tcp'\naddress = '{address}'\nprofile = '{profile}'\n");
    let world = World::with(&table).await;
    let _client = world.open("t").await;
    let (mut connection, _) = timeout(SOON, target.accept()).await.unwrap().unwrap();
    let (piece, mut said) = (vec![7; 16 << 10], 0);
    // Full means that nothing was accepted for a second: there is no event for it.
    while let Ok(written) = timeout(Duration::from_secs(1), connection.write(&piece)).await {
        said += written.unwrap();
    }
    said
}

#[tokio::test]
async fn an_interactive_target_is_not_far_ahead_of_its_client() {
    let (interactive, bulk) =
        tokio::join!(said_to_a_stalled_client("interactive"), said_to_a_stalled_client("bulk"));
    println!("under way to a stalled client: {interactive} bytes, with the bulk profile {bulk}");
    assert!(interactive < 2 * MIB && interactive < bulk / 2, "{interactive} and {bulk}");
}
