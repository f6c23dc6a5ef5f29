//! What a client has said of itself when it is let in: its CONNECT, judged.

use std::sync::Arc;

use bytes::BytesMut;

use super::peer::{Peer, UnderWay};
use super::will::Will;
use crate::broker::access::Identity;
use crate::broker::codec::Version;
use crate::broker::limits::shares::Owner;

/// A CONNECT that was accepted.
pub struct Hello {
    pub version: Version,
    /// Empty when the client wants one from us.
    pub client_id: String,
    pub is_clean: bool,
    /// Seconds; 0 for none.
    pub keep_alive_s: u16,
    /// Seconds that the session outlives the connection, as asked for and as given.
    pub expiry_asked_s: u32,
    pub expiry_s: u32,
    /// Unacknowledged QoS 1 and 2 messages that the client takes.
    pub window: u16,
    /// The largest packet that the client takes.
    pub packet_bytes_max: usize,
    /// Topic aliases that the client takes.
    pub aliases_max: u16,
    pub will: Option<Will>,
    /// The keep-alive that the client is given instead of its own.
    pub server_keep_alive_s: Option<u16>,
    /// The user that the client has proved to be.
    pub user: Option<Arc<str>>,
    /// By a certificate.
    pub is_certified: bool,
    /// From this machine.
    pub is_local: bool,
    /// Whom what it takes is counted to.
    pub owner: Owner,
    pub peer: Peer,
}

impl Hello {
    /// Who the client is, once it has its id.
    pub fn identity(&self, client_id: Arc<str>) -> Identity {
        Identity {
            client_id,
            user: self.user.clone(),
            is_certified: self.is_certified,
            is_local: self.is_local,
        }
    }
}

/// What a client has sent that nothing has been made of yet.
pub struct Arrived {
    pub unread: BytesMut,
    pub under_way: UnderWay,
}
