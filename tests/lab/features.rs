//! The 32 features: against the recorded bearings where their data is present, and
//! against what analysis gives.

use std::f64::consts::TAU;
use std::path::PathBuf;

use nearfar::features::{
    AXIS_FEATURES, Axis, Extractor, FEATURE_NAMES, FEATURES, FeatureError, SAMPLE_RATE_HZ, WINDOW_SAMPLES,
    WINDOW_SAMPLES_MAX,
};

const RELATIVE_TOLERANCE: f64 = 1e-4;

fn extractor() -> Extractor {
    Extractor::new(WINDOW_SAMPLES, SAMPLE_RATE_HZ).unwrap()
}

fn signal(of_seconds: impl Fn(f64) -> f64) -> Vec<f32> {
    (0..WINDOW_SAMPLES).map(|i| of_seconds(i as f64 / SAMPLE_RATE_HZ) as f32).collect()
}

fn feature(features: &[f32; FEATURES], name: &str) -> f64 {
    f64::from(features[FEATURE_NAMES.iter().position(|n| *n == name).unwrap()])
}

#[track_caller]
fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance, "{what}: expected {expected}, got {found}");
}

/// The recorded bearings, which are not part of the repository; a test without them says that it was skipped.
fn recorded_bearings(test: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/bearings");
    let folder = std::env::var_os("NEARFAR_BEARINGS").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: {test}: no recorded bearings in {} (set NEARFAR_BEARINGS)", folder.display());
    None
}

fn raw_snapshot(path: &std::path::Path) -> (Vec<f32>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let values: Vec<f32> =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    values.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip()
}

fn recorded_row(path: &std::path::Path, snapshot: u64) -> Vec<f64> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|h| h == name).unwrap();
    let (number, columns) = (column("snapshot"), FEATURE_NAMES.map(column));
    let row = reader.records().map(Result::unwrap).find(|r| r[number].parse() == Ok(snapshot)).unwrap();
    columns.iter().map(|&c| row[c].parse().unwrap()).collect()
}

#[test]
fn features_of_raw_snapshots_equal_the_recorded_ones() {
    let Some(folder) = recorded_bearings("features_of_raw_snapshots_equal_the_recorded_ones") else { return };
    let mut extractor = extractor();
    let mut snapshots = 0;
    for entry in std::fs::read_dir(folder.join("raw")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let (bearing, number) = stem.rsplit_once('_').unwrap();
        let (h, v) = raw_snapshot(&path);
        let features = extractor.extract(&h, &v).unwrap();
        let recorded = recorded_row(&folder.join(format!("{bearing}.csv")), number.parse().unwrap());
        for ((name, &found), expected) in FEATURE_NAMES.iter().zip(&features).zip(recorded) {
            let tolerance = expected.abs() * RELATIVE_TOLERANCE;
            assert_close(f64::from(found), expected, tolerance, &format!("{stem} {name}"));
        }
        snapshots += 1;
    }
    assert!(snapshots > 0, "no raw snapshot in {}", folder.display());
}

#[test]
fn sine_has_the_features_that_analysis_gives() {
    let amplitude = 3.0;
    let sine = signal(|t| amplitude * (TAU * 3_000.0 * t).sin());
    let features = extractor().extract(&sine, &sine).unwrap();
    assert_close(feature(&features, "h_rms"), amplitude / 2.0_f64.sqrt(), 1e-6, "rms");
    assert_close(feature(&features, "h_mean_abs"), amplitude * 2.0 / std::f64::consts::PI, 5e-3, "mean_abs");
    assert_close(feature(&features, "h_peak"), amplitude, 1e-2, "peak");
    assert_close(feature(&features, "h_peak_to_peak"), 2.0 * amplitude, 2e-2, "peak_to_peak");
    assert_close(feature(&features, "h_kurtosis"), 1.5, 1e-3, "kurtosis");
    assert_close(feature(&features, "h_skewness"), 0.0, 1e-6, "skewness");
    assert_close(feature(&features, "h_crest"), 2.0_f64.sqrt(), 1e-2, "crest");
    assert_close(feature(&features, "h_shape"), std::f64::consts::PI / 8.0_f64.sqrt(), 5e-3, "shape");
    // A Hann window spreads the line over three bins: amplitude² · n²/4 · (1/4 + 2/16).
    assert_close(feature(&features, "h_band_2k_4k"), amplitude * 0.375_f64.sqrt(), 1e-3, "band_2k_4k");
    for name in FEATURE_NAMES.iter().filter(|n| n.starts_with("h_band") && !n.ends_with("2k_4k")) {
        assert_close(feature(&features, name), 0.0, 1e-3, name);
    }
}

#[test]
fn each_band_holds_the_sine_at_its_middle() {
    let edges_hz = [0.0, 200.0, 500.0, 1e3, 2e3, 4e3, 6.4e3, 9.6e3, 12.8e3];
    let mut extractor = extractor();
    for (band, edge) in edges_hz.windows(2).enumerate() {
        let middle_hz = (edge[0] + edge[1]) / 2.0;
        let sine = signal(|t| (TAU * middle_hz * t).sin());
        let features = extractor.extract(&sine, &sine).unwrap();
        for axis in [0, AXIS_FEATURES] {
            let bands = &features[axis + 8..axis + AXIS_FEATURES];
            for (other, &value) in bands.iter().enumerate() {
                assert_eq!(value > 0.5, other == band, "{middle_hz} Hz: band {other} has {value}");
            }
        }
    }
}

#[test]
fn band_edges_follow_the_sample_rate() {
    let mut slow = Extractor::new(1_000, 5_000.0).unwrap();
    let sine: Vec<f32> = (0..1_000).map(|i| (TAU * 300.0 * f64::from(i) / 5_000.0).sin() as f32).collect();
    let features = slow.extract(&sine, &sine).unwrap();
    assert!(feature(&features, "h_band_200_500") > 0.5);
    assert_eq!(feature(&features, "h_band_4k_6k4"), 0.0, "the band lies above half the sample rate");
}

#[test]
fn nyquist_belongs_to_the_last_band() {
    let alternating: Vec<f32> = (0..WINDOW_SAMPLES).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let features = extractor().extract(&alternating, &alternating).unwrap();
    assert!(feature(&features, "v_band_9k6_12k8") > 1.0);
}

#[test]
fn impulses_raise_kurtosis_and_crest() {
    let impulses: Vec<f32> = (0..WINDOW_SAMPLES).map(|i| if i % 256 == 0 { 10.0 } else { 0.0 }).collect();
    let features = extractor().extract(&impulses, &impulses).unwrap();
    assert!(feature(&features, "h_kurtosis") > 100.0);
    assert!(feature(&features, "h_crest") > 10.0);
    assert!(feature(&features, "h_skewness") > 10.0);
}

#[test]
fn offset_changes_nothing() {
    let vibration = signal(|t| (TAU * 90.0 * t).sin() + 0.3 * (TAU * 4_100.0 * t).cos());
    let raised: Vec<f32> = vibration.iter().map(|x| x + 1.0).collect();
    let mut extractor = extractor();
    let plain = extractor.extract(&vibration, &vibration).unwrap();
    let offset = extractor.extract(&raised, &raised).unwrap();
    for ((name, a), b) in FEATURE_NAMES.iter().zip(plain).zip(offset) {
        assert_close(f64::from(b), f64::from(a), 1e-5, name);
    }
}

#[test]
fn axes_are_kept_apart() {
    let (h, v) = (signal(|t| (TAU * 100.0 * t).sin()), signal(|t| 2.0 * (TAU * 3_000.0 * t).sin()));
    let mut extractor = extractor();
    let forward = extractor.extract(&h, &v).unwrap();
    let swapped = extractor.extract(&v, &h).unwrap();
    assert_eq!(forward[..AXIS_FEATURES], swapped[AXIS_FEATURES..]);
    assert_eq!(forward[AXIS_FEATURES..], swapped[..AXIS_FEATURES]);
}

#[test]
fn constant_signal_has_zero_features() {
    let mut extractor = extractor();
    for level in [0.0, 1.0, -0.1, 1e-30, 3e38] {
        let constant = vec![level; WINDOW_SAMPLES];
        assert_eq!(extractor.extract(&constant, &constant).unwrap(), [0.0; FEATURES], "level {level}");
    }
}

#[test]
fn extreme_samples_have_finite_features() {
    let mut extractor = extractor();
    for extreme in [f32::MAX, f32::MIN_POSITIVE, 1e-45] {
        let swings: Vec<f32> =
            (0..WINDOW_SAMPLES).map(|i| if i % 3 == 0 { extreme } else { -extreme }).collect();
        let features = extractor.extract(&swings, &swings).unwrap();
        assert!(features.iter().all(|f| f.is_finite()), "{extreme}: {features:?}");
    }
}

#[test]
fn wrong_length_is_refused_naming_the_axis() {
    let (right, short) = (vec![0.0; WINDOW_SAMPLES], vec![0.0; 100]);
    let error = extractor().extract(&right, &short).unwrap_err();
    assert_eq!(error, FeatureError::Length { axis: Axis::V, expected: WINDOW_SAMPLES, found: 100 });
    assert_eq!(error.to_string(), "axis v: expected 2560 samples, got 100");
}

#[test]
fn non_finite_sample_is_refused_naming_axis_and_index() {
    let mut broken = vec![0.0; WINDOW_SAMPLES];
    broken[17] = f32::INFINITY;
    let error = extractor().extract(&broken, &vec![0.0; WINDOW_SAMPLES]).unwrap_err();
    assert_eq!(error.to_string(), "axis h: sample 17 is inf, expected a finite number");
}

#[test]
fn impossible_windows_are_refused() {
    for samples in [0, 1, WINDOW_SAMPLES_MAX + 1] {
        assert_eq!(Extractor::new(samples, 1.0).err(), Some(FeatureError::Window { samples }));
    }
    for rate in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        assert!(matches!(Extractor::new(16, rate), Err(FeatureError::SampleRate { .. })), "rate {rate}");
    }
    for samples in [2, 3, 17] {
        let flat = vec![0.5; samples];
        assert!(Extractor::new(samples, 1.0).unwrap().extract(&flat, &flat).is_ok());
    }
}

#[test]
fn every_feature_has_a_unit() {
    let shipped = nearfar::Detector::load("models/anomaly_detector").unwrap();
    let named: Vec<_> = shipped.info().features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(named, FEATURE_NAMES);
    for feature in &shipped.info().features {
        let (name, unit) = (&feature.name, feature.unit.as_deref().unwrap_or("1"));
        let dimensionless =
            ["kurtosis", "skewness", "crest", "shape"].iter().any(|plain| name.ends_with(plain));
        assert_eq!(unit, if dimensionless { "1" } else { "g" }, "{name}");
    }
}
