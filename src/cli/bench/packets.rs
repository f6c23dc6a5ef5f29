//! The few MQTT packets of a load generator, written and read by hand: a client
//! library would be its bottleneck.

use anyhow::{Context, anyhow, ensure};

use crate::mqtt::packet::{Header, Malformed, first, kind, put_packet, put_string, u16_at, varint};

/// The digits of a request's number: as wide as a time stamp in microseconds, so
/// that every request is as long as the next.
pub const STAMP_DIGITS: usize = 16;
/// The first number. The rest of the digits count.
pub const STAMP_FIRST: u64 = 1_000_000_000_000_000;

/// The largest packet that a broker may send us.
const PACKET_BYTES_MAX: usize = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V311,
    V5,
}

/// What a broker sends to a generator.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    ConnAck {
        code: u8,
        receive_max: u16,
    },
    SubAck {
        codes: &'a [u8],
    },
    Publish {
        qos: u8,
        packet_id: u16,
        topic: &'a [u8],
        payload: &'a [u8],
    },
    /// PUBACK, or a PUBREC that refuses: the request is done with.
    Acknowledged {
        packet_id: u16,
        is_refused: bool,
    },
    PubRec {
        packet_id: u16,
    },
    PubRel {
        packet_id: u16,
    },
    PubComp {
        packet_id: u16,
    },
    Disconnect {
        code: u8,
    },
    Other,
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_packet(&mut bytes, first, body);
    bytes
}

/// A CONNECT without keep-alive, for a session that ends with the connection.
pub fn connect(version: Version, client_id: &str, login: Option<(&str, &str)>) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(&mut body, b"MQTT");
    let flags = if login.is_some() { 0b1100_0010 } else { 0b10 };
    // Keep-alive 0 turns it off (3.1.2.10): pings would be packets that nobody has asked to be measured.
    body.extend([if version == Version::V5 { 5 } else { 4 }, flags, 0, 0]);
    if version == Version::V5 {
        body.push(0);
    }
    put_string(&mut body, client_id.as_bytes());
    if let Some((user, password)) = login {
        put_string(&mut body, user.as_bytes());
        put_string(&mut body, password.as_bytes());
    }
    packet(first::CONNECT, &body)
}

/// A SUBSCRIBE with packet id 1.
pub fn subscribe(version: Version, filters: &[String], qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    if version == Version::V5 {
        body.push(0);
    }
    for filter in filters {
        put_string(&mut body, filter.as_bytes());
        body.push(qos);
    }
    packet(first::SUBSCRIBE, &body)
}

/// The reason code of a DISCONNECT that a broker sends, in words.
pub fn in_words(code: u8) -> &'static str {
    match code {
        0x87 => "not authorized",
        0x8b => "it is shutting down",
        0x8d => "nothing came for too long",
        0x8e => "another client has the same client id",
        0x93 => "too many requests were not acknowledged",
        0x95 => "a packet was too large",
        0x96 => "requests came faster than they may",
        0x97 => "a quota was exceeded, such as what may wait for one client",
        _ => "for another reason",
    }
}

pub fn disconnect() -> [u8; 2] {
    [first::DISCONNECT, 0]
}

/// A PUBLISH of one device, complete but for its packet id and its request's number.
pub struct Template {
    bytes: Vec<u8>,
    packet_id_at: Option<usize>,
    stamp_at: usize,
}

impl Template {
    /// `stamp_at` is where the digits of the number begin in `payload`.
    pub fn new(version: Version, qos: u8, topic: &str, payload: &[u8], stamp_at: usize) -> Self {
        let mut body = Vec::new();
        put_string(&mut body, topic.as_bytes());
        let packet_id_at = (qos > 0).then_some(body.len());
        if qos > 0 {
            body.extend([0, 0]);
        }
        if version == Version::V5 {
            body.push(0);
        }
        let payload_at = body.len();
        body.extend(payload);
        let bytes = packet(kind::PUBLISH << 4 | qos << 1, &body);
        let header = bytes.len() - body.len();
        Self {
            packet_id_at: packet_id_at.map(|at| header + at),
            stamp_at: header + payload_at + stamp_at,
            bytes,
        }
    }

    /// Appends the packet of request `number`.
    pub fn append(&self, out: &mut Vec<u8>, packet_id: u16, number: u64) {
        let at = out.len();
        out.extend_from_slice(&self.bytes);
        if let Some(id_at) = self.packet_id_at {
            out[at + id_at..at + id_at + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
        let mut left = STAMP_FIRST + number;
        for digit in out[at + self.stamp_at..at + self.stamp_at + STAMP_DIGITS].iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
    }
}

/// The number of the request that a payload answers: its `timestamp_us`, which every answer repeats.
pub fn number_of(payload: &[u8]) -> Option<u64> {
    const MEMBER: &[u8] = b"\"timestamp_us\":";
    let at = payload.windows(MEMBER.len()).position(|window| window == MEMBER)? + MEMBER.len();
    let digits = payload[at..].trim_ascii_start();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let stamp: u64 = std::str::from_utf8(&digits[..end]).ok()?.parse().ok()?;
    stamp.checked_sub(STAMP_FIRST)
}

/// The packet at the head of `bytes` and its length, once it is complete.
///
/// # Errors
/// When it is not a packet that a broker sends.
pub fn next(bytes: &[u8], version: Version) -> anyhow::Result<Option<(Incoming<'_>, usize)>> {
    let header = Header::read(bytes)
        .map_err(|Malformed| anyhow!("the broker sent a packet whose length takes more than four bytes"))?;
    let Some(header) = header else { return Ok(None) };
    let length = header.body_bytes;
    ensure!(length <= PACKET_BYTES_MAX, "the broker sent a packet of {length} bytes");
    let Some(body) = bytes.get(header.header_bytes..header.packet_bytes()) else { return Ok(None) };
    let incoming = read(header, body, version).context("the broker sent a packet that is cut short")?;
    Ok(Some((incoming, header.packet_bytes())))
}

fn read(header: Header, body: &[u8], version: Version) -> Option<Incoming<'_>> {
    let is_v5 = version == Version::V5;
    // An acknowledgement may end behind its packet id, which means success (5.0, 3.4.2.1); in 3.1.1 it always
    // does.
    let reason = |at: usize| if is_v5 { body.get(at).copied().unwrap_or(0) } else { 0 };
    Some(match header.kind() {
        kind::CONNACK => {
            let receive_max = if is_v5 { receive_max(body.get(2..)?) } else { None };
            // Without the property it is 65,535 (5.0, 3.2.2.3.3), and in 3.1.1 ids are the only bound.
            Incoming::ConnAck { code: *body.get(1)?, receive_max: receive_max.unwrap_or(u16::MAX) }
        }
        kind::SUBACK => Incoming::SubAck { codes: after_properties(body.get(2..)?, is_v5)? },
        kind::PUBLISH => {
            let topic_end = 2 + usize::from(u16_at(body, 0).ok()?);
            let qos = header.first >> 1 & 3;
            let (packet_id, rest) = match qos {
                0 => (0, body.get(topic_end..)?),
                _ => (u16_at(body, topic_end).ok()?, body.get(topic_end + 2..)?),
            };
            let payload = after_properties(rest, is_v5)?;
            Incoming::Publish { qos, packet_id, topic: body.get(2..topic_end)?, payload }
        }
        kind::PUBACK => {
            Incoming::Acknowledged { packet_id: u16_at(body, 0).ok()?, is_refused: reason(2) >= 0x80 }
        }
        // A PUBREC with an error ends the exchange (5.0, 4.3.3): there is no PUBREL for it.
        kind::PUBREC if reason(2) >= 0x80 => {
            Incoming::Acknowledged { packet_id: u16_at(body, 0).ok()?, is_refused: true }
        }
        kind::PUBREC => Incoming::PubRec { packet_id: u16_at(body, 0).ok()? },
        kind::PUBREL => Incoming::PubRel { packet_id: u16_at(body, 0).ok()? },
        kind::PUBCOMP => Incoming::PubComp { packet_id: u16_at(body, 0).ok()? },
        kind::DISCONNECT => Incoming::Disconnect { code: reason(0) },
        _ => Incoming::Other,
    })
}

/// What follows the property block of MQTT 5.
fn after_properties(bytes: &[u8], is_v5: bool) -> Option<&[u8]> {
    if !is_v5 {
        return Some(bytes);
    }
    let (properties, at) = varint(bytes).ok()??;
    bytes.get(at + properties..)
}

/// The Receive Maximum among the properties of a CONNACK (MQTT 5, 3.2.2.3).
fn receive_max(bytes: &[u8]) -> Option<u16> {
    let (length, at) = varint(bytes).ok()??;
    let mut left = bytes.get(at..at + length)?;
    while let Some((&id, value)) = left.split_first() {
        let value_bytes = match id {
            0x21 => return u16_at(value, 0).ok(),
            0x24 | 0x25 | 0x28..=0x2a => 1,
            0x13 | 0x22 => 2,
            0x11 | 0x27 => 4,
            0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => 2 + usize::from(u16_at(value, 0).ok()?),
            0x26 => {
                let name = 2 + usize::from(u16_at(value, 0).ok()?);
                name + 2 + usize::from(u16_at(value, name).ok()?)
            }
            _ => return None,
        };
        left = value.get(value_bytes..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_makes_a_whole_publish_of_every_number() {
        for (version, qos) in [(Version::V311, 0), (Version::V311, 1), (Version::V5, 2)] {
            let payload = format!("{{\"timestamp_us\": {:016}, \"x\": \"{}\"}}", 0, "y".repeat(200));
            let template = Template::new(version, qos, "a/b", payload.as_bytes(), 17);
            let mut bytes = Vec::new();
            template.append(&mut bytes, 77, 3);
            template.append(&mut bytes, 78, 12_345);
            let (first, at) = next(&bytes, version).unwrap().unwrap();
            let Incoming::Publish { qos: read_qos, packet_id, topic, payload } = first else {
                panic!("{first:?}")
            };
            assert_eq!((read_qos, topic, number_of(payload)), (qos, &b"a/b"[..], Some(3)));
            assert_eq!(packet_id, if qos > 0 { 77 } else { 0 });
            let (second, end) = next(&bytes[at..], version).unwrap().unwrap();
            let Incoming::Publish { payload, .. } = second else { panic!("{second:?}") };
            assert_eq!((number_of(payload), at + end), (Some(12_345), bytes.len()));
        }
    }

    #[test]
    fn a_packet_is_read_once_it_is_complete() {
        let whole = [0x90, 4, 0, 1, 0, 0x87];
        for cut in 0..whole.len() {
            assert_eq!(next(&whole[..cut], Version::V5).unwrap(), None, "{cut} bytes");
        }
        let suback = Incoming::SubAck { codes: &[0x87] };
        assert_eq!(next(&whole, Version::V5).unwrap(), Some((suback, 6)));
        assert_eq!(
            next(&[0x90, 3, 0, 1, 2], Version::V311).unwrap(),
            Some((Incoming::SubAck { codes: &[2] }, 5))
        );
        assert!(next(&[0x90, 1, 0], Version::V5).is_err());
        assert!(next(&[0x30, 0xff, 0xff, 0xff, 0xff], Version::V5).is_err());
    }

    #[test]
    fn the_receive_maximum_is_found_among_other_properties() {
        let properties = [0x12, 0, 1, b'x', 0x26, 0, 1, b'k', 0, 1, b'v', 0x21, 1, 0, 0x25, 1];
        let body = [&[0, 0, properties.len() as u8][..], &properties].concat();
        let bytes = packet(0x20, &body);
        let (connack, _) = next(&bytes, Version::V5).unwrap().unwrap();
        assert_eq!(connack, Incoming::ConnAck { code: 0, receive_max: 256 });
        let (connack, _) = next(&[0x20, 2, 0, 5], Version::V311).unwrap().unwrap();
        assert_eq!(connack, Incoming::ConnAck { code: 5, receive_max: u16::MAX });
    }

    #[test]
    fn an_acknowledgement_may_refuse() {
        let refused = Incoming::Acknowledged { packet_id: 7, is_refused: true };
        assert_eq!(next(&[0x40, 3, 0, 7, 0x97], Version::V5).unwrap(), Some((refused, 5)));
        let taken = Incoming::Acknowledged { packet_id: 7, is_refused: false };
        assert_eq!(next(&[0x40, 2, 0, 7], Version::V311).unwrap(), Some((taken, 4)));
        assert_eq!(
            next(&[0x50, 2, 0, 7], Version::V5).unwrap(),
            Some((Incoming::PubRec { packet_id: 7 }, 4))
        );
    }

    #[test]
    fn answers_of_others_have_no_number() {
        assert_eq!(number_of(b"{}"), None);
        assert_eq!(number_of(br#"{"timestamp_us":null}"#), None);
        assert_eq!(number_of(br#"{"timestamp_us":12}"#), None);
    }
}
