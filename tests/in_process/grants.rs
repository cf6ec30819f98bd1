//! An opener without a network half in front of it: what a network half that is taken over could send.

use std::collections::BTreeMap;

use opener::{Opener, Request, TargetSession};
use protocol::command::{Code, Refusal};
use protocol::grant::Claims;
use protocol::signing::SigningKey;
use service::counted::Counted;

use crate::agent::TestAgent;
use crate::relay::TestRelay;
use crate::soon;

const TARGETS: &str = "[target.log]\nkind = 'file'\npath = '/etc/hostname'\n\
                       [target.two]\nkind = 'file'\npath = '/etc/hostname'\nmax_streams = 2\nsession_streams = 2\n";

/// What a network half would make of the grant. No opener reads it.
fn request() -> Request {
    Request {
        session: "0123456789abcdef".into(),
        target: "log".into(),
        params: BTreeMap::new(),
        mode: None,
        max_streams: Some(99),
        max_seconds: None,
    }
}

async fn begin(opener: &Opener, grant: Option<&str>) -> Result<TargetSession, Refusal> {
    soon("the opener's answer", opener.begin(&request(), grant)).await
}

async fn refused(opener: &Opener, grant: Option<&str>) -> Code {
    begin(opener, grant).await.err().expect("the opener has begun a session").code
}

#[tokio::test]
async fn every_grant_that_is_not_good_is_refused() {
    let relay = TestRelay::start().await;
    let agent = TestAgent::start(&relay, TARGETS);
    let opener = agent.opener();
    let (_, claims) = relay.claims("log");
    let change = |change: &dyn Fn(&mut Claims)| {
        let mut claims = relay.claims("log").1;
        change(&mut claims);
        relay.sign(&claims)
    };
    let good = relay.sign(&claims);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let stranger = SigningKey::generate("k9").unwrap().0;
    let impostor = SigningKey::generate("k1").unwrap().0;
    for (grant, code) in [
        ("no grant".to_owned(), Code::GrantMalformed),
        (format!("{signed}.AAAA"), Code::GrantSignature),
        (stranger.sign(&claims), Code::GrantUnknownIssuer),
        (impostor.sign(&claims), Code::GrantSignature),
        (change(&|claims| claims.exp += 100), Code::GrantExpired),
        (change(&|claims| (claims.iat, claims.exp) = (claims.iat - 90, claims.exp - 90)), Code::GrantExpired),
        (change(&|claims| (claims.iat, claims.exp) = (claims.iat + 90, claims.exp + 90)), Code::GrantExpired),
        (change(&|claims| claims.aud = "host:h2".into()), Code::GrantAudience),
        (change(&|claims| claims.aud = "relay".into()), Code::GrantMalformed),
        (change(&|claims| claims.sid = "../../etc/cron.d/x".into()), Code::GrantMalformed),
        (change(&|claims| claims.relay = "wss://elsewhere.example".into()), Code::RelayNotAllowed),
        (change(&|claims| claims.cnf = Some("UABC".into())), Code::GrantProof),
        (change(&|claims| claims.target = "other".into()), Code::TargetNotAllowed),
        (change(&|claims| claims.mode = Some(protocol::mode::Mode::Rw)), Code::ModeNotAllowed),
        (change(&|claims| drop(claims.params.insert("x".into(), "y".into()))), Code::ParamsNotAllowed),
    ] {
        assert_eq!(refused(&opener, Some(&grant)).await, code, "{grant}");
    }
    assert_eq!(refused(&opener, None).await, Code::WrongAuthMode);
    // None of them has used the session up.
    let session = begin(&opener, Some(&good)).await.unwrap();
    assert_eq!(session.permitted().target, "log");
    assert_eq!(refused(&opener, Some(&good)).await, Code::GrantReplayed);
    drop(session);
    assert_eq!(refused(&opener, Some(&good)).await, Code::GrantReplayed);
}

#[tokio::test]
async fn a_session_opens_no_more_streams_than_grant_and_owner_allow() {
    let relay = TestRelay::start().await;
    let agent = TestAgent::start(&relay, TARGETS);
    let opener = agent.opener();
    for (target, wanted, allowed) in [("log", Some(9), 1), ("two", Some(9), 2), ("two", Some(1), 1)] {
        let (_, claims) = relay.claims(target);
        let grant = relay.sign(&Claims { max_streams: wanted, ..claims });
        let session = begin(&opener, Some(&grant)).await.unwrap();
        for stream in 1..=allowed {
            let opened = soon("a stream", session.open(stream, None, None)).await;
            assert!(opened.is_ok(), "{target} {stream}");
        }
        // Streams that have ended count, too.
        let error = soon("an answer", session.open(allowed + 1, None, None)).await.err().unwrap();
        assert_eq!(error.message, format!("the session may have {} in all", Counted(allowed, "stream")));
    }
}
