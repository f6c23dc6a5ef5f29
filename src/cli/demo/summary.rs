//! What the demo showed: edge against cloud, and how well the detector did.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::PLACEMENTS;
use super::devices::{Stamp, fails};
use crate::alarm::AlarmRule;
use crate::wire::client::AnswerBody;

/// Rows in a row at or above the threshold that make an alarm.
const ALARM_ROWS: u32 = 3;

pub struct Summary {
    threshold: f32,
    placements: [Placement; 2],
    pairs: u64,
    equal: u64,
    alarms: BTreeMap<u32, AlarmRule>,
    sound_windows: u64,
    false_windows: u64,
}

struct Placement {
    round_trip_ns: Histogram<u64>,
    errors: u64,
    network_ms: f64,
    inference_ms: f64,
}

impl Placement {
    fn new() -> Self {
        Self {
            round_trip_ns: Histogram::new(3).expect("three significant digits are possible"),
            errors: 0,
            network_ms: 0.0,
            inference_ms: 0.0,
        }
    }

    fn mean_ms(&self) -> f64 {
        self.round_trip_ns.mean() / 1e6
    }
}

impl Summary {
    pub fn new(threshold: f32) -> Self {
        Self {
            threshold,
            placements: [Placement::new(), Placement::new()],
            pairs: 0,
            equal: 0,
            alarms: BTreeMap::new(),
            sound_windows: 0,
            false_windows: 0,
        }
    }

    /// One answer of one placement.
    pub fn answer(&mut self, placement: usize, round_trip: Duration, answer: &AnswerBody) {
        let placement = &mut self.placements[placement];
        if answer.prediction.is_none() {
            placement.errors += 1;
            return;
        }
        placement
            .round_trip_ns
            .record(round_trip.as_nanos() as u64)
            .expect("an auto-resizing histogram takes any value");
        placement.network_ms += answer.cloud_latency_ms.unwrap_or_default();
        placement.inference_ms += answer.inference_time_ms.unwrap_or_default();
    }

    /// Both answers to one window, which came from a sound or a faulty bearing.
    pub fn pair(&mut self, stamp: &Stamp, edge: Option<f32>, cloud: Option<f32>) {
        self.pairs += 1;
        self.equal += u64::from(edge.is_some() && edge == cloud);
        if !stamp.faulty {
            self.sound_windows += 1;
            self.false_windows += u64::from(edge.is_some_and(|prediction| prediction >= self.threshold));
        }
        let alarm =
            self.alarms.entry(stamp.device).or_insert_with(|| AlarmRule::new(self.threshold, ALARM_ROWS));
        // A window without a score is none at or above the threshold.
        alarm.see(stamp.number.into(), None, edge.unwrap_or(f32::NEG_INFINITY));
    }

    /// How many answers were errors.
    pub fn errors(&self) -> u64 {
        self.placements.iter().map(|placement| placement.errors).sum()
    }

    /// The summary, line by line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            String::new(),
            format!(
                "{:<9} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10}",
                "placement", "samples", "mean ms", "p50 ms", "p95 ms", "p99 ms", "network", "inference"
            ),
        ];
        for (name, placement) in PLACEMENTS.iter().zip(&self.placements) {
            lines.push(row(name, placement));
        }
        let [edge, cloud] = &self.placements;
        lines.push(format!("cloud / edge, mean round trip: {:.1}", cloud.mean_ms() / edge.mean_ms()));
        lines.push(format!("predictions equal: {} of {}", self.equal, self.pairs));
        let (failing, sound): (Vec<_>, Vec<_>) = self.alarms.iter().partition(|(device, _)| fails(**device));
        let raised =
            |of: &[(&u32, &AlarmRule)]| of.iter().filter(|(_, rule)| rule.raised().is_some()).count();
        let (caught, false_alarms) = (raised(&failing), raised(&sound));
        lines.push(format!(
            "faults caught: {caught} of {}; false alarms: {false_alarms} of {} sound bearings ({} of {} sound windows above)",
            failing.len(),
            sound.len(),
            self.false_windows,
            self.sound_windows
        ));
        let errors = self.errors();
        if errors > 0 {
            lines.push(format!("errors: {errors}"));
        }
        lines
    }
}

fn row(name: &str, placement: &Placement) -> String {
    let quantile_ms = |q: f64| placement.round_trip_ns.value_at_quantile(q) as f64 / 1e6;
    let samples = placement.round_trip_ns.len();
    let total_ms = placement.mean_ms() * samples as f64;
    let share = |part_ms: f64| if total_ms > 0.0 { 100.0 * part_ms / total_ms } else { 0.0 };
    format!(
        "{name:<9} {samples:>8} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>7.1} % {:>8.2} %",
        placement.mean_ms(),
        quantile_ms(0.5),
        quantile_ms(0.95),
        quantile_ms(0.99),
        share(placement.network_ms),
        share(placement.inference_ms)
    )
}
