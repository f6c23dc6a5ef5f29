//! The reason codes of MQTT 5 that this broker answers with.

use std::fmt;

use crate::mqtt::packet::Malformed;

/// Why a connection is closed or a request refused: an MQTT 5 reason code (MQTT 5, 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub u8);

/// The property's number.
const REASON_STRING: u8 = 31;

impl From<Malformed> for Reason {
    fn from(Malformed: Malformed) -> Self {
        Self::MALFORMED
    }
}

impl Reason {
    pub const SUCCESS: Self = Self(0x00);
    pub const NO_SUBSCRIPTION: Self = Self(0x11);
    pub const UNSPECIFIED: Self = Self(0x80);
    pub const MALFORMED: Self = Self(0x81);
    pub const PROTOCOL_ERROR: Self = Self(0x82);
    pub const UNSUPPORTED_VERSION: Self = Self(0x84);
    pub const CLIENT_ID_INVALID: Self = Self(0x85);
    pub const BAD_CREDENTIALS: Self = Self(0x86);
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    pub const SERVER_UNAVAILABLE: Self = Self(0x88);
    pub const SHUTTING_DOWN: Self = Self(0x8b);
    pub const BAD_AUTHENTICATION: Self = Self(0x8c);
    pub const KEEP_ALIVE: Self = Self(0x8d);
    pub const TAKEN_OVER: Self = Self(0x8e);
    pub const FILTER_INVALID: Self = Self(0x8f);
    pub const TOPIC_INVALID: Self = Self(0x90);
    pub const PACKET_ID_NOT_FOUND: Self = Self(0x92);
    pub const RECEIVE_MAXIMUM: Self = Self(0x93);
    pub const TOPIC_ALIAS_INVALID: Self = Self(0x94);
    pub const PACKET_TOO_LARGE: Self = Self(0x95);
    pub const MESSAGE_RATE_TOO_HIGH: Self = Self(0x96);
    pub const QUOTA_EXCEEDED: Self = Self(0x97);

    /// A property block, its length in front, that says the reason in words.
    pub fn properties(self) -> Vec<u8> {
        // The names are far shorter than the 124 bytes that a length of one byte allows.
        let text = self.to_string();
        let mut block = Vec::with_capacity(4 + text.len());
        block.extend_from_slice(&[3 + text.len() as u8, REASON_STRING, 0, text.len() as u8]);
        block.extend_from_slice(text.as_bytes());
        block
    }

    /// Whether the code says no.
    pub fn is_refusal(self) -> bool {
        self.0 >= 0x80
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::SUCCESS => "success",
            Self::NO_SUBSCRIPTION => "no subscription existed",
            Self::MALFORMED => "malformed packet",
            Self::PROTOCOL_ERROR => "protocol error",
            Self::UNSUPPORTED_VERSION => "unsupported protocol version",
            Self::CLIENT_ID_INVALID => "client identifier not valid",
            Self::BAD_CREDENTIALS => "bad user name or password",
            Self::NOT_AUTHORIZED => "not authorized",
            Self::SERVER_UNAVAILABLE => "server unavailable",
            Self::SHUTTING_DOWN => "server shutting down",
            Self::BAD_AUTHENTICATION => "bad authentication method",
            Self::KEEP_ALIVE => "keep alive timeout",
            Self::TAKEN_OVER => "session taken over",
            Self::FILTER_INVALID => "topic filter invalid",
            Self::TOPIC_INVALID => "topic name invalid",
            Self::PACKET_ID_NOT_FOUND => "packet identifier not found",
            Self::RECEIVE_MAXIMUM => "receive maximum exceeded",
            Self::TOPIC_ALIAS_INVALID => "topic alias invalid",
            Self::PACKET_TOO_LARGE => "packet too large",
            Self::MESSAGE_RATE_TOO_HIGH => "message rate too high",
            Self::QUOTA_EXCEEDED => "quota exceeded",
            Self(_) => "unspecified error",
        };
        write!(f, "{name} (0x{:02x})", self.0)
    }
}
