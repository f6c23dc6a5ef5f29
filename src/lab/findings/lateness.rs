//! How late the generator was, and whether that matters.

use super::placement::milliseconds;
use super::selection::Chosen;
use crate::statistics::Samples;

/// The generator's own lateness.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lateness {
    /// Half of the requests were sent at most so late.
    pub p50: f64,
    /// 99 % of them.
    pub p99: f64,
    /// All of them.
    pub max: f64,
    /// Whether the generator made more than [`LATENESS_LATENCY_SHARE_MAX`] of the latency, of
    /// the medians or of the 99th percentiles; or the load was another than asked for, `p99`
    /// being more than [`LATENESS_INTERVAL_SHARE_MAX`] of the mean time from one request to
    /// the next, and more than [`LATENESS_MEDIAN_SHARE_MAX`] of the median latency.
    pub is_considerable: bool,
}

/// The share of the latency that the generator's lateness may be. To wake up takes a tenth of a millisecond,
/// which is a quarter of the latency of a small model at the edge and says nothing of the load.
pub const LATENESS_LATENCY_SHARE_MAX: f64 = 1.0 / 3.0;
/// The share of the mean time between two requests that the 99th percentile of the
/// lateness may be: from there on, requests come together that should not.
pub const LATENESS_INTERVAL_SHARE_MAX: f64 = 0.5;
/// The share of the median latency up to which requests that come together do not matter.
pub const LATENESS_MEDIAN_SHARE_MAX: f64 = 0.1;

impl Lateness {
    pub(crate) fn of(chosen: &Chosen<'_, '_>, latencies: Option<&Samples>) -> Option<Self> {
        let late = chosen.counted().map(|observation| milliseconds(observation.sent_late));
        let late = Samples::new(late.collect())?;
        let (p50, p99, max) = (late.quantile(0.5), late.quantile(0.99), late.quantile(1.0));
        let is_considerable = latencies.is_some_and(|latencies| {
            let (median, slow) = (latencies.quantile(0.5), latencies.quantile(0.99));
            let is_of_the_latency =
                p50 > LATENESS_LATENCY_SHARE_MAX * median || p99 > LATENESS_LATENCY_SHARE_MAX * slow;
            let together = interval_ms(chosen).map(|interval| LATENESS_INTERVAL_SHARE_MAX * interval);
            let is_of_the_load = together.is_some_and(|together| p99 > together);
            is_of_the_latency || is_of_the_load && p99 > LATENESS_MEDIAN_SHARE_MAX * median
        });
        Some(Self { p50, p99, max, is_considerable })
    }
}

/// The mean time from one request to the next; nothing where no repeat has two.
fn interval_ms(chosen: &Chosen<'_, '_>) -> Option<f64> {
    let (mut all_ms, mut intervals) = (0.0, 0);
    for repeat in chosen.repeats {
        let due: Vec<_> = chosen.counted_of(repeat).map(|observation| observation.due).collect();
        let (Some(first), Some(last)) = (due.iter().min(), due.iter().max()) else { continue };
        all_ms += milliseconds(*last - *first);
        intervals += due.len() - 1;
    }
    (intervals > 0).then(|| all_ms / intervals as f64)
}
