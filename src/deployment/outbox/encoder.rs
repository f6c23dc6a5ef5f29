//! Answers as messages, by the wire's contract.
//!
//! The topics and payloads of a batch stand in one block that its messages share: the broker clones
//! each of them once for every subscriber, which then costs a count instead of an allocation.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tracing::debug;

use crate::deployment::config::{Config, Topics};
use crate::deployment::reply::ReplyTo;
use crate::deployment::ticket::{Answer, Revisions, Ticket};
use crate::detection::Seen;
use crate::inference::{Authored, DeviceId};
use crate::mqtt::{self, Message, Properties, Qos, Receipt};
use crate::wire;

/// Writes answers; each thread has its own, with buffers.
pub struct Encoder {
    format: Arc<Format>,
    block: Vec<u8>,
    drafts: Vec<Draft>,
}

/// A message whose parts are still being written to the block.
struct Draft {
    topic: Range<usize>,
    payload: Range<usize>,
    qos: Qos,
    properties: Option<Box<Properties>>,
    receipt: Option<Receipt>,
}

/// What a deployment's answers look like.
struct Format {
    topics: Topics,
    members: wire::Members,
    double_sigmoid: bool,
}

impl Clone for Encoder {
    fn clone(&self) -> Self {
        Self { format: Arc::clone(&self.format), block: Vec::new(), drafts: Vec::new() }
    }
}

impl Encoder {
    pub fn new(config: &Config) -> Self {
        let format = Format {
            topics: config.topics.clone(),
            members: config.members,
            double_sigmoid: config.double_sigmoid,
        };
        Self { format: Arc::new(format), block: Vec::new(), drafts: Vec::new() }
    }

    /// How many bytes of topic and payload the answer would have if it left now.
    pub fn bytes_of(&mut self, answer: &Answer) -> usize {
        // Within the block, whose memory is there already; nothing of it is left.
        let start = self.block.len();
        self.format.write(&mut self.block, answer, Instant::now());
        let bytes = self.block.len() - start;
        self.block.truncate(start);
        bytes
    }

    /// Writes an answer to its topic, and to its request's response topic. False when that was refused.
    pub fn encode(&mut self, answer: &Answer, reply_to: ReplyTo, now: Instant) -> bool {
        let Self { format, block, drafts } = self;
        let ReplyTo { qos, properties, receipt } = reply_to;
        let (response_topic, properties) = echoed(properties);
        let (topic, payload) = format.write(block, answer, now);
        let is_followed = response_topic.as_deref().is_none_or(may_answer_on);
        if let Some(response_topic) = response_topic.filter(|_| is_followed) {
            let topic = appended(block, |block| block.extend_from_slice(response_topic.as_bytes()));
            // Each message has the receipt: a request is acknowledged when the broker has every message of
            // its answer (docs/cluster.md).
            let (properties, payload, receipt) = (properties.clone(), payload.clone(), receipt.clone());
            drafts.push(Draft { topic, payload, qos, properties, receipt });
        }
        drafts.push(Draft { topic, payload, qos, properties, receipt });
        is_followed
    }

    /// Turns what was encoded into messages, behind those that are there.
    pub fn finish(&mut self, messages: &mut Vec<Message>) {
        // The next block is likely to be as large.
        let next = Vec::with_capacity(self.block.len());
        let block = Bytes::from(std::mem::replace(&mut self.block, next));
        messages.extend(self.drafts.drain(..).map(|draft| Message {
            topic: block.slice(draft.topic),
            payload: block.slice(draft.payload),
            qos: draft.qos,
            // An answer belongs to its moment. Retained, the last one would meet whoever subscribes a week
            // later (3.3.1.3).
            retain: false,
            properties: draft.properties,
            sender: None,
            received_at: None,
            is_duplicate: false,
            receipt: draft.receipt,
        }));
    }
}

impl Format {
    /// Appends topic and payload of an answer to `block`, and says where they are.
    fn write(&self, block: &mut Vec<u8>, answer: &Answer, now: Instant) -> (Range<usize>, Range<usize>) {
        let Answer { ticket, outcome } = answer;
        let prefix = if outcome.is_ok() { &self.topics.result } else { &self.topics.error };
        let topic = appended(block, |block| write_topic(block, prefix, ticket.caller.device_id.as_ref()));
        let payload = appended(block, |block| match outcome {
            Ok(authored) => wire::write_result(block, &ticket.caller, &self.result(ticket, authored, now)),
            Err(refusal) => wire::write_error(block, &ticket.caller, refusal),
        });
        (topic, payload)
    }

    /// What the wire says of a prediction: its score, and of the optional members those that are asked for.
    fn result<'a>(&self, ticket: &Ticket, authored: &'a Authored, now: Instant) -> wire::Answer<'a> {
        let (members, by) = (self.members, &*authored.by);
        let Revisions { there, back } = ticket.revisions;
        let reason = || ticket.decision.map(|decision| decision.reason.as_str());
        let score = authored.prediction.score();
        // The system that this replaces took a second sigmoid in its cloud; who compares with what was
        // recorded then needs the same (docs/wire.md).
        let prediction = if self.double_sigmoid { 1.0 / (1.0 + (-score).exp()) } else { score };
        // Numbers of another model's that are as many are no detection.
        let seen = by.detects.as_ref().and_then(|_| Seen::of_numbers(authored.prediction.values()));
        let contributions = |seen: Seen| {
            let names = by.detects.as_deref()?;
            Some(wire::Contributions { names, shares: seen.contributions })
        };
        wire::Answer {
            prediction,
            inference: ticket.stages.inference,
            network: ticket.network,
            total: ticket.total(now),
            model: members.model.then_some(&by.model),
            model_version: members.model_version.then_some(by.version.as_deref()).flatten(),
            anomaly: members.anomaly.then_some(prediction >= by.threshold),
            placement: members.placement.then_some(&by.placement),
            reason: members.reason.then(reason).flatten(),
            stages: members.stages_ms.then_some(ticket.stages),
            network_revision: members.network.then_some(there),
            network_back_revision: (members.network && back != there).then_some(back),
            state: seen.filter(|_| members.state).map(|seen| seen.state),
            tail_probability: seen.filter(|_| members.tail_probability).map(|seen| seen.tail_probability),
            alarm_threshold: seen.filter(|_| members.alarm_threshold).map(|seen| seen.threshold),
            contributions: seen.filter(|_| members.contributions).and_then(contributions),
        }
    }
}

/// Where in `block` that is what `write` appends to it.
fn appended(block: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    let start = block.len();
    write(block);
    start..block.len()
}

/// Whether this response topic is followed: a wildcard would address others, `$` belongs to the broker.
fn may_answer_on(topic: &str) -> bool {
    // A response topic must not have wildcards [MQTT-3.3.2-14], and topics with `$` are not for applications
    // (4.7.2). The request itself is in order: it is answered on the deployment's own topic.
    if mqtt::is_topic_name(topic) && !topic.starts_with('$') {
        return true;
    }
    debug!(topic, "response topic refused: it has a wildcard or starts with '$'");
    false
}

/// Where a request wants its answer, and what the answer carries of the request's
/// properties, which are those that were kept.
fn echoed(kept: Option<Box<Properties>>) -> (Option<String>, Option<Box<Properties>>) {
    let Some(mut kept) = kept else { return (None, None) };
    let response_topic = kept.response_topic.take();
    (response_topic, (*kept != Properties::default()).then_some(kept))
}

fn write_topic(block: &mut Vec<u8>, prefix: &str, device_id: Option<&DeviceId>) {
    block.extend_from_slice(prefix.as_bytes());
    if let Some(device_id) = device_id {
        block.push(b'/');
        block.extend_from_slice(device_id.as_str().as_bytes());
    }
}
