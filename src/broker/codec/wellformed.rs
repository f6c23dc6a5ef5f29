//! The form of a client's packet, as far as the codec lets it pass: text,
//! properties, reserved bits, and nothing left over.
//!
//! The codec takes text with NULs, properties that come twice, blocks that are longer than they say, and
//! bytes that follow the end of a packet. It runs after these checks and reads what they let through.

use std::ops::Range;

use super::reason::Reason;
use super::{Version, peek};
use crate::mqtt::packet::{kind, u16_at, varint};

/// How a property's value is written.
#[derive(Clone, Copy)]
enum Value {
    /// 0 or 1.
    Flag,
    Bytes(usize),
    Varint,
    Text,
    Binary,
    /// A name and a value, the only property that may come more than once.
    Pair,
}

/// The properties that a client may send, in MQTT 5's numbers.
fn value(property: u8) -> Option<Value> {
    Some(match property {
        1 | 23 | 25 => Value::Flag,
        2 | 17 | 24 | 39 => Value::Bytes(4),
        33..=35 => Value::Bytes(2),
        3 | 8 | 21 | 31 => Value::Text,
        9 | 22 => Value::Binary,
        11 => Value::Varint,
        38 => Value::Pair,
        _ => return None,
    })
}

/// The number of the subscription identifier.
const IDENTIFIER: u8 = 11;
/// The number of user properties.
pub const USER: u8 = 38;
pub const CONNECT_PROPERTIES: &[u8] = &[17, 21, 22, 23, 25, 33, 34, 38, 39];
pub const WILL_PROPERTIES: &[u8] = &[1, 2, 3, 8, 9, 24, 38];
// A subscription identifier from a client is known here and refused as a protocol
// error by the one who reads it.
const PUBLISH_PROPERTIES: &[u8] = &[1, 2, 3, 8, 9, 11, 35, 38];
const ACK_PROPERTIES: &[u8] = &[31, 38];
const SUBSCRIBE_PROPERTIES: &[u8] = &[IDENTIFIER, 38];
const UNSUBSCRIBE_PROPERTIES: &[u8] = &[38];
pub const DISCONNECT_PROPERTIES: &[u8] = &[17, 31, 38];

/// Checks a whole frame of any kind but PUBLISH, SUBSCRIBE and UNSUBSCRIBE, which are read in parts.
pub fn check(frame: &[u8], version: Version) -> Result<(), Reason> {
    let Some(header) = peek(frame, usize::MAX)? else { return Err(Reason::MALFORMED) };
    let mut body = Reader(frame.get(header.header_bytes..).ok_or(Reason::MALFORMED)?);
    match header.kind() {
        kind::CONNECT => body.connect(version)?,
        kind::DISCONNECT => body.reason_and(DISCONNECT_PROPERTIES, version)?,
        kind::PUBACK..=kind::PUBCOMP => {
            body.take(2)?;
            body.reason_and(ACK_PROPERTIES, version)?;
        }
        _ => {}
    }
    body.end()
}

/// Checks the properties of a PUBLISH, without their length, and shows `see` each:
/// its number, its value as it is written, and where in `block` both stand.
pub fn publish_properties<'a>(
    block: &'a [u8],
    see: impl FnMut(u8, &'a [u8], Range<usize>),
) -> Result<(), Reason> {
    Reader(block).each_property(PUBLISH_PROPERTIES, see)
}

/// The text in a property's value, which has its length in front.
pub fn text(value: &[u8]) -> Option<&str> {
    value.get(2..).and_then(|text| std::str::from_utf8(text).ok())
}

/// What comes before the filters of a SUBSCRIBE or UNSUBSCRIBE.
#[derive(Debug)]
pub struct ListHead {
    pub packet_id: u16,
    /// The subscription identifier.
    pub identifier: Option<usize>,
    /// Where in the body the filters begin.
    pub bytes: usize,
}

/// Reads the head of the body of a SUBSCRIBE or UNSUBSCRIBE.
pub fn list_head(body: &[u8], is_subscribe: bool, version: Version) -> Result<ListHead, Reason> {
    let mut reader = Reader(body);
    let packet_id = u16_at(reader.take(2)?, 0)?;
    let allowed = if is_subscribe { SUBSCRIBE_PROPERTIES } else { UNSUBSCRIBE_PROPERTIES };
    let mut identifier = None;
    if version == Version::V5 {
        let bytes = reader.varint()?;
        Reader(reader.take(bytes)?).each_property(allowed, |property, value, _| {
            identifier = identifier.or((property == IDENTIFIER).then_some(value));
        })?;
    }
    let identifier = identifier.map(|value| Reader(value).varint()).transpose()?;
    if reader.0.is_empty() || identifier == Some(0) {
        return Err(Reason::PROTOCOL_ERROR);
    }
    if packet_id == 0 {
        Err(Reason::MALFORMED)
    } else {
        Ok(ListHead { packet_id, identifier, bytes: body.len() - reader.0.len() })
    }
}

/// Reads the filter at the head of what is left of an UNSUBSCRIBE, and returns it with what follows.
pub fn filter(left: &[u8]) -> Result<(&str, &[u8]), Reason> {
    let mut reader = Reader(left);
    let filter = reader.text()?;
    Ok((filter, reader.0))
}

/// Reads a filter with the options that a SUBSCRIBE has behind it.
pub fn filter_with_options(left: &[u8], version: Version) -> Result<(&str, u8, &[u8]), Reason> {
    let (filter, left) = filter(left)?;
    let (&options, left) = left.split_first().ok_or(Reason::MALFORMED)?;
    let reserved = if version == Version::V5 { 0b1100_0000 } else { 0b1111_1100 };
    let has_qos_3 = options & 0b11 == 0b11;
    let has_retain_handling_3 = options & 0b11_0000 == 0b11_0000;
    if options & reserved != 0 {
        Err(Reason::MALFORMED)
    } else if has_qos_3 || has_retain_handling_3 {
        Err(Reason::PROTOCOL_ERROR)
    } else {
        Ok((filter, options, left))
    }
}

/// What is left of a packet.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn connect(&mut self, version: Version) -> Result<(), Reason> {
        self.text()?;
        let flags = self.take(2)?[1];
        let _keep_alive = self.take(2)?;
        self.properties_of(CONNECT_PROPERTIES, version)?;
        self.text()?;
        if flags & 0b100 != 0 {
            self.properties_of(WILL_PROPERTIES, version)?;
            self.text()?;
            self.binary()?;
        }
        if flags & 0b1000_0000 != 0 {
            self.text()?;
        }
        if flags & 0b0100_0000 != 0 {
            self.binary()?;
        }
        Ok(())
    }

    /// A reason code and properties, both of which may be left out, and neither of which 3.1.1 has.
    fn reason_and(&mut self, allowed: &[u8], version: Version) -> Result<(), Reason> {
        if version == Version::V311 || self.0.is_empty() {
            return Ok(());
        }
        let _reason = self.take(1)?;
        if self.0.is_empty() { Ok(()) } else { self.properties(allowed) }
    }

    fn properties_of(&mut self, allowed: &[u8], version: Version) -> Result<(), Reason> {
        if version == Version::V5 { self.properties(allowed) } else { Ok(()) }
    }

    /// A property block with its length.
    fn properties(&mut self, allowed: &[u8]) -> Result<(), Reason> {
        let bytes = self.varint()?;
        Reader(self.take(bytes)?).each_property(allowed, |_, _, _| {})
    }

    /// The properties that fill what is left.
    pub fn each_property(
        &mut self,
        allowed: &[u8],
        mut see: impl FnMut(u8, &'a [u8], Range<usize>),
    ) -> Result<(), Reason> {
        let block = self.0;
        let mut seen = 0u64;
        let takes_pairs = allowed.contains(&USER);
        while let Some(&property) = self.0.first() {
            let start = block.len() - self.0.len();
            self.take(1)?;
            if property == USER && takes_pairs {
                // There may be 200,000 of these in a packet.
                self.text()?;
                self.text()?;
                let end = block.len() - self.0.len();
                see(property, &block[start + 1..end], start..end);
                continue;
            }
            let Some(value) = value(property).filter(|_| allowed.contains(&property)) else {
                return Err(Reason::MALFORMED);
            };
            // Every number in the table is below 64.
            let bit = 1 << property;
            if seen & bit != 0 && !matches!(value, Value::Pair) {
                return Err(Reason::PROTOCOL_ERROR);
            }
            seen |= bit;
            self.value(value)?;
            let end = block.len() - self.0.len();
            see(property, &block[start + 1..end], start..end);
        }
        Ok(())
    }

    fn value(&mut self, value: Value) -> Result<(), Reason> {
        match value {
            Value::Flag if self.take(1)?[0] > 1 => return Err(Reason::PROTOCOL_ERROR),
            Value::Flag => {}
            Value::Bytes(count) => drop(self.take(count)?),
            Value::Varint => drop(self.varint()?),
            Value::Text => drop(self.text()?),
            Value::Binary => self.binary()?,
            Value::Pair => {
                self.text()?;
                self.text()?;
            }
        }
        Ok(())
    }

    /// Text with its length: UTF-8 without NUL.
    pub fn text(&mut self) -> Result<&'a str, Reason> {
        let bytes = usize::from(u16_at(self.0, 0)?);
        self.take(2)?;
        if bytes == 0 {
            return Ok("");
        }
        let text = self.take(bytes)?;
        if text.contains(&0) {
            return Err(Reason::MALFORMED);
        }
        std::str::from_utf8(text).map_err(|_| Reason::MALFORMED)
    }

    fn binary(&mut self) -> Result<(), Reason> {
        let bytes = usize::from(u16_at(self.0, 0)?);
        self.take(2 + bytes).map(drop)
    }

    pub fn varint(&mut self) -> Result<usize, Reason> {
        let (value, bytes) = varint(self.0)?.ok_or(Reason::MALFORMED)?;
        self.take(bytes)?;
        Ok(value)
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Reason> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Reason::MALFORMED)?;
        self.0 = rest;
        Ok(taken)
    }

    fn end(&self) -> Result<(), Reason> {
        if self.0.is_empty() { Ok(()) } else { Err(Reason::MALFORMED) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_property_comes_once_and_only_where_it_belongs() {
        let block = |bytes: &[u8]| publish_properties(bytes, |_, _, _| {});
        assert_eq!(block(&[1, 1, 2, 0, 0, 0, 9, 38, 0, 1, b'k', 0, 0, 38, 0, 0, 0, 0]), Ok(()));
        assert_eq!(block(&[1, 1, 1, 1]), Err(Reason::PROTOCOL_ERROR), "twice");
        assert_eq!(block(&[17, 0, 0, 0, 0]), Err(Reason::MALFORMED), "of another packet");
        assert_eq!(block(&[99]), Err(Reason::MALFORMED), "unknown");
        assert_eq!(block(&[2, 0, 0]), Err(Reason::MALFORMED), "cut short");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(frame in prop::collection::vec(any::<u8>(), 0..200), is_v5: bool) {
            let version = if is_v5 { Version::V5 } else { Version::V311 };
            let _any_answer = check(&frame, version);
            let _any_answer = publish_properties(&frame, |_, _, _| {});
        }
    }
}
