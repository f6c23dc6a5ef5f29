//! Back-pressure on one client: why its packets wait, of which there is one reason at a time.

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::broker::bus::Bus;
use crate::broker::bus::carrier::turnstile::Visit;

/// Why the packets that a client has sent are not worked off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// They are.
    No,
    /// The router has much before it. Nothing goes before this.
    Router,
    /// A lane has no room for a publish, or a receiver that publishers wait for is slow.
    Turn,
    /// As many publishes are unanswered as may be, or no further one is taken because the broker drains.
    Answers,
    /// The client publishes faster than it may, and goes on then.
    Pace(Instant),
}

/// The waiting of one client.
pub struct Waiting {
    pub why: Wait,
    /// Where it waits for room, or has its turn.
    pub visit: Visit,
    /// Changes when the router may have caught up.
    progress: watch::Receiver<()>,
    /// It waits at a gate, for another client that is slow.
    pub is_at_gate: bool,
}

impl Waiting {
    pub fn new(bus: &Bus) -> Self {
        Self { why: Wait::No, visit: Visit::default(), progress: bus.progress(), is_at_gate: false }
    }

    /// Whatever changes from here on wakes a client that is found to have to wait.
    pub fn look(&mut self) {
        self.progress.mark_unchanged();
    }

    /// Its packets are worked off again, as far as they may.
    pub fn enter(&mut self) {
        self.why = Wait::No;
        self.visit.enter();
    }

    /// They wait. Whoever waits for the router does so first.
    pub fn begin(&mut self, why: Wait) {
        if self.why != Wait::Router {
            self.why = why;
        }
    }

    /// Waits until it may be over. Answers are looked at whenever some have been given, so their end is no
    /// event of its own. Nothing is lost when the future is dropped.
    pub async fn over(&mut self, bus: &Bus) {
        match self.why {
            Wait::No | Wait::Answers => std::future::pending().await,
            Wait::Router => loop {
                // It cannot fail: the bus has the other end, and lives as long as we do.
                let _alive = self.progress.changed().await;
                if !bus.is_behind() {
                    return;
                }
            },
            Wait::Turn => self.visit.called().await,
            Wait::Pace(until) => sleep_until(until).await,
        }
    }
}
