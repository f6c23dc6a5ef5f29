//! Asking a deployment from within its process, without any MQTT: the same bounds, queue, fairness between
//! devices, deadlines, networks and ledger as for requests that come from a broker.
//!
//! What differs: nobody asks twice without knowing, so a question is no duplicate of another one, of a
//! request over MQTT neither; the answer carries the model's own numbers, of which a result on the wire
//! says the first; and whoever leaves is not answered.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tracing::debug_span;

use super::admission::Admission;
use super::config::Config;
use super::entrance::Entrance;
use super::reply::{self, Pending, Reply};
use super::ticket::{Answer, Ticket};
use crate::inference::{Caller, DeviceId, ErrorCode, REQUEST_ID_BYTES_MAX, Refusal, Request};
use crate::model::{ModelError, check_features};
use crate::sync::after;

/// Asks one deployment from any thread or task; clones ask the same. It does not keep the deployment alive.
#[derive(Clone)]
pub struct Asker(Weak<Desk>);

impl Asker {
    /// Whoever asks at `desk`, while that is there.
    pub(crate) fn at(desk: &Arc<Desk>) -> Self {
        Self(Arc::downgrade(desk))
    }

    /// Asks; see [`Deployment::ask`](super::Deployment::ask). Once the deployment has ended it refuses.
    pub fn ask(&self, request: impl Into<Request>, within: Option<Duration>) -> Pending {
        match self.0.upgrade() {
            Some(desk) => desk.ask(request.into(), within),
            None => {
                let (waiter, pending) = reply::pending();
                waiter.tell(Err(ended()));
                pending
            }
        }
    }
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deployment = self.0.upgrade().map(|desk| desk.deployment.clone());
        f.debug_struct("Asker").field("deployment", &deployment).finish()
    }
}

/// Where questions are taken.
pub struct Desk {
    deployment: String,
    inputs: usize,
    deadline: Option<Duration>,
    admission: Arc<Admission>,
    /// Each question goes through a clone.
    entrance: Entrance,
    is_closed: AtomicBool,
}

impl Desk {
    /// For questions with so many `inputs`.
    pub fn new(config: &Config, inputs: usize, admission: Arc<Admission>, entrance: Entrance) -> Self {
        Self {
            deployment: config.name.clone(),
            inputs,
            deadline: config.deadline,
            admission,
            entrance,
            is_closed: AtomicBool::new(false),
        }
    }

    /// Refuses everything from now on.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    /// Takes a question, without waiting for anything.
    pub fn ask(&self, request: Request, within: Option<Duration>) -> Pending {
        let (waiter, pending) = reply::pending();
        let mut entrance = self.entrance.clone();
        // Before the look whether it is closed: a deployment that drains waits for what it has counted.
        let in_flight = entrance.ledger().receive(1);
        let arrived_at = Instant::now();
        let allowed = [within, self.deadline].into_iter().flatten().min();
        let deadline = allowed.map(|allowed| after(arrived_at, allowed));
        let Request { caller, features, urgency } = request;
        let span = debug_span!(
            "request",
            deployment = self.deployment,
            device_id = caller.device_id.as_ref().map(DeviceId::as_str),
            request_id = caller.request_id
        );
        // As if they were sent as they stand in memory: there is no payload to weigh.
        let bytes = size_of_val(&*features);
        let sequence = self.admission.numbers(1) + 1;
        let ticket = Ticket::new(caller, Reply::Local(waiter), arrived_at, deadline, sequence);
        let mut ticket = Box::new(Ticket { bytes, span, urgency, ..ticket });
        let request = self.check(&ticket.caller, &features).map(|()| features);
        let admitted = if self.is_closed.load(Ordering::SeqCst) {
            Err(ended())
        } else {
            self.admission.hold(&mut ticket, &request, in_flight)
        };
        match admitted {
            Ok(()) => entrance.admit(&mut vec![(ticket, request)], None),
            Err(refusal) => entrance.answer_at_once(&mut vec![Answer::refused(ticket, refusal)]),
        }
        pending
    }

    fn check(&self, caller: &Caller, features: &[f32]) -> Result<(), Refusal> {
        let id_bytes = caller.request_id.as_ref().map_or(0, String::len);
        if id_bytes > REQUEST_ID_BYTES_MAX {
            let message =
                format!("request_id has {id_bytes} bytes, at most {REQUEST_ID_BYTES_MAX} are allowed");
            // Its code over MQTT.
            return Err(Refusal::new(ErrorCode::InvalidJson, message));
        }
        check_features(features, self.inputs).map_err(|error| {
            let is_misshapen = matches!(error, ModelError::Features { .. });
            let code = if is_misshapen { ErrorCode::ShapeMismatch } else { ErrorCode::NonFinite };
            Refusal::new(code, error.to_string())
        })
    }
}

fn ended() -> Refusal {
    Refusal::new(ErrorCode::ModelNotReady, "the deployment takes no requests any more")
}
