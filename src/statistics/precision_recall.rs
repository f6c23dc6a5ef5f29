//! Average precision: the area under the curve of precision against recall.

/// The mean of the precisions at each threshold, weighted by how much recall it adds: scikit-learn's
/// `average_precision_score`, without interpolation (W. Su, Y. Yuan and M. Zhu, "A relationship between the
/// average precision and the area under the ROC curve", 2015). By chance it is the share of anomalies, not
/// one half. Equal scores share one threshold. Nothing without an anomaly, or when a score is not a number.
pub fn average_precision(scores: &[(f64, bool)]) -> Option<f64> {
    let anomalies = scores.iter().filter(|(_, is_anomaly)| *is_anomaly).count();
    if anomalies == 0 || scores.iter().any(|(score, _)| score.is_nan()) {
        return None;
    }
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
    let (mut found, mut taken, mut area) = (0, 0, 0.0);
    for tied in sorted.chunk_by(|one, other| one.0 == other.0) {
        let more = tied.iter().filter(|(_, is_anomaly)| *is_anomaly).count();
        (found, taken) = (found + more, taken + tied.len());
        area += more as f64 / anomalies as f64 * found as f64 / taken as f64;
    }
    Some(area)
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{self, Recorded, TOLERANCE};
    use super::*;

    #[test]
    fn average_precision_is_scikit_learn_s() {
        // average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).
        let scores = [(0.1, false), (0.4, false), (0.35, true), (0.8, true)];
        let area = average_precision(&scores).unwrap();
        assert!((area - 0.833_333_333_333_333_3).abs() < 1e-12, "{area}");
        assert_eq!(average_precision(&[(0.5, false), (0.5, true)]), Some(0.5));
        assert_eq!(average_precision(&[(0.5, false)]), None);
        assert_eq!(average_precision(&[(f64::NAN, true)]), None);
    }

    #[test]
    fn average_precision_is_the_recorded_one() {
        for Recorded { name, series, average_precision: expected, .. } in recorded::all() {
            let area = average_precision(&series.pairs()).unwrap();
            assert!((area - expected).abs() < TOLERANCE, "{name}: {area}");
        }
    }
}
