//! Places for those who have proven nothing yet: a connection has one from its first byte until it is a parked host
//! or a linked client, or is gone.
//!
//! Nobody waits for a place. When there is none left, the oldest goes in favour of the newcomer: who comes to
//! something does so in a moment, and who only wants to be in the way is the oldest soon. The same holds within an
//! address, so one address does not push out the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use crate::daemon::metrics::Gauge;
use crate::daemon::network::{self, SITE, SUBSCRIBER};

use super::metrics::Held;

/// A site (a /48) has so many times the places of one subscriber (a /64).
const SUBSCRIBERS_OF_A_SITE: usize = 4;

/// How many places there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// In all.
    pub places: usize,
    /// For one address; with IPv6 for one /64, and four times as many for one /48.
    pub per_address: usize,
}

/// All places. Clones are the same places.
#[derive(Clone)]
pub struct Places(Arc<Shared>);

struct Shared {
    room: Room,
    taken: Gauge,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    /// By age.
    guests: BTreeMap<u64, Guest>,
    networks: HashMap<IpNet, BTreeSet<u64>>,
}

struct Guest {
    /// What it is counted by: nothing where many share an address.
    networks: Vec<IpNet>,
    /// It is being served with what takes time, and does not go in favour of others.
    is_kept: bool,
    leave: CancellationToken,
}

/// One place. Dropping it gives it back.
pub struct Place {
    places: Places,
    id: u64,
    leave: CancellationToken,
    _counted: Held,
}

impl Places {
    /// Places that are all free; `taken` counts those that are not.
    pub fn new(room: Room, taken: Gauge) -> Places {
        Places(Arc::new(Shared { room, taken, state: Mutex::default() }))
    }

    /// A place for a newcomer, counted by its address if it has one of its own. `None`: there is none, for all are
    /// being served.
    pub fn take(&self, address: Option<IpAddr>) -> Option<Arc<Place>> {
        let mut state = self.lock();
        let networks = networks(address);
        state.make_room_in(&networks, self.0.room.per_address, None)?;
        if state.guests.len() >= self.0.room.places {
            state.send_away_the_oldest()?;
        }
        state.last += 1;
        let (id, leave) = (state.last, CancellationToken::new());
        state.guests.insert(id, Guest { networks: vec![], is_kept: false, leave: leave.clone() });
        state.count_by(id, networks);
        drop(state);
        Some(Arc::new(Place { places: self.clone(), id, leave, _counted: Held::one(&self.0.taken) }))
    }

    /// Sends the oldest few away: the system has no more descriptors.
    pub fn make_room(&self) {
        let mut state = self.lock();
        for _ in 0..16 {
            if state.send_away_the_oldest().is_none() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while holding it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts it by this address, which was not known before: a proxy has forwarded it. False if there is no place
    /// left for that address.
    pub fn is_of(&self, address: Option<IpAddr>) -> bool {
        let mut state = self.places.lock();
        let networks = networks(address);
        state.forget_networks(self.id);
        if state.make_room_in(&networks, self.places.0.room.per_address, Some(self.id)).is_none() {
            return false;
        }
        state.count_by(self.id, networks);
        true
    }

    /// Works until it is done, and not longer than the place is had: `None` if it was needed for somebody else.
    pub async fn hold<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.leave.cancelled() => None,
        }
    }

    /// Works, and keeps the place meanwhile whoever else comes.
    pub async fn keep<T>(&self, work: impl Future<Output = T>) -> T {
        struct Kept<'a>(&'a Place);
        impl Drop for Kept<'_> {
            fn drop(&mut self) {
                self.0.set_kept(false);
            }
        }
        self.set_kept(true);
        let _kept = Kept(self);
        work.await
    }

    fn set_kept(&self, is_kept: bool) {
        if let Some(guest) = self.places.lock().guests.get_mut(&self.id) {
            guest.is_kept = is_kept;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(self.id);
    }
}

impl State {
    /// Sends the oldest of each full network away, but not `except`. `None`: nobody in it can go.
    fn make_room_in(&mut self, networks: &[IpNet], per_address: usize, except: Option<u64>) -> Option<()> {
        for network in networks {
            let most = match network.prefix_len() {
                SITE if network.addr().is_ipv6() => per_address.saturating_mul(SUBSCRIBERS_OF_A_SITE),
                _ => per_address,
            };
            let Some(guests) = self.networks.get(network).filter(|guests| guests.len() >= most) else {
                continue;
            };
            let may_go = |id: &&u64| Some(**id) != except && !self.is_kept(**id);
            let oldest = guests.iter().find(may_go).copied()?;
            self.send_away(oldest);
        }
        Some(())
    }

    fn send_away_the_oldest(&mut self) -> Option<()> {
        let (oldest, _) = self.guests.iter().find(|(_, guest)| !guest.is_kept)?;
        self.send_away(*oldest);
        Some(())
    }

    fn is_kept(&self, id: u64) -> bool {
        self.guests.get(&id).is_some_and(|guest| guest.is_kept)
    }

    fn send_away(&mut self, id: u64) {
        if let Some(guest) = self.remove(id) {
            guest.leave.cancel();
        }
    }

    fn count_by(&mut self, id: u64, networks: Vec<IpNet>) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        for network in &networks {
            self.networks.entry(*network).or_default().insert(id);
        }
        guest.networks = networks;
    }

    fn remove(&mut self, id: u64) -> Option<Guest> {
        self.forget_networks(id);
        self.guests.remove(&id)
    }

    fn forget_networks(&mut self, id: u64) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        for network in std::mem::take(&mut guest.networks) {
            if let Some(guests) = self.networks.get_mut(&network) {
                guests.remove(&id);
                if guests.is_empty() {
                    self.networks.remove(&network);
                }
            }
        }
    }
}

fn networks(address: Option<IpAddr>) -> Vec<IpNet> {
    match address {
        None => vec![],
        Some(address @ IpAddr::V4(_)) => vec![network::of(address, SUBSCRIBER)],
        Some(address @ IpAddr::V6(_)) => {
            vec![network::of(address, SUBSCRIBER), network::of(address, SITE)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(places: usize, per_address: usize) -> Places {
        Places::new(Room { places, per_address }, Gauge::default())
    }

    fn from(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    fn is_gone(place: &Arc<Place>) -> bool {
        place.leave.is_cancelled()
    }

    #[test]
    fn the_oldest_goes_when_all_places_are_taken_and_nobody_who_is_served() {
        let places = places(2, 9);
        let (first, second) = (places.take(from("192.0.2.1")).unwrap(), places.take(None).unwrap());
        let third = places.take(from("192.0.2.3")).unwrap();
        assert!(is_gone(&first) && !is_gone(&second) && !is_gone(&third));
        drop(first);
        assert_eq!(places.0.taken.get(), 2);
        second.set_kept(true);
        let fourth = places.take(None).unwrap();
        assert!(!is_gone(&second) && is_gone(&third));
        fourth.set_kept(true);
        assert!(places.take(None).is_none());
        second.set_kept(false);
        assert!(places.take(None).is_some() && is_gone(&second));
    }

    #[test]
    fn an_address_a_subscriber_and_a_site_push_out_their_own_only() {
        for (address, neighbour, most) in [
            ("192.0.2.1", "192.0.2.1", 2),
            ("2001:db8::1", "2001:db8::2", 2),
            ("2001:db8:0:1::1", "2001:db8:0:N::2", 8),
        ] {
            let places = places(99, 2);
            let other = places.take(from("198.51.100.1")).unwrap();
            let shared: Vec<_> = (0..20).map(|_| places.take(None).unwrap()).collect();
            let first = places.take(from(address)).unwrap();
            let rest: Vec<_> = (1..most)
                .map(|n| places.take(from(&neighbour.replace('N', &n.to_string()))).unwrap())
                .collect();
            assert!(!is_gone(&first), "{address}");
            let last = places.take(from(&neighbour.replace('N', "9"))).unwrap();
            assert!(is_gone(&first) && !rest.iter().any(is_gone) && !is_gone(&last), "{address}");
            assert!(!is_gone(&other) && !shared.iter().any(is_gone));
            drop((first, rest, last, other, shared));
            assert!(places.lock().networks.is_empty() && places.lock().guests.is_empty());
        }
    }

    #[test]
    fn a_forwarded_address_is_counted_once_it_is_known() {
        let places = places(99, 1);
        let (one, two) = (places.take(None).unwrap(), places.take(None).unwrap());
        assert!(one.is_of(from("192.0.2.1")) && one.is_of(from("192.0.2.1")) && !is_gone(&one));
        assert!(two.is_of(from("192.0.2.1")) && is_gone(&one) && !is_gone(&two));
        two.set_kept(true);
        let three = places.take(None).unwrap();
        assert!(!three.is_of(from("192.0.2.1")) && three.is_of(None));
    }
}
