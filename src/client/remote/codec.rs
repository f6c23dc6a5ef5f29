//! Packets as the connection sees them, whichever version of MQTT they are written in.
//!
//! rumqttc's codecs read and write them. Its event loop is not used: it sends unacknowledged messages
//! again in the order of their packet ids instead of their own, forgets them when the broker has no
//! session, cannot end a session, and speaks TLS only through a certificate verifier with open advisories.

mod v3;
mod v5;

use bytes::{Buf, BufMut, BytesMut};

use super::config::{Config, Protocol};
use crate::client::Status;
use crate::mqtt::packet::{BODY_BYTES_MAX, first, put_acknowledgement};
use crate::mqtt::{Message, Qos};

/// What a broker says.
#[derive(Debug)]
pub enum Incoming {
    ConnAck(Accepted),
    /// The broker lets nobody in, or not us; why.
    Refused(String),
    Publish {
        /// 0 at QoS 0.
        id: u16,
        message: Message,
    },
    /// A message that is not taken in, and how large its packet is. Only a 3.1.1 broker
    /// sends it: one that speaks MQTT 5 has been told how much we take.
    TooLarge {
        id: u16,
        qos: Qos,
        bytes: usize,
    },
    PubAck(u16, Fate),
    PubRec(u16, Fate),
    PubRel(u16),
    PubComp(u16),
    /// For each filter in turn: why it was refused, if it was.
    SubAck(u16, Vec<Option<String>>),
    UnsubAck(u16),
    PingResp,
    /// The broker ends the connection, and why.
    Disconnect(String),
}

/// What the broker says about a connection that it accepts. Its limits are MQTT 5's;
/// a 3.1.1 broker keeps its own to itself.
#[derive(Debug, Default)]
pub struct Accepted {
    pub session_present: bool,
    pub receive_max: Option<u16>,
    pub packet_bytes_max: Option<u32>,
    pub keep_alive_s: Option<u16>,
}

/// What became of a published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Taken,
    /// Not taken, and it would not be the next time.
    Refused(String),
    /// Not taken this time.
    Postponed(String),
}

/// One version of MQTT, and how large packets may be.
pub struct Codec {
    protocol: Protocol,
    bytes_in_max: u32,
    /// What the broker accepts.
    pub bytes_out_max: u32,
    /// How many bytes of what comes next belong to a packet that is too large.
    skip: usize,
}

impl Codec {
    pub fn new(config: &Config) -> Self {
        Self {
            protocol: config.protocol,
            bytes_in_max: config.packet_bytes_max,
            bytes_out_max: PACKET_BYTES_MAX,
            skip: 0,
        }
    }

    /// Takes the first packet from `input`; none when it is not all there yet.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, String> {
        if self.protocol == Protocol::V5 {
            return v5::read(input, self.bytes_in_max);
        }
        let skipped = self.skip.min(input.len());
        input.advance(skipped);
        self.skip -= skipped;
        // A 3.1.1 broker cannot be told how much we take, so that its message is no fault of its own and the
        // connection goes on; MQTT 5 has Maximum Packet Size for that (3.1.2.11.4).
        if let Some(large) = v3::too_large(input, self.bytes_in_max) {
            self.skip = large.bytes;
            return Ok(Some(Incoming::TooLarge { id: large.id, qos: large.qos, bytes: large.bytes }));
        }
        v3::read(input, self.bytes_in_max)
    }

    pub fn connect(
        &self,
        config: &Config,
        status: Option<&Status>,
        output: &mut BytesMut,
    ) -> Result<(), String> {
        match self.protocol {
            Protocol::V5 => v5::connect(config, status, output),
            Protocol::V311 => v3::connect(config, status, output),
        }
    }

    /// # Errors
    /// When the broker takes no packets of this size.
    pub fn publish(
        &self,
        id: u16,
        is_duplicate: bool,
        message: &Message,
        output: &mut BytesMut,
    ) -> Result<(), String> {
        match self.protocol {
            Protocol::V5 => v5::publish(id, is_duplicate, message, self.bytes_out_max, output),
            Protocol::V311 => v3::publish(id, is_duplicate, message, self.bytes_out_max, output),
        }
    }

    /// At QoS 1: a request published at QoS 0 still arrives as such.
    pub fn subscribe(&self, id: u16, filters: &[String], output: &mut BytesMut) -> Result<(), String> {
        match self.protocol {
            Protocol::V5 => v5::subscribe(id, filters, output),
            Protocol::V311 => v3::subscribe(id, filters, output),
        }
    }

    pub fn unsubscribe(&self, id: u16, filters: &[String], output: &mut BytesMut) -> Result<(), String> {
        match self.protocol {
            Protocol::V5 => v5::unsubscribe(id, filters, output),
            Protocol::V311 => v3::unsubscribe(id, filters, output),
        }
    }

    /// The receiver's first word about a message of that quality of service.
    pub fn acknowledge(&self, id: u16, qos: Qos, output: &mut BytesMut) {
        let first = if qos == Qos::ExactlyOnce { first::PUBREC } else { first::PUBACK };
        put_acknowledgement(output, first, id);
    }

    pub fn release(&self, id: u16, output: &mut BytesMut) {
        put_acknowledgement(output, first::PUBREL, id);
    }

    pub fn complete(&self, id: u16, output: &mut BytesMut) {
        put_acknowledgement(output, first::PUBCOMP, id);
    }

    pub fn ping(&self, output: &mut BytesMut) {
        output.put_slice(&[first::PINGREQ, 0]);
    }

    /// Says goodbye; the will is not published. In MQTT 5 the session can end with the connection.
    pub fn disconnect(&self, ends_session: bool, output: &mut BytesMut) {
        match self.protocol {
            // DISCONNECT may change what CONNECT asked for (5.0, 3.14.2.2.2), so that a node which leaves for
            // good need not know that when it comes.
            // Reason 0, and a block with one property: session expiry interval, 0 seconds.
            Protocol::V5 if ends_session => output.put_slice(&[first::DISCONNECT, 7, 0, 5, 17, 0, 0, 0, 0]),
            Protocol::V5 | Protocol::V311 => output.put_slice(&[first::DISCONNECT, 0]),
        }
    }
}

/// The largest packet that MQTT's length prefix can describe.
const PACKET_BYTES_MAX: u32 = BODY_BYTES_MAX as u32;

/// The error for a packet that makes no sense.
fn malformed(cause: impl std::fmt::Debug) -> String {
    format!("the broker sent a packet that cannot be read: {cause:?}")
}

/// The error for a packet that is larger than the broker takes.
fn unwritable(cause: impl std::fmt::Debug) -> String {
    format!("the packet cannot be sent: {cause:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_too_large_is_skipped_and_what_follows_is_read() {
        let mut config = Config::new("h", 1, "c");
        config.protocol = Protocol::V311;
        config.packet_bytes_max = 100;
        let mut codec = Codec::new(&config);
        let mut packets = BytesMut::new();
        let large = Message { qos: Qos::AtLeastOnce, ..Message::new("topic", vec![7; 1_000]) };
        let small = Message::new("t", "x");
        codec.publish(5, false, &large, &mut packets).unwrap();
        let bytes_large = packets.len();
        codec.publish(0, false, &small, &mut packets).unwrap();
        let (mut input, mut seen) = (BytesMut::new(), Vec::new());
        for byte in packets {
            input.put_u8(byte);
            while let Some(packet) = codec.read(&mut input).unwrap() {
                seen.push(packet);
            }
            assert!(input.len() <= 16, "it is not kept");
        }
        assert!(
            matches!(seen[0], Incoming::TooLarge { id: 5, qos: Qos::AtLeastOnce, bytes } if bytes == bytes_large)
        );
        assert!(matches!(&seen[1], Incoming::Publish { message, .. } if message.payload == "x"));
        assert_eq!(seen.len(), 2);
    }
}
