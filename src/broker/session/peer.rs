//! Who is at the other end of a connection, as far as the connection itself tells.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::broker::limits::refused::Who;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it connects from.
    pub address: IpAddr,
    /// The name of the listener that it came to.
    pub listener: Arc<str>,
    /// The number of its socket among those of all addresses.
    pub socket: u64,
    /// The name that its certificate proves, on a listener that takes names from certificates.
    pub identity: Option<String>,
    /// What has come of a WebSocket message that is not whole.
    pub under_way: UnderWay,
}

/// How many bytes have come of something that is not whole yet, so that nobody else can see them.
#[derive(Debug, Clone, Default)]
pub struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Changed by one task alone.
    pub fn set(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

impl Peer {
    /// The same with what it says of itself; either is empty where it has not said.
    pub fn who<'a>(&'a self, client_id: &'a str, user: &'a str) -> Who<'a> {
        Who { address: Some(self.address), listener: &self.listener, client_id, user }
    }
}

/// What limits count as one address: in IPv6 the /64 network, of which a single host
/// has all of the addresses.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_a_mapped_one_is_its_ipv4() {
        assert_eq!(network(address("2001:db8::1")), network(address("2001:db8::ffff:2")));
        assert_ne!(network(address("2001:db8::1")), network(address("2001:db8:0:1::1")));
        assert_eq!(network(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }
}
