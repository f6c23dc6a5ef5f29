//! Affiliation precision and recall: how near alarms are to events and events to alarms, against how near
//! random ones would be.
//!
//! A. Huet, J. M. Navarro and D. Rossi, "Local evaluation of time series anomaly detection algorithms",
//! KDD 2022. Each event has a zone, the times that are nearer to it than to any other. A time in it that is
//! predicted is worth the probability that a random time in the zone is farther away: 1 within the event.
//! Precision is the mean of that over what is predicted, recall the mean over the event of the same thing
//! seen from the event's times; both are means over the zones. By chance they are about one half, not 0.

use std::ops::Range;

use super::vus::runs;

/// Both, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affiliation {
    /// The mean over the zones with an alarm; nothing without any alarm.
    pub precision: Option<f64>,
    /// The mean over all zones.
    pub recall: f64,
}

/// Affiliation of rows that are alarms to rows that are anomalies; both as long. Nothing without an anomaly.
pub fn affiliation(alarms: &[bool], truth: &[bool]) -> Option<Affiliation> {
    // A row at index i is the time from i to i + 1.
    let spans = |rows: &[bool]| runs(rows).into_iter().map(Span::of).collect::<Vec<_>>();
    let (alarms, events) = (spans(alarms), spans(truth));
    if events.is_empty() {
        return None;
    }
    let zones = zones(&events, Span { from: 0.0, to: truth.len() as f64 });
    let (mut precisions, mut with_alarm, mut recalls) = (0.0, 0_usize, 0.0);
    let mut next = 0;
    for (event, zone) in events.iter().zip(&zones) {
        // Alarms before this zone are in no later one either.
        next += alarms[next..].partition_point(|alarm| alarm.to <= zone.from);
        let inside: Vec<Span> = alarms[next..].iter().map_while(|alarm| alarm.within(*zone)).collect();
        if inside.is_empty() {
            continue;
        }
        precisions += precision(&inside, *event, *zone);
        with_alarm += 1;
        recalls += recall(&inside, *event, *zone);
    }
    Some(Affiliation {
        precision: (with_alarm > 0).then(|| precisions / with_alarm as f64),
        recall: recalls / events.len() as f64,
    })
}

/// A stretch of time that is not empty.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: f64,
    to: f64,
}

impl Span {
    fn of(rows: Range<usize>) -> Self {
        Self { from: rows.start as f64, to: rows.end as f64 }
    }

    fn length(self) -> f64 {
        self.to - self.from
    }

    fn within(self, other: Self) -> Option<Self> {
        let both = Self { from: self.from.max(other.from), to: self.to.min(other.to) };
        (both.from < both.to).then_some(both)
    }

    fn distance(self, time: f64) -> f64 {
        (self.from - time).max(time - self.to).max(0.0)
    }
}

/// Cuts `whole` half way between neighbours.
fn zones(spans: &[Span], whole: Span) -> Vec<Span> {
    let cut = |pair: &[Span]| f64::midpoint(pair[0].to, pair[1].from);
    let cuts: Vec<f64> = spans.windows(2).map(cut).collect();
    let starts = std::iter::once(whole.from).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain(std::iter::once(whole.to));
    starts.zip(ends).map(|(from, to)| Span { from, to }).collect()
}

/// The mean, over what is predicted, of the probability that a random time of the zone is farther from the
/// event.
fn precision(predicted: &[Span], event: Span, zone: Span) -> f64 {
    // Up to here a distance is possible on both sides of the event, beyond it on one.
    let both_sides = (event.from - zone.from).min(zone.to - event.to);
    // A time beside the event; within it is worth 1.
    let farther = |time: f64| {
        let distance = event.distance(time);
        1.0 - (event.length() + distance + distance.min(both_sides)) / zone.length()
    };
    let bends = [event.from - both_sides, event.to + both_sides];
    let beside = [Span { from: zone.from, to: event.from }, Span { from: event.to, to: zone.to }];
    let worth = |span: &Span| {
        let outside = beside.iter().filter_map(|side| span.within(*side));
        let outside: f64 = outside.map(|part| integral(part, &bends, farther)).sum();
        outside + span.within(event).map_or(0.0, Span::length)
    };
    let length: f64 = predicted.iter().copied().map(Span::length).sum();
    predicted.iter().map(worth).sum::<f64>() / length
}

/// The mean, over the event, of the probability that a random time of the zone is farther than what is
/// predicted nearest.
fn recall(predicted: &[Span], event: Span, zone: Span) -> f64 {
    let middle = f64::midpoint(zone.from, zone.to);
    let part = |(nearest, own): (&Span, Span)| {
        let Some(part) = event.within(own) else { return 0.0 };
        let farther = |time: f64| {
            let distance = nearest.distance(time);
            let both_sides = (time - zone.from).min(zone.to - time);
            1.0 - (distance + distance.min(both_sides)) / zone.length()
        };
        let half_way = |end: f64| [f64::midpoint(zone.from, end), f64::midpoint(zone.to, end)];
        let ([a, b], [c, d]) = (half_way(nearest.from), half_way(nearest.to));
        integral(part, &[nearest.from, nearest.to, middle, a, b, c, d], farther)
    };
    predicted.iter().zip(zones(predicted, zone)).map(part).sum::<f64>() / event.length()
}

/// The integral over `span` of what is linear between its `bends`, which is exact.
fn integral<const N: usize>(span: Span, bends: &[f64; N], of: impl Fn(f64) -> f64) -> f64 {
    let mut bends = *bends;
    bends.sort_unstable_by(f64::total_cmp);
    let (mut sum, mut from) = (0.0, span.from);
    for to in bends.into_iter().filter(|bend| span.from < *bend && *bend < span.to).chain([span.to]) {
        sum += (to - from) * f64::midpoint(of(from), of(to));
        from = to;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{self, Recorded, Series, TOLERANCE};
    use super::*;

    #[test]
    fn affiliation_is_that_of_the_package() {
        for Recorded { name, series: Series { scores, truth }, threshold, affiliation: expected, .. } in
            recorded::all()
        {
            let alarms: Vec<bool> = scores.iter().map(|score| *score >= threshold).collect();
            let of = affiliation(&alarms, &truth).unwrap();
            assert!((of.precision.unwrap() - expected.0).abs() < TOLERANCE, "{name}: {of:?}");
            assert!((of.recall - expected.1).abs() < TOLERANCE, "{name}: {of:?}");
        }
    }

    #[test]
    fn what_is_exact_is_worth_1_and_what_is_missing_has_no_precision() {
        let truth = [false, true, true, false, false, false, true, false];
        assert_eq!(affiliation(&truth, &truth), Some(Affiliation { precision: Some(1.0), recall: 1.0 }));
        assert_eq!(affiliation(&[false; 8], &truth), Some(Affiliation { precision: None, recall: 0.0 }));
        assert_eq!(affiliation(&[true; 8], &[false; 8]), None);
    }
}
