//! Grants that must not work, at the agent over NATS and at the relay by dialling it.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::grant::{Claims, unix};
use protocol::signing::SigningKey;
use protocol::token::Token;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::world::{Client, World};

const CAT: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n";

fn key(world: &World) -> SigningKey {
    keys::read_signing_key(&world.path("relay/k1.pem")).unwrap()
}

fn claims(world: &World, token: &Token) -> Claims {
    let now = unix(SystemTime::now());
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
        user: Some("alice".into()),
        cnf: None,
        relay_run: None,
    }
}

/// The same claims under another header, with the old signature or with a MAC by the public key.
fn with_algorithm(world: &World, jws: &str, alg: &str) -> String {
    let header = json!({ "alg": alg, "typ": "stream-grant+jwt", "kid": "k1" }).to_string();
    let rest = jws.split_once('.').unwrap().1;
    let (payload, signature) = rest.split_once('.').unwrap();
    let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header));
    match alg {
        "none" => format!("{signed}."),
        "HS256" => {
            let public = std::fs::read(world.path("relay/k1.pub")).unwrap();
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public);
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes())))
        }
        _ => format!("{signed}.{signature}"),
    }
}

async fn command(world: &World, grant: &str) -> Value {
    let nats = async_nats::connect(world.nats_url()).await.unwrap();
    let payload = json!({ "v": 1, "grant": grant }).to_string();
    let answer = nats.request("stream.v1.host.h1.start", payload.into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

/// Dials the relay as a host would; the status, or 101.
async fn dial(world: &World, grant: &str) -> (u16, String) {
    let mut request = format!("{}/v1/host", world.relay_url()).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {grant}").parse().unwrap());
    match tokio_tungstenite::connect_async(request).await {
        Ok(_) => (101, String::new()),
        Err(Error::Http(response)) => {
            let body: Value =
                serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap_or_default();
            (response.status().as_u16(), body["code"].as_str().unwrap_or_default().to_owned())
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_grant_of_a_platform_opens_what_it_says_and_only_once() {
    let world = World::with(CAT).await;
    world.takes_foreign_grants().await;
    let token = Token::generate().unwrap();
    let grant = key(&world).sign(&claims(&world, &token));
    assert_eq!(command(&world, &grant).await["ok"], true);
    let mut client =
        Client::connect(&format!("{}/v1/stream/{}", world.relay_url(), token.reveal()), &[]).await;
    client.send(b"x".to_vec()).await;
    assert_eq!(client.read(1).await, b"x");
    assert_eq!(command(&world, &grant).await["code"], "grant_replayed");
    client.close().await;
    world.metric_is("stream_relay_streams", 0.0).await;
    assert_eq!(command(&world, &grant).await["code"], "grant_replayed");
    assert_eq!(dial(&world, &grant).await, (409, "grant_replayed".into()));
    world.agent().says("user=\"alice\"").await;
}

#[tokio::test]
async fn whatever_is_wrong_with_a_grant_is_refused_at_the_agent_and_at_the_relay() {
    let world = World::with(CAT).await;
    world.takes_foreign_grants().await;
    let (token, key) = (Token::generate().unwrap(), key(&world));
    let good = claims(&world, &token);
    let jws = key.sign(&good);
    let other_key = SigningKey::generate("k1").unwrap().0;
    let unknown_key = SigningKey::generate("k9").unwrap().0;
    let old = Claims { iat: good.iat - 100, exp: good.exp - 100, ..good.clone() };
    let long = Claims { exp: good.exp + 100, ..good.clone() };
    let future = Claims { iat: good.iat + 100, exp: good.exp + 100, ..good.clone() };
    let mut forged = jws.clone().into_bytes();
    let middle = jws.find('.').unwrap() + 20;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let cases = [
        (with_algorithm(&world, &jws, "none"), "grant_algorithm"),
        (with_algorithm(&world, &jws, "HS256"), "grant_algorithm"),
        (with_algorithm(&world, &jws, "RS256"), "grant_algorithm"),
        (String::from_utf8(forged).unwrap(), "grant_signature"),
        (other_key.sign(&good), "grant_signature"),
        (unknown_key.sign(&good), "grant_unknown_issuer"),
        (key.sign(&old), "grant_expired"),
        (key.sign(&long), "grant_expired"),
        (key.sign(&future), "grant_expired"),
        ("nonsense".into(), "grant_malformed"),
        (token.reveal(), "grant_malformed"),
    ];
    for (grant, code) in &cases {
        assert_eq!(command(&world, grant).await["code"], *code);
        assert_eq!(dial(&world, grant).await, (401, (*code).to_owned()));
    }
    // What only one of the two can check.
    let elsewhere = key.sign(&Claims { aud: "host:h2".into(), ..good.clone() });
    assert_eq!(command(&world, &elsewhere).await["code"], "grant_audience");
    let other_relay = key.sign(&Claims { relay: "wss://relay.example.com".into(), ..good.clone() });
    assert_eq!(command(&world, &other_relay).await["code"], "relay_not_allowed");
    assert_eq!(dial(&world, &other_relay).await, (403, "relay_not_allowed".into()));
    let no_target = key.sign(&Claims { target: "dog".into(), ..good.clone() });
    assert_eq!(command(&world, &no_target).await["code"], "target_not_allowed");
    let proof = key.sign(&Claims { cnf: Some(nkeys::KeyPair::new_user().public_key()), ..good.clone() });
    assert_eq!(command(&world, &proof).await["code"], "grant_proof");
    assert_eq!(dial(&world, &proof).await, (403, "grant_proof".into()));
    // One record for each, at both.
    let refusals = |said: &str| said.matches("event=\"refused\"").count();
    assert_eq!(refusals(&world.agent().said()), cases.len() + 4);
    assert_eq!(refusals(&world.relay().said()), cases.len() + 2);
    for bad in [json!({ "v": 2, "grant": jws }), json!({ "grant": jws }), json!([])] {
        let nats = async_nats::connect(world.nats_url()).await.unwrap();
        let answer = nats.request("stream.v1.host.h1.start", bad.to_string().into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(
            ["unsupported_version", "bad_command"].contains(&answer["code"].as_str().unwrap()),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_grant_from_before_the_relay_started_is_refused() {
    let mut world = World::with(CAT).await;
    let grant = key(&world).sign(&claims(&world, &Token::generate().unwrap()));
    world.relay.take().unwrap().kill().await;
    world.start_relay().await;
    assert_eq!(dial(&world, &grant).await, (503, "relay_starting".into()));
}

#[tokio::test]
async fn the_hosts_key_is_proven_where_the_grant_asks_for_it() {
    let host_key = nkeys::KeyPair::new_user();
    let mut world = World::new();
    let seed = world.secret("host.nk", &host_key.seed().unwrap());
    world.agent_config =
        format!("[auth]\nissuers_dir = 'DIR/agent/issuers.d'\nhost_key_file = '{}'\n", seed.display());
    world.targets = CAT.into();
    world.start().await;
    world.takes_foreign_grants().await;
    let token = Token::generate().unwrap();
    let mine = Claims { cnf: Some(host_key.public_key()), ..claims(&world, &token) };
    // Anyone who saw the grant on NATS cannot pose as the host.
    assert_eq!(dial(&world, &key(&world).sign(&mine)).await, (403, "grant_proof".into()));
    assert_eq!(command(&world, &key(&world).sign(&mine)).await["ok"], true);
    let mut client =
        Client::connect(&format!("{}/v1/stream/{}", world.relay_url(), token.reveal()), &[]).await;
    client.send(b"x".to_vec()).await;
    assert_eq!(client.next().await, Message::binary(b"x".to_vec()));
    let other = Claims { cnf: Some(nkeys::KeyPair::new_user().public_key()), ..claims(&world, &token) };
    assert_eq!(command(&world, &key(&world).sign(&other)).await["code"], "relay_refused");
}

#[tokio::test]
async fn in_simple_mode_a_token_and_the_relay_key_are_enough_and_both_are_needed() {
    let mut world = World::new();
    let made: Value = serde_json::from_str(
        &world.run(crate::world::RELAY, &["--json", "keygen", "relay-key", "--host", "h1"]),
    )
    .unwrap();
    let key = world.secret("relay.key", made["secret"].as_str().unwrap());
    world.relay_config = format!(
        "[auth]\nmode = 'opaque'\n[[auth.host_key]]\nhost = 'h1'\nsha256 = '{}'\n[limits]\nclient_wait = '200ms'\n",
        made["sha256"].as_str().unwrap()
    );
    world.agent_config = format!(
        "[auth]\nmode = 'opaque'\n[relay]\nallow = ['{}']\nkey_file = '{}'\n",
        world.relay_url(),
        key.display()
    );
    world.targets = CAT.into();
    world.start().await;
    world.agent().says("simple mode").await;
    world.relay().says("simple mode").await;
    let token = Token::generate().unwrap().reveal();
    let nats = async_nats::connect(world.nats_url()).await.unwrap();
    // Published without waiting for an answer, so the client may come first.
    let start =
        json!({ "v": 1, "token": token, "target": "cat", "relay": world.relay_url(), "max_seconds": 600 });
    nats.publish("stream.v1.host.h1.start", start.to_string().into()).await.unwrap();
    nats.flush().await.unwrap();
    world.metric_is("stream_relay_hosts_parked", 1.0).await;
    let url = format!("{}/v1/stream/{token}", world.relay_url());
    let mut client = Client::connect(&url, &[]).await;
    client.send(b"x".to_vec()).await;
    assert_eq!(client.read(1).await, b"x");
    // Anyone who holds the URL cannot pose as the host.
    assert_eq!(dial(&world, &Token::generate().unwrap().reveal()).await, (401, "relay_key".into()));
    let grant = json!({ "v": 1, "grant": "a.b.c" }).to_string();
    let answer = nats.request("stream.v1.host.h1.start", grant.into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer["code"], "wrong_auth_mode");
}
