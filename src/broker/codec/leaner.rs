//! CONNECT and DISCONNECT as they would be without their user properties, for the
//! codec, which makes two strings of each: one packet may have 200,000 of them.
//!
//! Nobody here reads them but those of a will, which stay as they were written.

use super::reason::Reason;
use super::wellformed::{CONNECT_PROPERTIES, DISCONNECT_PROPERTIES, Reader, USER, WILL_PROPERTIES};
use super::{Version, peek};
use crate::mqtt::packet::{kind, put_varint};

/// In a CONNECT's flags: a will follows.
const HAS_WILL: u8 = 0b100;

/// A packet without its user properties.
pub struct Lean {
    pub frame: Vec<u8>,
    /// The will's user properties, as they were written.
    pub will_pairs: Vec<u8>,
}

/// Takes the user properties out of a whole CONNECT or DISCONNECT, and checks the
/// properties. The rest is as it was.
pub fn lean(frame: &[u8], version: Version) -> Result<Lean, Reason> {
    let header = peek(frame, usize::MAX)?.ok_or(Reason::MALFORMED)?;
    let mut body = Body { left: Reader::new(&frame[header.header_bytes..]), own: Vec::new() };
    let mut will_pairs = Vec::new();
    match (version, header.kind()) {
        (Version::V5, kind::CONNECT) => will_pairs = body.connect()?,
        (Version::V5, kind::DISCONNECT) => body.disconnect()?,
        _ => {}
    }
    let mut lean = vec![header.first];
    put_varint(&mut lean, body.own.len() + body.left.rest().len());
    lean.extend(body.own);
    lean.extend(body.left.rest());
    Ok(Lean { frame: lean, will_pairs })
}

/// What is left of a packet's body, and what the lean one has before that.
struct Body<'a> {
    left: Reader<'a>,
    own: Vec<u8>,
}

impl<'a> Body<'a> {
    /// Up to the will's properties, if it has any. Returns those of the user among them.
    fn connect(&mut self) -> Result<Vec<u8>, Reason> {
        self.pass(|left| left.text().map(drop))?;
        let flags = self.left.rest().get(1).copied().unwrap_or_default();
        self.pass(|left| left.take(4).map(drop))?;
        self.thin(CONNECT_PROPERTIES, |_| {})?;
        self.pass(|left| left.text().map(drop))?;
        let mut will_pairs = Vec::new();
        if flags & HAS_WILL != 0 {
            self.thin(WILL_PROPERTIES, |pair| will_pairs.extend_from_slice(pair))?;
        }
        Ok(will_pairs)
    }

    fn disconnect(&mut self) -> Result<(), Reason> {
        if self.left.rest().is_empty() {
            return Ok(());
        }
        self.pass(|left| left.take(1).map(drop))?;
        if self.left.rest().is_empty() {
            // The standard lets the properties' length be left out, the codec does not.
            self.own.push(0);
            return Ok(());
        }
        self.thin(DISCONNECT_PROPERTIES, |_| {})
    }

    /// Takes what `read` reads over.
    fn pass(&mut self, read: impl FnOnce(&mut Reader<'a>) -> Result<(), Reason>) -> Result<(), Reason> {
        let before = self.left.rest();
        read(&mut self.left)?;
        self.own.extend_from_slice(&before[..before.len() - self.left.rest().len()]);
        Ok(())
    }

    /// Takes a block of properties over without those of the user, which `see` is shown.
    fn thin(&mut self, allowed: &[u8], mut see: impl FnMut(&[u8])) -> Result<(), Reason> {
        let bytes = self.left.varint()?;
        let block = self.left.take(bytes)?;
        let mut others = Vec::new();
        Reader::new(block).each_property(allowed, |property, _, range| match property {
            USER => see(&block[range]),
            _ => others.extend_from_slice(&block[range]),
        })?;
        put_varint(&mut self.own, others.len());
        self.own.extend(others);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::packet::put_packet;

    const PAIR: &[u8] = &[38, 0, 1, b'k', 0, 0];

    fn frame(first: u8, body: &[&[u8]]) -> Vec<u8> {
        let mut frame = Vec::new();
        put_packet(&mut frame, first, &body.concat());
        frame
    }

    #[test]
    fn user_properties_go_and_the_rest_stays_as_it_was() {
        let connect = |own: &[u8], will: &[u8]| {
            let (name, flags) = (&b"\0\x04MQTT\x05"[..], &[0b110, 0, 9][..]);
            let rest = b"\0\x01w\0\x01x";
            frame(0x10, &[name, flags, &[own.len() as u8], own, b"\0\x02id", &[will.len() as u8], will, rest])
        };
        let expiry = &[17, 0, 0, 0, 9][..];
        let full = connect(&[PAIR, expiry, PAIR].concat(), &[PAIR, &[1, 1], PAIR].concat());
        let lean_one = lean(&full, Version::V5).unwrap();
        assert_eq!(lean_one.frame, connect(expiry, &[1, 1]));
        assert_eq!(lean_one.will_pairs, [PAIR, PAIR].concat());

        let disconnect = frame(0xe0, &[&[4, 6], PAIR]);
        assert_eq!(lean(&disconnect, Version::V5).unwrap().frame, [0xe0, 2, 4, 0]);
        assert_eq!(lean(&[0xe0, 1, 4], Version::V5).unwrap().frame, [0xe0, 2, 4, 0]);
        assert_eq!(lean(&[0xe0, 0], Version::V5).unwrap().frame, [0xe0, 0]);
        assert_eq!(lean(&frame(0xe0, &[&[4, 6], &PAIR[..5]]), Version::V5).err(), Some(Reason::MALFORMED));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(frame in prop::collection::vec(any::<u8>(), 0..200), is_v5: bool) {
            let version = if is_v5 { Version::V5 } else { Version::V311 };
            let _any_answer = lean(&frame, version);
        }
    }
}
