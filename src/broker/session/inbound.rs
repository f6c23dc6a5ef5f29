//! From the client: packets taken apart, judged, and handed to the router.

use bytes::Bytes;
use tokio::time::Instant;

use super::client::Client;
use super::ending::End;
use super::inflight::Inflight;
use super::output::{PUBCOMP_FIRST, PUBREL_FIRST};
use super::owed::{Answered, When};
use super::wait::Wait;
use crate::broker::access::Action;
use crate::broker::bus::Obstacle;
use crate::broker::bus::publication::{Publication, message_bytes};
use crate::broker::codec::disconnect;
use crate::broker::codec::properties;
use crate::broker::codec::reason::Reason;
use crate::broker::codec::wellformed;
use crate::broker::codec::{Header, Version, kind, peek, u16_at, varint};
use crate::broker::config::OverRate;
use crate::broker::limits::reached::Limit;
use crate::broker::limits::refused::Cause;
use crate::mqtt::{Qos, is_topic_name};

/// Publishes handed to the router in one go.
const BATCH_MESSAGES_MAX: usize = 512;

/// Packets of one client that are dealt with in a row. A full block has fewer that
/// carry anything, so this is for the very small ones that come behind a large one.
const PACKETS_IN_A_ROW_MAX: usize = 4_096;

/// Units of work to keep a message, beside what its bytes take.
const RETAIN_UNITS: usize = 10;

/// Of the first byte of a PUBLISH: it may have been sent before.
const DUP: u8 = 0b1000;

/// A PUBLISH taken apart.
struct Publish<'a> {
    qos: Qos,
    retain: bool,
    is_duplicate: bool,
    packet_id: u16,
    /// Empty where an alias stands for it.
    topic: Bytes,
    properties: properties::Read<'a>,
    payload: Bytes,
}

/// Whether a packet was dealt with.
#[derive(PartialEq, Eq)]
pub enum Progress {
    Done,
    /// It must wait, and everything behind it.
    Wait,
}

/// What an MQTT 5 client is told of a publish that is refused.
fn publish_refusal(cause: Cause) -> Reason {
    match cause {
        Cause::PublishTopicBytes | Cause::PublishTopicLevels => Reason::TOPIC_INVALID,
        _ => Reason::NOT_AUTHORIZED,
    }
}

impl Client {
    /// Deals with every complete packet that was read, as far as it may go.
    pub fn process(&mut self, now: Instant) -> Result<(), Reason> {
        if self.wait == Wait::Router {
            // It goes on when the router has caught up.
            return Ok(());
        }
        // Whatever changes from here on wakes a publisher that is found to have to wait.
        self.progress.mark_unchanged();
        if self.has_stale_rights() {
            // Nothing is accepted before they have been looked at, which the next round begins with.
            return Ok(());
        }
        self.wait = Wait::No;
        self.visit.enter();
        let result = self.process_frames(now);
        self.push()?;
        if !self.visit.is_waiting() {
            self.visit.leave();
        }
        self.note_waiting();
        result?;
        if self.is_at_gate { self.look_behind() } else { Ok(()) }
    }

    /// Hands the batch to the router, and holds the client when the router has much before it.
    pub fn push(&mut self) -> Result<(), Reason> {
        let sent = self.batch.len();
        if self.context.bus.push(&mut self.batch).map_err(|_| Reason::SHUTTING_DOWN)? {
            self.wait = Wait::Router;
        }
        if !self.batch.not_kept.is_empty() {
            let not_kept = std::mem::take(&mut self.batch.not_kept);
            self.context.bus.note_not_kept(not_kept, &self.who());
        }
        if sent > 0
            && let [lane] = self.route.targets.links.as_slice()
        {
            self.visit.note_burst(lane, sent as u64);
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
                if self.batch.len() >= BATCH_MESSAGES_MAX {
                    self.push()?;
                    if self.wait == Wait::Router {
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

    fn on_publish(&mut self, first: u8, body: &Bytes, now: Instant) -> Result<Progress, Reason> {
        let mut publish = self.read_publish(first, body)?;
        self.slice.spend_bytes(publish.properties.block_bytes);
        if publish.retain {
            self.slice.spend(RETAIN_UNITS);
            self.slice.spend_bytes(publish.payload.len());
        }
        let deadline_ms = self.check_properties(&mut publish)?;
        let mut cause = self.route(&publish.topic)?;
        if cause.is_none() && !self.may_be_answered_on(publish.properties.response_topic) {
            cause = Some(Cause::PublishAnswers);
        }
        let refusal = cause.map_or(Reason::SUCCESS, publish_refusal);
        let bytes = message_bytes(&self.route.topic, &publish.payload, &publish.properties.application);
        if refusal == Reason::SUCCESS && !self.has_room(bytes)? {
            return Ok(self.wait_for(Wait::Turn));
        }
        if publish.qos > Qos::AtMostOnce && (self.owes_too_much() || self.context.bus.is_draining()) {
            return Ok(self.wait_for(Wait::Answers));
        }
        // Last of what it may wait for, or it would pay again.
        if let Some(until) = self.is_too_fast(now)? {
            return Ok(self.wait_for(Wait::Pace(until)));
        }
        self.received.note_publish(publish.payload.len());
        if let Some(cause) = cause {
            self.refuse_publish(cause, &publish.topic)?;
        }
        if publish.qos == Qos::ExactlyOnce {
            if self.session.receiving.contains(&publish.packet_id) {
                self.receive_again(publish.packet_id);
                return Ok(Progress::Done);
            }
            if self.session.receiving.len() >= self.context.config.limits.receive_max.into() {
                self.context.bus.reached.note(Limit::Receive, &self.client_id);
                return Err(Reason::RECEIVE_MAXIMUM);
            }
        }
        let mut when = When::Now(refusal);
        if refusal == Reason::SUCCESS {
            let mut receipt = None;
            if publish.qos > Qos::AtMostOnce && self.route.targets.wait_for_answers() {
                let (given, answered) = Answered::receipt(&self.session.live.news);
                (receipt, when) = (Some(given), When::Answered(answered));
            }
            let is_for_links = !self.route.targets.links.is_empty();
            let received_at = is_for_links.then(|| *self.batch.began.get_or_insert(now.into_std()));
            let is_told = self.context.config.tells_senders && is_for_links;
            let publication = Publication {
                topic: self.route.topic.clone(),
                payload: publish.payload,
                properties: publish.properties.application,
                qos: publish.qos,
                retain: publish.retain,
                origin: Some(self.session.uid),
                deadline_ms,
                sender: is_told.then(|| self.session.identity.sender()),
                received_at,
                is_duplicate: publish.is_duplicate,
                receipt,
            };
            let source = publication.retain.then(|| self.source(Action::Publish)).flatten();
            self.batch.add(publication, self.route.targets.clone(), source);
            self.visit.send_one(bytes);
        }
        self.acknowledge(publish.qos, publish.packet_id, refusal, when);
        Ok(Progress::Done)
    }

    /// Whether a publish of `bytes` to the present route may join the batch. A batch
    /// that is in its way goes out first. Otherwise it waits for room.
    fn has_room(&mut self, bytes: usize) -> Result<bool, Reason> {
        let refuses = |connection: &mut Self| {
            let Self { context, route, batch, visit, session, .. } = connection;
            context.bus.refuses(&route.targets, batch.load, bytes, visit, session.uid)
        };
        let Some(mut obstacle) = refuses(self) else { return Ok(true) };
        if !self.batch.is_empty() {
            self.push()?;
            let Some(second) = refuses(self) else { return Ok(true) };
            obstacle = second;
        }
        // Most are as large as this one.
        let messages = self.input.frames.len() / bytes.max(1);
        match obstacle {
            Obstacle::Gate(gate) => self.visit.wait_at_gate(&gate),
            Obstacle::Lane(lane) => self.visit.wait_at(&lane, bytes as u64, messages as u64),
        }
        Ok(false)
    }

    /// Until when the client must wait before this publish, because it publishes faster than it may.
    fn is_too_fast(&mut self, now: Instant) -> Result<Option<Instant>, Reason> {
        let Some(Err(until)) = self.pace.as_mut().map(|pace| pace.take(now)) else { return Ok(None) };
        self.context.bus.reached.note(Limit::PublishRate, &self.client_id);
        if self.context.config.limits.publish_over_rate == OverRate::Disconnect {
            return Err(Reason::MESSAGE_RATE_TOO_HIGH);
        }
        Ok(Some(until))
    }

    /// A packet waits, and everything behind it. Whoever waits for the router does so first.
    fn wait_for(&mut self, wait: Wait) -> Progress {
        if self.wait != Wait::Router {
            self.wait = wait;
        }
        Progress::Wait
    }

    fn acknowledge(&mut self, qos: Qos, packet_id: u16, refusal: Reason, when: When) {
        if qos == Qos::AtMostOnce {
            return;
        }
        // 3.1.1 cannot be refused, so it goes on with PUBREL there.
        let is_begun = refusal == Reason::SUCCESS || self.version == Version::V311;
        if qos == Qos::ExactlyOnce && is_begun {
            self.session.receiving.insert(packet_id);
        }
        self.owe(packet_id, qos, when);
    }

    /// A QoS 2 publish that the client sent before and has not released: it went out then.
    fn receive_again(&mut self, packet_id: u16) {
        let when = match self.session.live.unanswered.remove(&packet_id) {
            Some(answered) => When::Answered(answered),
            None if self.owed.has_received(packet_id) => return,
            None => When::Now(Reason::SUCCESS),
        };
        self.owe(packet_id, Qos::ExactlyOnce, when);
    }

    fn read_publish<'a>(&self, first: u8, body: &'a Bytes) -> Result<Publish<'a>, Reason> {
        let qos = Qos::from_bits((first >> 1) & 0b11).ok_or(Reason::MALFORMED)?;
        let topic_bytes = usize::from(u16_at(body, 0)?);
        let mut at = 2 + topic_bytes;
        if body.len() < at || (qos == Qos::AtMostOnce && first & DUP != 0) {
            return Err(Reason::MALFORMED);
        }
        let mut packet_id = 0;
        if qos > Qos::AtMostOnce {
            packet_id = u16_at(body, at)?;
            at += 2;
            if packet_id == 0 {
                return Err(Reason::MALFORMED);
            }
        }
        let mut properties = properties::Read::default();
        if self.version == Version::V5 {
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
        Ok(Publish { qos, retain, is_duplicate, packet_id, topic, properties, payload: body.slice(at..) })
    }

    /// Puts the topic in the place of its alias. Returns the deadline.
    fn check_properties(&mut self, publish: &mut Publish<'_>) -> Result<Option<u64>, Reason> {
        if let Some(alias) = publish.properties.alias {
            if alias > self.context.config.limits.topic_aliases_max {
                self.context.bus.reached.note(Limit::TopicAliases, &self.client_id);
                return Err(Reason::TOPIC_ALIAS_INVALID);
            }
            if alias == 0 {
                return Err(Reason::TOPIC_ALIAS_INVALID);
            }
            // An alias is remembered, so it must not stand for what is refused for its length.
            if publish.topic.len() > self.context.config.limits.topic_bytes_max {
                self.context.bus.reached.note(Limit::TopicBytes, &self.client_id);
                return Err(Reason::TOPIC_INVALID);
            }
            if publish.topic.is_empty() {
                publish.topic = self.aliases.get(&alias).cloned().ok_or(Reason::TOPIC_ALIAS_INVALID)?;
            } else {
                let before = self.aliases.insert(alias, Bytes::copy_from_slice(&publish.topic));
                self.alias_bytes += publish.topic.len();
                self.alias_bytes -= before.map_or(0, |topic| topic.len());
            }
        }
        let expiry_s = publish.properties.expiry_s;
        Ok(expiry_s.map(|s| self.context.bus.now_ms() + u64::from(s) * 1_000))
    }

    /// Looks the topic up, unless it is the last one again. Returns why the client may
    /// not publish to it, if it may not.
    fn route(&mut self, topic: &Bytes) -> Result<Option<Cause>, Reason> {
        let version = self.context.bus.version();
        let access = &self.context.config.access;
        let rights_version = access.version();
        let is_known = self.route.targets.version == version && self.route.rights_version == rights_version;
        if is_known && !topic.is_empty() && self.route.topic == topic {
            return Ok(None);
        }
        if topic.is_empty() {
            // Neither a name nor an alias for one.
            return Err(Reason::PROTOCOL_ERROR);
        }
        let name = std::str::from_utf8(topic).map_err(|_| Reason::MALFORMED)?;
        if !is_topic_name(name) {
            return Err(Reason::TOPIC_INVALID);
        }
        match self.context.config.limits.broken_by(name) {
            None => {}
            Some(Limit::TopicLevels) => return Ok(Some(Cause::PublishTopicLevels)),
            Some(_) => return Ok(Some(Cause::PublishTopicBytes)),
        }
        if name.starts_with('$') {
            return Ok(Some(Cause::PublishReserved));
        }
        self.slice.spend(access.effort());
        self.slice.spend_bytes(name.len());
        if !access.authorize(&self.session.identity, Action::Publish, name) {
            return Ok(Some(Cause::PublishRules));
        }
        // Copies, so that the cache does not pin the block that the topic was read in.
        let topic = Bytes::copy_from_slice(topic);
        self.route.targets = self.context.bus.targets(&topic, &mut self.slice);
        self.route.topic = topic;
        self.route.rights_version = rights_version;
        Ok(None)
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
                self.output.ack(PUBCOMP_FIRST, packet_id, reason);
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
            return self.output.ack(PUBREL_FIRST, packet_id, Reason::PACKET_ID_NOT_FOUND);
        };
        if is_refused {
            self.end_inflight(index);
            return;
        }
        self.session.inflight.release(index);
        self.output.ack(PUBREL_FIRST, packet_id, Reason::SUCCESS);
    }
}
