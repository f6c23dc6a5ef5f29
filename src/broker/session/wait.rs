//! Why a client's packets wait, of which there is one reason at a time.

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

impl Wait {
    /// Waits until it may be over. Answers are looked at whenever some have been given, so their end is no
    /// event of its own. Nothing is lost when the future is dropped.
    pub async fn over(self, bus: &Bus, progress: &mut watch::Receiver<()>, visit: &Visit) {
        match self {
            Self::No | Self::Answers => std::future::pending().await,
            Self::Router => loop {
                // It cannot fail: the bus has the other end, and lives as long as we do.
                let _alive = progress.changed().await;
                if !bus.is_behind() {
                    return;
                }
            },
            Self::Turn => visit.called().await,
            Self::Pace(until) => sleep_until(until).await,
        }
    }
}
