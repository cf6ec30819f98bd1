//! Slots for connections whose peer has proven nothing yet: a connection has one from its first byte until it is a
//! parked host, a linked client, or closed.
//!
//! No connection waits for a slot. If all are taken, the oldest is evicted for the newcomer: an honest peer needs its
//! slot for a moment only, so the oldest is most likely one that does nothing. The same holds within an address, so
//! that one address does not evict the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use service::metrics::Gauge;
use service::network::{self, SITE, SUBSCRIBER};

use super::metrics::GaugeGuard;

/// A site (an IPv6 /48) may take this many times the slots of one subscriber (a /64).
const SUBSCRIBERS_OF_A_SITE: usize = 4;

/// How many connections without proof may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotLimits {
    pub total: usize,
    /// From one address; with IPv6 from one /64, and four times as many from one /48.
    pub per_address: usize,
}

/// All slots. Clones share them.
#[derive(Clone)]
pub(crate) struct Slots(Arc<Shared>);

struct Shared {
    limits: SlotLimits,
    taken: Gauge,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    /// By id, so the first is the oldest.
    connections: BTreeMap<u64, Connection>,
    networks: HashMap<IpNet, BTreeSet<u64>>,
}

struct Connection {
    /// The networks that count it; none if many peers share its address.
    networks: Vec<IpNet>,
    /// Its request takes time, so it is not evicted.
    is_pinned: bool,
    evicted: CancellationToken,
}

/// One slot. Dropping it frees it.
pub(crate) struct Slot {
    slots: Slots,
    id: u64,
    evicted: CancellationToken,
    _counted: GaugeGuard,
}

impl Slots {
    /// Free slots. `taken` counts those in use.
    pub(crate) fn new(limits: SlotLimits, taken: Gauge) -> Slots {
        Slots(Arc::new(Shared { limits, taken, state: Mutex::default() }))
    }

    /// Takes a slot, counted by `address` unless many peers share it. `None` if every slot is pinned.
    pub(crate) fn take(&self, address: Option<IpAddr>) -> Option<Arc<Slot>> {
        let mut state = self.lock();
        let networks = networks(address);
        state.evict_from_full(&networks, self.0.limits.per_address, None)?;
        if state.connections.len() >= self.0.limits.total {
            state.evict_oldest()?;
        }
        state.last += 1;
        let (id, evicted) = (state.last, CancellationToken::new());
        state
            .connections
            .insert(id, Connection { networks: vec![], is_pinned: false, evicted: evicted.clone() });
        state.count_by(id, networks);
        drop(state);
        Some(Arc::new(Slot { slots: self.clone(), id, evicted, _counted: GaugeGuard::new(&self.0.taken) }))
    }

    /// Evicts the 16 oldest: the process has no descriptors left.
    pub(crate) fn evict_some(&self) {
        let mut state = self.lock();
        for _ in 0..16 {
            if state.evict_oldest().is_none() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while holding it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Counts the connection by `address`, which a proxy has forwarded. False if every slot of that address is
    /// pinned.
    pub(crate) fn set_address(&self, address: Option<IpAddr>) -> bool {
        let mut state = self.slots.lock();
        let networks = networks(address);
        state.forget_networks(self.id);
        if state.evict_from_full(&networks, self.slots.0.limits.per_address, Some(self.id)).is_none() {
            return false;
        }
        state.count_by(self.id, networks);
        true
    }

    /// Runs `work` until it is done, or until the slot is evicted (`None`).
    pub(crate) async fn until_evicted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.evicted.cancelled() => None,
        }
    }

    /// Runs `work`; meanwhile the slot is not evicted.
    pub(crate) async fn pinned<T>(&self, work: impl Future<Output = T>) -> T {
        struct Pinned<'a>(&'a Slot);
        impl Drop for Pinned<'_> {
            fn drop(&mut self) {
                self.0.set_pinned(false);
            }
        }
        self.set_pinned(true);
        let _pinned = Pinned(self);
        work.await
    }

    fn set_pinned(&self, is_pinned: bool) {
        if let Some(connection) = self.slots.lock().connections.get_mut(&self.id) {
            connection.is_pinned = is_pinned;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().remove(self.id);
    }
}

impl State {
    /// Evicts the oldest connection of each full network, but not `except`. `None` if all others are pinned.
    fn evict_from_full(&mut self, networks: &[IpNet], per_address: usize, except: Option<u64>) -> Option<()> {
        for network in networks {
            let most = match network.prefix_len() {
                SITE if network.addr().is_ipv6() => per_address.saturating_mul(SUBSCRIBERS_OF_A_SITE),
                _ => per_address,
            };
            let Some(connections) =
                self.networks.get(network).filter(|connections| connections.len() >= most)
            else {
                continue;
            };
            let is_evictable = |id: &&u64| Some(**id) != except && !self.is_pinned(**id);
            let oldest = connections.iter().find(is_evictable).copied()?;
            self.evict(oldest);
        }
        Some(())
    }

    fn evict_oldest(&mut self) -> Option<()> {
        let (oldest, _) = self.connections.iter().find(|(_, connection)| !connection.is_pinned)?;
        self.evict(*oldest);
        Some(())
    }

    fn is_pinned(&self, id: u64) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.is_pinned)
    }

    fn evict(&mut self, id: u64) {
        if let Some(connection) = self.remove(id) {
            connection.evicted.cancel();
        }
    }

    fn count_by(&mut self, id: u64, networks: Vec<IpNet>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for network in &networks {
            self.networks.entry(*network).or_default().insert(id);
        }
        connection.networks = networks;
    }

    fn remove(&mut self, id: u64) -> Option<Connection> {
        self.forget_networks(id);
        self.connections.remove(&id)
    }

    fn forget_networks(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for network in std::mem::take(&mut connection.networks) {
            if let Some(connections) = self.networks.get_mut(&network) {
                connections.remove(&id);
                if connections.is_empty() {
                    self.networks.remove(&network);
                }
            }
        }
    }
}

fn networks(address: Option<IpAddr>) -> Vec<IpNet> {
    match address {
        None => vec![],
        Some(address @ IpAddr::V4(_)) => vec![network::containing(address, SUBSCRIBER)],
        Some(address @ IpAddr::V6(_)) => {
            vec![network::containing(address, SUBSCRIBER), network::containing(address, SITE)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(total: usize, per_address: usize) -> Slots {
        Slots::new(SlotLimits { total, per_address }, Gauge::default())
    }

    fn from(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    fn is_evicted(slot: &Arc<Slot>) -> bool {
        slot.evicted.is_cancelled()
    }

    #[test]
    fn the_oldest_goes_when_all_slots_are_taken_unless_it_is_pinned() {
        let slots = slots(2, 9);
        let (first, second) = (slots.take(from("192.0.2.1")).unwrap(), slots.take(None).unwrap());
        let third = slots.take(from("192.0.2.3")).unwrap();
        assert!(is_evicted(&first) && !is_evicted(&second) && !is_evicted(&third));
        drop(first);
        assert_eq!(slots.0.taken.get(), 2);
        second.set_pinned(true);
        let fourth = slots.take(None).unwrap();
        assert!(!is_evicted(&second) && is_evicted(&third));
        fourth.set_pinned(true);
        assert!(slots.take(None).is_none());
        second.set_pinned(false);
        assert!(slots.take(None).is_some() && is_evicted(&second));
    }

    #[test]
    fn an_address_a_subscriber_and_a_site_push_out_their_own_only() {
        for (address, neighbour, most) in [
            ("192.0.2.1", "192.0.2.1", 2),
            ("2001:db8::1", "2001:db8::2", 2),
            ("2001:db8:0:1::1", "2001:db8:0:N::2", 8),
        ] {
            let slots = slots(99, 2);
            let other = slots.take(from("198.51.100.1")).unwrap();
            let shared: Vec<_> = (0..20).map(|_| slots.take(None).unwrap()).collect();
            let first = slots.take(from(address)).unwrap();
            let rest: Vec<_> = (1..most)
                .map(|n| slots.take(from(&neighbour.replace('N', &n.to_string()))).unwrap())
                .collect();
            assert!(!is_evicted(&first), "{address}");
            let last = slots.take(from(&neighbour.replace('N', "9"))).unwrap();
            assert!(is_evicted(&first) && !rest.iter().any(is_evicted) && !is_evicted(&last), "{address}");
            assert!(!is_evicted(&other) && !shared.iter().any(is_evicted));
            drop((first, rest, last, other, shared));
            assert!(slots.lock().networks.is_empty() && slots.lock().connections.is_empty());
        }
    }

    #[test]
    fn a_forwarded_address_is_counted_once_it_is_known() {
        let slots = slots(99, 1);
        let (one, two) = (slots.take(None).unwrap(), slots.take(None).unwrap());
        assert!(
            one.set_address(from("192.0.2.1")) && one.set_address(from("192.0.2.1")) && !is_evicted(&one)
        );
        assert!(two.set_address(from("192.0.2.1")) && is_evicted(&one) && !is_evicted(&two));
        two.set_pinned(true);
        let three = slots.take(None).unwrap();
        assert!(!three.set_address(from("192.0.2.1")) && three.set_address(None));
    }
}
