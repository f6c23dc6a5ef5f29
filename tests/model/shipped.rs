//! The shipped model: what `convert` makes of the `.pt` is what is committed, and it
//! ranks real bearings as its README says.

use std::path::{Path, PathBuf};

use nearfar::Detector;
use nearfar::features::FEATURE_NAMES;
use nearfar::model::{ConvertOptions, Origin, convert};
use nearfar::sensors::recorded::{Columns, Recording};

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

#[test]
fn converting_the_shipped_checkpoint_gives_the_shipped_weights() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("model.safetensors");
    let converted =
        convert(&models().join("anomaly_detector.pt"), &target, &ConvertOptions::default()).unwrap();
    let shipped = std::fs::read(models().join("anomaly_detector/model.safetensors")).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), shipped);
    let detector = Detector::load(models().join("anomaly_detector")).unwrap();
    assert_eq!(detector.info().weights.sha256, converted.sha256);
    let names: Vec<_> = detector.info().features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, FEATURE_NAMES);
}

/// Bearings that took no part in training.
const LOOKING: [&str; 5] = ["1_3", "1_4", "2_3", "2_4", "3_3"];

#[test]
fn bearings_it_had_not_seen_are_ranked_with_a_mean_auc_of_0_96_at_least() {
    let directory = std::env::var_os("NEARFAR_BEARINGS")
        .map_or_else(|| models().join("../../shared/data/bearings"), PathBuf::from);
    if !directory.is_dir() {
        eprintln!("SKIPPED: no recorded bearings in {} (set NEARFAR_BEARINGS)", directory.display());
        return;
    }
    let mut detector = Detector::load(models().join("anomaly_detector")).unwrap();
    let areas: Vec<f64> = LOOKING
        .iter()
        .map(|name| roc_auc(&mut detector, &directory.join(format!("Bearing{name}.csv"))))
        .collect();
    let mean = areas.iter().sum::<f64>() / areas.len() as f64;
    assert!(mean >= 0.96, "mean {mean:.4} of {areas:?}");
}

/// The share of (healthy, failing) pairs of rows that the scores order rightly; ties
/// count half (Mann-Whitney U).
fn roc_auc(detector: &mut Detector, file: &Path) -> f64 {
    let columns = Columns::named(FEATURE_NAMES).label("life_fraction");
    let (mut healthy, mut failing) = (Vec::new(), Vec::new());
    for row in Recording::open(file, &columns).expect("a recording opens") {
        let row = row.expect("a recorded row is sound");
        let life: f64 = row.label.as_deref().and_then(|life| life.parse().ok()).expect("a fraction of life");
        let score = detector.predict(&row.features).expect("a recorded row is scored").score();
        if life <= 0.5 {
            healthy.push(score);
        } else if life > 0.95 {
            failing.push(score);
        }
    }
    let wins = |failing: &f32| -> f64 {
        let halves = |healthy: &f32| {
            if failing > healthy { 1.0 } else { f64::from(u8::from(failing == healthy)) / 2.0 }
        };
        healthy.iter().map(halves).sum()
    };
    failing.iter().map(wins).sum::<f64>() / (healthy.len() * failing.len()) as f64
}

#[test]
fn a_model_in_memory_is_checked_as_one_on_the_disk_is() {
    let config = std::fs::read_to_string(models().join("anomaly_detector/config.json")).unwrap();
    let weights = std::fs::read(models().join("anomaly_detector/model.safetensors")).unwrap();
    let mut held = Detector::from_bytes(&config, &weights).unwrap();
    let mut loaded = Detector::load(models().join("anomaly_detector")).unwrap();
    assert_eq!(held.predict(&[0.5; 32]).unwrap(), loaded.predict(&[0.5; 32]).unwrap());
    assert_eq!((&held.info().origin, held.info().origin.weights()), (&Origin::Memory, None));
    let mut damaged = weights.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for (config, weights, said) in [
        (config.as_str(), &damaged[..], "the sha256 of model.safetensors is"),
        (&config.replace("\"inputs\"", "\"input\""), &weights, "config.json:11: input: unknown key"),
        (&config.replace("model.safetensors", "model.txt"), &weights, "model.txt"),
        ("", &weights, "config.json"),
    ] {
        let error = Detector::from_bytes(config, weights).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_directory_of_models_is_no_model_whatever_lies_beside_them() {
    let directory = tempfile::tempdir().unwrap();
    let weights = models().join("anomaly_detector/model.safetensors");
    let beside = directory.path().join("beside.safetensors");
    std::fs::copy(&weights, &beside).unwrap();
    // Weights alone are a model: their names say the layers.
    assert!(Detector::load(directory.path()).unwrap().info().origin.is_inferred());
    let inner = directory.path().join("detector");
    std::fs::create_dir(&inner).unwrap();
    std::fs::copy(models().join("anomaly_detector/config.json"), inner.join("config.json")).unwrap();
    let error = Detector::load(directory.path()).unwrap_err().to_string();
    let said = format!("found no config.json in this directory, and one in {}", inner.display());
    assert!(error.contains(&said), "{error}");
    assert!(Detector::load(beside).is_ok(), "whoever names it means it");
}
