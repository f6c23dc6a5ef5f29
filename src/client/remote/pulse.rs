//! The pulse, a heartbeat for liveness checks: signs of progress, of the thread that has the connection, and
//! of those who take messages from it.
//!
//! That the broker is silent or away is no standstill of ours, and not told here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// How often the thread shows that it comes round.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Whoever takes messages waits for some.
const WAITING: u64 = u64::MAX;

/// What is watched. Times are in milliseconds since `epoch`.
pub struct Pulse {
    epoch: Instant,
    /// When the connection's thread last came round.
    round_ms: AtomicU64,
    takers: Mutex<Vec<Weak<Taker>>>,
}

/// Whoever takes messages, which are never many: it is late when it does not come back for more.
pub struct Taker {
    name: String,
    pulse: Arc<Pulse>,
    /// When it got those that it works on.
    took_ms: AtomicU64,
}

impl Pulse {
    pub fn new() -> Self {
        Self { epoch: Instant::now(), round_ms: AtomicU64::new(0), takers: Mutex::default() }
    }

    /// Beats on the runtime of the connection's thread, for as long as that is polled.
    pub async fn beat(self: Arc<Self>) {
        loop {
            self.round_ms.store(self.now_ms(), Ordering::Release);
            tokio::time::sleep(BEAT_EVERY).await;
        }
    }

    /// Watches whoever takes messages under this name until it lets go.
    pub fn watch(self: &Arc<Self>, name: String) -> Arc<Taker> {
        let taker = Arc::new(Taker { name, pulse: Arc::clone(self), took_ms: WAITING.into() });
        lock(&self.takers).push(Arc::downgrade(&taker));
        taker
    }

    /// What has made no progress for longer than `late`, where the connection goes to `broker`.
    pub fn stalled(&self, broker: &str, late: Duration) -> Option<String> {
        self.stalled_at(self.now_ms(), broker, late)
    }

    fn stalled_at(&self, now_ms: u64, broker: &str, late: Duration) -> Option<String> {
        let since = |then_ms: u64| Duration::from_millis(now_ms.saturating_sub(then_ms));
        let round = since(self.round_ms.load(Ordering::Acquire));
        if round > late {
            let seconds = round.as_secs();
            return Some(format!(
                "the thread of the connection to {broker} has not come round for {seconds} s"
            ));
        }
        lock(&self.takers).iter().filter_map(Weak::upgrade).find_map(|taker| {
            let took_ms = taker.took_ms.load(Ordering::Acquire);
            let at_work = if took_ms == WAITING { Duration::ZERO } else { since(took_ms) };
            let (name, seconds) = (&taker.name, at_work.as_secs());
            (at_work > late).then(|| format!("{name} has taken nothing from the connection for {seconds} s"))
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Taker {
    /// It is here for more, and may wait for as long as none comes.
    pub fn wait(&self) {
        self.took_ms.store(WAITING, Ordering::Release);
    }

    /// It has got some, and works on them.
    pub fn take(&self) {
        self.took_ms.store(self.pulse.now_ms(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_secs(10);

    #[test]
    fn who_does_not_come_back_for_more_is_named_until_it_does() {
        let pulse = Arc::new(Pulse::new());
        let taker = pulse.watch("the intake".to_owned());
        let stalled_at = |now_ms| {
            pulse.round_ms.store(now_ms, Ordering::Release);
            pulse.stalled_at(now_ms, "b:1883", LATE)
        };
        assert_eq!(stalled_at(3_600_000), None, "it waits");
        taker.took_ms.store(1_000, Ordering::Release);
        assert_eq!(stalled_at(11_000), None);
        assert_eq!(stalled_at(11_001).unwrap(), "the intake has taken nothing from the connection for 10 s");
        taker.wait();
        assert_eq!(stalled_at(11_001), None);
        taker.took_ms.store(1_000, Ordering::Release);
        drop(taker);
        assert_eq!(stalled_at(11_001), None, "it has ended");
    }

    #[test]
    fn a_thread_that_does_not_come_round_is_named() {
        let pulse = Pulse::new();
        assert_eq!(pulse.stalled_at(10_000, "b:1883", LATE), None);
        let stalled = pulse.stalled_at(10_001, "b:1883", LATE).unwrap();
        assert_eq!(stalled, "the thread of the connection to b:1883 has not come round for 10 s");
    }
}
