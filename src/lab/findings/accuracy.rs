//! How right decisions are where the truth is known, and how soon an anomaly is found.

use std::collections::BTreeMap;
use std::time::Duration;

use super::placement::latency_ms;
use super::selection::Chosen;
use crate::statistics::{Confusion, Proportion, Samples, detection_delay, roc_auc};

/// How right a placement's decisions are. Requests without a result decide nothing,
/// and count in `anomalies_unanswered` alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    /// Decisions against the truth.
    pub confusion: Confusion,
    /// The area under the receiver operating characteristic; nothing when only one kind of truth is there.
    pub roc_auc: Option<f64>,
    /// Anomalies whose request had no result.
    pub anomalies_unanswered: usize,
    /// How soon anomalies were found; nothing without one.
    pub detection: Option<DetectionFindings>,
}

/// How soon anomalies were found: one for each device and repeat that has one, from
/// the first request that the truth calls an anomaly on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionFindings {
    /// How many there were.
    pub anomalies: usize,
    /// How many of them an alarm followed.
    pub found: usize,
    /// From when the first anomalous request was due to when the first alarm arrived, in
    /// seconds: mean, median and greatest of those that were found.
    pub delay_s: Option<[f64; 3]>,
    /// Alarms of those devices before the anomaly began.
    pub false_alarms_before: usize,
}

impl Accuracy {
    pub(crate) fn of(chosen: &Chosen<'_, '_>) -> Option<Self> {
        let known = || chosen.counted().filter_map(|observation| Some((observation, observation.truth?)));
        known().next()?;
        let decisions = known().filter_map(|(observation, truth)| {
            latency_ms(observation)?;
            Some((observation.is_anomaly?, truth))
        });
        let scores: Vec<_> = known()
            .filter_map(|(observation, truth)| {
                latency_ms(observation)?;
                Some((f64::from(observation.prediction?), truth))
            })
            .collect();
        let unanswered = known().filter(|(observation, truth)| *truth && latency_ms(observation).is_none());
        Some(Self {
            confusion: Confusion::of(decisions),
            roc_auc: roc_auc(&scores),
            anomalies_unanswered: unanswered.count(),
            detection: DetectionFindings::of(chosen),
        })
    }

    /// The share of all anomalies that were found, those without a result included;
    /// nothing without an anomaly.
    pub fn recall_of_all(&self) -> Option<Proportion> {
        let Confusion { true_positives, false_negatives, .. } = self.confusion;
        let all = true_positives + false_negatives + self.anomalies_unanswered;
        (all > 0).then_some(Proportion { cases: true_positives, all })
    }
}

impl DetectionFindings {
    fn of(chosen: &Chosen<'_, '_>) -> Option<Self> {
        let (mut anomalies, mut false_alarms_before, mut delays) = (0, 0, Vec::new());
        for repeat in chosen.repeats {
            let mut devices: BTreeMap<u32, Device> = BTreeMap::new();
            for observation in chosen.counted_of(repeat) {
                let device = devices.entry(observation.device).or_default();
                if observation.truth == Some(true) {
                    device.onset =
                        Some(device.onset.map_or(observation.due, |onset| onset.min(observation.due)));
                }
                if let (Some(_), Some(total), Some(alarm)) =
                    (latency_ms(observation), observation.total, observation.is_anomaly)
                {
                    device.decisions.push(((observation.due + total).as_secs_f64(), alarm));
                }
            }
            for mut device in devices.into_values() {
                let Some(onset) = device.onset else { continue };
                anomalies += 1;
                // In the order in which answers arrived.
                device.decisions.sort_by(|one, other| one.0.total_cmp(&other.0));
                let detection = detection_delay(&device.decisions, onset.as_secs_f64(), 1);
                delays.extend(detection.delay);
                false_alarms_before += detection.false_alarms;
            }
        }
        let found = delays.len();
        let delay_s =
            Samples::new(delays).map(|delays| [delays.mean(), delays.quantile(0.5), delays.quantile(1.0)]);
        (anomalies > 0).then_some(Self { anomalies, found, delay_s, false_alarms_before })
    }
}

#[derive(Default)]
struct Device {
    onset: Option<Duration>,
    /// When answers arrived, and whether they are alarms.
    decisions: Vec<(f64, bool)>,
}
