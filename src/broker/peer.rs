//! Who is at the other end of a connection, as far as the connection itself tells.

use std::net::IpAddr;

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    /// Where it connects from.
    pub address: IpAddr,
    /// The name that its certificate proves, on a listener that takes names from certificates.
    pub identity: Option<String>,
}
