//! The end of the way: answers are counted, and handed to the broker or to whoever asked in this process.
//!
//! Who made an answer is for the answer to say; how the wire says it, for the encoder.

mod encoder;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use self::encoder::Encoder;
use super::config::Config;
use super::duplicates::Duplicates;
use super::reply::{Answered, Reply, ReplyTo, Waiter};
use super::ticket::{Answer, Ticket};
use crate::client::{ClientError, Publisher};
use crate::inference::{Authored, ErrorCode, Refusal, Stages};
use crate::ledger::{Ended, Ledger};
use crate::mqtt::Message;
use crate::rate_limit::{RateLimit, WARN_EVERY};

/// Counts answers and sends them off. Clones are the same outbox; each thread has its own, with buffers.
pub struct Outbox {
    shared: Arc<Shared>,
    encoder: Encoder,
    messages: Vec<Message>,
    /// What goes to whoever asked in this process.
    told: Vec<(Waiter, Result<Answered, Refusal>)>,
    warnings: RateLimit,
}

/// How long a stage waits for room towards a slow broker before answers are dropped and counted.
pub const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(5);

struct Shared {
    publisher: Arc<dyn Publisher>,
    ledger: Arc<Ledger>,
    duplicates: Duplicates,
}

impl Clone for Outbox {
    fn clone(&self) -> Self {
        Self::over(Arc::clone(&self.shared), self.encoder.clone())
    }
}

impl Outbox {
    /// The outbox of a deployment with this `config`.
    pub(crate) fn new(
        config: &Config,
        publisher: Arc<dyn Publisher>,
        ledger: Arc<Ledger>,
        duplicates: Duplicates,
    ) -> Self {
        let shared = Shared { publisher, ledger, duplicates };
        Self::over(Arc::new(shared), Encoder::new(config))
    }

    fn over(shared: Arc<Shared>, encoder: Encoder) -> Self {
        Self { shared, encoder, messages: Vec::new(), told: Vec::new(), warnings: RateLimit::new(WARN_EVERY) }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
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
        self.encoder.finish(&mut self.messages);
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
        self.encoder.bytes_of(answer)
    }

    /// Ends requests of which the simulated network has lost every trace: nothing is
    /// published, for them or for those that have come again meanwhile. Their senders'
    /// own publishes did arrive; whoever asks again later is a new request. Who waits in this
    /// process is told at once, for nothing else will ever end the wait.
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
                if !self.encoder.encode(answer, reply_to, now) {
                    self.shared.ledger.response_topic_refused();
                }
                return true;
            }
            Reply::Local(waiter) => self.told.push((waiter, answered(answer, now))),
            Reply::Nobody => {}
        }
        false
    }
}

/// What whoever asked in this process is told.
fn answered(Answer { ticket, outcome }: &Answer, now: Instant) -> Result<Answered, Refusal> {
    let Authored { prediction, by } = outcome.clone()?;
    let Ticket { decision, stages, network, .. } = **ticket;
    Ok(Answered { prediction, by, decision, stages, network, total: ticket.total(now) })
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
