//! Clients that wait with a token that nobody knows yet. Anybody can be one, so they are counted.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Caps;
use crate::protocol::end::End;

#[derive(Default)]
pub(super) struct Strangers {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Strangers {
    /// Counts one more, of this address.
    pub(super) fn enter(&mut self, address: IpAddr, caps: Caps) -> Result<(), End> {
        let here = self.by_address.get(&address).copied().unwrap_or(0);
        if self.all >= caps.waiting || here >= caps.waiting_per_address {
            return Err(End::TooMany);
        }
        self.all += 1;
        *self.by_address.entry(address).or_default() += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self, address: IpAddr) {
        self.all -= 1;
        if let Some(here) = self.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.all == 0 && self.by_address.is_empty()
    }
}
