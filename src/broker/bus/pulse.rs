//! Signs of progress: beats that go where messages go, so that what no longer comes
//! round is noticed, whatever it says of itself.
//!
//! A beat goes round the I/O thread, another through the router and back, and one through
//! the router to each watched in-process link, whose owner takes it as it takes messages.
//! Nothing here asks a clock: the time is an argument, in milliseconds of the bus's clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often beats are sent.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);

/// No beat is under way.
const NONE: u64 = u64::MAX;

/// One beat's way.
pub struct Beat {
    /// When the one that is under way was sent.
    sent_ms: AtomicU64,
}

impl Default for Beat {
    fn default() -> Self {
        Self { sent_ms: NONE.into() }
    }
}

impl Beat {
    /// Whether a beat may be sent now: none is under way. It is from now on.
    pub fn begin(&self, now_ms: u64) -> bool {
        self.sent_ms.compare_exchange(NONE, now_ms, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// It has come through.
    pub fn arrive(&self) {
        self.sent_ms.store(NONE, Ordering::Release);
    }

    /// How long the one that is under way has taken until now.
    pub fn under_way(&self, now_ms: u64) -> Duration {
        match self.sent_ms.load(Ordering::Acquire) {
            NONE => Duration::ZERO,
            sent_ms => Duration::from_millis(now_ms.saturating_sub(sent_ms)),
        }
    }
}

/// The beats of the broker itself.
pub struct Pulse {
    /// When the I/O thread last came round.
    round_ms: AtomicU64,
    /// Through the router and back to the I/O thread.
    pub router: Beat,
}

impl Pulse {
    pub fn new() -> Self {
        Self { round_ms: AtomicU64::new(0), router: Beat::default() }
    }

    /// The I/O thread has come round.
    pub fn come_round(&self, now_ms: u64) {
        self.round_ms.store(now_ms, Ordering::Release);
    }

    /// What has made no progress for longer than `late`.
    pub fn stalled(&self, now_ms: u64, late: Duration) -> Option<String> {
        let round = Duration::from_millis(now_ms.saturating_sub(self.round_ms.load(Ordering::Acquire)));
        // The router's answer is read on the I/O thread.
        if round > late {
            return Some(format!("the broker's I/O thread has not come round for {} s", round.as_secs()));
        }
        let router = self.router.under_way(now_ms);
        (router > late).then(|| format!("the broker's router has not answered for {} s", router.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_secs(10);

    #[test]
    fn what_does_not_come_round_in_time_is_named_and_forgotten_once_it_does() {
        let pulse = Pulse::new();
        pulse.come_round(1_000);
        assert_eq!(pulse.stalled(11_000, LATE), None);
        let blocked = pulse.stalled(11_001, LATE).unwrap();
        assert!(blocked.contains("I/O thread") && blocked.contains("10 s"), "{blocked}");
        pulse.come_round(12_000);
        assert!(pulse.router.begin(12_000) && !pulse.router.begin(13_000), "one at a time");
        pulse.come_round(22_001);
        let silent = pulse.stalled(22_001, LATE).unwrap();
        assert!(silent.contains("router"), "{silent}");
        pulse.router.arrive();
        assert_eq!(pulse.stalled(22_001, LATE), None);
    }
}
