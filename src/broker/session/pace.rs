//! A token bucket: how fast one client may publish, so many messages a second and a burst after a quiet time.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket that fills with time and gives up one message's worth for each publish.
pub struct Pace {
    messages_per_s: f64,
    burst_messages: f64,
    available: f64,
    filled_at: Instant,
}

impl Pace {
    /// A full bucket; `None` where the rate is 0, which stands for no limit.
    pub fn new(messages_per_s: u32, burst_messages: u32, now: Instant) -> Option<Self> {
        let burst_messages = f64::from(burst_messages.max(1));
        (messages_per_s > 0).then(|| Self {
            messages_per_s: messages_per_s.into(),
            burst_messages,
            available: burst_messages,
            filled_at: now,
        })
    }

    /// Takes one message's worth. An error says when there is one again.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let filled = (now - self.filled_at).as_secs_f64() * self.messages_per_s;
        self.available = (self.available + filled).min(self.burst_messages);
        self.filled_at = now;
        if self.available >= 1.0 {
            self.available -= 1.0;
            return Ok(());
        }
        // A microsecond more, so that rounding never makes it a moment too early.
        let missing = Duration::from_secs_f64((1.0 - self.available) / self.messages_per_s);
        Err(now + missing + Duration::from_micros(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut pace = Pace::new(10, 3, start).unwrap();
        assert_eq!((0..5).map(|_| pace.take(start)).filter(Result::is_ok).count(), 3);
        let next = pace.take(start).unwrap_err();
        assert!((Duration::from_millis(100)..Duration::from_millis(101)).contains(&(next - start)));
        assert!(pace.take(next).is_ok() && pace.take(next).is_err());
        let later = start + Duration::from_secs(100);
        assert_eq!((0..5).map(|_| pace.take(later)).filter(Result::is_ok).count(), 3, "no more is saved up");
    }

    #[test]
    fn a_rate_of_0_is_no_limit() {
        assert!(Pace::new(0, 3, Instant::now()).is_none());
    }
}
