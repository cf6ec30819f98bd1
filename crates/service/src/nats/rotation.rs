//! Which server the next try is for.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use async_nats::{Server, ServerAddr};

use super::servers::Servers;

/// Picks the server of each try. Each round has every configured server, in random order, and one announced server. So
/// a configured server is among the next tries, however many are announced.
#[derive(Debug)]
pub(super) struct Rotation {
    servers: Servers,
    round: Mutex<Round>,
}

/// The servers that are still to be tried, the next one last.
#[derive(Debug, Default)]
struct Round {
    configured: Vec<ServerAddr>,
    announced: Vec<ServerAddr>,
}

impl Rotation {
    pub(super) fn new(servers: Servers) -> Rotation {
        let configured = shuffled(servers.configured().iter());
        Rotation { servers, round: Mutex::new(Round { configured, announced: Vec::new() }) }
    }

    /// The next server. `pool` has the servers that the library knows, except for addresses that we looked up. `None`
    /// only if no server is configured.
    pub(super) fn next(&self, pool: &[Server]) -> Option<ServerAddr> {
        // Nothing panics while holding it.
        let mut round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = round.configured.pop() {
            return Some(next);
        }
        round.configured = shuffled(self.servers.configured().iter());
        if round.announced.is_empty() {
            let announced = pool.iter().map(|server| &server.addr);
            let announced = announced.filter(|server| !self.servers.configured().contains(server));
            round.announced = shuffled(announced.filter(|server| self.servers.may_follow(server)));
        }
        round.announced.pop().or_else(|| round.configured.pop())
    }
}

/// The order is random, because hosts that lost their connections together must not all come back to one server.
fn shuffled<'a>(servers: impl Iterator<Item = &'a ServerAddr>) -> Vec<ServerAddr> {
    let random = RandomState::new();
    let mut servers: Vec<_> = servers.cloned().collect();
    servers.sort_by_cached_key(|server| random.hash_one(server.as_url_str()));
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_all_configured_servers_and_one_that_was_announced() {
        let rotation = Rotation::new(servers(&["tls://a", "tls://b"]));
        let announced = |host: &str| Server {
            addr: host.parse().unwrap(),
            failed_attempts: 0,
            did_connect: false,
            is_discovered: true,
            last_error: None,
        };
        let pool = ["c", "d", "ws://evil"].map(announced);
        let next = || rotation.next(&pool).unwrap().host().to_owned();
        let mut others = Vec::new();
        for _ in 0..4 {
            let mut configured = [next(), next()];
            configured.sort();
            assert_eq!(configured, ["a", "b"]);
            others.push(next());
        }
        others.sort();
        assert_eq!(others, ["c", "c", "d", "d"]);
        // Without announced servers.
        let alone = Rotation::new(servers(&["tls://a"]));
        assert!((0..4).all(|_| alone.next(&[]).unwrap().host() == "a"));
    }

    fn servers(urls: &[&str]) -> Servers {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        Servers::parse(&urls, None, false).unwrap()
    }
}
