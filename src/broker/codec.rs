//! Framing: where packets begin and end, and the numbers in them.
//!
//! A frame is complete before any codec sees it. PUBLISH and the acknowledgements are read and written by us,
//! without a copy and without taking their properties apart; the other packets go through rumqttd's codecs.

pub mod connect;
pub mod disconnect;
pub mod leaner;
pub mod listing;
pub mod properties;
pub mod publish;
pub mod reason;
pub mod topic;
pub mod wellformed;

use bytes::{BufMut, BytesMut};
use rumqttd::protocol::{Packet, Protocol, v4::V4, v5::V5};

use self::reason::Reason;

/// Packet types, the high four bits of a packet's first byte.
pub mod kind {
    pub const CONNECT: u8 = 1;
    pub const PUBLISH: u8 = 3;
    pub const PUBACK: u8 = 4;
    pub const PUBREC: u8 = 5;
    pub const PUBREL: u8 = 6;
    pub const PUBCOMP: u8 = 7;
    pub const SUBSCRIBE: u8 = 8;
    pub const UNSUBSCRIBE: u8 = 10;
    pub const PINGREQ: u8 = 12;
    pub const DISCONNECT: u8 = 14;
}

/// Frames taken from the input in one go, at most about this many bytes.
const FRAMES_BYTES_MAX: usize = 1 << 20;

/// The protocol version that a client chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V311,
    V5,
}

/// A packet's fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Type and flags.
    pub first: u8,
    pub header_bytes: usize,
    pub body_bytes: usize,
}

impl Header {
    pub fn kind(self) -> u8 {
        self.first >> 4
    }

    pub fn packet_bytes(self) -> usize {
        self.header_bytes + self.body_bytes
    }
}

/// Reads the fixed header at the head of `bytes`; `None` when more bytes are needed.
///
/// Packet types that no client may send, and wrong reserved flags, never get further than this.
pub fn peek(bytes: &[u8], packet_bytes_max: usize) -> Result<Option<Header>, Reason> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let flags = first & 0b1111;
    let is_allowed = match first >> 4 {
        kind::PUBLISH => (flags >> 1) & 0b11 != 0b11,
        kind::PUBREL | kind::SUBSCRIBE | kind::UNSUBSCRIBE => flags == 0b0010,
        kind::CONNECT | kind::PUBACK | kind::PUBREC | kind::PUBCOMP | kind::PINGREQ | kind::DISCONNECT => {
            flags == 0
        }
        _ => false,
    };
    if !is_allowed {
        return Err(Reason::MALFORMED);
    }
    let Some((body_bytes, length_bytes)) = varint(&bytes[1..])? else { return Ok(None) };
    let header = Header { first, header_bytes: 1 + length_bytes, body_bytes };
    if header.packet_bytes() > packet_bytes_max { Err(Reason::PACKET_TOO_LARGE) } else { Ok(Some(header)) }
}

/// What [`complete`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct Complete {
    /// Bytes of the complete packets at the head.
    pub bytes: usize,
    /// What follows them: how large the next packet will be (0: not known yet), or why it cannot be read.
    pub next: Result<usize, Reason>,
}

/// Finds the complete packets at the head of `bytes`.
pub fn complete(bytes: &[u8], packet_bytes_max: usize) -> Complete {
    let mut at = 0;
    let next = loop {
        match peek(&bytes[at..], packet_bytes_max) {
            Err(reason) => break Err(reason),
            Ok(None) => break Ok(0),
            Ok(Some(header)) if header.packet_bytes() > bytes.len() - at => break Ok(header.packet_bytes()),
            Ok(Some(header)) => at += header.packet_bytes(),
        }
        if at > FRAMES_BYTES_MAX {
            break Ok(0);
        }
    };
    Complete { bytes: at, next }
}

/// Reads a variable byte integer (MQTT 5, 1.5.5): its value and its length; `None`
/// when more bytes are needed.
pub fn varint(bytes: &[u8]) -> Result<Option<(usize, usize)>, Reason> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err(Reason::MALFORMED) } else { Ok(None) }
}

pub fn put_varint(out: &mut impl BufMut, mut value: usize) {
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            return out.put_u8(low);
        }
        out.put_u8(low | 0x80);
    }
}

pub fn varint_bytes(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

pub fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Reason> {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(Reason::MALFORMED),
    }
}

/// Decodes one whole frame. The frame is complete, so whatever the codec misses in it makes it malformed.
fn decode(frame: &[u8], version: Version) -> Result<Packet, Reason> {
    wellformed::check(frame, version)?;
    let mut bytes = BytesMut::from(frame);
    let decoded = match version {
        Version::V311 => V4.read_mut(&mut bytes, usize::MAX),
        Version::V5 => V5.read_mut(&mut bytes, usize::MAX),
    };
    decoded.map_err(|_| Reason::MALFORMED)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 16;

    /// The frames at the head of `bytes`, and how it goes on, when they arrive in pieces.
    fn frames(bytes: &[u8], pieces: &[usize]) -> (Vec<Vec<u8>>, Option<Reason>) {
        let (mut buffer, mut found, mut at) = (Vec::new(), Vec::new(), 0);
        for &piece in pieces.iter().chain([&usize::MAX]) {
            let end = at.max(piece).min(bytes.len());
            buffer.extend_from_slice(&bytes[at..end]);
            at = end;
            let complete = complete(&buffer, MAX);
            let mut rest = &buffer[..complete.bytes];
            while let Ok(Some(header)) = peek(rest, MAX) {
                found.push(rest[..header.packet_bytes()].to_vec());
                rest = &rest[header.packet_bytes()..];
            }
            assert!(rest.is_empty());
            buffer.drain(..complete.bytes);
            if let Err(reason) = complete.next {
                return (found, Some(reason));
            }
        }
        (found, None)
    }

    fn packets() -> impl Strategy<Value = Vec<u8>> {
        let heads = prop::sample::select(vec![
            0x10, 0x30, 0x32, 0x3d, 0x40, 0x62, 0x82, 0xa2, 0xc0, 0xe0, 0x20, 0xff,
        ]);
        let packet = (heads, prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(head, body)| {
            let mut packet = vec![head];
            put_varint(&mut packet, body.len());
            packet.extend(body);
            packet
        });
        prop::collection::vec(packet, 0..8).prop_map(|packets| packets.concat())
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_split_does_not_matter(
            bytes in packets(), noise in prop::collection::vec(any::<u8>(), 0..20),
            mut pieces in prop::collection::vec(0usize..2_000, 0..12),
        ) {
            let bytes = [bytes, noise].concat();
            pieces.sort_unstable();
            prop_assert_eq!(frames(&bytes, &pieces), frames(&bytes, &[]));
        }

        #[test]
        fn random_frames_never_panic_the_codecs(
            first: u8, body in prop::collection::vec(any::<u8>(), 0..200), five: bool,
        ) {
            let mut frame = vec![first];
            put_varint(&mut frame, body.len());
            frame.extend(body);
            if peek(&frame, MAX).is_ok() {
                let version = if five { Version::V5 } else { Version::V311 };
                let _any_answer = decode(&frame, version);
            }
        }

        #[test]
        fn varints_read_back(value in 0usize..268_435_456) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_bytes(value));
            prop_assert_eq!(varint(&bytes), Ok(Some((value, bytes.len()))));
        }
    }

    #[test]
    fn what_only_a_server_may_send_is_malformed() {
        for first in [0x00, 0x20, 0x90, 0xb0, 0xd0, 0xf0, 0x36, 0x60, 0x80] {
            assert_eq!(peek(&[first, 0], MAX), Err(Reason::MALFORMED), "{first:#x}");
        }
    }

    #[test]
    fn too_large_a_packet_is_refused_before_it_arrives() {
        assert_eq!(peek(&[0x30, 0x80, 0x80, 0x80, 0x01], MAX), Err(Reason::PACKET_TOO_LARGE));
        assert_eq!(peek(&[0x30, 0xff, 0xff, 0xff, 0xff], MAX), Err(Reason::MALFORMED));
    }
}
