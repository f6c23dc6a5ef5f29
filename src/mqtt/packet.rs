//! Framing, which every side of a connection shares: packet types, the fixed header, and the numbers and
//! strings that packets are made of (MQTT 5, 1.5 and 2.1; 3.1.1 writes them alike).

use bytes::BufMut;

/// Packet types (2.1.2), the high four bits of a packet's first byte.
pub mod kind {
    pub const CONNECT: u8 = 1;
    pub const CONNACK: u8 = 2;
    pub const PUBLISH: u8 = 3;
    pub const PUBACK: u8 = 4;
    pub const PUBREC: u8 = 5;
    pub const PUBREL: u8 = 6;
    pub const PUBCOMP: u8 = 7;
    pub const SUBSCRIBE: u8 = 8;
    pub const SUBACK: u8 = 9;
    pub const UNSUBSCRIBE: u8 = 10;
    pub const UNSUBACK: u8 = 11;
    pub const PINGREQ: u8 = 12;
    pub const PINGRESP: u8 = 13;
    pub const DISCONNECT: u8 = 14;
}

/// The first bytes of packets whose reserved flags are fixed (2.1.3): 0010 where the receiver has to answer
/// [MQTT-3.6.1-1] [MQTT-3.8.1-1], otherwise 0.
pub mod first {
    use super::kind;

    pub const CONNECT: u8 = kind::CONNECT << 4;
    pub const CONNACK: u8 = kind::CONNACK << 4;
    pub const PUBACK: u8 = kind::PUBACK << 4;
    pub const PUBREC: u8 = kind::PUBREC << 4;
    pub const PUBREL: u8 = kind::PUBREL << 4 | 0b0010;
    pub const PUBCOMP: u8 = kind::PUBCOMP << 4;
    pub const SUBSCRIBE: u8 = kind::SUBSCRIBE << 4 | 0b0010;
    pub const SUBACK: u8 = kind::SUBACK << 4;
    pub const UNSUBACK: u8 = kind::UNSUBACK << 4;
    pub const PINGREQ: u8 = kind::PINGREQ << 4;
    pub const PINGRESP: u8 = kind::PINGRESP << 4;
    pub const DISCONNECT: u8 = kind::DISCONNECT << 4;
}

/// The most that a packet's length can say, its fixed header left out (2.1.4).
pub const BODY_BYTES_MAX: usize = 268_435_455;

/// Bytes that are no number or no packet of MQTT, whatever may follow them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// A packet's fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Type and flags.
    pub first: u8,
    pub header_bytes: usize,
    pub body_bytes: usize,
}

impl Header {
    /// Reads the fixed header at the head of `bytes`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the length takes more than four bytes.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let Some((body_bytes, length_bytes)) = varint(rest)? else { return Ok(None) };
        Ok(Some(Self { first, header_bytes: 1 + length_bytes, body_bytes }))
    }

    /// The packet's type.
    pub fn kind(self) -> u8 {
        self.first >> 4
    }

    /// The whole packet's length.
    pub fn packet_bytes(self) -> usize {
        self.header_bytes + self.body_bytes
    }
}

/// Reads a variable byte integer (1.5.5): its value and its length; `None` when more bytes are needed.
///
/// # Errors
/// When it takes more than four bytes.
pub fn varint(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err(Malformed) } else { Ok(None) }
}

/// Appends a variable byte integer.
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

/// How many bytes a variable byte integer takes.
pub fn varint_bytes(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// The two-byte integer (1.5.2) at `at`.
///
/// # Errors
/// When it is not all there.
pub fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(Malformed),
    }
}

/// Appends a string or binary data (1.5.4, 1.5.6), its length in front. What is longer than MQTT can carry is
/// left out: whoever could bring such a text refuses it before.
pub fn put_string(out: &mut impl BufMut, text: &[u8]) {
    let text = if text.len() <= usize::from(u16::MAX) { text } else { &[] };
    out.put_u16(text.len() as u16);
    out.put_slice(text);
}

/// Appends a packet.
pub fn put_packet(out: &mut impl BufMut, first: u8, body: &[u8]) {
    out.put_u8(first);
    put_varint(out, body.len());
    out.put_slice(body);
}

/// Appends a packet that is nothing but a packet id: PUBACK, PUBREC, PUBREL, PUBCOMP without a reason, which
/// means success (3.4.2.1).
pub fn put_acknowledgement(out: &mut impl BufMut, first: u8, packet_id: u16) {
    out.put_slice(&[first, 2]);
    out.put_u16(packet_id);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_read_back(value in 0usize..=BODY_BYTES_MAX) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_bytes(value));
            prop_assert_eq!(varint(&bytes), Ok(Some((value, bytes.len()))));
            for cut in 0..bytes.len() {
                prop_assert_eq!(varint(&bytes[..cut]), Ok(None));
            }
        }

        #[test]
        fn packets_read_back(first: u8, body in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = Vec::new();
            put_packet(&mut bytes, first, &body);
            let header = Header::read(&bytes).unwrap().unwrap();
            prop_assert_eq!((header.first, header.packet_bytes()), (first, bytes.len()));
            prop_assert_eq!(&bytes[header.header_bytes..], &body[..]);
        }
    }

    #[test]
    fn a_length_of_more_than_four_bytes_is_none() {
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0x7f]), Ok(Some((BODY_BYTES_MAX, 4))));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff]), Err(Malformed));
        assert_eq!(Header::read(&[0x30, 0x80, 0x80, 0x80, 0x80]), Err(Malformed));
    }

    #[test]
    fn a_string_that_mqtt_cannot_carry_is_left_out() {
        let mut bytes = Vec::new();
        put_string(&mut bytes, &vec![b'x'; 65_536]);
        put_string(&mut bytes, b"ab");
        assert_eq!(bytes, [0, 0, 0, 2, b'a', b'b']);
        assert_eq!((u16_at(&bytes, 2), u16_at(&bytes, 5)), (Ok(2), Err(Malformed)));
    }
}
