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
    /// The least and the greatest value; the other way round while there are none.
    least: u64,
    most: u64,
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
    /// Whether they are nanoseconds, which are shown as times.
    are_times: bool,
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
        Self { upper, first, are_times: false }
    }

    /// These bounds, of values that are nanoseconds, which are shown as times.
    pub const fn of_nanoseconds(mut self) -> Self {
        self.are_times = true;
        self
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
])
.of_nanoseconds();

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

    /// The duration that a share `q` of them, from 0 to 1, do not exceed, as near as the buckets tell: 0.99
    /// for the 99th percentile. `None` while there are none, and for what is no share, such as 99. See
    /// [`quantile`](Self::quantile).
    pub fn quantile_duration(&self, q: f64) -> Option<Duration> {
        self.quantile(q).map(|nanoseconds| Duration::from_nanos(nanoseconds as u64))
    }
}

impl<const N: usize> Histogram<N> {
    /// An empty one that `bounds` divide.
    pub fn new(bounds: &'static Bounds<N>) -> Self {
        Self { bounds, counts: [0; N], beyond: 0, sum: 0, least: u64::MAX, most: 0 }
    }

    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        *self.counts.get_mut(self.bounds.bucket(value)).unwrap_or(&mut self.beyond) += 1;
        self.sum += u128::from(value);
        self.least = self.least.min(value);
        self.most = self.most.max(value);
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

    /// The least value; `None` while there are none.
    pub fn least(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.least)
    }

    /// The greatest value; `None` while there are none.
    pub fn most(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.most)
    }

    /// The value that a share `q` of them, from 0 to 1, do not exceed, as near as the buckets tell: 0.99 for
    /// the 99th percentile. `None` while there are none, and for what is no share, such as 99 or NaN. Within
    /// a bucket values are taken to lie evenly, as Prometheus's `histogram_quantile` does, and never below
    /// the least value or above the greatest.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let (least, most) = (self.least as f64, self.most as f64);
        let rank = q * count as f64;
        let (mut lower, mut below) = (0, 0);
        for (upper, up_to) in self.cumulative() {
            if up_to > below && up_to as f64 >= rank {
                let share = (rank - below as f64).max(0.0) / (up_to - below) as f64;
                return Some((lower as f64 + share * (upper - lower) as f64).clamp(least, most));
            }
            (lower, below) = (upper, up_to);
        }
        // Among those beyond the last bound, of which the greatest alone is known.
        Some(most)
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

/// What people ask of it; durations with their units.
impl<const N: usize> fmt::Debug for Histogram<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Histogram");
        shown.field("count", &self.count());
        let most = self.most().map(|most| most as f64);
        let figures = [
            ("mean", self.mean()),
            ("p50", self.quantile(0.5)),
            ("p99", self.quantile(0.99)),
            ("most", most),
        ];
        for (name, figure) in figures {
            match figure {
                Some(figure) if self.bounds.are_times => {
                    shown.field(name, &Duration::from_nanos(figure.round() as u64))
                }
                Some(figure) => shown.field(name, &figure.round()),
                None => &mut shown,
            };
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
            (Some(1.0), Some(100.0), Some(22.4)),
            "no value is less than the least or more than the greatest"
        );
        sizes.record(5_000);
        assert_eq!(sizes.quantile(1.0), Some(5_000.0), "of what is beyond the greatest is known");
        assert_eq!((sizes.least(), sizes.most()), (Some(1), Some(5_000)));
    }

    #[test]
    fn it_shows_what_people_ask_of_it() {
        let mut durations = Durations::default();
        assert_eq!(format!("{durations:?}"), "Histogram { count: 0 }");
        durations.record_duration(Duration::from_nanos(41_361));
        let shown = "Histogram { count: 1, mean: 41.361µs, p50: 41.361µs, p99: 41.361µs, most: 41.361µs }";
        assert_eq!(format!("{durations:?}"), shown);
        let mut sizes = Sizes::default();
        sizes.record(3);
        assert_eq!(format!("{sizes:?}"), "Histogram { count: 1, mean: 3.0, p50: 3.0, p99: 3.0, most: 3.0 }");
    }

    #[test]
    fn what_is_no_share_has_no_quantile() {
        let mut durations = Durations::default();
        durations.record_duration(Duration::ZERO);
        for share in [99.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(durations.quantile_duration(share), None, "{share}");
        }
        assert_eq!(durations.quantile_duration(0.99), Some(Duration::ZERO), "no time at all is no 9.9 µs");
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
