//! Clients that came before their host: no session has their token yet. Any peer can be one, so they are counted.

use std::collections::HashMap;

use ipnet::IpNet;

use protocol::end::End;

/// How many hosts and clients may wait at once.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Parked hosts, and as many early clients, on the whole relay.
    pub waiting: usize,
    /// Early clients of one address; with IPv6 of one /64.
    pub waiting_per_address: usize,
}

#[derive(Default)]
pub(super) struct EarlyClients {
    all: usize,
    by_network: HashMap<IpNet, usize>,
}

impl EarlyClients {
    /// Counts one more.
    ///
    /// # Errors
    /// [`End::TooMany`] at one of the caps.
    pub(super) fn enter(&mut self, network: IpNet, caps: Caps) -> Result<(), End> {
        let here = self.by_network.get(&network).copied().unwrap_or(0);
        if self.all >= caps.waiting || here >= caps.waiting_per_address {
            return Err(End::TooMany);
        }
        self.all += 1;
        *self.by_network.entry(network).or_default() += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self, network: IpNet) {
        self.all -= 1;
        if let Some(here) = self.by_network.get_mut(&network) {
            *here -= 1;
            if *here == 0 {
                self.by_network.remove(&network);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.all == 0 && self.by_network.is_empty()
    }
}
