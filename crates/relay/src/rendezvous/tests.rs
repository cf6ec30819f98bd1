use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use super::*;
use protocol::end::End;
use protocol::origin::WebOrigin;
use protocol::profile::Profile;
use protocol::token::Token;

const WEBSOCKET: &str = "the host's websocket";

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn after(seconds: u64) -> Instant {
    *START + Duration::from_secs(seconds)
}

fn rendezvous() -> Rendezvous<&'static str> {
    Rendezvous::new(Caps { waiting: 100, waiting_per_address: 50 })
}

fn admission(token: &str, max_streams: u32) -> Admission {
    Admission {
        session: format!("session of {token}"),
        token: TokenHash::from_secret(token.as_bytes()),
        host: "h1".parse().unwrap(),
        target: Some("t".into()),
        user: None,
        max_streams,
        same_address: true,
        profile: Profile::Bulk,
        max_time: Duration::from_secs(3600),
        origins: vec![],
        remember: Duration::from_secs(60),
    }
}

fn client(last: u8) -> ClientIdentity {
    ClientIdentity {
        network: IpAddr::from([192, 0, 2, last]).into(),
        address: Some([192, 0, 2, last].into()),
        shown: vec![],
        new_key: Token::generate().unwrap(),
        origin: None,
    }
}

fn park(
    rendezvous: &Rendezvous<&'static str>,
    token: &str,
    max_streams: u32,
) -> Result<Parked<&'static str>, Refusal> {
    rendezvous.park(admission(token, max_streams), Secret::Unknown, *START)
}

fn claim(
    rendezvous: &Rendezvous<&'static str>,
    token: &str,
    identity: ClientIdentity,
) -> Result<Waiting<&'static str>, End> {
    claim_at(rendezvous, token, identity, *START)
}

fn claim_at(
    rendezvous: &Rendezvous<&'static str>,
    token: &str,
    identity: ClientIdentity,
    now: Instant,
) -> Result<Waiting<&'static str>, End> {
    rendezvous.claim(TokenHash::from_secret(token.as_bytes()), identity, now).map_err(|why| why.end())
}

async fn linked(mut parked: Parked<&'static str>, mut waiting: Waiting<&'static str>) -> Stream {
    parked.claimed().await.unwrap().hand_over(WEBSOCKET).unwrap();
    let linked = waiting.result().await.unwrap().ok().unwrap();
    assert_eq!(linked.host, WEBSOCKET);
    linked.stream
}

#[tokio::test]
async fn a_host_and_a_client_meet_in_either_order() {
    let rendezvous = rendezvous();
    let parked = park(&rendezvous, "a", 1).unwrap();
    let stream = linked(parked, claim(&rendezvous, "a", client(1)).unwrap()).await;
    assert_eq!(stream.number(), 1);
    drop(stream);
    let waiting = claim(&rendezvous, "b", client(1)).unwrap();
    let stream = linked(park(&rendezvous, "b", 1).unwrap(), waiting).await;
    drop(stream);
    assert_eq!(rendezvous.counts(), (0, 0));
    assert!(rendezvous.lock().sessions.is_empty() && rendezvous.lock().waiting.is_empty());
    assert!(rendezvous.lock().early.is_empty());
}

#[tokio::test]
async fn of_a_hundred_clients_exactly_one_gets_the_host() {
    let rendezvous = Rendezvous::new(Caps { waiting: 100, waiting_per_address: 100 });
    let mut waiting: Vec<_> = (0..100).map(|_| claim(&rendezvous, "a", client(1)).unwrap()).collect();
    let mut parked = park(&rendezvous, "a", 1).unwrap();
    parked.claimed().await.unwrap().hand_over(WEBSOCKET).unwrap();
    let first = waiting.remove(0).result().await.unwrap();
    assert!(first.is_ok());
    assert_eq!(claim(&rendezvous, "a", client(1)).err(), Some(End::TokenUsed));
    assert_eq!(park(&rendezvous, "a", 1).err().unwrap().code, Code::GrantReplayed);
    assert!(waiting.iter_mut().all(|waiting| waiting.result.try_recv().is_err()));
}

#[tokio::test]
async fn a_session_that_is_over_cannot_be_parked_again() {
    let rendezvous = rendezvous();
    let stream =
        linked(park(&rendezvous, "a", 2).unwrap(), claim(&rendezvous, "a", client(1)).unwrap()).await;
    assert!(rendezvous.is_live(&TokenHash::from_secret(b"a"), "session of a"));
    let mut spare = park(&rendezvous, "a", 2).unwrap();
    assert!(spare.is_spare());
    drop(stream);
    assert!(spare.claimed().await.is_none());
    drop(spare);
    assert_eq!(park(&rendezvous, "a", 2).err().unwrap().code, Code::GrantReplayed);
    assert_eq!(rendezvous.counts(), (0, 0));
}

#[tokio::test]
async fn a_session_that_is_over_is_remembered_from_the_first_call_after_its_end() {
    let rendezvous = rendezvous();
    let until = after(30 + 60);
    drop(linked(park(&rendezvous, "a", 1).unwrap(), claim(&rendezvous, "a", client(1)).unwrap()).await);
    assert!(claim_at(&rendezvous, "b", client(1), after(30)).is_ok());
    let again =
        |now| rendezvous.park(admission("a", 1), Secret::Unknown, now).map_err(|refusal| refusal.code);
    assert_eq!(again(until - Duration::from_nanos(1)).err(), Some(Code::GrantReplayed));
    assert!(again(until).is_ok());
}

#[tokio::test]
async fn the_end_of_a_session_counts_from_its_first_stream() {
    let rendezvous = rendezvous();
    let parked = park(&rendezvous, "a", 2).unwrap();
    let owner = client(1);
    let later = ClientIdentity { shown: vec![owner.new_key.hash()], ..client(1) };
    let first = linked(parked, claim_at(&rendezvous, "a", owner, after(5)).unwrap()).await;
    let second =
        linked(park(&rendezvous, "a", 2).unwrap(), claim_at(&rendezvous, "a", later, after(9)).unwrap())
            .await;
    assert_eq!([first.until(), second.until()], [after(3605); 2]);
}

#[tokio::test]
async fn a_host_that_left_before_any_client_came_may_park_again() {
    let rendezvous = rendezvous();
    let parked = park(&rendezvous, "a", 1).unwrap();
    assert_eq!(park(&rendezvous, "a", 1).err().unwrap().code, Code::GrantReplayed);
    drop(parked);
    assert!(park(&rendezvous, "a", 1).is_ok());
}

#[tokio::test]
async fn a_client_whose_host_vanished_in_that_moment_asks_again() {
    let rendezvous = rendezvous();
    let parked = park(&rendezvous, "a", 2).unwrap();
    let mut waiting = claim(&rendezvous, "a", client(1)).unwrap();
    drop(parked);
    assert!(waiting.result().await.is_none());
    drop(waiting);
    assert_eq!(rendezvous.counts(), (0, 0));
    assert!(rendezvous.lock().sessions.is_empty());
}

#[tokio::test]
async fn further_streams_are_for_the_same_client_only() {
    let rendezvous = rendezvous();
    let first = client(1);
    let key = first.new_key.hash();
    let _first = linked(park(&rendezvous, "a", 9).unwrap(), claim(&rendezvous, "a", first).unwrap()).await;
    let showing = |last, shown: &[TokenHash]| ClientIdentity { shown: shown.to_vec(), ..client(last) };
    let wrong = TokenHash::from_secret(b"wrong");
    let claimed = |identity| claim(&rendezvous, "a", identity).err();
    let _spares = [1, 2, 3].map(|_| park(&rendezvous, "a", 9).unwrap());
    // From anywhere with the key, and from the same address with nothing at all.
    assert_eq!(claimed(showing(2, &[wrong, key])), None);
    assert_eq!(claimed(client(1)), None);
    for stranger in [client(2), showing(1, &[wrong]), ClientIdentity { address: None, ..client(1) }] {
        assert_eq!(claimed(stranger), Some(End::TokenUsed));
    }
    // An address counts for a minute.
    assert_eq!(claim_at(&rendezvous, "a", client(1), after(60)).err(), None);
    assert_eq!(claim_at(&rendezvous, "a", client(1), after(61)).err(), Some(End::TokenUsed));
    assert_eq!(claim_at(&rendezvous, "a", showing(1, &[key]), after(61)).err(), None);
}

#[tokio::test]
async fn an_address_counts_only_where_the_host_says_so_and_where_it_is_the_clients_own() {
    let rendezvous = rendezvous();
    let several = |token: &str, same_address| Admission { same_address, ..admission(token, 3) };
    let nobody = |last| ClientIdentity { address: None, ..client(last) };
    for (token, same_address, client) in [("a", false, client(1)), ("b", true, nobody(1))] {
        let parked = rendezvous.park(several(token, same_address), Secret::Unknown, *START).unwrap();
        let stream = linked(parked, claim(&rendezvous, token, client.clone()).unwrap()).await;
        let _spare = rendezvous.park(several(token, same_address), Secret::Unknown, *START).unwrap();
        assert_eq!(claim(&rendezvous, token, client).err(), Some(End::TokenUsed));
        drop(stream);
    }
}

#[tokio::test]
async fn spares_show_the_secret_of_their_session() {
    let rendezvous = rendezvous();
    let (secret, other) = (TokenHash::from_secret(b"secret"), TokenHash::from_secret(b"other"));
    let parked = rendezvous.park(admission("a", 9), Secret::Offered(secret), *START).unwrap();
    let _first = linked(parked, claim(&rendezvous, "a", client(1)).unwrap()).await;
    for observer in [Secret::Unknown, Secret::Offered(secret), Secret::Offered(other), Secret::Shown(other)] {
        let refusal = rendezvous.park(admission("a", 9), observer, *START).err().unwrap();
        assert_eq!(refusal.code, Code::GrantReplayed, "{observer:?}");
    }
    assert!(rendezvous.park(admission("a", 9), Secret::Shown(secret), *START).unwrap().is_spare());
    // A host of before 0.2.0 shows none.
    let _old = linked(park(&rendezvous, "b", 9).unwrap(), claim(&rendezvous, "b", client(1)).unwrap()).await;
    assert!(park(&rendezvous, "b", 9).is_ok());
}

#[tokio::test]
async fn only_those_are_counted_who_wait_for_nobody_that_is_known() {
    let rendezvous = Rendezvous::new(Caps { waiting: 3, waiting_per_address: 2 });
    let early: Vec<_> = (0..2).map(|_| claim(&rendezvous, "x", client(1)).unwrap()).collect();
    assert_eq!(claim(&rendezvous, "x", client(1)).err(), Some(End::TooMany));
    let _third = claim(&rendezvous, "x", client(2)).unwrap();
    assert_eq!(claim(&rendezvous, "x", client(3)).err(), Some(End::TooMany));
    // A client whose host is parked is served no matter who else waits, and so is the next one of its session.
    let owner = client(1);
    let key = owner.new_key.hash();
    let first = linked(park(&rendezvous, "a", 2).unwrap(), claim(&rendezvous, "a", owner).unwrap()).await;
    let later = || ClientIdentity { shown: vec![key], ..client(1) };
    let waiting = claim(&rendezvous, "a", later()).unwrap();
    // As many as streams are left, and no more.
    assert_eq!(claim(&rendezvous, "a", later()).err(), Some(End::TokenUsed));
    let second = linked(park(&rendezvous, "a", 2).unwrap(), waiting).await;
    assert_eq!((first.number(), second.number()), (1, 2));
    assert_eq!(rendezvous.counts(), (0, 3));
    drop(early);
    assert!(claim(&rendezvous, "x", client(1)).is_ok());
}

#[tokio::test]
async fn origins_are_held() {
    let rendezvous = rendezvous();
    let of_a = Admission { origins: vec![WebOrigin::received("https://a")], ..admission("a", 1) };
    let _parked = rendezvous.park(of_a, Secret::Unknown, *START).unwrap();
    let with = |origin: Option<&str>| ClientIdentity { origin: origin.map(WebOrigin::received), ..client(1) };
    assert_eq!(claim(&rendezvous, "a", with(Some("https://b"))).err(), Some(End::NotAllowed));
    assert!(claim(&rendezvous, "a", with(Some("https://a"))).is_ok());
    let admission = Admission { origins: vec![WebOrigin::received("https://a")], ..admission("b", 1) };
    let _parked = rendezvous.park(admission, Secret::Unknown, *START).unwrap();
    assert!(claim(&rendezvous, "b", with(None)).is_ok(), "a program that is no browser");
}

#[tokio::test]
async fn nobody_came_has_two_meanings() {
    let rendezvous = rendezvous();
    assert_eq!(claim(&rendezvous, "a", client(1)).unwrap().timeout_end(), End::NoHost);
    let _first =
        linked(park(&rendezvous, "a", 2).unwrap(), claim(&rendezvous, "a", client(1)).unwrap()).await;
    assert_eq!(claim(&rendezvous, "a", client(1)).unwrap().timeout_end(), End::HostLate);
}
