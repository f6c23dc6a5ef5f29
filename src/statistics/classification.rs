//! Confusion matrix, ROC AUC and detection delay: how good decisions are where the truth is known, and how
//! far two deciders agree where it is not.

use super::proportion::Proportion;

/// Decisions against the truth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Anomalies that were found.
    pub true_positives: usize,
    /// Alarms without an anomaly.
    pub false_positives: usize,
    /// Quiet when it should be.
    pub true_negatives: usize,
    /// Anomalies that were missed.
    pub false_negatives: usize,
}

impl Confusion {
    /// Counts pairs of a decision and the truth.
    pub fn of(decisions: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut counts = Self::default();
        for decision in decisions {
            match decision {
                (true, true) => counts.true_positives += 1,
                (true, false) => counts.false_positives += 1,
                (false, false) => counts.true_negatives += 1,
                (false, true) => counts.false_negatives += 1,
            }
        }
        counts
    }

    /// The share of alarms that were right; nothing without an alarm.
    pub fn precision(self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// The share of anomalies that were found; nothing without an anomaly.
    pub fn recall(self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// The harmonic mean of both (C. J. van Rijsbergen, Information Retrieval, 1979);
    /// nothing when there was neither an alarm nor an anomaly.
    pub fn f1(self) -> Option<f64> {
        let wrong = self.false_positives + self.false_negatives;
        // In counts, which is the same and needs neither of the two to exist.
        ratio(2 * self.true_positives, 2 * self.true_positives + wrong)
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The area under the receiver operating characteristic: how probable it is that an
/// anomaly scores higher than what is none, equal scores counting half. By the rank
/// sum of Mann and Whitney with mean ranks for ties (J. A. Hanley and B. J. McNeil,
/// 1982). Nothing when only one kind is there, or a score is not a number.
pub fn roc_auc(scores: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = scores.to_vec();
    if sorted.iter().any(|(score, _)| score.is_nan()) {
        return None;
    }
    sorted.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let (mut rank_sum, mut ranked) = (0.0, 0);
    for tied in sorted.chunk_by(|one, other| one.0 == other.0) {
        // Ranks count from 1.
        let mean_rank = ranked as f64 + (tied.len() + 1) as f64 / 2.0;
        rank_sum += mean_rank * tied.iter().filter(|(_, is_anomaly)| *is_anomaly).count() as f64;
        ranked += tied.len();
    }
    let anomalies = sorted.iter().filter(|(_, is_anomaly)| *is_anomaly).count() as f64;
    let others = sorted.len() as f64 - anomalies;
    let pairs = anomalies * others;
    (pairs > 0.0).then(|| (rank_sum - anomalies * (anomalies + 1.0) / 2.0) / pairs)
}

/// How often two deciders differ about the same input.
pub fn disagreements(pairs: impl IntoIterator<Item = (bool, bool)>) -> Proportion {
    let (mut cases, mut all) = (0, 0);
    for (one, other) in pairs {
        cases += usize::from(one != other);
        all += 1;
    }
    Proportion { cases, all }
}

/// What became of one anomaly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// From its onset to the first alarm at or after it, in the times' unit; nothing when there was none.
    pub delay: Option<f64>,
    /// Alarms before the onset.
    pub false_alarms: usize,
}

/// How long after its `onset` an anomaly was found: `decisions` are a device's, each
/// with its time, times rising. An alarm counts once `consecutive` decisions in a
/// row, at least 1, are alarms; its time is that of the last of them.
pub fn detection_delay(decisions: &[(f64, bool)], onset: f64, consecutive: usize) -> Detection {
    let (mut in_a_row, mut detection) = (0, Detection { delay: None, false_alarms: 0 });
    for (at, is_alarm) in decisions {
        in_a_row = if *is_alarm { in_a_row + 1 } else { 0 };
        if in_a_row < consecutive.max(1) {
            continue;
        }
        if *at >= onset {
            detection.delay = Some(at - onset);
            break;
        }
        detection.false_alarms += 1;
    }
    detection
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::recorded::{self, Recorded, TOLERANCE};
    use super::*;

    #[test]
    fn precision_recall_and_f1() {
        let pairs =
            [(true, true), (true, true), (true, false), (false, true), (false, false), (false, false)];
        let counts = Confusion::of(pairs);
        let third = 2.0 / 3.0;
        assert_eq!(
            (counts.precision(), counts.recall(), counts.f1()),
            (Some(third), Some(third), Some(third))
        );
        let quiet = Confusion::of([(false, false)]);
        assert_eq!((quiet.precision(), quiet.recall(), quiet.f1()), (None, None, None));
    }

    #[test]
    fn the_area_is_that_of_the_textbook_and_ties_count_half() {
        // sklearn.metrics.roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).
        let scores = [(0.1, false), (0.4, false), (0.35, true), (0.8, true)];
        assert_eq!(roc_auc(&scores), Some(0.75));
        assert_eq!(roc_auc(&[(0.5, false), (0.5, true)]), Some(0.5));
        assert_eq!(roc_auc(&[(0.5, true)]), None);
        assert_eq!(roc_auc(&[(f64::NAN, true), (0.1, false)]), None);
    }

    #[test]
    fn the_area_is_scikit_learn_s() {
        for Recorded { name, series, roc_auc: expected, .. } in recorded::all() {
            let area = roc_auc(&series.pairs()).unwrap();
            assert!((area - expected).abs() < TOLERANCE, "{name}: {area}");
        }
    }

    proptest! {
        #[test]
        fn the_area_is_the_share_of_pairs_in_the_right_order(
            scores in prop::collection::vec((0_u8..10, any::<bool>()), 2..40),
        ) {
            let scores: Vec<_> = scores.into_iter().map(|(score, truth)| (f64::from(score), truth)).collect();
            let of = |truth| scores.iter().filter(move |(_, is)| *is == truth).map(|(score, _)| *score);
            let pairs: Vec<_> = of(true).flat_map(|high| of(false).map(move |low| (high, low))).collect();
            let right = |(high, low): &(f64, f64)| {
                if high > low { 1.0 } else if high == low { 0.5 } else { 0.0 }
            };
            let expected = pairs.iter().map(right).sum::<f64>() / pairs.len() as f64;
            match roc_auc(&scores) {
                Some(area) => prop_assert!((area - expected).abs() < 1e-12),
                None => prop_assert!(pairs.is_empty()),
            }
        }
    }

    #[test]
    fn an_anomaly_is_found_at_the_first_alarm_after_it_began() {
        let decisions = [(1.0, true), (2.0, false), (3.0, false), (4.0, true), (5.0, true), (6.0, true)];
        assert_eq!(detection_delay(&decisions, 3.0, 1), Detection { delay: Some(1.0), false_alarms: 1 });
        assert_eq!(detection_delay(&decisions, 3.0, 3), Detection { delay: Some(3.0), false_alarms: 0 });
        assert_eq!(detection_delay(&decisions, 7.0, 4).delay, None);
    }

    #[test]
    fn disagreements_are_counted() {
        let pairs = [(true, true), (true, false), (false, false), (false, true)];
        assert_eq!(disagreements(pairs), Proportion { cases: 2, all: 4 });
    }
}
