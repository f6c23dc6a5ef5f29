//! A client's DISCONNECT as the broker needs it: rumqttd's codec reads it.

use rumqttd::protocol::{DisconnectReasonCode, Packet};

use super::leaner::lean;
use super::reason::Reason;
use super::{Version, decode};

/// A client's DISCONNECT.
pub struct Disconnect {
    /// The will is not to be published; 3.1.1 knows no other.
    pub is_normal: bool,
    /// How long the session is to be kept from now on, where that is said.
    pub expiry_s: Option<u32>,
}

/// Reads a whole DISCONNECT.
pub fn read(frame: &[u8], version: Version) -> Result<Disconnect, Reason> {
    let Packet::Disconnect(disconnect, properties) = decode(&lean(frame, version)?.frame, version)? else {
        return Err(Reason::MALFORMED);
    };
    let is_normal =
        version == Version::V311 || disconnect.reason_code == DisconnectReasonCode::NormalDisconnection;
    Ok(Disconnect { is_normal, expiry_s: properties.and_then(|own| own.session_expiry_interval) })
}
