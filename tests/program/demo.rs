//! `nearfar demo` as a user calls it: the comparison it prints and the figures it writes.

use serde_json::json;

use crate::support::models::ModelDirectory;
use crate::support::process::{nearfar, nearfar_on_a_small_disk, run};

/// Edge and cloud, 4 bearings, 10 requests a second, 3 seconds.
const REQUESTS: usize = 2 * 4 * 10 * 3;

#[test]
fn demo_compares_edge_and_cloud_and_writes_every_figure() {
    let directory = tempfile::tempdir().unwrap();
    let metrics = directory.path().join("metrics.csv");
    let mut command = nearfar(&["demo", "--seconds", "3", "--devices", "4", "--rate", "10", "--out"]);
    let ended = run(command.arg(&metrics).current_dir(directory.path()));
    ended.assert_success();
    let pairs = REQUESTS / 2;
    assert_eq!(ended.line_with("predictions equal"), format!("predictions equal: {pairs} of {pairs}"));
    let faults = ended.line_with("faults caught");
    assert!(faults.contains("false alarms: 0 of 2 sound bearings"), "{faults}");
    let answers = ended.line_with(", answers ");
    assert!(answers.contains(&format!("requests {REQUESTS}, answers {REQUESTS};")), "{answers}");
    for placement in ["edge ", "cloud "] {
        let row = ended.lines.iter().find(|line| line.starts_with(placement)).unwrap();
        assert_eq!(row.split_whitespace().nth(1), Some(pairs.to_string().as_str()), "{row}");
    }
    ended.line_with("total_latency_ms there is the node's own time");
    check_metrics(&std::fs::read_to_string(metrics).unwrap());
}

#[track_caller]
fn check_metrics(text: &str) {
    let mut lines = text.lines();
    let header = "timestamp_us,device_id,placement,inference_time_ms,cloud_latency_ms,total_latency_ms";
    assert_eq!(lines.next(), Some(header));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), REQUESTS);
    for row in rows {
        let [timestamp_us, device, placement, inference_ms, network_ms, total_ms] = row[..] else {
            panic!("{row:?} has another number of columns");
        };
        assert!(timestamp_us.parse::<i64>().is_ok_and(|at| at > 0), "{row:?}");
        assert!(device.starts_with("bearing-00"), "{row:?}");
        let network_expected_ms = match placement {
            "edge" => 0.0,
            "cloud" => 100.0,
            _ => panic!("{row:?} has an unknown placement"),
        };
        let [inference_ms, network_ms, total_ms] =
            [inference_ms, network_ms, total_ms].map(|ms| ms.parse::<f64>().expect("times are numbers"));
        assert_eq!(network_ms, network_expected_ms, "{row:?}");
        assert!(inference_ms >= 0.0 && total_ms >= network_ms, "{row:?}");
    }
}

#[test]
fn a_model_that_a_bearing_does_not_fit_is_refused_before_anything_starts() {
    let (directory, model) = (tempfile::tempdir().unwrap(), ModelDirectory::random(&[2], 1));
    let mut command = nearfar(&["demo", "--seconds", "1", "--model"]);
    let ended = run(command.arg(model.path()).current_dir(directory.path()));
    ended.assert_refused(2, &["--model: model \"random\" has 2 inputs, expected 32", "nearfar replay"]);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn errors_are_no_answers_and_end_with_one() {
    let directory = tempfile::tempdir().unwrap();
    // Its output is no number, whatever comes in.
    let layers = json!([{"type": "linear", "name": "fc", "in": 32, "out": 1}]);
    let config = json!({
        "format": 1, "name": "huge", "weights": {"file": "model.safetensors", "sha256": ""}, "inputs": 32,
        "layers": layers, "output": "logit",
    });
    let weights = [("fc.weight", vec![1, 32], vec![f32::MAX; 32]), ("fc.bias", vec![1], vec![0.0])];
    let model = ModelDirectory::of(&config, &weights);
    let mut command = nearfar(&["demo", "--seconds", "1", "--devices", "1", "--rate", "5", "--model"]);
    let ended = run(command.arg(model.path()).current_dir(directory.path()));
    ended.assert_said(1, "10 of 10 requests were answered with errors, the first: ");
    assert_eq!(ended.line_with("predictions equal"), "predictions equal: 0 of 5");
    ended.line_with("requests 10, answers 0; figures of each in metrics.csv");
}

#[test]
fn figures_that_exist_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    std::fs::write(directory.path().join("metrics.csv"), "precious").unwrap();
    let demo = |flags: &[&str]| {
        let small = ["demo", "--seconds", "1", "--devices", "1", "--rate", "5"];
        run(nearfar(&[&small[..], flags].concat()).current_dir(directory.path()))
    };
    let ended = demo(&[]);
    ended.assert_success();
    assert!(ended.line_with(", answers ").ends_with("metrics-2.csv"), "{ended:?}");
    assert_eq!((read("metrics.csv").as_str(), read("metrics-2.csv").lines().count()), ("precious", 11));
    let refused = demo(&["--out", "metrics.csv"]);
    refused.assert_refused(2, &["--out: metrics.csv exists already and is kept", "--force"]);
    demo(&["--out", "metrics.csv", "--force"]).assert_success();
    assert_eq!(read("metrics.csv").lines().count(), 11);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn demo_refuses_a_negative_latency() {
    let directory = tempfile::tempdir().unwrap();
    let ended = run(nearfar(&["demo", "--cloud-latency", "-1"]).current_dir(directory.path()));
    ended.assert_refused(2, &["--cloud-latency", "found -1", "between 0 and 60000"]);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_named_and_the_figures_before_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut command =
        nearfar_on_a_small_disk(8, &["demo", "--seconds", "5", "--devices", "10", "--rate", "10"]);
    let ended = run(command.current_dir(directory.path()));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.starts_with("nearfar: metrics.csv: cannot be written"), "{ended:?}");
    let kept = std::fs::read_to_string(directory.path().join("metrics.csv")).unwrap();
    assert!(kept.lines().count() > 50 && kept.ends_with('\n'), "{kept}");
    assert!(kept.lines().all(|row| row.split(',').count() == 6), "whole rows alone: {kept}");
    let full = run(&mut nearfar(&["demo", "--seconds", "1", "--out", "/dev/full"]));
    assert_eq!(full.code, Some(1), "{full:?}");
    assert!(full.stderr.starts_with("nearfar: /dev/full: cannot be written: No space left"), "{full:?}");
}
