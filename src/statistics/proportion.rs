//! Proportions with Wilson's score interval: how many of all, and how sure that is.

use super::bootstrap::Interval;
use super::normal;

/// A number of cases out of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proportion {
    /// How many of them are counted.
    pub cases: usize,
    /// How many cases there are in all.
    pub all: usize,
}

impl Proportion {
    /// Between 0 and 1; not a number when there are none.
    pub fn share(self) -> f64 {
        self.cases as f64 / self.all as f64
    }

    /// E. B. Wilson's score interval, "Probable inference, the law of succession, and
    /// statistical inference", 1927, which is sound for few cases and for none.
    pub fn interval(self, level: f64) -> Interval {
        if self.all == 0 {
            return Interval { low: 0.0, high: 1.0 };
        }
        let (share, all) = (self.share(), self.all as f64);
        // Not the usual share plus and minus z standard errors, which for no case among n says that the true
        // share is 0 for sure.
        let z = normal::quantile(f64::midpoint(1.0, level));
        let scale = 1.0 + z * z / all;
        let middle = (share + z * z / (2.0 * all)) / scale;
        let half = z / scale * (share * (1.0 - share) / all + z * z / (4.0 * all * all)).sqrt();
        Interval { low: (middle - half).max(0.0), high: (middle + half).min(1.0) }
    }
}

/// How many of some latencies are longer than `deadline`, in the same unit.
pub fn deadline_misses(latencies: &[f64], deadline: f64) -> Proportion {
    let cases = latencies.iter().filter(|latency| **latency > deadline).count();
    Proportion { cases, all: latencies.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_wilson_s() {
        // R's prop.test(15, 50, correct = FALSE) and binom.confint(0, 20, method = "wilson").
        let interval = Proportion { cases: 15, all: 50 }.interval(0.95);
        assert!(
            (interval.low - 0.191_034).abs() < 1e-5 && (interval.high - 0.437_510).abs() < 1e-5,
            "{interval:?}"
        );
        let interval = Proportion { cases: 0, all: 20 }.interval(0.95);
        assert!(interval.low.abs() < 1e-12 && (interval.high - 0.161_125).abs() < 1e-5, "{interval:?}");
        assert_eq!(Proportion { cases: 0, all: 0 }.interval(0.95), Interval { low: 0.0, high: 1.0 });
    }

    #[test]
    fn a_latency_at_the_deadline_is_in_time() {
        assert_eq!(deadline_misses(&[1.0, 2.0, 2.5], 2.0), Proportion { cases: 1, all: 3 });
    }
}
