//! The end of the flow: answers are counted, encoded and handed to the broker.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{debug, warn};

use super::duplicates::{Duplicates, Identity, KnownAnswer};
use super::flow::{Revisions, Ticket};
use super::{Config, Topics, trace_context};
use crate::client::{ClientError, Publisher};
use crate::inference::{Decision, DeviceId, ErrorCode, Outcome, Site, Stages};
use crate::ledger::{Ended, Ledger};
use crate::model::ModelInfo;
use crate::mqtt::{self, Message, Properties, Qos, Receipt};
use crate::rate_limit::RateLimit;
use crate::wire;

/// A warning that could repeat itself comes at most this often from each outbox.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Where an answer goes beside its ordinary topic, and how.
#[derive(Debug, Default)]
pub struct ReplyTo {
    /// The request's own QoS, which its answer gets too.
    pub qos: Qos,
    /// MQTT 5 response topic, correlation data and trace: what the answer needs of the
    /// request's properties, and nothing else.
    pub properties: Option<Box<Properties>>,
    /// What its sender waits for.
    pub receipt: Option<Receipt>,
}

impl ReplyTo {
    /// For a request with these properties, of which it keeps what the answer needs: the
    /// request may be under way for long.
    pub fn new(qos: Qos, properties: Option<Box<Properties>>, receipt: Option<Receipt>) -> Self {
        let properties = properties.and_then(|mut own| {
            *own = Properties {
                response_topic: own.response_topic.take(),
                correlation_data: own.correlation_data.take(),
                user_properties: trace_context::echoed(&own),
                ..Properties::default()
            };
            (*own != Properties::default()).then_some(own)
        });
        Self { qos, properties, receipt }
    }

    /// What it takes of memory beside itself.
    pub fn bytes(&self) -> usize {
        let Some(own) = &self.properties else { return 0 };
        let topic = own.response_topic.as_ref().map_or(0, String::capacity);
        let correlation = own.correlation_data.as_ref().map_or(0, bytes::Bytes::len);
        size_of::<Properties>() + topic + correlation + own.user_properties.bytes()
    }
}

/// A request that has ended, on its way out.
pub struct Answer {
    pub ticket: Box<Ticket>,
    pub outcome: Outcome,
}

impl Answer {
    /// What its request is known by, if it may come again, and what it is given then.
    fn given(&self, now: Instant) -> Option<(Identity, KnownAnswer)> {
        let Self { ticket, outcome } = self;
        let identity = ticket.identity?;
        let outcome = outcome.clone().map_err(Box::new);
        let Ticket { network, revisions, stages, decision, .. } = **ticket;
        Some((
            identity,
            KnownAnswer { outcome, network, revisions, total: ticket.total(now), stages, decision },
        ))
    }
}

/// Encodes and publishes; each thread has its own buffers.
///
/// The topics and payloads of a batch stand in one block that its messages share: the broker clones
/// each of them once for every subscriber, which then costs a count instead of an allocation.
pub struct Outbox {
    shared: Arc<Shared>,
    block: Vec<u8>,
    drafts: Vec<Draft>,
    messages: Vec<Message>,
    warnings: RateLimit,
}

/// A message whose parts are still being written to the block.
struct Draft {
    topic: Range<usize>,
    payload: Range<usize>,
    qos: Qos,
    properties: Option<Box<Properties>>,
    receipt: Option<Receipt>,
}

struct Shared {
    topics: Topics,
    members: wire::Members,
    double_sigmoid: bool,
    /// Who answers; at a hybrid's edge.
    author: Author,
    /// Who answers at a hybrid's cloud.
    cloud: Option<Author>,
    publisher: Arc<dyn Publisher>,
    ledger: Arc<Ledger>,
    duplicates: Duplicates,
}

/// Who makes answers, as far as they say it.
struct Author {
    placement: String,
    model: String,
    model_version: Option<String>,
    threshold: f32,
}

impl Author {
    fn new(placement: &str, model: &ModelInfo) -> Self {
        Self {
            placement: placement.to_owned(),
            model: model.name.clone(),
            model_version: model.version.clone(),
            threshold: model.threshold,
        }
    }
}

impl Clone for Outbox {
    fn clone(&self) -> Self {
        Self::over(Arc::clone(&self.shared))
    }
}

impl Outbox {
    /// Answers of `model`; of a hybrid's edge and cloud where there is a `cloud`.
    pub fn new(
        config: &Config,
        model: &ModelInfo,
        cloud: Option<&ModelInfo>,
        publisher: Arc<dyn Publisher>,
        ledger: Arc<Ledger>,
        duplicates: Duplicates,
    ) -> Self {
        let shared = Shared {
            topics: config.topics.clone(),
            members: config.members,
            double_sigmoid: config.double_sigmoid,
            author: match cloud {
                None => Author::new(&config.placement, model),
                Some(_) => Author::new(Site::Edge.as_str(), model),
            },
            cloud: cloud.map(|model| Author::new(Site::Cloud.as_str(), model)),
            publisher,
            ledger,
            duplicates,
        };
        Self::over(Arc::new(shared))
    }

    fn over(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            block: Vec::new(),
            drafts: Vec::new(),
            messages: Vec::new(),
            warnings: RateLimit::new(WARN_EVERY),
        }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Whether so many answers would be published now without waiting.
    pub fn has_room_for(&self, answers: usize) -> bool {
        self.shared.publisher.has_room_for(answers)
    }

    /// Counts, encodes and publishes every answer, waiting at most `wait` for room towards the broker.
    pub fn send(&mut self, answers: &mut Vec<Answer>, wait: Duration) {
        if answers.is_empty() {
            return;
        }
        let now = Instant::now();
        let may_come_again: Vec<_> = answers.iter().filter_map(|answer| answer.given(now)).collect();
        let count = answers.len();
        for answer in answers.iter_mut() {
            self.encode(answer, now);
            trace(answer, now);
        }
        self.finish_block();
        // Counted before they leave: whoever holds an answer finds it in the counts.
        self.shared.ledger.end(answers.drain(..).map(|answer| match answer.outcome {
            Ok(_) => Ended::Answered {
                queue: answer.ticket.stages.queue,
                inference: answer.ticket.stages.inference,
                network: answer.ticket.network,
                total: now.saturating_duration_since(answer.ticket.arrived_at),
                decision: answer.ticket.decision,
            },
            Err(refusal) => Ended::Refused(refusal.code),
        }));
        if let Err(cause) = self.shared.publisher.publish(&mut self.messages, wait) {
            let lost = match cause {
                ClientError::OutboxFull { dropped, .. } | ClientError::TopicsRefused { dropped } => dropped,
                _ => count,
            };
            self.shared.ledger.undelivered(lost);
            if self.warnings.is_due() {
                let undelivered = self.shared.ledger.statistics().undelivered;
                warn!(%cause, lost, undelivered, "answers could not be handed to the broker; more such warnings are held back");
            }
            self.messages.clear();
        }
        // Not before they have left: whoever comes again from here on is answered by
        // another thread, behind them.
        let mut again = self.shared.duplicates.answered(may_come_again, now);
        self.send(&mut again, wait);
    }

    /// How many bytes of topic and payload the answer would have if it left now.
    pub fn bytes_of(&mut self, answer: &Answer) -> usize {
        // Within the block, whose memory is there already; nothing of it is left.
        let Self { shared, block, .. } = self;
        let (start, ticket) = (block.len(), &answer.ticket);
        let prefix = if answer.outcome.is_ok() { &shared.topics.result } else { &shared.topics.error };
        write_topic(block, prefix, ticket.caller.device_id.as_ref());
        match &answer.outcome {
            Ok(prediction) => {
                let result = shared.result(ticket, *prediction, Instant::now());
                wire::write_result(block, &ticket.caller, &result);
            }
            Err(refusal) => wire::write_error(block, &ticket.caller, refusal),
        }
        let bytes = block.len() - start;
        block.truncate(start);
        bytes
    }

    /// Ends requests of which the simulated network has lost every trace: nothing is
    /// published, for them or for those that have come again meanwhile. Their senders'
    /// own publishes did arrive; whoever asks again later is a new request.
    pub fn lose(&self, lost: impl IntoIterator<Item = Box<Ticket>>) {
        let mut ended = Vec::new();
        for ticket in lost {
            let again = ticket.identity.map(|identity| self.shared.duplicates.forget(identity));
            for ticket in again.unwrap_or_default().into_iter().chain([ticket]) {
                if let Some(receipt) = ticket.reply_to.receipt {
                    receipt.settle();
                }
                ended.push(Ended::Refused(ErrorCode::NetworkLost));
            }
        }
        self.shared.ledger.end(ended);
    }

    fn encode(&mut self, answer: &mut Answer, now: Instant) {
        let Self { shared, block, drafts, .. } = self;
        let ReplyTo { qos, properties, receipt } = std::mem::take(&mut answer.ticket.reply_to);
        let (response_topic, properties) = echoed(properties);
        let ticket = &answer.ticket;
        let topics = &shared.topics;
        let prefix = if answer.outcome.is_ok() { &topics.result } else { &topics.error };
        let topic = appended(block, |block| write_topic(block, prefix, ticket.caller.device_id.as_ref()));
        let payload = appended(block, |block| match &answer.outcome {
            Ok(prediction) => {
                wire::write_result(block, &ticket.caller, &shared.result(ticket, *prediction, now));
            }
            Err(refusal) => {
                wire::write_error(block, &ticket.caller, refusal);
            }
        });
        if let Some(response_topic) = response_topic.filter(|topic| shared.may_answer_on(topic)) {
            let topic = appended(block, |block| block.extend_from_slice(response_topic.as_bytes()));
            let (properties, payload, receipt) = (properties.clone(), payload.clone(), receipt.clone());
            drafts.push(Draft { topic, payload, qos, properties, receipt });
        }
        drafts.push(Draft { topic, payload, qos, properties, receipt });
    }

    /// Turns what was encoded into messages.
    fn finish_block(&mut self) {
        // The next block is likely to be as large.
        let next = Vec::with_capacity(self.block.len());
        let block = Bytes::from(std::mem::replace(&mut self.block, next));
        self.messages.extend(self.drafts.drain(..).map(|draft| Message {
            topic: block.slice(draft.topic),
            payload: block.slice(draft.payload),
            qos: draft.qos,
            retain: false,
            properties: draft.properties,
            sender: None,
            received_at: None,
            is_duplicate: false,
            receipt: draft.receipt,
        }));
    }
}

/// Where in `block` that is what `write` appends to it.
fn appended(block: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    let start = block.len();
    write(block);
    start..block.len()
}

impl Shared {
    fn result<'a>(&'a self, ticket: &Ticket, prediction: f32, now: Instant) -> wire::Answer<'a> {
        let members = self.members;
        let Revisions { there, back } = ticket.revisions;
        let author = match (&self.cloud, ticket.decision) {
            (Some(cloud), Some(Decision { site: Site::Cloud, .. })) => cloud,
            _ => &self.author,
        };
        let reason = || ticket.decision.map(|decision| decision.reason.as_str());
        let prediction = if self.double_sigmoid { 1.0 / (1.0 + (-prediction).exp()) } else { prediction };
        wire::Answer {
            prediction,
            inference: ticket.stages.inference,
            network: ticket.network,
            total: ticket.total(now),
            model: members.model.then_some(&author.model),
            model_version: members.model_version.then_some(author.model_version.as_deref()).flatten(),
            anomaly: members.anomaly.then_some(prediction >= author.threshold),
            placement: members.placement.then_some(&author.placement),
            reason: members.reason.then(reason).flatten(),
            stages: members.stages_ms.then_some(ticket.stages),
            network_revision: members.network.then_some(there),
            network_back_revision: (members.network && back != there).then_some(back),
        }
    }

    /// Whether this response topic is followed: a wildcard would address others, `$` belongs to the broker.
    fn may_answer_on(&self, topic: &str) -> bool {
        if mqtt::is_topic_name(topic) && !topic.starts_with('$') {
            return true;
        }
        self.ledger.response_topic_refused();
        debug!(topic, "response topic refused: it has a wildcard or starts with '$'");
        false
    }
}

/// Where a request wants its answer, and what the answer carries of the request's
/// properties, which are those that were kept.
fn echoed(kept: Option<Box<Properties>>) -> (Option<String>, Option<Box<Properties>>) {
    let Some(mut kept) = kept else { return (None, None) };
    let response_topic = kept.response_topic.take();
    (response_topic, (*kept != Properties::default()).then_some(kept))
}

/// Tells of a request's end, within its span.
fn trace(answer: &Answer, now: Instant) {
    let Ticket { span, arrived_at, stages, .. } = &*answer.ticket;
    let Stages { uplink, queue, batch, inference, downlink } = stages;
    span.in_scope(|| match &answer.outcome {
        Ok(prediction) => {
            let total = now.saturating_duration_since(*arrived_at);
            debug!(prediction, ?uplink, ?queue, ?batch, ?inference, ?downlink, ?total, "answered");
        }
        Err(refusal) => debug!(code = %refusal.code, refusal.message, ?uplink, ?queue, "refused"),
    });
}

fn write_topic(block: &mut Vec<u8>, prefix: &str, device_id: Option<&DeviceId>) {
    block.extend_from_slice(prefix.as_bytes());
    if let Some(device_id) = device_id {
        block.push(b'/');
        block.extend_from_slice(device_id.as_str().as_bytes());
    }
}
