//! How many sockets each address has open, so that one of them cannot take everybody's.

use super::bus::lock;
use super::peer::network;
use super::shares::Shares;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Open sockets by address.
pub(super) struct Addresses {
    open: Mutex<Shares<IpAddr>>,
    each_max: usize,
}

/// A socket's place among those of its address; dropped, it is free again.
pub(super) struct Place {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    pub fn new(each_max: usize) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), each_max })
    }

    /// A place for a socket of `peer`; `None` when that address has as many as it may.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let address = network(peer);
        let mut open = lock(&self.open);
        if open.of(&address) >= self.each_max {
            return None;
        }
        open.add(&address, 1);
        Some(Place { addresses: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.addresses.open).subtract(&self.address, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_full_address_is_refused_until_one_leaves_and_others_never_are() {
        let addresses = Addresses::new(2);
        let (first, _second) = (addresses.enter(ip("10.0.0.1")), addresses.enter(ip("10.0.0.1")));
        assert!(addresses.enter(ip("10.0.0.1")).is_none());
        assert!(addresses.enter(ip("10.0.0.2")).is_some());
        drop(first);
        assert!(addresses.enter(ip("::ffff:10.0.0.1")).is_some(), "the same address, written in IPv6");
    }

    #[test]
    fn an_ipv6_network_counts_as_one_and_nothing_is_remembered_of_those_who_left() {
        let addresses = Addresses::new(1);
        let place = addresses.enter(ip("2001:db8::1"));
        assert!(addresses.enter(ip("2001:db8::2")).is_none());
        assert!(addresses.enter(ip("2001:db8:0:1::1")).is_some());
        drop(place);
        assert_eq!(lock(&addresses.open).most(), None);
    }
}
