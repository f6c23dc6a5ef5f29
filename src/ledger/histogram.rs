//! How measured values are spread: counts in fixed buckets, and their sum.

use std::fmt;
use std::time::Duration;

/// Counts of values by size. `N` bounds divide them; each bucket includes its bound.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram<const N: usize> {
    bounds: &'static Bounds<N>,
    /// How many values each bucket has, not those below it.
    counts: [u64; N],
    /// Values beyond the last bound.
    beyond: u64,
    /// Wide: nanoseconds of many requests a second fill 64 bits within days.
    sum: u128,
}

/// Durations, from 10 µs to a minute.
pub type Durations = Histogram<20>;
/// Rows of a batch, by powers of two up to 1,024.
pub type Sizes = Histogram<11>;

const MICROSECOND_NS: u64 = 1_000;
const MILLISECOND_NS: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// What divides values, and a way to find a value's bucket without looking at all of
/// it: several values of each request are counted, under a lock.
#[derive(Debug, PartialEq, Eq)]
pub struct Bounds<const N: usize> {
    upper: [u64; N],
    /// For values of so many bits, the first bucket that can have them. The next one is the last.
    first: [usize; u64::BITS as usize + 1],
}

impl<const N: usize> Bounds<N> {
    /// Ascending bounds, each at least twice the one before.
    ///
    /// # Panics
    /// When they are not; for a constant, when it is compiled.
    pub const fn new(upper: [u64; N]) -> Self {
        let mut first = [0; u64::BITS as usize + 1];
        let mut bits = 1;
        while bits < first.len() {
            let least = 1 << (bits - 1);
            let mut bucket = first[bits - 1];
            while bucket < N && upper[bucket] < least {
                bucket += 1;
                assert!(
                    bucket == N || upper[bucket] / 2 >= upper[bucket - 1],
                    "a bound is less than twice the last"
                );
            }
            first[bits] = bucket;
            bits += 1;
        }
        Self { upper, first }
    }

    /// Where `value` belongs; `N` beyond the last bound.
    fn bucket(&self, value: u64) -> usize {
        let first = self.first[(u64::BITS - value.leading_zeros()) as usize];
        // No branch that depends on the value.
        first + usize::from(self.upper.get(first).is_some_and(|upper| value > *upper))
    }
}

/// From a small network's forward pass to the longest one-way latency that can be simulated.
static DURATION_BOUNDS_NS: Bounds<20> = Bounds::new([
    10 * MICROSECOND_NS,
    25 * MICROSECOND_NS,
    50 * MICROSECOND_NS,
    100 * MICROSECOND_NS,
    250 * MICROSECOND_NS,
    500 * MICROSECOND_NS,
    MILLISECOND_NS,
    2_500 * MICROSECOND_NS,
    5 * MILLISECOND_NS,
    10 * MILLISECOND_NS,
    25 * MILLISECOND_NS,
    50 * MILLISECOND_NS,
    100 * MILLISECOND_NS,
    250 * MILLISECOND_NS,
    500 * MILLISECOND_NS,
    SECOND_NS,
    2_500 * MILLISECOND_NS,
    5 * SECOND_NS,
    10 * SECOND_NS,
    60 * SECOND_NS,
]);

static SIZE_BOUNDS: Bounds<11> = Bounds::new([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024]);

/// Nanoseconds in one second, for readers of a [`Durations`] who want seconds.
pub const NANOSECONDS_PER_S: f64 = 1e9;

impl Default for Durations {
    fn default() -> Self {
        Self::new(&DURATION_BOUNDS_NS)
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self::new(&SIZE_BOUNDS)
    }
}

impl Durations {
    /// Counts one duration.
    pub fn record_duration(&mut self, duration: Duration) {
        self.record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// All durations added up.
    pub fn sum_duration(&self) -> Duration {
        let second = u128::from(SECOND_NS);
        Duration::new((self.sum / second) as u64, (self.sum % second) as u32)
    }

    /// The duration that a share `q` of them, from 0 to 1, do not exceed, as near as the
    /// buckets tell; `None` while there are none. See [`quantile`](Self::quantile).
    pub fn quantile_duration(&self, q: f64) -> Option<Duration> {
        self.quantile(q).map(|nanoseconds| Duration::from_nanos(nanoseconds as u64))
    }
}

impl<const N: usize> Histogram<N> {
    /// An empty one that `bounds` divide.
    pub fn new(bounds: &'static Bounds<N>) -> Self {
        Self { bounds, counts: [0; N], beyond: 0, sum: 0 }
    }

    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        *self.counts.get_mut(self.bounds.bucket(value)).unwrap_or(&mut self.beyond) += 1;
        self.sum += u128::from(value);
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.beyond
    }

    /// All values added up.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The mean; `None` while there are no values.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum as f64 / count as f64)
    }

    /// The value that a share `q` of them, from 0 to 1, do not exceed, as near as the buckets
    /// tell; `None` while there are none. Within a bucket values are taken to lie evenly, and
    /// those beyond the last bound at it, as Prometheus's `histogram_quantile` does.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * count as f64;
        let (mut lower, mut below) = (0, 0);
        for (upper, up_to) in self.cumulative() {
            if up_to > below && up_to as f64 >= rank {
                let share = (rank - below as f64).max(0.0) / (up_to - below) as f64;
                return Some(lower as f64 + share * (upper - lower) as f64);
            }
            (lower, below) = (upper, up_to);
        }
        Some(lower as f64)
    }

    /// Each bound and how many values are at or below it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let below = self.counts.iter().scan(0, |below, count| {
            *below += count;
            Some(*below)
        });
        self.bounds.upper.into_iter().zip(below)
    }
}

/// What people ask of it: in its own units, which are nanoseconds for durations.
impl<const N: usize> fmt::Debug for Histogram<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Histogram");
        shown.field("count", &self.count());
        let figures = [("mean", self.mean()), ("p50", self.quantile(0.5)), ("p99", self.quantile(0.99))];
        for (name, figure) in figures {
            if let Some(figure) = figure {
                shown.field(name, &figure.round());
            }
        }
        shown.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_within_its_bucket_as_prometheus_has_it() {
        let mut sizes = Sizes::default();
        assert_eq!((sizes.quantile(0.5), sizes.mean()), (None, None));
        for size in [1, 3, 4, 4, 100] {
            sizes.record(size);
        }
        // One of five up to 1, three from 2 to 4, one from 64 to 128.
        assert_eq!(sizes.quantile(0.2), Some(1.0));
        assert_eq!(sizes.quantile(0.8), Some(4.0));
        assert!((sizes.quantile(0.5).unwrap() - 3.0).abs() < 1e-9, "{sizes:?}");
        assert_eq!(
            (sizes.quantile(0.0), sizes.quantile(1.0), sizes.mean()),
            (Some(0.0), Some(128.0), Some(22.4))
        );
        sizes.record(5_000);
        assert_eq!(sizes.quantile(1.0), Some(1_024.0), "no more is known of what is beyond");
    }

    #[test]
    fn it_shows_what_people_ask_of_it() {
        let mut durations = Durations::default();
        assert_eq!(format!("{durations:?}"), "Histogram { count: 0 }");
        durations.record_duration(Duration::from_micros(10));
        durations.record_duration(Duration::from_micros(10));
        assert_eq!(durations.quantile_duration(1.0), Some(Duration::from_micros(10)));
        let shown = "Histogram { count: 2, mean: 10000.0, p50: 5000.0, p99: 9900.0 }";
        assert_eq!(format!("{durations:?}"), shown);
    }

    #[test]
    fn a_bucket_includes_its_bound_and_those_below() {
        let mut sizes = Sizes::default();
        for size in [1, 2, 3, 1_024, 1_025] {
            sizes.record(size);
        }
        let cumulative: Vec<_> = sizes.cumulative().collect();
        assert_eq!(cumulative[..4], [(1, 1), (2, 2), (4, 3), (8, 3)]);
        assert_eq!(cumulative.last(), Some(&(1_024, 4)));
        assert_eq!((sizes.count(), sizes.sum()), (5, 2_055));
    }

    #[test]
    fn every_value_is_in_the_first_bucket_whose_bound_is_no_less() {
        fn check<const N: usize>(bounds: &Bounds<N>) {
            let around = |value: u64| [value.saturating_sub(1), value, value.saturating_add(1)];
            let powers = (0..u64::BITS).map(|bit| 1 << bit);
            for value in bounds.upper.into_iter().chain(powers).chain([0, u64::MAX]).flat_map(around) {
                let expected = bounds.upper.iter().filter(|upper| value > **upper).count();
                assert_eq!(bounds.bucket(value), expected, "{value}");
            }
        }
        check(&DURATION_BOUNDS_NS);
        check(&SIZE_BOUNDS);
    }

    #[test]
    fn the_longest_duration_is_counted_too() {
        let mut durations = Durations::default();
        durations.record_duration(Duration::MAX);
        durations.record_duration(Duration::from_millis(100));
        assert_eq!(durations.count(), 2);
        let at_100_ms = durations.cumulative().find(|(bound, _)| *bound == 100 * MILLISECOND_NS);
        assert_eq!(at_100_ms, Some((100 * MILLISECOND_NS, 1)));
    }
}
