//! What the scores of one device are worth, whatever the threshold.

use super::decisions::Decisions;
use super::device::Device;
use crate::statistics::{affiliation, average_precision, roc_auc, volumes_under_surface};

/// Figures of one device, each where it has a meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ranking {
    /// The volume under the surface of precision and recall.
    pub vus_pr: Option<f64>,
    /// The volume under the surface of the ROC curves.
    pub vus_roc: Option<f64>,
    /// Average precision.
    pub auc_pr: Option<f64>,
    /// The area under the ROC curve; to be read beside the drift.
    pub roc_auc: Option<f64>,
    /// How probable it is that a row of the later half of those in which nothing was wrong scores higher than
    /// one of the earlier half: 0.5 for scores that do not drift, 1 for the row number.
    pub healthy_drift: Option<f64>,
    /// Affiliation precision of the alarms.
    pub affiliation_precision: Option<f64>,
    /// Affiliation recall of the alarms.
    pub affiliation_recall: Option<f64>,
}

impl Ranking {
    /// That of what was said of a device.
    pub(crate) fn of(device: &Device<'_>, said: &Decisions, width_max: usize) -> Self {
        let truth: Vec<bool> = device.rows.iter().map(|row| row.truth).collect();
        let pairs: Vec<(f64, bool)> = said.scores.iter().copied().zip(truth.iter().copied()).collect();
        let volumes = volumes_under_surface(&said.scores, &truth, width_max);
        let affiliation = affiliation(&said.alarms, &truth);
        let has_both = device.rows.iter().any(|row| !row.truth);
        Self {
            vus_pr: volumes.map(|volumes| volumes.pr),
            vus_roc: volumes.map(|volumes| volumes.roc),
            // Where everything is an anomaly it would be 1, whatever the scores.
            auc_pr: average_precision(&pairs).filter(|_| has_both),
            roc_auc: roc_auc(&pairs),
            healthy_drift: healthy_drift(&pairs),
            affiliation_precision: affiliation.and_then(|affiliation| affiliation.precision),
            affiliation_recall: affiliation.map(|affiliation| affiliation.recall),
        }
    }
}

/// The area under the ROC curve of later against earlier healthy rows; the middle one of an odd number is
/// one of the later.
fn healthy_drift(pairs: &[(f64, bool)]) -> Option<f64> {
    let healthy: Vec<f64> = pairs.iter().filter(|(_, is_wrong)| !is_wrong).map(|(score, _)| *score).collect();
    let half = healthy.len() / 2;
    let halves: Vec<_> = healthy.iter().enumerate().map(|(at, score)| (*score, at >= half)).collect();
    roc_auc(&halves)
}
