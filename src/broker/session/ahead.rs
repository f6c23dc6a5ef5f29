//! Reading on while a publish waits for a slow receiver (`pending_policy = "wait"`):
//! what the client acknowledges, and its pings, lie behind that publish, and whoever
//! waits for this client in turn would wait for ever. Everything else keeps its order.

use bytes::{Bytes, BytesMut};

use super::client::Client;
use crate::broker::codec::reason::Reason;
use crate::broker::codec::{peek, wellformed};
use crate::mqtt::packet::kind;

/// So much is read behind a publish that waits; one packet may exceed it.
const AHEAD_BYTES_MAX: usize = 256 * 1024;

impl Client {
    /// Whether a client whose publish waits for a receiver is read on.
    pub fn reads_ahead(&self) -> bool {
        self.waiting.is_at_gate && self.input.frames.len() + self.input.unread.len() < AHEAD_BYTES_MAX
    }

    /// Looks through what has been read since the publish has waited. The rights have been reviewed.
    pub fn look_ahead(&mut self) -> Result<(), Reason> {
        if let Some(read) = self.input.take_behind() {
            let others = self.take_out(&read)?;
            self.put_behind(&others);
        }
        Ok(())
    }

    /// Looks through what lies behind a publish that has begun to wait.
    pub fn look_behind(&mut self) -> Result<(), Reason> {
        let Some(header) = peek(&self.input.frames, usize::MAX)? else { return Ok(()) };
        let behind = self.input.frames.split_off(header.packet_bytes());
        let others = self.take_out(&behind)?;
        self.put_behind(&others);
        self.look_ahead()
    }

    fn put_behind(&mut self, others: &[u8]) {
        // What waits may be long, and most of what comes is acknowledgements.
        if !others.is_empty() {
            self.input.frames = [&self.input.frames[..], others].concat().into();
        }
    }

    /// Deals with acknowledgements and pings among some packets, and returns the others.
    fn take_out(&mut self, packets: &Bytes) -> Result<BytesMut, Reason> {
        let (mut others, mut at) = (BytesMut::new(), 0);
        while let Some(header) = peek(&packets[at..], usize::MAX)? {
            let frame = &packets[at..at + header.packet_bytes()];
            at += frame.len();
            match header.kind() {
                kind::PUBACK..=kind::PUBCOMP => {
                    wellformed::check(frame, self.version)?;
                    self.slice.spend_bytes(frame.len());
                    self.on_ack(header.kind(), &frame[header.header_bytes..])?;
                }
                kind::PINGREQ if header.body_bytes == 0 => self.output.pong(),
                _ => {
                    others.extend_from_slice(frame);
                    continue;
                }
            }
            self.received.packets += 1;
        }
        Ok(others)
    }
}
