//! A PUBLISH from a client, taken apart without a copy.

use bytes::Bytes;

use super::reason::Reason;
use super::{Version, properties};
use crate::mqtt::Qos;
use crate::mqtt::packet::{u16_at, varint};

/// Of the first byte of a PUBLISH: it may have been sent before.
const DUP: u8 = 0b1000;

/// A PUBLISH taken apart.
pub struct Publish<'a> {
    pub qos: Qos,
    pub retain: bool,
    pub is_duplicate: bool,
    /// 0 at QoS 0, which has none.
    pub packet_id: u16,
    /// Empty where an alias stands for it.
    pub topic: Bytes,
    pub properties: properties::Read<'a>,
    pub payload: Bytes,
}

impl<'a> Publish<'a> {
    /// Reads one from the first byte of its packet, and what comes behind the fixed header.
    pub fn read(first: u8, body: &'a Bytes, version: Version) -> Result<Self, Reason> {
        // QoS 3 is reserved (MQTT 5, 3.3.1.2).
        let qos = Qos::from_bits((first >> 1) & 0b11).ok_or(Reason::MALFORMED)?;
        let topic_bytes = usize::from(u16_at(body, 0)?);
        let mut at = 2 + topic_bytes;
        // Nothing at QoS 0 is sent again (MQTT 5, 3.3.1.1).
        if body.len() < at || (qos == Qos::AtMostOnce && first & DUP != 0) {
            return Err(Reason::MALFORMED);
        }
        let mut packet_id = 0;
        if qos > Qos::AtMostOnce {
            packet_id = u16_at(body, at)?;
            at += 2;
            // 0 is no packet identifier (MQTT 5, 2.2.1).
            if packet_id == 0 {
                return Err(Reason::MALFORMED);
            }
        }
        let mut properties = properties::Read::default();
        if version == Version::V5 {
            let (properties_bytes, length_bytes) = varint(&body[at..])?.ok_or(Reason::MALFORMED)?;
            let end = at + length_bytes + properties_bytes;
            if body.len() < end {
                return Err(Reason::MALFORMED);
            }
            if properties_bytes > 0 {
                properties = properties::read(&body[at + length_bytes..end])?;
            }
            at = end;
        }
        let topic = body.slice(2..2 + topic_bytes);
        let retain = first & 1 != 0;
        let is_duplicate = first & DUP != 0;
        Ok(Self { qos, retain, is_duplicate, packet_id, topic, properties, payload: body.slice(at..) })
    }
}
