//! From the client: every packet but PUBLISH, SUBSCRIBE and UNSUBSCRIBE, and the batch that publishes go out
//! in.

use bytes::Bytes;
use tokio::time::Instant;

use super::client::Client;
use super::ending::End;
use super::inflight::Inflight;
use super::waiting::Wait;
use crate::broker::codec::disconnect;
use crate::broker::codec::peek;
use crate::broker::codec::reason::Reason;
use crate::broker::codec::wellformed;
use crate::mqtt::Qos;
use crate::mqtt::packet::{Header, first, kind, u16_at};

/// Publishes handed to the router in one go.
const BATCH_MESSAGES_MAX: usize = 512;

/// Packets of one client that are dealt with in a row. A full block has fewer that
/// carry anything, so this is for the very small ones that come behind a large one.
const PACKETS_IN_A_ROW_MAX: usize = 4_096;

/// Whether a packet was dealt with.
#[derive(PartialEq, Eq)]
pub enum Progress {
    Done,
    /// It must wait, and everything behind it.
    Wait,
}

impl Client {
    /// Deals with every complete packet that was read, as far as it may go.
    pub fn process(&mut self, now: Instant) -> Result<(), Reason> {
        if self.waiting.why == Wait::Router {
            // It goes on when the router has caught up.
            return Ok(());
        }
        // Whatever changes from here on wakes a publisher that is found to have to wait.
        self.waiting.look();
        if self.has_stale_rights() {
            // Nothing is accepted before they have been looked at, which the next round begins with.
            return Ok(());
        }
        self.waiting.enter();
        let result = self.process_frames(now);
        self.push()?;
        if !self.waiting.visit.is_waiting() {
            self.waiting.visit.leave();
        }
        self.note_waiting();
        result?;
        if self.waiting.is_at_gate { self.look_behind() } else { Ok(()) }
    }

    /// Hands the batch to the router, and holds the client when the router has much before it.
    pub fn push(&mut self) -> Result<(), Reason> {
        let sent = self.publisher.batch.len();
        if self.context.bus.push(&mut self.publisher.batch).map_err(|_| Reason::SHUTTING_DOWN)? {
            self.waiting.why = Wait::Router;
        }
        if !self.publisher.batch.not_kept.is_empty() {
            let not_kept = std::mem::take(&mut self.publisher.batch.not_kept);
            self.context.bus.note_not_kept(not_kept, &self.who());
        }
        if sent > 0
            && let [lane] = self.publisher.route.targets.links.as_slice()
        {
            self.waiting.visit.note_burst(lane, sent as u64);
        }
        Ok(())
    }

    fn process_frames(&mut self, now: Instant) -> Result<(), Reason> {
        let mut packets = 0;
        loop {
            if self.input.frames.is_empty() && !self.input.take_frames()? {
                return Ok(());
            }
            while let Some(header) = peek(&self.input.frames, usize::MAX)? {
                if self.slice.is_over() {
                    return Ok(());
                }
                let frame = self.input.frames.slice(..header.packet_bytes());
                if self.packet(header, &frame, now)? == Progress::Wait {
                    return Ok(());
                }
                self.received.packets += 1;
                packets += 1;
                if packets == PACKETS_IN_A_ROW_MAX {
                    self.slice.end();
                }
                self.input.frames = self.input.frames.split_off(header.packet_bytes());
                if self.publisher.batch.len() >= BATCH_MESSAGES_MAX {
                    self.push()?;
                    if self.waiting.why == Wait::Router {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn packet(&mut self, header: Header, frame: &Bytes, now: Instant) -> Result<Progress, Reason> {
        match header.kind() {
            kind::PUBLISH => return self.on_publish(header.first, &frame.slice(header.header_bytes..), now),
            kind::PUBACK..=kind::PUBCOMP => {
                wellformed::check(frame, self.version)?;
                self.slice.spend_bytes(frame.len());
                self.on_ack(header.kind(), &frame[header.header_bytes..])?;
            }
            kind::SUBSCRIBE => return self.on_list(frame, true),
            kind::UNSUBSCRIBE => return self.on_list(frame, false),
            kind::PINGREQ if header.body_bytes == 0 => self.output.pong(),
            kind::PINGREQ => return Err(Reason::MALFORMED),
            kind::DISCONNECT => return Err(self.on_disconnect(frame)),
            // A second CONNECT.
            _ => return Err(Reason::PROTOCOL_ERROR),
        }
        Ok(Progress::Done)
    }

    /// Ends the connection the client's way, or for what is wrong with its DISCONNECT.
    fn on_disconnect(&mut self, frame: &[u8]) -> Reason {
        let Ok(said) = disconnect::read(frame, self.version) else { return Reason::MALFORMED };
        if let Some(expiry_s) = said.expiry_s {
            // A session that was to end with the connection cannot be kept after all (MQTT 5, 3.14.2.2.2).
            if self.session.expiry_s == 0 && expiry_s > 0 {
                return Reason::PROTOCOL_ERROR;
            }
            self.session.expiry_s = expiry_s.min(self.context.config.limits.session_expiry_max_s);
        }
        self.ending = Some(End::Goodbye { publishes_will: !said.is_normal });
        Reason::SUCCESS
    }

    /// PUBACK, PUBREC, PUBREL and PUBCOMP.
    pub fn on_ack(&mut self, kind: u8, body: &[u8]) -> Result<(), Reason> {
        let packet_id = u16_at(body, 0)?;
        if packet_id == 0 {
            return Err(Reason::MALFORMED);
        }
        let is_refused = body.get(2).is_some_and(|&code| Reason(code).is_refusal());
        match kind {
            kind::PUBACK => self.forget(packet_id, |message| message.is_of(Qos::AtLeastOnce)),
            kind::PUBREC => self.on_pubrec(packet_id, is_refused),
            kind::PUBREL => {
                let is_known = self.session.receiving.remove(&packet_id);
                self.session.live.unanswered.remove(&packet_id);
                let reason = if is_known { Reason::SUCCESS } else { Reason::PACKET_ID_NOT_FOUND };
                self.output.ack(first::PUBCOMP, packet_id, reason);
            }
            _ => self.forget(packet_id, Inflight::is_released),
        }
        self.refill();
        Ok(())
    }

    fn forget(&mut self, packet_id: u16, is_it: impl Fn(&Inflight) -> bool) {
        if let Some(index) = self.session.inflight_index(packet_id)
            && is_it(&self.session.inflight[index])
        {
            self.end_inflight(index);
        }
    }

    /// A message is acknowledged to the end. Clients may do that in any order.
    fn end_inflight(&mut self, index: usize) {
        self.slice.spend_moves(self.session.inflight.moved_by(index));
        self.session.inflight.remove(index);
    }

    fn on_pubrec(&mut self, packet_id: u16, is_refused: bool) {
        let index = self
            .session
            .inflight_index(packet_id)
            .filter(|&index| self.session.inflight[index].is_of(Qos::ExactlyOnce));
        let Some(index) = index else {
            return self.output.ack(first::PUBREL, packet_id, Reason::PACKET_ID_NOT_FOUND);
        };
        if is_refused {
            self.end_inflight(index);
            return;
        }
        self.session.inflight.release(index);
        self.output.ack(first::PUBREL, packet_id, Reason::SUCCESS);
    }
}
