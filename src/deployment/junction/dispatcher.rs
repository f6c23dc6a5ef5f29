//! The dispatcher: one thread that sends the legs which follow from others, and
//! looks at requests whose time has come.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Ends, Flow, Junction, Leg};
use crate::deployment::flow::PUBLISH_WAIT_MAX;

/// Sends the legs that do not set out when their request comes.
pub struct Dispatcher {
    junction: Junction,
    /// To edge and cloud.
    flows: [Flow; 2],
}

/// Without requests there is nothing to see.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(3_600);

impl Dispatcher {
    /// One for `junction`, with ways to edge and cloud.
    pub fn new(junction: Junction, flows: [Flow; 2]) -> Self {
        Self { junction, flows }
    }

    /// Works until the junction is closed.
    pub fn run(mut self) {
        loop {
            let mut ends = Ends::default();
            let Some(mut legs) = self.wait(&mut ends) else { return };
            for (flow, legs) in self.flows.iter_mut().zip(&mut legs) {
                if !legs.is_empty() {
                    flow.admit(legs, None);
                }
            }
            self.junction.publish(ends, PUBLISH_WAIT_MAX);
        }
    }

    /// Waits for legs to send or requests to end; `None` when the junction is closed.
    fn wait(&self, ends: &mut Ends) -> Option<[Vec<Leg>; 2]> {
        let shared = &self.junction.shared;
        let mut state = shared.lock();
        let legs = loop {
            if state.is_closed {
                return None;
            }
            let now = Instant::now();
            let table = &mut state.table;
            table.look(now, ends);
            if table.has_outgoing() || !ends.is_empty() {
                break table.take_outgoing();
            }
            if table.chooser().has_breaker_change() {
                break Default::default();
            }
            let due = table.next_due().unwrap_or(now + LOOK_AT_LEAST_EVERY);
            state.dispatcher_wakes_at = Some(due);
            let wait = due.saturating_duration_since(now);
            state = shared.news.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            state.dispatcher_wakes_at = None;
        };
        let breaker = state.table.chooser_mut().take_breaker_change();
        drop(state);
        if let Some(change) = breaker {
            shared.log(change);
        }
        Some(legs)
    }
}
