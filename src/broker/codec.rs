//! Where packets begin and end in what a client sends.
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

use bytes::BytesMut;
use rumqttd::protocol::{Packet, Protocol, v4::V4, v5::V5};

use self::reason::Reason;
use crate::mqtt::packet::{Header, kind};

/// Frames taken from the input in one go, at most about this many bytes.
const FRAMES_BYTES_MAX: usize = 1 << 20;

/// The protocol version that a client chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V311,
    V5,
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
    let Some(header) = Header::read(bytes)? else { return Ok(None) };
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
    use crate::mqtt::packet::put_packet;

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
            let mut packet = Vec::new();
            put_packet(&mut packet, head, &body);
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
            let mut frame = Vec::new();
            put_packet(&mut frame, first, &body);
            if peek(&frame, MAX).is_ok() {
                let version = if five { Version::V5 } else { Version::V311 };
                let _any_answer = decode(&frame, version);
            }
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
