//! Commands over NATS: floods, deadlines, clocks, and an agent that must notice when it no longer receives anything.

use std::time::{Duration, SystemTime};

use async_nats::{Client as Nats, Message, Subscriber};
use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::Signal;
use protocol::grant::{Claims, unix};
use protocol::signing::SigningKey;
use protocol::token::Token;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Error};

use crate::world::{Client, SOON, World, eventually};

const CAT: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\nuser = 'root'\nmax_streams = 1\n";
const SESSIONS: &str = "/api/v1/sessions";
const START: &str = "stream.v1.host.h1.start";
const STOP: &str = "stream.v1.host.h1.stop";
const TARGETS: &str = "stream.v1.host.h1.targets";
const HELLO: &str = "stream.v1.host.h1.hello";

async fn nats(world: &World) -> Nats {
    async_nats::connect(world.nats_url()).await.unwrap()
}

async fn next(subscriber: &mut Subscriber) -> Message {
    timeout(SOON, subscriber.next()).await.expect("nothing comes").unwrap()
}

async fn ask(nats: &Nats, subject: &str, payload: impl Into<Vec<u8>>) -> Value {
    let answer = nats.request(subject.to_owned(), payload.into().into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

async fn open(world: &World, target: &str) -> (u16, Value) {
    world.api("POST", SESSIONS, json!({ "host": "h1", "target": target })).await
}

/// The next record of a kind.
async fn record(records: &mut Subscriber, event: &str) -> Value {
    loop {
        let record: Value = serde_json::from_slice(&next(records).await.payload).unwrap();
        if record["event"] == event {
            return record;
        }
    }
}

fn key(world: &World) -> SigningKey {
    keys::read_signing_key(&world.path("relay/k1.pem")).unwrap()
}

/// A command of a platform whose clock is this many seconds ahead.
fn claims(world: &World, token: &Token, ahead: u64) -> Claims {
    let now = unix(SystemTime::now()) + ahead;
    Claims {
        iss: "test".into(),
        aud: "host:h1".into(),
        sid: ulid::Ulid::generate().to_string(),
        iat: now,
        exp: now + 30,
        target: "cat".into(),
        params: Default::default(),
        mode: None,
        relay: world.relay_url(),
        token_sha256: token.hash(),
        max_streams: None,
        max_seconds: None,
        origin: vec![],
        user: None,
        cnf: None,
        relay_run: None,
    }
}

/// Dials the relay as a host would; the status, or 101.
async fn dial(world: &World, grant: &str) -> u16 {
    let mut request = format!("{}/v1/host", world.relay_url()).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {grant}").parse().unwrap());
    match tokio_tungstenite::connect_async(request).await {
        Ok(_) => 101,
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn the_record_of_an_end_survives_the_reason_that_a_stop_gives() {
    let world = World::with(CAT).await;
    let nats = nats(&world).await;
    let mut records = nats.subscribe("stream.v1.host.h1.event.>").await.unwrap();
    let large = format!("a\n\u{1b}[31m\u{202e}{}", "é".repeat(1000));
    for reason in ["x".repeat(900 * 1024), large] {
        let (_, session) = open(&world, "cat").await;
        let mut client = Client::connect(session["url"].as_str().unwrap(), &[]).await;
        record(&mut records, "started").await;
        let stop = |reason: &str| json!({ "session": session["session"], "reason": reason }).to_string();
        let answer = ask(&nats, STOP, stop(&reason)).await;
        if answer["ok"] == false {
            assert_eq!(answer["code"], "too_large");
            assert_eq!(ask(&nats, STOP, stop("plain")).await["ok"], true);
        }
        let ended = record(&mut records, "ended").await;
        let said = ended["reason"].as_str().unwrap();
        assert!(said.len() <= 123 && !said.chars().any(|c| c.is_control() || c == '\u{202e}'), "{said:?}");
        assert_eq!(client.closed_with(4410).await, said);
    }
}

#[tokio::test]
async fn a_host_says_that_it_is_there_and_that_it_goes() {
    let mut world = World::new();
    world.targets = CAT.into();
    world.start_nats().await;
    let nats = nats(&world).await;
    let mut alive = nats.subscribe("stream.v1.host.*.alive").await.unwrap();
    let mut gone = nats.subscribe("stream.v1.host.*.gone").await.unwrap();
    nats.flush().await.unwrap();
    world.start_agent().await;
    let first = timeout(SOON, alive.next()).await.unwrap().unwrap();
    let first: Value = serde_json::from_slice(&first.payload).unwrap();
    assert_eq!((&first["v"], &first["host"], &first["every"]), (&json!(1), &json!("h1"), &json!(60)));
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    world.agent().signal(Signal::SIGTERM);
    let last = timeout(SOON, gone.next()).await.unwrap().unwrap();
    let last: Value = serde_json::from_slice(&last.payload).unwrap();
    assert_eq!(last, json!({ "v": 1, "host": "h1", "instance": first["instance"] }));
}

#[tokio::test]
async fn a_hello_is_believed_only_in_its_form() {
    let world = World::with(CAT).await;
    let nats = nats(&world).await;
    let before = world.agent().said().len();
    let forged = "X\n2026-11-28T17:00:00.000000Z  INFO audit: stream ended\u{1b}[31m";
    let id = ulid::Ulid::generate().to_string();
    for (instance, version) in
        [(forged, "1"), (&"B".repeat(4000), "1"), (&id, forged), (&id, &"1".repeat(2000))]
    {
        let said = json!({ "v": 1, "host": "h1", "instance": instance, "version": version }).to_string();
        assert_eq!(ask(&nats, HELLO, said).await["host"], "h1");
    }
    let said = world.agent().said();
    assert!(said.len() - before < 200, "{}", &said[before..]);
    // A plausible one is logged once, however often it comes.
    for _ in 0..50 {
        let id = ulid::Ulid::generate().to_string();
        let said = json!({ "v": 1, "host": "h1", "instance": id, "version": "0.1.0" }).to_string();
        ask(&nats, HELLO, said).await;
    }
    world.agent().says("another agent answers for host id h1").await;
    assert_eq!(world.agent().said().matches("another agent answers").count(), 1);
}

#[tokio::test]
async fn a_question_makes_no_agent_publish_outside_of_inboxes() {
    let mut world = World::new();
    world.targets = CAT.into();
    std::fs::write(world.path("agent/config.d/own.toml"), "inboxes = ['_INBOX', 'own.inbox']\n").unwrap();
    world.start().await;
    let nats = nats(&world).await;
    let mut all = nats.subscribe(">").await.unwrap();
    for subject in [TARGETS, HELLO, STOP, START, "$SRV.INFO", "$SRV.PING.stream-agent"] {
        for reply in [
            "stream.v1.host.h2.event.ended",
            "stream.v1.host.h1.event.ended",
            "_GR_.a.b.stream.v1.host.h2.event.ended",
        ] {
            nats.publish_with_reply(subject, reply, "{}".into()).await.unwrap();
        }
    }
    // The answered command comes after all of them.
    nats.publish_with_reply(TARGETS, "own.inbox.1", "".into()).await.unwrap();
    loop {
        let message = next(&mut all).await;
        assert!(message.reply.is_some() || !message.subject.contains("event"), "{message:?}");
        if message.subject.as_str() == "own.inbox.1" {
            break;
        }
    }
    world.agent().says("reply subject is not below `inboxes`").await;
}

#[tokio::test]
async fn a_flood_of_questions_costs_neither_memory_nor_the_stream_that_is_open() {
    let world = World::with(CAT).await;
    let mut client = world.open("cat").await;
    client.send(b"x".to_vec()).await;
    client.read(1).await;
    let (before, lines) = (world.agent().rss(), world.agent().said().lines().count());
    let mut most = before;
    let large = vec![b'a'; 1000 * 1024];
    let flood = async {
        for subject in ["$SRV.PING", "$SRV.INFO", "$SRV.STATS.stream-agent", TARGETS, STOP, HELLO, START] {
            let nats = nats(&world).await;
            for _ in 0..20_000 {
                nats.publish_with_reply(subject, "_INBOX.x", vec![b'a'; 200].into()).await.unwrap();
            }
            for _ in 0..60 {
                nats.publish_with_reply(subject, "_INBOX.x", large.clone().into()).await.unwrap();
            }
            nats.flush().await.unwrap();
        }
    };
    let measure = async {
        loop {
            most = most.max(world.agent().rss());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = flood => {}
        () = measure => {}
    }
    client.send(b"y".to_vec()).await;
    assert_eq!(client.read(1).await, b"y");
    let nats = nats(&world).await;
    let deadline = tokio::time::Instant::now() + SOON;
    while nats.request(HELLO, "{}".into()).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "hello is not answered afterwards");
    }
    let lines = world.agent().said().lines().count() - lines;
    println!("{before} KiB before, {most} KiB at most, {lines} lines");
    assert!(most - before < 64 * 1024, "grew from {before} to {most} KiB");
    assert!(lines < 200, "{lines} lines");
}

#[tokio::test]
async fn bad_commands_are_counted_and_hide_no_record_of_a_stream() {
    let world = World::with(CAT).await;
    let nats = nats(&world).await;
    let mut records = nats.subscribe("stream.v1.host.h1.event.refused").await.unwrap();
    let lines = world.agent().said().lines().count();
    for bad in ["{", "{\"v\":9}", "{\"v\":1,\"grant\":\"x\"}"] {
        for _ in 0..2000 {
            nats.publish(START, bad.into()).await.unwrap();
        }
    }
    nats.flush().await.unwrap();
    // A command among them may be dropped as they are; one behind them is taken.
    let deadline = tokio::time::Instant::now() + SOON;
    let session = loop {
        let (status, session) = open(&world, "cat").await;
        if status == 201 {
            break session;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status} {session}");
    };
    let mut client = Client::connect(session["url"].as_str().unwrap(), &[]).await;
    client.send(b"x".to_vec()).await;
    client.read(1).await;
    world.agent().says(session["session"].as_str().unwrap()).await;
    let lines = world.agent().said().lines().count() - lines;
    assert!(lines < 120, "{lines} lines for 6000 bad commands");
    let mut published = 0;
    while let Ok(Some(_)) = timeout(Duration::from_millis(300), records.next()).await {
        published += 1;
    }
    assert!((1..120).contains(&published), "{published} records");
}

/// A server that lets the agent subscribe to these subjects only.
fn permissions(subjects: &[&str]) -> String {
    format!(
        "authorization {{ users: [ {{ user: agent, password: a, permissions: {{ publish: [\"stream.v1.host.h1.>\"], \
         subscribe: {}, allow_responses: true }} }}\n {{ user: platform, password: p }} ] }}\n",
        json!(subjects)
    )
}

#[tokio::test]
async fn an_agent_hears_again_what_nats_took_away_and_gave_back() {
    const ALL: [&str; 2] = ["stream.v1.host.h1.>", "$SRV.>"];
    let mut world = World::new();
    world.nats_config = permissions(&ALL);
    let files = [("agent", "a"), ("platform", "p")].map(|(user, password)| {
        let file = world.secret(&format!("{user}.password"), password);
        format!("user = '{user}'\npassword_file = '{}'\n", file.display())
    });
    world.agent_config = format!("[nats]\nservers = ['{}']\n{}", world.nats_url(), files[0]);
    world.platform_config = files[1].lines().map(|line| format!("nats.{line}\n")).collect();
    world.targets = CAT.into();
    world.start().await;
    // Commands, everything, and the answers to the agent's own hello.
    for left in [
        &["stream.v1.host.h1.inbox.>", "stream.v1.host.h1.hello", "$SRV.>"][..],
        &["nothing.>"],
        &["stream.v1.host.h1.start", "stream.v1.host.h1.stop", "stream.v1.host.h1.targets"],
    ] {
        let reload = async |subjects: &[&str]| {
            let reloads = || world.nats.as_ref().unwrap().said().matches("Reloaded").count();
            let before = reloads();
            std::fs::write(world.path("nats/nats.conf"), permissions(subjects)).unwrap();
            world.nats.as_ref().unwrap().signal(Signal::SIGHUP);
            eventually(|| reloads() > before, || "NATS does not reload".into()).await;
        };
        let said = world.agent().said().len();
        reload(left).await;
        // If only its own hello is lost, commands still arrive, and it finds out later.
        if !left.iter().any(|subject| subject.ends_with("start")) {
            let complains = || world.agent().said()[said..].contains("trying again");
            eventually(complains, || "the agent does not notice".into()).await;
            assert_ne!(open(&world, "cat").await.0, 201);
        }
        reload(&ALL).await;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(45);
        while open(&world, "cat").await.0 == 404 {
            assert!(tokio::time::Instant::now() < deadline, "still deaf after {left:?}");
        }
        if !left.iter().any(|subject| subject.ends_with("start")) {
            let is_well =
                || world.agent().said()[said..].contains("NATS: connected, subscribed to stream.v1.host.h1");
            eventually(is_well, || "the agent does not say that it is well".into()).await;
        }
    }
}

#[tokio::test]
async fn a_platform_that_may_not_ask_says_so() {
    let mut world = World::new();
    world.nats_config =
        "authorization { users: [ { user: agent, password: a }\n { user: platform, password: p, \
        permissions: { publish: [\"stream.v1.host.h1.targets\"], subscribe: [\"nothing.>\"] } } ] }\n"
            .into();
    let files = [("agent", "a"), ("platform", "p")].map(|(user, password)| {
        let file = world.secret(&format!("{user}.password"), password);
        format!("user = '{user}'\npassword_file = '{}'\n", file.display())
    });
    world.agent_config = format!("[nats]\nservers = ['{}']\n{}", world.nats_url(), files[0]);
    world.platform_config = files[1].lines().map(|line| format!("nats.{line}\n")).collect();
    world.targets = CAT.into();
    world.start().await;
    let (status, answer) = world.api("GET", "/api/v1/hosts/h1/targets", Value::Null).await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("unavailable")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("subscribe to its inbox"), "{answer}");
    let (status, answer) = open(&world, "cat").await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("unavailable")), "{answer}");
}

/// A proxy that gives everyone the same answer.
async fn proxy(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream
                .write_all(format!("HTTP/1.1 {answer} x\r\nContent-Length: 0\r\n\r\n").as_bytes())
                .await;
        }
    });
    format!("[proxy]\nurl = 'http://{address}'\n")
}

#[tokio::test]
async fn who_asks_is_told_why_the_host_cannot_reach_its_relay() {
    let mut world = World::new();
    world.targets = CAT.into();
    // A closed port, and a server that never answers.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = |address: std::net::SocketAddr| format!("[proxy]\nurl = 'http://{address}'\n");
    world.start().await;
    for (section, why, is_final) in [
        (proxy("407").await, "407", true),
        (proxy("403").await, "403", true),
        (proxy("502").await, "502", false),
        (to(closed), "refused", false),
        (to(silent.local_addr().unwrap()), "proxy: no answer within", false),
    ] {
        let reloads = world.agent().said().matches("configuration reloaded").count();
        world.agent_config = section;
        world.write_agent_config();
        world.agent().signal(Signal::SIGHUP);
        let said = || world.agent().said().matches("configuration reloaded").count() > reloads;
        eventually(said, || "no reload".into()).await;
        // The target is free again each time: the second client gets the same, not `busy`.
        for _ in 0..if is_final { 3 } else { 2 } {
            let (status, answer) = open(&world, "cat").await;
            assert_eq!((status, answer["code"].as_str()), (409, Some("relay_unreachable")), "{answer}");
            let message = answer["message"].as_str().unwrap();
            assert!(message.contains(why) && message.contains("relay"), "{why}: {message}");
        }
    }
}

#[tokio::test]
async fn a_relay_with_a_bad_certificate_is_an_answer_at_once() {
    let mut world = World::new();
    world.targets = CAT.into();
    world.tls = true;
    world.certificate("relay/tls", &format!("IP:{}", world.ip));
    let (other, _) = world.certificate("other", "DNS:other");
    world.agent_config =
        format!("[relay]\nallow = ['{}']\nca_file = '{}'\n", world.relay_url(), other.display());
    world.start().await;
    // Another attempt would take longer than the answer is of use.
    let nats = nats(&world).await;
    let token = Token::generate().unwrap();
    let grant = key(&world).sign(&claims(&world, &token, 0));
    let command = json!({ "v": 1, "grant": grant, "answer_within_ms": 600_000 }).to_string();
    let answer = ask(&nats, START, command).await;
    assert_eq!(answer["code"], "relay_unreachable", "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("certificate"), "{answer}");
}

#[tokio::test]
async fn the_platform_says_how_long_it_waits_and_an_answer_comes_before() {
    let mut world = World::new();
    world.targets = CAT.into();
    world.platform_config = "answer_timeout = '2s'\n".into();
    world.agent_config = "[relay]\nallow = ['ws://127.0.0.1:1']\n".into();
    world.start().await;
    let nats = nats(&world).await;
    let mut commands = nats.subscribe(START).await.unwrap();
    nats.flush().await.unwrap();
    open(&world, "cat").await;
    let command: Value = serde_json::from_slice(&next(&mut commands).await.payload).unwrap();
    assert_eq!(command["answer_within_ms"], 1500);
    // Numbers that do not fit a clock must not end the program.
    let token = Token::generate().unwrap();
    let here = Claims { relay: "ws://127.0.0.1:1".into(), ..claims(&world, &token, 0) };
    for within in [0, 300] {
        let grant = key(&world).sign(&Claims { sid: ulid::Ulid::generate().to_string(), ..here.clone() });
        let command = json!({ "v": 1, "grant": grant, "answer_within_ms": within }).to_string();
        assert_eq!(ask(&nats, START, command).await["code"], "relay_unreachable");
    }
    let last = Claims { iat: u64::MAX - 9, exp: u64::MAX, max_seconds: Some(u64::MAX), ..here };
    let command =
        json!({ "v": 1, "grant": key(&world).sign(&last), "answer_within_ms": u64::MAX }).to_string();
    assert_eq!(ask(&nats, START, command).await["code"], "grant_expired");
    assert_eq!(dial(&world, &key(&world).sign(&last)).await, 401);
}

#[tokio::test]
async fn a_used_grant_is_not_taken_after_a_restart_though_its_platforms_clock_is_ahead() {
    let mut world = World::new();
    world.relay_config = "# no platform\n[auth]\nissuers_dir = 'DIR/relay/issuers.d'\nleeway = '5s'\n".into();
    world.start_relay().await;
    let token = Token::generate().unwrap();
    let grant = key(&world).sign(&claims(&world, &token, 5));
    // A moment later every clock is past the start.
    let deadline = tokio::time::Instant::now() + SOON;
    let grant = loop {
        let fresh = key(&world).sign(&claims(&world, &Token::generate().unwrap(), 5));
        if dial(&world, &fresh).await == 101 {
            break fresh;
        }
        assert!(tokio::time::Instant::now() < deadline, "no grant is taken: {grant}");
    };
    world.relay.take().unwrap().kill().await;
    world.start_relay().await;
    assert_eq!(dial(&world, &grant).await, 503);
}

#[tokio::test]
async fn a_relays_word_for_a_clients_address_is_recorded_only_if_it_is_one() {
    let mut world = World::new();
    let relay = TcpListener::bind((world.ip.as_str(), 0)).await.unwrap();
    let url = format!("ws://{}", relay.local_addr().unwrap());
    world.targets = CAT.into();
    world.agent_config = format!("[relay]\nallow = ['{url}']\n");
    world.start_nats().await;
    world.start_agent().await;
    let nats = nats(&world).await;
    let mut records = nats.subscribe("stream.v1.host.h1.event.>").await.unwrap();
    for (said, recorded) in
        [("192.0.2.1\nstream ended, user root", Value::Null), ("192.0.2.1", json!("192.0.2.1"))]
    {
        let token = Token::generate().unwrap();
        let grant = Claims { relay: url.clone(), ..claims(&world, &token, 0) };
        let command = json!({ "v": 1, "grant": key(&world).sign(&grant) }).to_string();
        let nats = nats.clone();
        let asked = tokio::spawn(async move { ask(&nats, START, command).await });
        let (stream, _) = timeout(SOON, relay.accept()).await.unwrap().unwrap();
        let mut host = tokio_tungstenite::accept_async(stream).await.unwrap();
        assert_eq!(asked.await.unwrap()["ok"], true);
        let linked = json!({ "type": "linked", "stream": 1, "peer": said, "control": true }).to_string();
        host.send(tungstenite::Message::text(linked)).await.unwrap();
        let started = record(&mut records, "started").await;
        assert_eq!(started["peer"], recorded, "{started}");
        host.close(None).await.unwrap();
        record(&mut records, "ended").await;
    }
}

#[tokio::test]
async fn a_stream_of_jetstream_that_captures_commands_is_no_answer() {
    let mut world = World::new();
    world.nats_config = format!("jetstream {{ store_dir: '{}' }}\n", world.path("js").display());
    world.targets = CAT.into();
    world.start().await;
    let nats = nats(&world).await;
    let stream = json!({ "name": "AUDIT", "subjects": ["stream.v1.>"] }).to_string();
    let made = ask(&nats, "$JS.API.STREAM.CREATE.AUDIT", stream).await;
    assert!(made.get("error").is_none(), "{made}");
    let mut client = world.open("cat").await;
    client.send(b"x".to_vec()).await;
    assert_eq!(client.read(1).await, b"x");
    world.relay().says("JetStream stream AUDIT captures").await;
    // Without an agent only JetStream answers.
    world.agent.take().unwrap().kill().await;
    let (status, answer) = open(&world, "cat").await;
    assert_eq!((status, answer["code"].as_str()), (504, Some("host_not_answering")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("JetStream stream AUDIT"), "{answer}");
}
