//! The ticket, a request's context on its way through a deployment, and what it is when it has ended.

use std::time::{Duration, Instant};

use tracing::Span;

use super::crowd::Part;
use super::in_flight_bytes::Held;
use super::reply::Reply;
use crate::inference::{Authored, Caller, Decision, DeviceId, Outcome, Refusal, Stages, Urgency};
use crate::worker;

/// A request on its way through the deployment, without its features; in a box, for it changes hands often.
pub struct Ticket {
    pub caller: Caller,
    pub reply: Reply,
    pub arrived_at: Instant,
    /// When it is too late to start.
    pub deadline: Option<Instant>,
    /// The request's number in this deployment, which the network's decisions depend on.
    pub sequence: u64,
    /// What the request weighs on a simulated link: topic and payload of a message.
    pub bytes: usize,
    /// The delay that the network has decided so far.
    pub network: Duration,
    /// Which of the deployment's networks it met: on the way there, and on the way back.
    pub revisions: Revisions,
    /// How much later than decided the uplink handed it over; the downlink makes up for it.
    pub late: Duration,
    pub stages: Stages,
    /// From arrival to end, for whoever traces; disabled unless debug is logged.
    pub span: Span,
    /// What it is known by if it comes again.
    pub identity: Option<Identity>,
    /// How long its answer took, where that was given before and is given again.
    pub total: Option<Duration>,
    /// How urgent it says it is.
    pub urgency: Option<Urgency>,
    /// Which site of a hybrid has answered it, and why that.
    pub decision: Option<Decision>,
    /// Its part of what requests under way take of memory, if it is not small.
    pub held: Option<Held>,
    /// Its place among those of its device, where there is a crowd.
    pub place: Option<Part>,
}

/// A request that goes in: valid features, or a refusal that the model's end of the network makes.
pub type Admitted = (Box<Ticket>, Result<Vec<f32>, Refusal>);

/// Set in the number of a copy that the simulated network makes: on its way back it meets a fate of its own.
pub const COPY: u64 = 1 << 63;

impl Ticket {
    pub fn new(
        caller: Caller,
        reply: Reply,
        arrived_at: Instant,
        deadline: Option<Instant>,
        sequence: u64,
    ) -> Self {
        Self {
            caller,
            reply,
            arrived_at,
            deadline,
            sequence,
            bytes: 0,
            network: Duration::ZERO,
            revisions: Revisions::default(),
            late: Duration::ZERO,
            stages: Stages::default(),
            identity: None,
            total: None,
            span: Span::none(),
            urgency: None,
            decision: None,
            held: None,
            place: None,
        }
    }

    /// A copy of a request, as a simulated network that duplicates messages makes it.
    pub fn copied(&self) -> Self {
        Self {
            caller: self.caller.clone(),
            reply: self.reply.of_a_copy(),
            sequence: self.sequence | COPY,
            identity: None,
            span: self.span.clone(),
            held: self.held.as_ref().map(Held::again),
            place: None,
            ..*self
        }
    }

    /// From its arrival to its result leaving, where that is `now`.
    pub fn total(&self, now: Instant) -> Duration {
        self.total.unwrap_or_else(|| now.saturating_duration_since(self.arrived_at))
    }

    /// The answer that its request got before.
    pub fn again(mut self: Box<Self>, known: &KnownAnswer) -> Answer {
        self.network = known.network;
        self.revisions = known.revisions;
        self.stages = known.stages;
        self.total = Some(known.total);
        self.decision = known.decision;
        Answer { ticket: self, outcome: known.outcome.clone().map_err(|refusal| *refusal) }
    }
}

impl worker::Context for Box<Ticket> {
    fn device(&self) -> Option<&DeviceId> {
        self.caller.device_id.as_ref()
    }

    fn timestamp_us(&self) -> Option<i64> {
        self.caller.timestamp_us
    }

    fn is_abandoned(&self) -> bool {
        self.reply.has_left()
    }
}

/// Numbers of simulated networks: how often the deployment's had been changed when a message set out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revisions {
    pub there: u64,
    pub back: u64,
}

/// A request that has ended, on its way out.
pub struct Answer {
    pub ticket: Box<Ticket>,
    pub outcome: Outcome,
}

impl Answer {
    pub fn refused(ticket: Box<Ticket>, refusal: Refusal) -> Self {
        Self { ticket, outcome: Err(refusal) }
    }

    /// What its request is known by, if it may come again, and what it is given then.
    pub fn to_be_known(&self, now: Instant) -> Option<(Identity, KnownAnswer)> {
        let identity = self.ticket.identity?;
        let outcome = self.outcome.clone().map_err(Box::new);
        let Ticket { network, revisions, stages, decision, .. } = *self.ticket;
        let total = self.ticket.total(now);
        Some((identity, KnownAnswer { outcome, network, revisions, total, stages, decision }))
    }
}

/// What makes two requests the same one: 128 bits of hash, seeded at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(pub u64, pub u64);

/// How a request was answered, as far as its result says it.
#[derive(Debug, Clone)]
pub struct KnownAnswer {
    /// The refusal in a box: most are known with a prediction.
    pub outcome: Result<Authored, Box<Refusal>>,
    pub network: Duration,
    pub revisions: Revisions,
    pub total: Duration,
    pub stages: Stages,
    pub decision: Option<Decision>,
}
