//! A thousand sessions at once, which leave nothing behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::bulk::MIB;
use crate::world::{Client, Process, World, within};

const SESSIONS: usize = 1000;

/// How long each part may take on a busy machine.
const LONG: Duration = Duration::from_secs(180);

/// The resources of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    fds: usize,
    threads: usize,
    rss_kib: u64,
}

impl Held {
    fn by(process: &Process) -> Held {
        Held { fds: process.fds(), threads: process.threads(), rss_kib: process.rss() }
    }
}

/// Echoes until the other side ends.
async fn echo(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut from, mut to) = stream.split();
            // A client may leave in the middle.
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
    }
}

/// Asks the platform for a URL without starting a process.
async fn ask(world: &World, key: &str, body: &str) -> String {
    let mut stream = TcpStream::connect((world.ip.as_str(), 8080)).await.unwrap();
    let request = format!(
        "POST /api/v1/sessions HTTP/1.1\r\nHost: {}:8080\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        world.ip,
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 201 "), "{answer}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["url"].as_str().unwrap().to_owned()
}

/// The bytes of session `n`, which no other session sends.
fn bytes_of(n: usize) -> Vec<u8> {
    (0..MIB / 8).flat_map(|i| ((n as u64) << 32 | i as u64).to_be_bytes()).collect()
}

/// Sends a MiB and reads it back.
async fn carry(client: Client, n: usize) -> Client {
    let Client { socket, headers } = client;
    let sent = bytes_of(n);
    let (mut sink, mut stream) = socket.split();
    let send = async {
        for piece in sent.chunks(64 << 10) {
            sink.send(Message::binary(piece.to_vec())).await.unwrap();
        }
    };
    let read = async {
        let mut total = 0;
        while total < MIB {
            match stream.next().await.unwrap().unwrap() {
                Message::Binary(bytes) => {
                    assert!(sent.get(total..total + bytes.len()) == Some(&bytes), "session {n} at {total}");
                    total += bytes.len();
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("session {n}: {other:?}"),
            }
        }
    };
    tokio::join!(send, read);
    Client { socket: sink.reunite(stream).unwrap(), headers }
}

/// Opens sessions at once, has each carry its bytes when all are open, and ends them; `open` is called
/// when all are open, `carried` when all have carried their bytes.
async fn sessions(world: &Arc<World>, number: usize, body: &'static str, mut step: impl AsyncFnMut(&str)) {
    let key: Arc<str> = std::fs::read_to_string(world.path("api.key")).unwrap().trim().into();
    let barrier = Arc::new(Barrier::new(number + 1));
    // The host works on 64 commands at once, and says that it is busy to more.
    let questions = Arc::new(Semaphore::new(48));
    let mut tasks = JoinSet::new();
    for n in 0..number {
        let (world, key, barrier) = (world.clone(), key.clone(), barrier.clone());
        let questions = questions.clone();
        tasks.spawn(async move {
            let question = questions.acquire().await.unwrap();
            let url = ask(&world, &key, body).await;
            drop(question);
            let mut client = Client::connect(&url, &[]).await;
            client.send(b"here".to_vec()).await;
            assert_eq!(client.read(4).await, b"here");
            barrier.wait().await;
            barrier.wait().await;
            let client = carry(client, n).await;
            barrier.wait().await;
            barrier.wait().await;
            client.close().await;
        });
    }
    let meet = async |tasks: &mut JoinSet<()>| {
        tokio::select! {
            met = timeout(LONG, barrier.wait()) => drop(met.unwrap()),
            failed = tasks.join_next() => failed.unwrap().unwrap(),
        }
    };
    meet(&mut tasks).await;
    step("open").await;
    meet(&mut tasks).await;
    meet(&mut tasks).await;
    step("carried").await;
    meet(&mut tasks).await;
    while let Some(ended) = timeout(LONG, tasks.join_next()).await.unwrap() {
        ended.unwrap();
    }
    step("closed").await;
}

/// Waits until nothing is counted as open any more.
async fn is_idle(world: &World) {
    for gauge in ["streams", "hosts_parked", "clients_waiting", "connections"] {
        world.metric_is(&format!("stream_relay_{gauge}"), 0.0).await;
    }
}

/// One round: figures before, at most and after, of agent and relay.
async fn round(world: &Arc<World>, before: [Held; 2], body: &'static str) -> [Held; 2] {
    let both = || [Held::by(world.agent()), Held::by(world.relay())];
    let (begun, mut peak) = (Instant::now(), before);
    sessions(world, SESSIONS, body, async |step: &str| {
        for (peak, now) in peak.iter_mut().zip(both()) {
            peak.fds = peak.fds.max(now.fds);
            peak.threads = peak.threads.max(now.threads);
            peak.rss_kib = peak.rss_kib.max(now.rss_kib);
        }
        println!("{SESSIONS} sessions {step} after {:.1} s", begun.elapsed().as_secs_f64());
        if step != "closed" {
            world.metric_is("stream_relay_streams", SESSIONS as f64).await;
        }
    })
    .await;
    assert!(peak.iter().all(|held| held.fds > 2 * SESSIONS), "{peak:?}");
    is_idle(world).await;
    let are_back = || {
        let now = both();
        (0..2).all(|i| now[i].fds == before[i].fds && now[i].threads <= before[i].threads)
    };
    within(LONG, are_back, || format!("{:?}, not {before:?}", both())).await;
    let after = both();
    for (i, who) in ["agent", "relay"].into_iter().enumerate() {
        println!("{who} before: {:?}\n{who} peak:   {:?}\n{who} after:  {:?}", before[i], peak[i], after[i]);
    }
    after
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_leave_nothing_behind() {
    const ONE: &str = r#"{"host":"h1","target":"echo","max_streams":1}"#;
    /// Each session parks a spare as well.
    const MORE: &str = r#"{"host":"h1","target":"echo"}"#;
    let mut world = World::new();
    let listener = TcpListener::bind((world.ip.as_str(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    world.targets = format!("[target.echo]\nkind = 'tcp'\naddress = '{address}'\nmax_streams = 2000\n");
    // A thousand clients in one process may not take a byte for long on a busy machine.
    world.agent_config = "[limits]\nstreams = 2000\nwrite_stall = '3m'\n".into();
    // All come from one address here.
    world.relay_config =
        "[limits]\nwaiting_per_address = 2000\nmax_streams = 2000\nwrite_stall = '3m'\n".into();
    let echo = tokio::spawn(echo(listener));
    world.start().await;
    let world = Arc::new(world);
    let both = || [Held::by(world.agent()), Held::by(world.relay())];

    // One session first, so that the baseline contains what is allocated once and kept.
    sessions(&world, 1, ONE, async |_| {}).await;
    is_idle(&world).await;
    let mut before = both();
    // It is idle when the figures do not change any more.
    let mut rests = 0;
    let settled = || {
        let now = both();
        rests = if now.map(|held| held.fds) == before.map(|held| held.fds) { rests + 1 } else { 0 };
        before = now;
        rests > 50
    };
    within(LONG, settled, || "the baseline does not settle".into()).await;

    let first = round(&world, before, ONE).await;
    let second = round(&world, before, MORE).await;
    // Memory of a busy moment returns to the system.
    let is_back = || both().iter().zip(before).all(|(now, before)| now.rss_kib < before.rss_kib + (16 << 10));
    within(LONG, is_back, || format!("{:?}, before {before:?}", both())).await;
    println!(
        "at rest, agent and relay: {:?}, before {before:?}, after the rounds {first:?} {second:?}",
        both()
    );
    echo.abort();
}
