//! The junction, a fork and join: where a hybrid's two sites meet. It holds each request until one of its
//! legs has answered it, whatever becomes of the other.
//!
//! ```text
//!            ┌──▶ edge: flow ──┐
//! junction ──┤                 ├──▶ junction ──▶ outbox
//!            └──▶ cloud: flow ─┘
//! ```
//! A leg is a request as one site sees it: it carries neither receipt nor identity, so that
//! nothing that becomes of it is seen outside. What the legs' ends mean is decided by the
//! `placement` module; here it is done. No leg is sent with the lock held, and none by the thread
//! that brings a leg's end: the dispatcher sends those that follow from one. So a junction knows no flow.

mod request;

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use self::request::{Asked, said_by};
use super::outbox::Outbox;
use super::ticket::{Admitted, Answer, COPY, Ticket};
use crate::inference::{PerSite, Site};
use crate::ledger::{HybridStatistics, Ledger};
use crate::placement::{BreakerChange, BreakerState, Chooser, Table};
use crate::sync::{self, lock};

/// Without requests there is nothing to see.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(3_600);

/// What has ended, and is to be published or forgotten.
pub type Ends = crate::placement::Ends<Asked>;

/// Where a hybrid's two sites meet. Clones are the same junction; each thread has its own, with buffers.
#[derive(Clone)]
pub struct Junction {
    shared: Arc<Shared>,
    outbox: Outbox,
}

/// What the clones share.
pub struct Shared {
    deployment: String,
    state: Mutex<State>,
    /// News for the dispatcher.
    news: Condvar,
}

struct State {
    table: Table<Asked>,
    is_closed: bool,
    /// When the dispatcher looks next; `None` while it is awake.
    dispatcher_wakes_at: Option<Instant>,
}

impl State {
    /// Whether the dispatcher sleeps and should not.
    fn has_news(&self) -> bool {
        let Some(wakes_at) = self.dispatcher_wakes_at else { return false };
        // To wake it is a system call, and nearly every leg ends without anything for it to do.
        self.table.has_outgoing() || self.table.next_due().is_some_and(|due| due < wakes_at)
    }
}

impl Junction {
    /// One without requests.
    pub fn new(deployment: &str, chooser: Chooser, in_flight_max: usize, outbox: Outbox) -> Self {
        let table = Table::new(chooser, in_flight_max);
        let state = Mutex::new(State { table, is_closed: false, dispatcher_wakes_at: None });
        let shared = Shared { deployment: deployment.to_owned(), state, news: Condvar::new() };
        Self { shared: Arc::new(shared), outbox }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        self.outbox.ledger()
    }

    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes admitted requests, and returns their first legs, to be sent. What is no request is refused at
    /// once, waiting at most `wait` for room towards the broker.
    pub fn admit(&mut self, admitted: &mut Vec<Admitted>, wait: Duration) -> PerSite<Vec<Admitted>> {
        let now = Instant::now();
        let (mut legs, mut refused) = (PerSite::of(|_| Vec::new()), Vec::new());
        // All are in the table before a leg sets out: its answer may come before the next one has left.
        self.with_table(|table| {
            for (ticket, request) in admitted.drain(..) {
                match request {
                    Ok(features) => table.begin(Asked { ticket, features }, now, &mut legs),
                    Err(refusal) => refused.push(Answer::refused(ticket, refusal)),
                }
            }
        });
        self.outbox.send(&mut refused, wait);
        legs
    }

    /// Legs of `site` have ended. What that ends is published, waiting at most `wait`
    /// for room towards the broker.
    pub fn legs_ended(&mut self, site: Site, legs: &mut Vec<Answer>, wait: Duration) {
        if legs.is_empty() {
            return;
        }
        let (now, mut ends) = (Instant::now(), Ends::default());
        self.with_table(|table| {
            for leg in legs.drain(..) {
                // A copy that the network has made speaks for the same request: its first word counts.
                let number = leg.ticket.sequence & !COPY;
                table.leg_ended(site, number, said_by(leg), now, &mut ends);
            }
        });
        // Not under the table's lock: it may wait for a slow broker, and other legs must end meanwhile.
        self.publish(ends, wait);
    }

    /// The simulated network has lost legs of `site` without a word.
    pub fn legs_lost(&mut self, site: Site, legs: &[Box<Ticket>]) {
        let (now, mut ends) = (Instant::now(), Ends::default());
        self.with_table(|table| {
            for leg in legs {
                let number = leg.sequence & !COPY;
                table.leg_lost(site, number, leg.sequence != number, now, &mut ends);
            }
        });
        // Without waiting: whoever loses legs is sending others, and holds the network in force meanwhile.
        self.publish(ends, Duration::ZERO);
    }

    /// The simulated network has made a copy of a leg.
    pub fn leg_copied(&self, site: Site) {
        self.shared.lock().table.leg_copied(site);
    }

    /// Publishes what has ended, waiting at most `wait` for room towards the broker.
    pub fn publish(&mut self, mut ends: Ends, wait: Duration) {
        self.outbox.send(&mut ends.answers, wait);
        // No site will ever say a word about these, and nobody over MQTT hears one, as a real loss has it.
        if !ends.lost.is_empty() {
            self.outbox.lose(ends.lost.into_iter().map(|asked| asked.ticket));
        }
    }

    /// Changes the table, and tells the dispatcher and the log what they should know of that.
    fn with_table(&self, change: impl FnOnce(&mut Table<Asked>)) {
        let mut state = self.shared.lock();
        change(&mut state.table);
        let breaker = state.table.chooser_mut().take_breaker_change();
        let has_news = state.has_news();
        drop(state);
        // After the lock: the dispatcher needs it as soon as it wakes, and a log may take its time.
        if has_news {
            self.shared.news.notify_one();
        }
        if let Some(change) = breaker {
            self.shared.log(change);
        }
    }
}

impl Shared {
    /// Adds what is counted here to what the ledger knows.
    pub fn add_to(&self, statistics: &mut HybridStatistics) {
        let mut state = self.lock();
        let chooser = state.table.chooser_mut();
        let (breaker, breaker_openings) = chooser.breaker();
        *statistics = HybridStatistics {
            results: statistics.results,
            counts: chooser.counts(),
            breaker: breaker.as_str(),
            breaker_openings,
            cloud_p95: chooser.cloud_p95(Instant::now()),
        };
    }

    /// Waits, as the dispatcher, for legs to send or requests that have ended; `None` once this is closed.
    pub fn wait_for_work(&self, ends: &mut Ends) -> Option<PerSite<Vec<Admitted>>> {
        let mut state = self.lock();
        let legs = loop {
            // Nobody waits for what is left then: a deployment closes this once it has drained.
            if state.is_closed {
                return None;
            }
            let now = Instant::now();
            let table = &mut state.table;
            table.look(now, ends);
            // A change of the breaker is news too: somebody must log it.
            if table.has_outgoing() || !ends.is_empty() || table.chooser().has_breaker_change() {
                break table.take_outgoing();
            }
            let due = table.next_due().unwrap_or(now + LOOK_AT_LEAST_EVERY);
            state.dispatcher_wakes_at = Some(due);
            let wait = due.saturating_duration_since(now);
            state = sync::wait_timeout(&self.news, state, wait);
            state.dispatcher_wakes_at = None;
        };
        let breaker = state.table.chooser_mut().take_breaker_change();
        drop(state);
        if let Some(change) = breaker {
            self.log(change);
        }
        Some(legs)
    }

    /// Whether legs are under way at `site`, those of requests that have their answer included.
    pub fn has_legs(&self, site: Site) -> bool {
        self.lock().table.has_legs(site)
    }

    /// Ends the dispatcher.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
    }

    fn log(&self, BreakerChange { to, wait }: BreakerChange) {
        let deployment = &self.deployment;
        match to {
            BreakerState::Open => warn!(
                deployment,
                ?wait,
                "the cloud has failed too often in a row: the circuit breaker is open, the edge answers"
            ),
            BreakerState::HalfOpen => {
                info!(deployment, "the circuit breaker is half open: one request tries the cloud")
            }
            BreakerState::Closed => {
                info!(deployment, "the cloud answers again: the circuit breaker is closed")
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests;
