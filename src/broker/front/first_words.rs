//! What a client speaks, told by the first byte that it says: for a refusal that names the mistake.

use crate::mqtt::packet::kind;

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// TLS: a handshake record.
    Tls,
    /// HTTP: the first letter of a method.
    Http,
    /// MQTT: CONNECT.
    Connect,
    /// Something else; it may be another packet of MQTT.
    Other,
}

impl Spoken {
    pub fn by(first: u8) -> Self {
        match first {
            0x16 => Self::Tls,
            // HTTP's methods are written in capitals. None of the bytes is one that MQTT can
            // begin with: its CONNECT is 0x10.
            b'A'..=b'Z' => Self::Http,
            _ if first == kind::CONNECT << 4 => Self::Connect,
            _ => Self::Other,
        }
    }

    /// What is wrong where MQTT on the stream itself is expected.
    pub fn instead_of_connect(self) -> &'static str {
        match self {
            Self::Tls => "it spoke TLS to a listener without TLS: another port, or a client without TLS",
            Self::Http => "it spoke HTTP to a listener for MQTT: WebSocket clients need a [ws] listener",
            Self::Connect | Self::Other => "",
        }
    }

    /// What is wrong where TLS is expected.
    pub fn instead_of_tls(self) -> Option<&'static str> {
        match self {
            Self::Tls => None,
            Self::Http => {
                Some("it spoke HTTP without TLS to a listener with TLS: wss:// or https:// instead")
            }
            Self::Connect => {
                Some("it spoke MQTT without TLS to a listener with TLS: another port, or a client with TLS")
            }
            Self::Other => Some("it spoke something else to a listener with TLS"),
        }
    }

    /// What is wrong where HTTP is expected.
    pub fn instead_of_http(self) -> Option<&'static str> {
        match self {
            Self::Http | Self::Other => None,
            Self::Tls => {
                Some("it spoke TLS to a WebSocket listener without TLS: ws:// instead, or another port")
            }
            Self::Connect => {
                Some("it spoke MQTT without WebSocket to a WebSocket listener: another port, or ws://")
            }
        }
    }
}
