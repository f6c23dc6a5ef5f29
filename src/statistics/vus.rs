//! Volumes under the surface: the areas under ROC and precision-recall curves of scores against labels that
//! are widened step by step, so that an alarm a little before or after an event is not simply wrong.
//!
//! J. Paparrizos, P. Boniol, T. Palpanas, R. S. Tsay, A. Elmore and M. J. Franklin, "Volume under the
//! surface: a new accuracy evaluation measure for time-series anomaly detection", PVLDB 15(11), 2022. The
//! figures are those of the authors' package `vus` 0.0.6 (`get_metrics`, version `opt`), its peculiarities
//! included: labels count as they are predicted, thresholds are scores at evenly spaced ranks, the area
//! under precision and recall is a sum of steps.
//!
//! The package passes over the series for each threshold and width. Here a row is looked up once among the
//! thresholds; each width then costs the rows beside the events, and the thresholds.

use std::ops::Range;

/// At how many thresholds the package looks.
const THRESHOLDS: usize = 250;

/// The two volumes, each from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Volumes {
    /// Under the ROC curves.
    pub roc: f64,
    /// Under the precision-recall curves.
    pub pr: f64,
}

/// The volumes of `scores` against `truth`, which is as long, for widths of 0 to `width_max` rows: half of
/// a width is added on each side of an event. Nothing when only one kind of rows is there, or a score is
/// not a number.
///
/// The cost grows with the square of `width_max` times the number of events, and with `width_max` times the
/// number of thresholds.
pub fn volumes_under_surface(scores: &[f64], truth: &[bool], width_max: usize) -> Option<Volumes> {
    let events = runs(truth);
    let core: usize = events.iter().map(Range::len).sum();
    let is_sound = scores.len() == truth.len() && !scores.iter().any(|score| score.is_nan());
    if !is_sound || core == 0 || core == truth.len() {
        return None;
    }
    let steps = steps(scores);
    let mut surface = Surface::new(&steps, &events, core);
    let mut sum = Volumes { roc: 0.0, pr: 0.0 };
    for width in 0..=width_max {
        let areas = surface.areas(width);
        sum.roc += areas.roc;
        sum.pr += areas.pr;
    }
    let widths = (width_max + 1) as f64;
    Some(Volumes { roc: sum.roc / widths, pr: sum.pr / widths })
}

/// The maximal runs of `true`.
pub fn runs(truth: &[bool]) -> Vec<Range<usize>> {
    let mut at = 0;
    let mut runs = Vec::new();
    for same in truth.chunk_by(|one, other| one == other) {
        if same[0] {
            runs.push(at..at + same.len());
        }
        at += same.len();
    }
    runs
}

/// For each row the first threshold, the highest being 0, at which it is predicted to be an anomaly.
fn steps(scores: &[f64]) -> Vec<u16> {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(|one, other| other.total_cmp(one));
    // As numpy.linspace(0, last, 250).astype(int) rounds.
    let last = scores.len() - 1;
    let step = last as f64 / (THRESHOLDS - 1) as f64;
    let rank = |k: usize| if k == THRESHOLDS - 1 { last } else { (k as f64 * step) as usize };
    let thresholds: Vec<f64> = (0..THRESHOLDS).map(|k| sorted[rank(k)]).collect();
    scores.iter().map(|score| thresholds.partition_point(|threshold| threshold > score) as u16).collect()
}

/// What all widths share.
struct Surface<'a> {
    steps: &'a [u16],
    events: &'a [Range<usize>],
    /// How many rows are in events.
    core: usize,
    /// At each threshold: how many rows are predicted.
    predicted: [f64; THRESHOLDS],
    /// At each threshold: how many rows of events are predicted first there.
    core_new: [f64; THRESHOLDS],
    /// For each event the first threshold at which any of its rows is predicted.
    core_first: Vec<u16>,
    /// The widened labels outside the events; 0 between two calls.
    beside: Vec<f64>,
}

impl<'a> Surface<'a> {
    fn new(steps: &'a [u16], events: &'a [Range<usize>], core: usize) -> Self {
        let (mut predicted, mut core_new) = ([0.0; THRESHOLDS], [0.0; THRESHOLDS]);
        for step in steps {
            predicted[usize::from(*step)] += 1.0;
        }
        accumulate(&mut predicted);
        for step in events.iter().flat_map(|event| &steps[event.clone()]) {
            core_new[usize::from(*step)] += 1.0;
        }
        let first = |event: &Range<usize>| first(&steps[event.clone()]);
        let core_first = events.iter().map(first).collect();
        Self { steps, events, core, predicted, core_new, core_first, beside: vec![0.0; steps.len()] }
    }

    /// The areas for one width.
    fn areas(&mut self, width: usize) -> Volumes {
        let half = width / 2;
        let beside_new = self.widen(half, width);
        let (segments, found_new) = self.segments(half);
        let rows = self.steps.len() as f64;
        let core = self.core as f64;
        // How much of the widened labels is predicted: of the events, and beside them.
        let (mut in_core, mut beside, mut found) = (0.0, 0.0, 0.0);
        let mut before = Point { recall: 0.0, fall_out: 0.0 };
        let mut areas = Volumes { roc: 0.0, pr: 0.0 };
        for k in 0..THRESHOLDS {
            in_core += self.core_new[k];
            beside += beside_new[k];
            found += found_new[k];
            let hits = in_core + beside;
            // The mean of the labels as they are and as they are widened, so that a width does not make
            // recall much smaller.
            let positives = (core + core + beside) / 2.0;
            let point = Point {
                recall: (hits / positives).min(1.0) * found / segments as f64,
                fall_out: (self.predicted[k] - hits) / (rows - positives),
            };
            areas.roc += before.area_to(point);
            areas.pr += (point.recall - before.recall) * hits / self.predicted[k];
            before = point;
        }
        // The curve ends where everything is an anomaly.
        areas.roc += before.area_to(Point { recall: 1.0, fall_out: 1.0 });
        areas
    }

    /// The labels that `half` rows beside each event have, summed by the threshold at which their rows are
    /// predicted first.
    fn widen(&mut self, half: usize, width: usize) -> [f64; THRESHOLDS] {
        let mut new = [0.0; THRESHOLDS];
        let rows = self.steps.len();
        let around = |event: &Range<usize>| {
            (event.end..(event.end + half).min(rows), event.start.saturating_sub(half)..event.start)
        };
        let label = |distance: usize| (1.0 - distance as f64 / width as f64).sqrt();
        for event in self.events {
            let (after, before) = around(event);
            for row in after {
                self.beside[row] += label(row + 1 - event.end);
            }
            for row in before {
                self.beside[row] += label(event.start - row);
            }
        }
        // A row beside an event may be in the next, where it counts already.
        for row in self.events.iter().flat_map(Clone::clone).filter(|_| half > 0) {
            self.beside[row] = 0.0;
        }
        for event in self.events {
            let (after, before) = around(event);
            for row in after.chain(before) {
                new[usize::from(self.steps[row])] += std::mem::take(&mut self.beside[row]).min(1.0);
            }
        }
        new
    }

    /// How many stretches the widened events make where those that touch are one, and how many of them are
    /// found first at each threshold.
    fn segments(&self, half: usize) -> (usize, [f64; THRESHOLDS]) {
        let mut found_new = [0.0; THRESHOLDS];
        let mut count = 0;
        let mut from = 0;
        while from < self.events.len() {
            let mut to = from;
            // The last row of one and the first of the next, both widened, meet.
            while to + 1 < self.events.len()
                && self.events[to].end - 1 + half >= self.events[to + 1].start.saturating_sub(half)
            {
                to += 1;
            }
            let start = self.events[from].start.saturating_sub(half);
            let end = (self.events[to].end + half).min(self.steps.len());
            let mut first_step = first(&self.steps[start..self.events[from].start]);
            for at in from..=to {
                let beside_end = if at == to { end } else { self.events[at + 1].start };
                first_step = first_step.min(self.core_first[at]);
                first_step = first_step.min(first(&self.steps[self.events[at].end..beside_end]));
            }
            found_new[usize::from(first_step)] += 1.0;
            count += 1;
            from = to + 1;
        }
        (count, found_new)
    }
}

/// A point of a ROC curve.
#[derive(Clone, Copy)]
struct Point {
    recall: f64,
    fall_out: f64,
}

impl Point {
    fn area_to(self, next: Self) -> f64 {
        (next.fall_out - self.fall_out) * (next.recall + self.recall) / 2.0
    }
}

/// The lowest; the last threshold for none, at which everything is predicted.
fn first(steps: &[u16]) -> u16 {
    steps.iter().copied().min().unwrap_or((THRESHOLDS - 1) as u16)
}

fn accumulate(counts: &mut [f64]) {
    let mut sum = 0.0;
    for count in counts {
        sum += *count;
        *count = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{self, Recorded, Series, TOLERANCE};
    use super::*;

    #[test]
    fn volumes_are_those_of_the_package() {
        for Recorded { name, series: Series { scores, truth }, volumes, .. } in recorded::all() {
            for (width, roc, pr) in volumes {
                let of = volumes_under_surface(&scores, &truth, width).unwrap();
                assert!((of.roc - roc).abs() < TOLERANCE, "{name}, {width}: {of:?}");
                assert!((of.pr - pr).abs() < TOLERANCE, "{name}, {width}: {of:?}");
            }
        }
    }

    #[test]
    fn there_is_no_volume_of_one_kind_of_rows() {
        assert_eq!(volumes_under_surface(&[1.0, 2.0], &[true, true], 4), None);
        assert_eq!(volumes_under_surface(&[1.0, 2.0], &[false, false], 4), None);
        assert_eq!(volumes_under_surface(&[1.0, f64::NAN], &[false, true], 4), None);
        assert_eq!(volumes_under_surface(&[], &[], 4), None);
    }

    #[test]
    fn runs_are_maximal() {
        assert_eq!(runs(&[true, true, false, true, false, false, true]), [0..2, 3..4, 6..7]);
        assert!(runs(&[]).is_empty() && runs(&[false]).is_empty());
    }
}
