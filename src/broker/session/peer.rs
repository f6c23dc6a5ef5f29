//! Who is at the other end of a connection, as far as the connection itself tells.

use std::net::IpAddr;
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
    /// Who it is, with what it says of itself; either is empty where it has not said.
    pub fn who<'a>(&'a self, client_id: &'a str, user: &'a str) -> Who<'a> {
        Who { address: Some(self.address), listener: &self.listener, client_id, user }
    }
}
