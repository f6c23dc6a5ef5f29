//! The intake thread: drains the subscription, reads payloads, and admits what the
//! bound on requests in flight allows.
//!
//! It never waits for anything downstream: a subscriber that lags loses messages in the broker.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::{Span, debug_span, info, warn};

use super::admission::Admission;
use super::config::{Config, DeviceIdFrom};
use super::duplicates::{Duplicates, Entry};
use super::entrance::Entrance;
use super::reply::{Reply, ReplyTo};
use super::ticket::{Admitted, Answer, Ticket};
use super::trace_context;
use crate::client::Subscriber;
use crate::inference::{Caller, DeviceId, ErrorCode, Refusal, Request};
use crate::mqtt::{Message, Properties, Qos};
use crate::rate_limit::{RateLimit, WARN_EVERY};
use crate::sync::after;
use crate::wire::{self, Rejected};
use crate::worker::Guest;

/// The most messages taken from the broker at once.
const RECEIVE_BATCH_MAX: usize = 64;
/// The most requests read before they go on: the model works on some while others are read.
const ADMIT_BATCH_MAX: usize = 32;

/// The running thread, and a channel that closes when it ends.
pub struct Running {
    pub thread: JoinHandle<()>,
    pub ended: Receiver<Infallible>,
}

/// Starts the thread, which reads requests with so many `inputs`; it ends when the subscription does.
pub fn start(
    config: &Config,
    inputs: usize,
    subscriber: Box<dyn Subscriber>,
    admission: Arc<Admission>,
    entrance: Entrance,
    duplicates: Duplicates,
) -> std::io::Result<Running> {
    let name = config.name.clone();
    let mut intake = Intake {
        deployment: name.clone(),
        inputs,
        limits: config.wire,
        guest: entrance.guest(),
        admission,
        entrance,
        deadline: config.deadline,
        device_id_from: config.device_id_from,
        sequence: 0,
        admitted: Vec::with_capacity(RECEIVE_BATCH_MAX),
        duplicates,
        repeated: Vec::new(),
        refused: Vec::new(),
        loop_warnings: RateLimit::new(WARN_EVERY),
    };
    let (alive, ended) = sync_channel(0);
    let thread = thread::Builder::new().name(format!("intake-{name}")).spawn(move || {
        let _alive = alive;
        intake.run(&name, subscriber);
    })?;
    Ok(Running { thread, ended })
}

struct Intake {
    deployment: String,
    inputs: usize,
    limits: wire::Limits,
    deadline: Option<Duration>,
    device_id_from: DeviceIdFrom,
    admission: Arc<Admission>,
    entrance: Entrance,
    /// The means to call a model on this thread.
    guest: Option<Guest<Box<Ticket>>>,
    /// The number of the last request.
    sequence: u64,
    admitted: Vec<Admitted>,
    duplicates: Duplicates,
    /// Requests of a batch that were answered before.
    repeated: Vec<Answer>,
    /// Requests of a batch for which there is no room.
    refused: Vec<Answer>,
    loop_warnings: RateLimit,
}

impl Intake {
    fn run(&mut self, name: &str, mut subscriber: Box<dyn Subscriber>) {
        let mut messages = Vec::with_capacity(RECEIVE_BATCH_MAX);
        loop {
            match subscriber.receive(&mut messages, RECEIVE_BATCH_MAX) {
                Ok(true) => self.take(&mut messages),
                Ok(false) => return info!(deployment = name, "no more requests are taken"),
                Err(cause) => return warn!(deployment = name, %cause, "requests can no longer be received"),
            }
        }
    }

    fn take(&mut self, messages: &mut Vec<Message>) {
        self.drop_answers(messages);
        let arrived_at = Instant::now();
        // For the whole batch at once: what is shared with those who ask in the process is touched once for
        // up to 64 requests.
        self.sequence = self.admission.numbers(messages.len());
        let mut in_flight = self.entrance.ledger().receive(messages.len());
        for message in messages.drain(..) {
            in_flight += usize::from(self.enter(message, arrived_at, in_flight));
            // 32 by measurement: 8, 16 and 64 gave 0.69, 0.87 and 0.89 times the rate at a window of 100
            // (docs/performance.md).
            if self.admitted.len() == ADMIT_BATCH_MAX {
                self.entrance.admit(&mut self.admitted, self.guest.as_mut());
            }
        }
        self.entrance.admit(&mut self.admitted, self.guest.as_mut());
        self.entrance.answer_at_once(&mut self.repeated);
        self.entrance.answer_at_once(&mut self.refused);
    }

    /// Drops answers, of this node or another one: to answer them too would never end.
    /// They are no requests, and not counted as such.
    fn drop_answers(&mut self, messages: &mut Vec<Message>) {
        let before = messages.len();
        messages.retain_mut(|message| {
            let is_answer = wire::is_answer(&message.payload);
            if is_answer && let Some(receipt) = message.receipt.take() {
                // Whoever waits for it has been answered.
                receipt.settle();
            }
            !is_answer
        });
        let dropped = before - messages.len();
        if dropped == 0 {
            return;
        }
        self.entrance.ledger().answers_dropped(dropped);
        if self.loop_warnings.is_due() {
            warn!(
                deployment = self.deployment,
                dropped,
                "answers came on a request topic and were dropped; a response topic is a request topic, or two nodes read each other's answers"
            );
        }
    }

    /// Admits a request beside so many that are in flight, unless it came before.
    /// Whether it is in flight now.
    fn enter(&mut self, message: Message, arrived_at: Instant, in_flight: usize) -> bool {
        // Nobody acknowledges QoS 0 (4.3.1), so nobody sends it again: two that are equal are two requests,
        // and none of them has to be remembered.
        let may_come_again = message.qos > Qos::AtMostOnce;
        let is_resent = message.is_duplicate;
        let (mut ticket, request) = self.read(message, arrived_at);
        if let Err(refusal) = self.admission.hold(&mut ticket, &request, in_flight) {
            self.refused.push(Answer::refused(ticket, refusal));
            return false;
        }
        match &request {
            Ok(features) if may_come_again => {
                match self.duplicates.enter(ticket, features, is_resent, arrived_at) {
                    Entry::New(ticket) => self.admitted.push((ticket, request)),
                    Entry::Waits => self.entrance.ledger().repeated(),
                    Entry::Known(ticket, given) => {
                        self.entrance.ledger().repeated();
                        self.repeated.push(ticket.again(&given));
                    }
                }
            }
            _ => self.admitted.push((ticket, request)),
        }
        true
    }

    fn read(&mut self, message: Message, taken_at: Instant) -> Admitted {
        self.sequence += 1;
        let arrived_at = message.received_at.unwrap_or(taken_at);
        let (payload, sender) = (&message.payload, message.sender.as_deref());
        let parsed = match self.device_id_from {
            DeviceIdFrom::Payload => wire::parse_request(payload, self.inputs, self.limits),
            DeviceIdFrom::ClientId => self.parse_as(sender.map(|sender| &sender.client_id), payload),
            DeviceIdFrom::Username => self.parse_as(sender.and_then(|sender| sender.user.as_ref()), payload),
        };
        let (caller, urgency, request) = match parsed {
            Ok(request) => (request.caller, request.urgency, Ok(request.features)),
            Err(rejected) => (rejected.caller, None, Err(rejected.refusal)),
        };
        let mut ticket = self.ticket(caller, message, arrived_at);
        ticket.urgency = urgency;
        (ticket, request)
    }

    /// Reads a request of the device that is called as its sender is.
    fn parse_as(&self, name: Option<&String>, payload: &[u8]) -> Result<Request, Box<Rejected>> {
        let device = name
            .ok_or_else(|| Refusal::new(ErrorCode::InvalidDeviceId, "the request does not say who sent it"))
            .and_then(DeviceId::new);
        match device {
            Ok(device) => wire::parse_request_of(&device, payload, self.inputs, self.limits),
            Err(mut refusal) => {
                refusal.message = format!("the sender's name is no device id: {}", refusal.message);
                // Nobody's: which device it is about is what is not known.
                Err(Box::new(Rejected { caller: Caller::default(), refusal }))
            }
        }
    }

    fn ticket(&self, caller: Caller, message: Message, arrived_at: Instant) -> Box<Ticket> {
        let expiry_s = message.properties.as_ref().and_then(|properties| properties.message_expiry_s);
        // MQTT's own deadline (5.0, 3.3.2.3.3): who sets one does not want an answer that comes later. The
        // broker has taken off what the request waited there [MQTT-3.3.2-6].
        let expiry = expiry_s.map(|seconds| Duration::from_secs(seconds.into()));
        let bytes = message.topic.len() + message.payload.len();
        let allowed = [expiry, self.deadline].into_iter().flatten().min();
        let span = self.span(&caller, message.properties.as_deref());
        let deadline = allowed.map(|allowed| after(arrived_at, allowed));
        let reply = Reply::Mqtt(ReplyTo::new(message.qos, message.properties, message.receipt));
        Box::new(Ticket { bytes, span, ..Ticket::new(caller, reply, arrived_at, deadline, self.sequence) })
    }

    /// A request's span, with the trace that its sender says it belongs to.
    fn span(&self, caller: &Caller, properties: Option<&Properties>) -> Span {
        let span = debug_span!(
            "request",
            deployment = self.deployment,
            device_id = caller.device_id.as_ref().map(DeviceId::as_str),
            request_id = caller.request_id,
            traceparent = properties.and_then(trace_context::parent)
        );
        if let Some(properties) = properties {
            trace_context::continue_in(&span, properties);
        }
        span
    }
}
