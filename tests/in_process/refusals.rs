//! Commands and clients that get nothing, and what they learn of it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::command::Code;
use protocol::grant::Claims;
use protocol::mode::Mode;
use protocol::signing::SigningKey;
use protocol::token::Token;
use serde_json::{Value, json};

use crate::agent::TestAgent;
use crate::client::TestClient;
use crate::relay::TestRelay;

/// A log and one of the owner's choices.
const TARGETS: &str = "[target.log]\nkind = 'file'\npath = '/var/log/syslog'\n\
                       [target.logs]\nkind = 'file'\npaths = ['/var/log/*.log']\n";

#[tokio::test]
async fn an_unknown_token_and_a_malformed_one_get_codes_of_their_own() {
    let relay = TestRelay::with(|settings| settings.client_wait = Duration::ZERO).await;
    let unknown = Token::generate().unwrap();
    TestClient::connect(&relay.client_url(&unknown)).await.expect_close(4404).await;
    TestClient::connect(&format!("{}/v1/stream/short", relay.url())).await.expect_close(4401).await;
}

#[tokio::test]
async fn a_grant_for_what_the_owner_has_not_allowed_is_refused() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start(&relay, TARGETS);
    let (token, claims) = relay.claims("shell");
    let (_, record) = agent.expect_refused(&relay.sign(&claims), Code::TargetNotAllowed).await;
    let context = record.context;
    assert_eq!(context.session, Some(claims.sid));
    assert_eq!(context.target.as_deref(), Some("shell"));
    assert_eq!(context.user.as_deref(), Some("alice"));
    assert_eq!((context.token, context.host), (Some(token.hash()), Some("h1".parse().unwrap())));

    let (_, claims) = relay.claims("log");
    let writes = Claims { mode: Some(Mode::Rw), ..claims };
    agent.expect_refused(&relay.sign(&writes), Code::ModeNotAllowed).await;

    let (_, claims) = relay.claims("logs");
    let params = [("file".to_owned(), "../secret".to_owned())].into();
    let (refusal, record) =
        agent.expect_refused(&relay.sign(&Claims { params, ..claims }), Code::ParamsNotAllowed).await;
    assert!(!refusal.to_string().contains("secret"), "{refusal}");
    assert!(record.context.params.is_empty() && !record.to_string().contains("secret"), "{record}");

    let (_, claims) = relay.claims("log");
    let elsewhere = Claims { relay: "ws://127.0.0.1:1".into(), ..claims };
    agent.expect_refused(&relay.sign(&elsewhere), Code::RelayNotAllowed).await;
    assert!(agent.has_no_record());
}

#[tokio::test]
async fn a_grant_that_cannot_be_believed_is_refused_with_no_word_of_it_in_the_record() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start(&relay, TARGETS);
    let (_, claims) = relay.claims("log");
    let stranger = SigningKey::generate("k9").unwrap().0;
    let impostor = SigningKey::generate("k1").unwrap().0;
    for (grant, code) in [
        (stranger.sign(&claims), Code::GrantUnknownIssuer),
        (impostor.sign(&claims), Code::GrantSignature),
        (altered(&relay.sign(&claims)), Code::GrantSignature),
        (relay.sign(&Claims { exp: claims.exp + 100, ..claims.clone() }), Code::GrantExpired),
        ("no grant".to_owned(), Code::GrantMalformed),
    ] {
        let (refusal, record) = agent.expect_refused(&grant, code).await;
        assert_eq!((&record.context.session, &record.context.user), (&None, &None), "{record}");
        // Which keys are here is for the owner.
        let names_keys = |text: &str| text.contains("k1.pub");
        assert!(!names_keys(&refusal.to_string()));
        assert_eq!(
            names_keys(&record.event.closing().unwrap().reason),
            code == Code::GrantUnknownIssuer,
            "{record}"
        );
    }
}

/// The same header and signature over another user.
fn altered(jws: &str) -> String {
    let parts: Vec<&str> = jws.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    claims["user"] = "mallory".into();
    format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
}

#[tokio::test]
async fn a_grant_of_another_time_or_for_another_host_is_refused() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start(&relay, TARGETS);
    let (_, claims) = relay.claims("log");
    let at = |shift: i64| Claims {
        iat: claims.iat.saturating_add_signed(shift),
        exp: claims.exp.saturating_add_signed(shift),
        ..claims.clone()
    };
    for (claims, code) in [
        (at(-100), Code::GrantExpired),
        (at(100), Code::GrantExpired),
        (Claims { aud: "host:h2".into(), ..claims.clone() }, Code::GrantAudience),
    ] {
        let (_, record) = agent.expect_refused(&relay.sign(&claims), code).await;
        assert_eq!(record.context.session.as_ref(), Some(&claims.sid));
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_read_is_refused_and_never_quoted() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start(&relay, TARGETS);
    for (payload, code) in [
        ("{\"v\":1,\"grant\":secret}".to_owned(), Code::BadCommand),
        ("{\"v\":7,\"grant\":\"secret\"}".to_owned(), Code::UnsupportedVersion),
        (" ".repeat(protocol::command::MAX_COMMAND + 1), Code::TooLarge),
        (
            format!(
                "{{\"v\":1,\"token\":\"{}\",\"target\":\"secret\",\"relay\":\"{}\"}}",
                Token::generate().unwrap().reveal(),
                relay.url()
            ),
            Code::WrongAuthMode,
        ),
    ] {
        let refusal = agent.command_of(payload).await.refusal.unwrap();
        assert_eq!(refusal.code, code);
        let record = agent.expect_record("refused").await;
        let (record, refusal) = (serde_json::to_string(&record).unwrap(), refusal.to_string());
        assert!(!record.contains("secret") && !refusal.contains("secret"), "{record} {refusal}");
    }
}

#[tokio::test]
async fn a_relay_that_is_gone_is_named_as_the_reason() {
    let relay = TestRelay::start().await;
    let mut agent = TestAgent::start(&relay, TARGETS);
    let (_, claims) = relay.claims("log");
    let grant = relay.sign(&claims);
    relay.stop().await;
    // The platform waits only so long for the answer.
    let payload = json!({ "v": 1, "grant": grant, "answer_within_ms": 1 }).to_string();
    let refusal = agent.command_of(payload).await.refusal.unwrap();
    assert_eq!(refusal.code, Code::RelayUnreachable, "{refusal}");
    assert_eq!(agent.expect_record("refused").await.context.session, Some(claims.sid));
}
