//! What is written to one client: encoded packets, one after the other, and how much of them has gone out.

use std::collections::HashMap;

use bytes::{BufMut, Bytes};

use super::delivery::Delivery;
use crate::broker::codec::Version;
use crate::broker::codec::properties::Told;
use crate::broker::codec::reason::Reason;
use crate::broker::limits::traffic::Tally;
use crate::mqtt::packet::{first, kind, put_acknowledgement, put_varint, varint_bytes};

/// Nothing more is taken for a client above this many unwritten bytes.
pub const HIGH_BYTES: usize = 256 * 1024;
/// A buffer that grew beyond this is shrunk when it is empty.
const KEEP_BYTES: usize = 2 * HIGH_BYTES;
/// What an alias takes of memory beside its topic, in either direction.
pub const ALIAS_BYTES: usize = 96;

/// How a client wants its PUBLISH packets.
pub struct Wishes {
    pub version: Version,
    pub packet_bytes_max: usize,
    pub aliases_max: u16,
}

/// One client's unwritten packets.
pub struct Output {
    bytes: Vec<u8>,
    written: usize,
    wishes: Wishes,
    aliases: HashMap<Bytes, u16>,
    /// What was written, until it is told.
    pub sent: Tally,
    alias_bytes: usize,
}

impl Output {
    pub fn new(wishes: Wishes) -> Self {
        Self {
            bytes: Vec::new(),
            written: 0,
            wishes,
            aliases: HashMap::new(),
            alias_bytes: 0,
            sent: Tally::default(),
        }
    }

    /// What it takes of memory.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.alias_bytes
    }

    pub fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub fn advance(&mut self, written: usize) {
        self.written += written;
        self.sent.bytes += written as u64;
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
            if self.bytes.capacity() > KEEP_BYTES {
                self.bytes.shrink_to(HIGH_BYTES);
            }
        }
    }

    pub fn raw(&mut self, packet: &[u8]) {
        self.sent.packets += 1;
        self.bytes.extend_from_slice(packet);
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub fn ack(&mut self, first: u8, packet_id: u16, reason: Reason) {
        self.sent.packets += 1;
        if self.wishes.version == Version::V5 && reason != Reason::SUCCESS {
            self.bytes.extend_from_slice(&[first, 3]);
            self.bytes.put_u16(packet_id);
            self.bytes.push(reason.0);
        } else {
            put_acknowledgement(&mut self.bytes, first, packet_id);
        }
    }

    pub fn suback(&mut self, packet_id: u16, codes: &[u8]) {
        self.codes(first::SUBACK, packet_id, codes);
    }

    pub fn unsuback(&mut self, packet_id: u16, codes: &[u8]) {
        // 3.1.1 has no codes here.
        let codes = if self.wishes.version == Version::V5 { codes } else { &[] };
        self.codes(first::UNSUBACK, packet_id, codes);
    }

    /// Whether the client takes a SUBACK or UNSUBACK of so many codes.
    pub fn takes_codes(&self, count: usize) -> bool {
        let body = 3 + count;
        1 + varint_bytes(body) + body <= self.wishes.packet_bytes_max
    }

    fn codes(&mut self, first: u8, packet_id: u16, codes: &[u8]) {
        let is_v5 = self.wishes.version == Version::V5;
        self.sent.packets += 1;
        self.bytes.push(first);
        put_varint(&mut self.bytes, 2 + usize::from(is_v5) + codes.len());
        self.bytes.put_u16(packet_id);
        if is_v5 {
            self.bytes.push(0);
        }
        self.bytes.extend_from_slice(codes);
    }

    pub fn pong(&mut self) {
        self.sent.packets += 1;
        self.bytes.extend_from_slice(&[first::PINGRESP, 0]);
    }

    /// A server's DISCONNECT, with the reason in words where the client takes a packet
    /// of that size; 3.1.1 has none.
    pub fn goodbye(&mut self, reason: Reason) {
        if self.wishes.version == Version::V311 {
            return;
        }
        self.sent.packets += 1;
        let properties = reason.properties();
        let body = 1 + properties.len();
        if 2 + body > self.wishes.packet_bytes_max {
            return self.bytes.extend_from_slice(&[first::DISCONNECT, 2, reason.0, 0]);
        }
        self.bytes.push(first::DISCONNECT);
        put_varint(&mut self.bytes, body);
        self.bytes.push(reason.0);
        self.bytes.extend_from_slice(&properties);
    }

    /// Adds a PUBLISH. `false` when it has expired or is larger than the client takes:
    /// it is dropped. What was sent before does not expire any more (MQTT 5, 4.3.3).
    pub fn publish(
        &mut self,
        delivery: &Delivery,
        packet_id: u16,
        is_dup: bool,
        now_ms: impl FnOnce() -> u64,
    ) -> bool {
        let publication = &*delivery.publication;
        let expiry_s = publication.expiry_s(now_ms);
        if expiry_s == Some(0) && !is_dup {
            return false;
        }
        let (alias, mut topic) = self.alias(&publication.topic);
        let told =
            Told { expiry_s, alias: alias.map(|alias| alias.number), identifiers: &delivery.identifiers };
        if alias.is_some_and(|alias| !alias.is_known) {
            topic = &publication.topic;
        }
        let own = publication.properties.as_wire();
        let block_bytes = told.wire_bytes() + own.len();
        let properties_bytes = match self.wishes.version {
            Version::V311 => 0,
            Version::V5 => varint_bytes(block_bytes) + block_bytes,
        };
        let packet_id_bytes = if delivery.qos as u8 > 0 { 2 } else { 0 };
        let body = 2 + topic.len() + packet_id_bytes + properties_bytes + publication.payload.len();
        if 1 + varint_bytes(body) + body > self.wishes.packet_bytes_max {
            return false;
        }
        if let Some(alias) = alias.filter(|alias| !alias.is_known) {
            self.alias_bytes += ALIAS_BYTES + publication.topic.len();
            self.aliases.insert(Bytes::copy_from_slice(&publication.topic), alias.number);
        }
        self.bytes.reserve(body + 5);
        let flags = u8::from(is_dup) << 3 | (delivery.qos as u8) << 1 | u8::from(delivery.retain);
        self.bytes.push(kind::PUBLISH << 4 | flags);
        put_varint(&mut self.bytes, body);
        self.bytes.put_u16(topic.len() as u16);
        self.bytes.extend_from_slice(topic);
        if packet_id_bytes > 0 {
            self.bytes.put_u16(packet_id);
        }
        if self.wishes.version == Version::V5 {
            put_varint(&mut self.bytes, block_bytes);
            told.put(&mut self.bytes);
            self.bytes.extend_from_slice(own);
        }
        self.bytes.extend_from_slice(&publication.payload);
        self.sent.packets += 1;
        self.sent.note_publish(publication.payload.len());
        true
    }

    /// The alias for a topic, where the client takes some, and the topic to write beside it.
    fn alias<'a>(&self, topic: &'a Bytes) -> (Option<Alias>, &'a [u8]) {
        if self.wishes.aliases_max == 0 {
            return (None, topic);
        }
        if let Some(&number) = self.aliases.get(topic) {
            return (Some(Alias { number, is_known: true }), &[]);
        }
        let next = self.aliases.len() as u16 + 1;
        if next > self.wishes.aliases_max {
            return (None, topic);
        }
        (Some(Alias { number: next, is_known: false }), topic)
    }
}

#[derive(Clone, Copy)]
struct Alias {
    number: u16,
    /// The client has seen it with its topic.
    is_known: bool,
}
