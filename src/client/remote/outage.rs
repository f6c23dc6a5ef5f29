//! An outage of the broker, told of again at growing intervals: after a minute, two, four and so on, up to an
//! hour. Time is passed in, so that a test decides what it is.

use std::fmt;
use std::time::{Duration, Instant};

/// After how long an outage is told of for the second time.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// The longest that nothing is said of one.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// An outage that goes on.
pub struct Outage {
    began: Instant,
    told: Instant,
    wait: Duration,
}

impl Outage {
    /// One that begins now and is told of now.
    pub fn begin(now: Instant) -> Self {
        Self { began: now, told: now, wait: AGAIN_AFTER }
    }

    /// Whether it is time to tell of it again; it then counts as told.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now.saturating_duration_since(self.told) >= self.wait;
        if is_due {
            self.told = now;
            self.wait = (self.wait * 2).min(AGAIN_AFTER_MAX);
        }
        is_due
    }

    /// Its length so far.
    pub fn length(&self, now: Instant) -> Length {
        Length(now.saturating_duration_since(self.began))
    }
}

/// A time in words, its two largest units: 50 s, 3 min 20 s, 2 h 0 min, 4 d 7 h.
pub struct Length(Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        match seconds {
            0..60 => write!(f, "{seconds} s"),
            60..3_600 => write!(f, "{minutes} min {} s", seconds % 60),
            3_600..86_400 => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{days} d {} h", hours % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_of_again_at_growing_intervals_with_its_length() {
        let start = Instant::now();
        let mut outage = Outage::begin(start);
        let told: Vec<Instant> = (0..12 * 3_600_u64)
            .step_by(5)
            .map(|second| start + Duration::from_secs(second))
            .filter(|now| outage.is_due(*now))
            .collect();
        let told: Vec<_> = told.into_iter().map(|now| outage.length(now).to_string()).collect();
        let expected = [
            "1 min 0 s",
            "3 min 0 s",
            "7 min 0 s",
            "15 min 0 s",
            "31 min 0 s",
            "1 h 3 min",
            "2 h 3 min",
            "3 h 3 min",
        ];
        assert_eq!(told[..expected.len()], expected);
        assert_eq!(told.len(), 16, "then every hour");
        assert_eq!(outage.length(start + Duration::from_secs(50)).to_string(), "50 s");
        assert_eq!(outage.length(start + Duration::from_secs(371_000)).to_string(), "4 d 7 h");
    }
}
