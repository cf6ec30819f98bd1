use std::time::Duration;

use super::*;
use crate::protocol::end::End;
use crate::protocol::origin::WebOrigin;
use crate::protocol::profile::Profile;
use crate::protocol::token::Token;

const LEG: &str = "the host's leg";

fn place() -> Rendezvous<&'static str> {
    Rendezvous::new(Caps { waiting: 100, waiting_per_address: 50 })
}

fn admission(token: &str, max_streams: u32) -> Admission {
    Admission {
        session: format!("session of {token}"),
        token: TokenHash::of(token.as_bytes()),
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

fn visitor(last: u8) -> Visitor {
    Visitor {
        bucket: [192, 0, 2, last].into(),
        address: Some([192, 0, 2, last].into()),
        shown: vec![],
        next: Token::generate().unwrap(),
        origin: None,
    }
}

fn park(
    place: &Rendezvous<&'static str>,
    token: &str,
    max_streams: u32,
) -> Result<Parked<&'static str>, Refusal> {
    place.park(admission(token, max_streams), Secret::Unknown)
}

fn claim(
    place: &Rendezvous<&'static str>,
    token: &str,
    visitor: Visitor,
) -> Result<Waiting<&'static str>, End> {
    place.claim(TokenHash::of(token.as_bytes()), visitor).map_err(|why| why.end())
}

async fn linked(
    mut parked: Parked<&'static str>,
    mut waiting: Waiting<&'static str>,
) -> Stream<&'static str> {
    parked.claimed().await.unwrap().hand_over(LEG).unwrap();
    let linked = waiting.answer().await.unwrap().ok().unwrap();
    assert_eq!(linked.host, LEG);
    linked.stream
}

#[tokio::test]
async fn a_host_and_a_client_meet_in_either_order() {
    let place = place();
    let parked = park(&place, "a", 1).unwrap();
    let stream = linked(parked, claim(&place, "a", visitor(1)).unwrap()).await;
    assert_eq!(stream.number(), 1);
    drop(stream);
    let waiting = claim(&place, "b", visitor(1)).unwrap();
    let stream = linked(park(&place, "b", 1).unwrap(), waiting).await;
    drop(stream);
    assert_eq!(place.counts(), (0, 0));
    assert!(place.lock().sessions.is_empty() && place.lock().waiting.is_empty());
    assert!(place.lock().strangers.is_empty());
}

#[tokio::test]
async fn of_a_hundred_clients_exactly_one_gets_the_host() {
    let place = Rendezvous::new(Caps { waiting: 100, waiting_per_address: 100 });
    let mut waiting: Vec<_> = (0..100).map(|_| claim(&place, "a", visitor(1)).unwrap()).collect();
    let mut parked = park(&place, "a", 1).unwrap();
    parked.claimed().await.unwrap().hand_over(LEG).unwrap();
    let first = waiting.remove(0).answer().await.unwrap();
    assert!(first.is_ok());
    assert_eq!(claim(&place, "a", visitor(1)).err(), Some(End::TokenUsed));
    assert_eq!(park(&place, "a", 1).err().unwrap().code, Code::GrantReplayed);
    assert!(waiting.iter_mut().all(|waiting| waiting.answer.try_recv().is_err()));
}

#[tokio::test]
async fn a_session_that_is_over_cannot_be_parked_again() {
    let place = place();
    let stream = linked(park(&place, "a", 2).unwrap(), claim(&place, "a", visitor(1)).unwrap()).await;
    assert!(place.is_live(&TokenHash::of(b"a"), "session of a"));
    let mut spare = park(&place, "a", 2).unwrap();
    assert!(spare.is_spare());
    drop(stream);
    assert!(spare.claimed().await.is_none());
    drop(spare);
    assert_eq!(park(&place, "a", 2).err().unwrap().code, Code::GrantReplayed);
    assert_eq!(place.counts(), (0, 0));
}

#[tokio::test]
async fn a_host_that_left_before_any_client_came_may_park_again() {
    let place = place();
    let parked = park(&place, "a", 1).unwrap();
    assert_eq!(park(&place, "a", 1).err().unwrap().code, Code::GrantReplayed);
    drop(parked);
    assert!(park(&place, "a", 1).is_ok());
}

#[tokio::test]
async fn a_client_whose_host_vanished_in_that_moment_asks_again() {
    let place = place();
    let parked = park(&place, "a", 2).unwrap();
    let mut waiting = claim(&place, "a", visitor(1)).unwrap();
    drop(parked);
    assert!(waiting.answer().await.is_none());
    drop(waiting);
    assert_eq!(place.counts(), (0, 0));
    assert!(place.lock().sessions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn further_streams_are_for_the_same_client_only() {
    let place = place();
    let first = visitor(1);
    let key = first.next.hash();
    let _first = linked(park(&place, "a", 9).unwrap(), claim(&place, "a", first).unwrap()).await;
    let showing = |last, shown: &[TokenHash]| Visitor { shown: shown.to_vec(), ..visitor(last) };
    let wrong = TokenHash::of(b"wrong");
    let claimed = |visitor| claim(&place, "a", visitor).err();
    let _spares = [1, 2, 3].map(|_| park(&place, "a", 9).unwrap());
    // From anywhere with the key, and from the same address with nothing at all.
    assert_eq!(claimed(showing(2, &[wrong, key])), None);
    assert_eq!(claimed(visitor(1)), None);
    for stranger in [visitor(2), showing(1, &[wrong]), Visitor { address: None, ..visitor(1) }] {
        assert_eq!(claimed(stranger), Some(End::TokenUsed));
    }
    // An address counts for a minute.
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(claimed(visitor(1)), Some(End::TokenUsed));
    assert_eq!(claimed(showing(1, &[key])), None);
}

#[tokio::test]
async fn an_address_counts_only_where_the_host_says_so_and_where_it_is_the_clients_own() {
    let place = place();
    let several = |token: &str, same_address| Admission { same_address, ..admission(token, 3) };
    let nobody = |last| Visitor { address: None, ..visitor(last) };
    for (token, same_address, client) in [("a", false, visitor(1)), ("b", true, nobody(1))] {
        let parked = place.park(several(token, same_address), Secret::Unknown).unwrap();
        let stream = linked(parked, claim(&place, token, client.clone()).unwrap()).await;
        let _spare = place.park(several(token, same_address), Secret::Unknown).unwrap();
        assert_eq!(claim(&place, token, client).err(), Some(End::TokenUsed));
        drop(stream);
    }
}

#[tokio::test]
async fn spares_show_the_secret_of_their_session() {
    let place = place();
    let (secret, other) = (TokenHash::of(b"secret"), TokenHash::of(b"other"));
    let parked = place.park(admission("a", 9), Secret::Offered(secret)).unwrap();
    let _first = linked(parked, claim(&place, "a", visitor(1)).unwrap()).await;
    for observer in [Secret::Unknown, Secret::Offered(secret), Secret::Offered(other), Secret::Shown(other)] {
        let refusal = place.park(admission("a", 9), observer).err().unwrap();
        assert_eq!(refusal.code, Code::GrantReplayed, "{observer:?}");
    }
    assert!(place.park(admission("a", 9), Secret::Shown(secret)).unwrap().is_spare());
    // A host of before 0.2.0 shows none.
    let _old = linked(park(&place, "b", 9).unwrap(), claim(&place, "b", visitor(1)).unwrap()).await;
    assert!(park(&place, "b", 9).is_ok());
}

#[tokio::test]
async fn only_those_are_counted_who_wait_for_nobody_that_is_known() {
    let place = Rendezvous::new(Caps { waiting: 3, waiting_per_address: 2 });
    let strangers: Vec<_> = (0..2).map(|_| claim(&place, "x", visitor(1)).unwrap()).collect();
    assert_eq!(claim(&place, "x", visitor(1)).err(), Some(End::TooMany));
    let _third = claim(&place, "x", visitor(2)).unwrap();
    assert_eq!(claim(&place, "x", visitor(3)).err(), Some(End::TooMany));
    // A client whose host is parked is served whoever else waits, and so is the next one of its session.
    let client = visitor(1);
    let key = client.next.hash();
    let first = linked(park(&place, "a", 2).unwrap(), claim(&place, "a", client).unwrap()).await;
    let later = || Visitor { shown: vec![key], ..visitor(1) };
    let waiting = claim(&place, "a", later()).unwrap();
    // As many as streams are left, and no more.
    assert_eq!(claim(&place, "a", later()).err(), Some(End::TokenUsed));
    let second = linked(park(&place, "a", 2).unwrap(), waiting).await;
    assert_eq!((first.number(), second.number()), (1, 2));
    assert_eq!(place.counts(), (0, 3));
    drop(strangers);
    assert!(claim(&place, "x", visitor(1)).is_ok());
}

#[tokio::test]
async fn origins_are_held() {
    let place = place();
    let of_a = Admission { origins: vec![WebOrigin::received("https://a")], ..admission("a", 1) };
    let _parked = place.park(of_a, Secret::Unknown).unwrap();
    let with = |origin: Option<&str>| Visitor { origin: origin.map(WebOrigin::received), ..visitor(1) };
    assert_eq!(claim(&place, "a", with(Some("https://b"))).err(), Some(End::NotAllowed));
    assert!(claim(&place, "a", with(Some("https://a"))).is_ok());
    let admission = Admission { origins: vec![WebOrigin::received("https://a")], ..admission("b", 1) };
    let _parked = place.park(admission, Secret::Unknown).unwrap();
    assert!(claim(&place, "b", with(None)).is_ok(), "a program that is no browser");
}

#[tokio::test]
async fn nobody_came_has_two_meanings() {
    let place = place();
    assert_eq!(claim(&place, "a", visitor(1)).unwrap().late(), End::NoHost);
    let _first = linked(park(&place, "a", 2).unwrap(), claim(&place, "a", visitor(1)).unwrap()).await;
    assert_eq!(claim(&place, "a", visitor(1)).unwrap().late(), End::HostLate);
}
