//! The end of the way: answers are counted, encoded and handed to the broker, or to
//! whoever asked in this process.
//!
//! Who made an answer is for the answer to say. What is the wire's alone is done
//! here, such as its one number.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{debug, warn};

use super::config::{Config, Topics};
use super::duplicates::Duplicates;
use super::reply::{Answered, Reply, ReplyTo, Waiter};
use super::ticket::{Answer, Revisions, Ticket};
use crate::client::{ClientError, Publisher};
use crate::inference::{Authored, DeviceId, ErrorCode, Refusal, Stages};
use crate::ledger::{Ended, Ledger};
use crate::mqtt::{self, Message, Properties, Qos, Receipt};
use crate::rate_limit::RateLimit;
use crate::wire;

/// A warning that could repeat itself comes at most this often from each outbox.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Encodes and publishes; each thread has its own buffers.
///
/// The topics and payloads of a batch stand in one block that its messages share: the broker clones
/// each of them once for every subscriber, which then costs a count instead of an allocation.
pub struct Outbox {
    shared: Arc<Shared>,
    block: Vec<u8>,
    drafts: Vec<Draft>,
    messages: Vec<Message>,
    /// What goes to whoever asked in this process.
    told: Vec<(Waiter, Result<Answered, Refusal>)>,
    warnings: RateLimit,
}

/// How long a stage waits for room towards a slow broker before answers are dropped and counted.
pub const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(5);

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
    publisher: Arc<dyn Publisher>,
    ledger: Arc<Ledger>,
    duplicates: Duplicates,
}

impl Clone for Outbox {
    fn clone(&self) -> Self {
        Self::over(Arc::clone(&self.shared))
    }
}

impl Outbox {
    /// The outbox of a deployment with this `config`.
    pub fn new(
        config: &Config,
        publisher: Arc<dyn Publisher>,
        ledger: Arc<Ledger>,
        duplicates: Duplicates,
    ) -> Self {
        let shared = Shared {
            topics: config.topics.clone(),
            members: config.members,
            double_sigmoid: config.double_sigmoid,
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
            told: Vec::new(),
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
        let may_come_again: Vec<_> = answers.iter().filter_map(|answer| answer.to_be_known(now)).collect();
        let mut for_mqtt = 0;
        for answer in answers.iter_mut() {
            for_mqtt += usize::from(self.prepare(answer, now));
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
        self.told.drain(..).for_each(|(waiter, said)| waiter.tell(said));
        self.publish(for_mqtt, wait);
        // Not before they have left: whoever comes again from here on is answered by
        // another thread, behind them.
        let mut again = self.shared.duplicates.answered(may_come_again, now);
        self.send(&mut again, wait);
    }

    /// Hands the messages of so many `answers` to the broker.
    fn publish(&mut self, answers: usize, wait: Duration) {
        if self.messages.is_empty() {
            return;
        }
        let Err(cause) = self.shared.publisher.publish(&mut self.messages, wait) else { return };
        let lost = match cause {
            ClientError::OutboxFull { dropped, .. } | ClientError::TopicsRefused { dropped } => dropped,
            _ => answers,
        };
        self.shared.ledger.undelivered(lost);
        if self.warnings.is_due() {
            let undelivered = self.shared.ledger.statistics().undelivered;
            warn!(%cause, lost, undelivered, "answers could not be handed to the broker; more such warnings are held back");
        }
        self.messages.clear();
    }

    /// How many bytes of topic and payload the answer would have if it left now.
    pub fn bytes_of(&mut self, answer: &Answer) -> usize {
        // Within the block, whose memory is there already; nothing of it is left.
        let Self { shared, block, .. } = self;
        let (start, ticket) = (block.len(), &answer.ticket);
        let prefix = if answer.outcome.is_ok() { &shared.topics.result } else { &shared.topics.error };
        write_topic(block, prefix, ticket.caller.device_id.as_ref());
        match &answer.outcome {
            Ok(authored) => {
                let result = shared.result(ticket, authored, Instant::now());
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
    /// own publishes did arrive; whoever asks again later is a new request. Who waits in this
    /// process is told: to wait for nothing would simulate no network.
    pub fn lose(&self, lost: impl IntoIterator<Item = Box<Ticket>>) {
        let (mut ended, mut told) = (Vec::new(), Vec::new());
        for ticket in lost {
            let again = ticket.identity.map(|identity| self.shared.duplicates.forget(identity));
            for ticket in again.unwrap_or_default().into_iter().chain([ticket]) {
                match ticket.reply {
                    Reply::Mqtt(ReplyTo { receipt: Some(receipt), .. }) => receipt.settle(),
                    Reply::Local(waiter) => told.push(waiter),
                    Reply::Mqtt(_) | Reply::Nobody => {}
                }
                ended.push(Ended::Refused(ErrorCode::NetworkLost));
            }
        }
        self.shared.ledger.end(ended);
        let lost = || Refusal::new(ErrorCode::NetworkLost, "the simulated network lost it without a word");
        told.into_iter().for_each(|waiter| waiter.tell(Err(lost())));
    }

    /// Writes down what goes where. Whether it goes to the broker.
    fn prepare(&mut self, answer: &mut Answer, now: Instant) -> bool {
        match std::mem::take(&mut answer.ticket.reply) {
            Reply::Mqtt(reply_to) => {
                self.encode(answer, reply_to, now);
                return true;
            }
            Reply::Local(waiter) => self.told.push((waiter, answered(answer, now))),
            Reply::Nobody => {}
        }
        false
    }

    fn encode(&mut self, answer: &Answer, reply_to: ReplyTo, now: Instant) {
        let Self { shared, block, drafts, .. } = self;
        let ReplyTo { qos, properties, receipt } = reply_to;
        let (response_topic, properties) = echoed(properties);
        let ticket = &answer.ticket;
        let topics = &shared.topics;
        let prefix = if answer.outcome.is_ok() { &topics.result } else { &topics.error };
        let topic = appended(block, |block| write_topic(block, prefix, ticket.caller.device_id.as_ref()));
        let payload = appended(block, |block| match &answer.outcome {
            Ok(authored) => {
                wire::write_result(block, &ticket.caller, &shared.result(ticket, authored, now));
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
    /// What the wire says of a prediction: its score, and beside the contract's members
    /// those that are asked for.
    fn result<'a>(&self, ticket: &Ticket, authored: &'a Authored, now: Instant) -> wire::Answer<'a> {
        let (members, by) = (self.members, &*authored.by);
        let Revisions { there, back } = ticket.revisions;
        let reason = || ticket.decision.map(|decision| decision.reason.as_str());
        let score = authored.prediction.score();
        let prediction = if self.double_sigmoid { 1.0 / (1.0 + (-score).exp()) } else { score };
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

/// What whoever asked in this process is told.
fn answered(Answer { ticket, outcome }: &Answer, now: Instant) -> Result<Answered, Refusal> {
    let Authored { prediction, by } = outcome.clone()?;
    let Ticket { decision, stages, network, .. } = **ticket;
    Ok(Answered { prediction, by, decision, stages, network, total: ticket.total(now) })
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
        Ok(Authored { prediction, .. }) => {
            let prediction = prediction.score();
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
