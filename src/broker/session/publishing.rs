//! PUBLISH from a client: judged, and made a publication of.

use bytes::Bytes;
use tokio::time::Instant;

use super::client::Client;
use super::inbound::Progress;
use super::owed::{Answered, When};
use super::publisher::Publisher;
use super::waiting::Wait;
use crate::broker::access::Action;
use crate::broker::bus::Obstacle;
use crate::broker::bus::publication::{Publication, message_bytes};
use crate::broker::codec::Version;
use crate::broker::codec::publish::Publish;
use crate::broker::codec::reason::Reason;
use crate::broker::config::OverRate;
use crate::broker::limits::reached::Limit;
use crate::broker::limits::refused::Cause;
use crate::mqtt::{Qos, is_topic_name};

/// Units of work to keep a message, beside what its bytes take.
const RETAIN_UNITS: usize = 10;

/// What an MQTT 5 client is told of a publish that is refused.
fn publish_refusal(cause: Cause) -> Reason {
    match cause {
        Cause::PublishTopicBytes | Cause::PublishTopicLevels => Reason::TOPIC_INVALID,
        _ => Reason::NOT_AUTHORIZED,
    }
}

impl Client {
    /// Judges a PUBLISH, and adds it to the batch; or it waits, and is judged again when that is over.
    pub fn on_publish(&mut self, first: u8, body: &Bytes, now: Instant) -> Result<Progress, Reason> {
        let mut publish = Publish::read(first, body, self.version)?;
        self.slice.spend_bytes(publish.properties.block_bytes);
        if publish.retain {
            self.slice.spend(RETAIN_UNITS);
            self.slice.spend_bytes(publish.payload.len());
        }
        let deadline_ms = self.check_properties(&mut publish)?;
        // Two things may be forbidden: the topic, and answers that the client has sent on its behalf.
        let mut cause = self.route(&publish.topic)?;
        if cause.is_none() && !self.may_be_answered_on(publish.properties.response_topic) {
            cause = Some(Cause::PublishAnswers);
        }
        let refusal = cause.map_or(Reason::SUCCESS, publish_refusal);
        let bytes =
            message_bytes(&self.publisher.route.topic, &publish.payload, &publish.properties.application);
        // What is refused goes nowhere, and needs no room.
        if refusal == Reason::SUCCESS && !self.has_room(bytes)? {
            return Ok(self.wait_for(Wait::Turn));
        }
        // No more than the receive maximum that the client was told (MQTT 5, 4.9): instead of ending the
        // connection it is not read from. While the broker drains, its client sends it again elsewhere or
        // later.
        if publish.qos > Qos::AtMostOnce && (self.owes_too_much() || self.context.bus.is_draining()) {
            return Ok(self.wait_for(Wait::Answers));
        }
        // Last of what it may wait for, or it would pay again.
        if let Some(until) = self.is_too_fast(now)? {
            return Ok(self.wait_for(Wait::Pace(until)));
        }
        self.received.note_publish(publish.payload.len());
        if let Some(cause) = cause {
            // 3.1.1 has no way to refuse a publish: it is acknowledged, or the connection ends
            // [MQTT-3.3.5-2].
            self.refuse_publish(cause, &publish.topic)?;
        }
        if publish.qos == Qos::ExactlyOnce {
            // A PUBLISH again before its PUBREL: acknowledged, and not published twice (MQTT 5, 4.3.3).
            if self.session.receiving.contains(&publish.packet_id) {
                self.receive_again(publish.packet_id);
                return Ok(Progress::Done);
            }
            // What is answered but not released counts too, and there is nothing to wait for.
            if self.session.receiving.len() >= self.context.config.limits.receive_max.into() {
                self.context.bus.reached.note(Limit::Receive, &self.client_id);
                return Err(Reason::RECEIVE_MAXIMUM);
            }
        }
        let (qos, packet_id) = (publish.qos, publish.packet_id);
        let when = match refusal {
            Reason::SUCCESS => self.add_to_batch(publish, deadline_ms, bytes, now),
            refusal => When::Now(refusal),
        };
        self.acknowledge(qos, packet_id, refusal, when);
        Ok(Progress::Done)
    }

    /// Adds a publish of `bytes` to the batch. Returns when it is to be acknowledged.
    fn add_to_batch(
        &mut self,
        publish: Publish<'_>,
        deadline_ms: Option<u64>,
        bytes: usize,
        now: Instant,
    ) -> When {
        let (mut receipt, mut when) = (None, When::Now(Reason::SUCCESS));
        if publish.qos > Qos::AtMostOnce && self.publisher.route.targets.wait_for_answers() {
            // Somebody answers what is published there: the acknowledgement says that it has been answered.
            let (given, answered) = Answered::receipt(&self.session.live.news);
            (receipt, when) = (Some(given), When::Answered(answered));
        }
        let is_for_links = !self.publisher.route.targets.links.is_empty();
        let received_at = is_for_links.then(|| *self.publisher.batch.began.get_or_insert(now.into_std()));
        let is_told = self.context.config.tells_senders && is_for_links;
        let publication = Publication {
            topic: self.publisher.route.topic.clone(),
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
        self.publisher.batch.add(publication, self.publisher.route.targets.clone(), source);
        self.waiting.visit.send_one(bytes);
        when
    }

    /// A packet waits, and everything behind it.
    fn wait_for(&mut self, why: Wait) -> Progress {
        self.waiting.begin(why);
        Progress::Wait
    }

    /// Puts the topic in the place of its alias. Returns the deadline.
    fn check_properties(&mut self, publish: &mut Publish<'_>) -> Result<Option<u64>, Reason> {
        if let Some(alias) = publish.properties.alias {
            // More than the client was told (MQTT 5, 3.3.2.3.4), of which 0 is none.
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
                publish.topic = self.publisher.aliases.get(alias).ok_or(Reason::TOPIC_ALIAS_INVALID)?;
            } else {
                self.publisher.aliases.set(alias, &publish.topic);
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
        let is_known = self.publisher.route.targets.version == version
            && self.publisher.route.rights_version == rights_version;
        if is_known && !topic.is_empty() && self.publisher.route.topic == topic {
            return Ok(None);
        }
        if topic.is_empty() {
            // Neither a name nor an alias for one (MQTT 5, 3.3.2.1).
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
        self.publisher.route.targets = self.context.bus.targets(&topic, &mut self.slice);
        self.publisher.route.topic = topic;
        self.publisher.route.rights_version = rights_version;
        Ok(None)
    }

    /// Whether a publish of `bytes` to the present route may join the batch. A batch
    /// that is in its way goes out first. Otherwise it waits for room.
    fn has_room(&mut self, bytes: usize) -> Result<bool, Reason> {
        let refuses = |connection: &mut Self| {
            let Self { context, publisher: Publisher { route, batch, .. }, waiting, session, .. } =
                connection;
            context.bus.refuses(&route.targets, batch.load, bytes, &mut waiting.visit, session.uid)
        };
        let Some(mut obstacle) = refuses(self) else { return Ok(true) };
        if !self.publisher.batch.is_empty() {
            self.push()?;
            let Some(second) = refuses(self) else { return Ok(true) };
            obstacle = second;
        }
        // Most are as large as this one.
        let messages = self.input.frames.len() / bytes.max(1);
        match obstacle {
            Obstacle::Gate(gate) => self.waiting.visit.wait_at_gate(&gate),
            Obstacle::Lane(lane) => self.waiting.visit.wait_at(&lane, bytes as u64, messages as u64),
        }
        Ok(false)
    }

    /// Until when the client must wait before this publish, because it publishes faster than it may.
    fn is_too_fast(&mut self, now: Instant) -> Result<Option<Instant>, Reason> {
        let Some(Err(until)) = self.publisher.pace.as_mut().map(|pace| pace.take(now)) else {
            return Ok(None);
        };
        self.context.bus.reached.note(Limit::PublishRate, &self.client_id);
        if self.context.config.limits.publish_over_rate == OverRate::Disconnect {
            return Err(Reason::MESSAGE_RATE_TOO_HIGH);
        }
        Ok(Some(until))
    }

    fn acknowledge(&mut self, qos: Qos, packet_id: u16, refusal: Reason, when: When) {
        if qos == Qos::AtMostOnce {
            return;
        }
        // 3.1.1 cannot be refused, so it goes on with PUBREL there. In MQTT 5 a PUBREC that refuses is the
        // last word, and its packet identifier is free again (MQTT 5, 4.3.3).
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
}
