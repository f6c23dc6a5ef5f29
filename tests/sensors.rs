//! Where requests come from: simulated bearings against the shipped detector, and recorded files, good and hostile.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on ends its test")]

use nearfar::Detector;
use nearfar::features::{Extractor, SAMPLE_RATE_HZ, WINDOW_SAMPLES};
use nearfar::sensors::bearing::{Bearing, Config, Fault, FaultProgress, Window};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/anomaly_detector");
const FAULTS: [Fault; 2] = [Fault::OuterRace, Fault::InnerRace];

fn bearing(fault: Fault, seed: u64) -> Bearing {
    Bearing::new(Config { fault, ..Config::default() }, seed)
}

/// Raw vibration in, probability of failing out.
struct Judge {
    extractor: Extractor,
    detector: Detector,
}

impl Judge {
    fn new() -> Self {
        let extractor = Extractor::new(WINDOW_SAMPLES, SAMPLE_RATE_HZ).unwrap();
        Self { extractor, detector: Detector::load(MODEL).unwrap() }
    }

    fn predict(&mut self, window: &Window) -> f32 {
        let features = self.extractor.extract(&window.h, &window.v).unwrap();
        self.detector.predict(&features).unwrap()
    }

    fn threshold(&self) -> f32 {
        self.detector.info().threshold
    }

    /// The predictions of `windows` windows of each of `seeds` bearings, in order of size.
    fn sweep(&mut self, fault: Fault, severity: f64, seeds: u64, windows: usize) -> Vec<f32> {
        let mut predictions = Vec::new();
        for seed in 0..seeds {
            let mut bearing = bearing(fault, seed);
            predictions.extend((0..windows).map(|_| self.predict(&bearing.window(severity))));
        }
        predictions.sort_by(f32::total_cmp);
        predictions
    }
}

#[test]
fn windows_depend_on_configuration_seed_number_and_severity_alone() {
    let (mut one, mut other) = (bearing(Fault::OuterRace, 5), bearing(Fault::OuterRace, 5));
    let first = one.window(0.0);
    assert_eq!((first.h.len(), first.v.len()), (WINDOW_SAMPLES, WINDOW_SAMPLES));
    assert_eq!(first, other.window(0.0));
    assert_ne!(first, one.window(0.0), "windows differ from each other");
    other.window(1.0);
    assert_eq!(one.window(0.3), other.window(0.3), "an earlier window's severity leaves no trace");
    assert_ne!(first, bearing(Fault::OuterRace, 6).window(0.0), "bearings differ from each other");
}

#[test]
fn sound_bearings_are_below_the_threshold() {
    let mut judge = Judge::new();
    let predictions = judge.sweep(Fault::OuterRace, 0.0, 200, 3);
    let (middle, highest) = (predictions[predictions.len() / 2], predictions[predictions.len() - 1]);
    assert!(middle < 0.05, "the median is {middle}");
    assert!(highest < judge.threshold(), "the highest is {highest}");
}

#[test]
fn ruined_bearings_are_above_the_threshold_wherever_the_fault() {
    let mut judge = Judge::new();
    for fault in FAULTS {
        let lowest = judge.sweep(fault, 1.0, 100, 2)[0];
        assert!(lowest > judge.threshold(), "{fault:?}: the lowest is {lowest}");
    }
}

#[test]
fn faults_are_found_well_before_the_end() {
    let mut judge = Judge::new();
    for fault in FAULTS {
        let predictions = judge.sweep(fault, 0.7, 40, 2);
        let found = predictions.iter().filter(|p| **p >= judge.threshold()).count();
        assert!(found * 10 >= predictions.len() * 9, "{fault:?}: {found} of {}", predictions.len());
    }
}

#[test]
fn defect_frequencies_follow_from_the_geometry() {
    let config = Config::default();
    let (outer, inner) =
        (config.geometry.outer_race_hz(config.shaft_hz), config.geometry.inner_race_hz(config.shaft_hz));
    assert!((outer - 168.3).abs() < 0.1, "outer race: {outer} Hz");
    assert!((inner - 221.7).abs() < 0.1, "inner race: {inner} Hz");
    // Together: every ball meets both races once for each turn of one against the other.
    assert!((outer + inner - 13.0 * config.shaft_hz).abs() < 1e-9);
}

#[test]
fn blows_come_at_the_defect_frequency() {
    let config = Config { slip: 0.0, roughening: 0.0, ..Config::default() };
    let mut bearing = Bearing::new(config, 3);
    // The envelope's spectrum: where a fault shows in practice.
    let envelope = |window: &Window, hz: f64| {
        let step = std::f64::consts::TAU * hz / SAMPLE_RATE_HZ;
        let (mut re, mut im) = (0.0, 0.0);
        for (at, sample) in window.v.iter().enumerate() {
            re += f64::from(sample.abs()) * (step * at as f64).cos();
            im += f64::from(sample.abs()) * (step * at as f64).sin();
        }
        re.hypot(im)
    };
    let window = bearing.window(1.0);
    let (at, beside) =
        (envelope(&window, bearing.defect_hz()), envelope(&window, bearing.defect_hz() * 1.45));
    assert!(at > 5.0 * beside, "{at} at the defect frequency, {beside} beside it");
}

#[test]
fn senseless_severities_and_geometries_still_give_finite_samples() {
    let mut config = Config::default();
    config.geometry.pitch_diameter_mm = 0.0;
    config.h.resonances[0].bandwidth_hz = 1e9;
    let mut bearing = Bearing::new(config, 1);
    for severity in [f64::NAN, f64::NEG_INFINITY, -1.0, 2.0, f64::INFINITY] {
        let window = bearing.window(severity);
        assert!(window.h.iter().chain(&window.v).all(|sample| sample.is_finite()), "severity {severity}");
    }
}

#[test]
fn a_fault_begins_at_its_onset_and_ends_at_severity_one() {
    let progress = FaultProgress { onset_fraction: 0.5, onset_severity: 0.01 };
    assert_eq!([0.0, 0.49, f64::NAN].map(|life| progress.severity(life)), [0.0; 3]);
    assert!((progress.severity(0.5) - 0.01).abs() < 1e-12);
    assert!((progress.severity(0.75) - 0.1).abs() < 1e-12, "halfway it has grown tenfold of a hundredfold");
    assert_eq!([1.0, 1.5].map(|life| progress.severity(life)), [1.0; 2]);
    assert_eq!(FaultProgress::NONE.severity(1.0), 0.0);
}
