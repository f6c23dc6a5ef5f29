//! The end of the flow: answers are counted, encoded and handed to the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{debug, warn};

use super::flow::Ticket;
use super::{Config, Topics};
use crate::client::{ClientError, Publisher};
use crate::inference::{DeviceId, Outcome};
use crate::metrics::{Ended, Ledger};
use crate::model::ModelInfo;
use crate::mqtt::{self, Message, Properties, Qos};
use crate::wire;

/// Where an answer goes beside its ordinary topic, and how.
#[derive(Debug, Clone, Default)]
pub struct ReplyTo {
    /// The request's own QoS, which its answer gets too.
    pub qos: Qos,
    /// MQTT 5 response topic and correlation data.
    pub properties: Option<Box<Properties>>,
}

/// A request that has ended, on its way out.
pub struct Answer {
    pub ticket: Ticket,
    pub outcome: Outcome,
}

/// Encodes and publishes; each thread has its own buffers.
pub struct Outbox {
    shared: Arc<Shared>,
    messages: Vec<Message>,
    json: Vec<u8>,
}

struct Shared {
    topics: Topics,
    members: wire::Members,
    double_sigmoid: bool,
    placement: String,
    model: String,
    model_version: Option<String>,
    threshold: f32,
    publisher: Arc<dyn Publisher>,
    ledger: Arc<Ledger>,
}

impl Clone for Outbox {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), messages: Vec::new(), json: Vec::new() }
    }
}

impl Outbox {
    pub fn new(
        config: &Config,
        model: &ModelInfo,
        publisher: Arc<dyn Publisher>,
        ledger: Arc<Ledger>,
    ) -> Self {
        let shared = Shared {
            topics: config.topics.clone(),
            members: config.members,
            double_sigmoid: config.double_sigmoid,
            placement: config.placement.clone(),
            model: model.name.clone(),
            model_version: model.version.clone(),
            threshold: model.threshold,
            publisher,
            ledger,
        };
        Self { shared: Arc::new(shared), messages: Vec::new(), json: Vec::new() }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Counts, encodes and publishes every answer, waiting at most `wait` for room towards the broker.
    pub fn send(&mut self, answers: &mut Vec<Answer>, wait: Duration) {
        if answers.is_empty() {
            return;
        }
        let now = Instant::now();
        let count = answers.len();
        for answer in answers.iter() {
            self.encode(answer, now);
        }
        // Counted before they leave: whoever holds an answer finds it in the counts.
        self.shared.ledger.end(answers.drain(..).map(|answer| match answer.outcome {
            Ok(_) => Ended::Answered {
                inference: answer.ticket.stages.inference,
                total: now.saturating_duration_since(answer.ticket.arrived_at),
            },
            Err(refusal) => Ended::Refused(refusal.code),
        }));
        if let Err(cause) = self.shared.publisher.publish(&mut self.messages, wait) {
            let lost = match cause {
                ClientError::OutboxFull { dropped, .. } | ClientError::TopicsFull { dropped } => dropped,
                _ => count,
            };
            self.shared.ledger.undelivered(lost);
            warn!(%cause, lost, "answers could not be handed to the broker");
            self.messages.clear();
        }
    }

    fn encode(&mut self, answer: &Answer, now: Instant) {
        let Self { shared, json, messages } = self;
        let ticket = &answer.ticket;
        json.clear();
        let topic = match &answer.outcome {
            Ok(prediction) => {
                wire::write_result(json, &ticket.caller, &shared.result(ticket, *prediction, now));
                &shared.topics.result
            }
            Err(refusal) => {
                debug!(device_id = ?ticket.caller.device_id, code = %refusal.code, refusal.message, "refused");
                wire::write_error(json, &ticket.caller, refusal);
                &shared.topics.error
            }
        };
        let payload = Bytes::copy_from_slice(json);
        let mut message = Message::new(topic_for(topic, ticket.caller.device_id.as_ref()), payload.clone());
        message.qos = ticket.reply_to.qos;
        if let Some(requested) = &ticket.reply_to.properties {
            let correlation_data = requested.correlation_data.clone();
            message.properties = correlated(correlation_data.clone());
            if let Some(topic) = shared.response_topic(requested) {
                let mut response = Message::new(topic, payload);
                response.qos = ticket.reply_to.qos;
                response.properties = correlated(correlation_data);
                messages.push(response);
            }
        }
        messages.push(message);
    }
}

impl Shared {
    fn result<'a>(&'a self, ticket: &Ticket, prediction: f32, now: Instant) -> wire::Answer<'a> {
        let members = self.members;
        let prediction = if self.double_sigmoid { 1.0 / (1.0 + (-prediction).exp()) } else { prediction };
        wire::Answer {
            prediction,
            inference: ticket.stages.inference,
            network: ticket.network,
            total: now.saturating_duration_since(ticket.arrived_at),
            model: members.model.then_some(&self.model),
            model_version: members.model_version.then_some(self.model_version.as_deref()).flatten(),
            anomaly: members.anomaly.then_some(prediction >= self.threshold),
            placement: members.placement.then_some(&self.placement),
            stages: members.stages_ms.then_some(ticket.stages),
        }
    }

    /// The response topic, unless it must be refused: a wildcard would address others, `$` belongs to the broker.
    fn response_topic(&self, requested: &Properties) -> Option<String> {
        let topic = requested.response_topic.as_ref()?;
        if mqtt::is_topic_name(topic) && !topic.starts_with('$') {
            return Some(topic.clone());
        }
        self.ledger.response_topic_refused();
        debug!(topic, "response topic refused: it has a wildcard or starts with '$'");
        None
    }
}

fn correlated(correlation_data: Option<Bytes>) -> Option<Box<Properties>> {
    correlation_data
        .map(|data| Box::new(Properties { correlation_data: Some(data), ..Properties::default() }))
}

fn topic_for(prefix: &str, device_id: Option<&DeviceId>) -> String {
    let Some(device_id) = device_id else { return prefix.to_owned() };
    let mut topic = String::with_capacity(prefix.len() + 1 + device_id.as_str().len());
    topic.push_str(prefix);
    topic.push('/');
    topic.push_str(device_id.as_str());
    topic
}
