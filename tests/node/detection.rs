//! A model that learns of each device, behind the wire: the same bits as anywhere else, learning anew by a
//! message, and what a restart keeps.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nearfar::deployment::{self, Config, DeviceState};
use nearfar::detection::{DetectorSettings, Kind, Seen, Settings};
use nearfar::inference::{DeviceId, Provenance};
use nearfar::model::{Config as ModelConfig, save};
use nearfar::mqtt::Qos;
use nearfar::{Detector, Node, wire};
use serde_json::{Value, json};

use crate::support::Sensor;

const REQUEST: &str = "ml/inference/request";
const RESULTS: &str = "ml/inference/result/#";
const RELEARN: &str = "ml/inference/relearn";
const WARM_UP: u64 = 60;

/// The directory of a model that detects, in `directory`.
fn model(directory: &Path) -> PathBuf {
    let detectors = vec![DetectorSettings {
        window: 64,
        ..DetectorSettings::new(Kind::Baseline { rate: 0.02, smoothing: 1.0, two_sided: true })
    }];
    let mut settings = Settings::new(detectors, "1/1000 rows".parse().unwrap());
    settings.warm_up = WARM_UP;
    let mut config = ModelConfig::new("pumps", 2);
    config.set_detection(settings);
    let path = directory.join("pumps");
    save(&path, &mut config, Vec::new()).unwrap();
    path
}

/// Rows that wander around 0; from 200 on far from it.
fn features(row: i64) -> [f32; 2] {
    let far = if row >= 200 { 30.0 } else { 0.0 };
    [(row as f32 * 1.3).sin() + far, (row as f32 * 2.1).cos()]
}

fn request(device: &str, row: i64) -> Vec<u8> {
    let body = json!({ "device_id": device, "timestamp_us": row * 1_000_000, "features": features(row) });
    body.to_string().into_bytes()
}

fn deployment() -> Config {
    let members = wire::Members {
        state: true,
        tail_probability: true,
        alarm_threshold: true,
        contributions: true,
        ..wire::Members::default()
    };
    Config { members, ..Config::edge() }
}

fn states(sensor: &Sensor, device: &str, rows: std::ops::Range<i64>) -> Vec<String> {
    let state = |row| sensor.ask(REQUEST, request(device, row)).json()["state"].as_str().unwrap().to_owned();
    rows.map(state).collect()
}

#[test]
fn each_device_learns_is_quiet_and_alarms_and_says_by_what() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::builder().deployment(deployment(), model(directory.path())).start().unwrap();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &[RESULTS]);
    let found = states(&sensor, "a", 0..200);
    assert!(
        found[..60].iter().all(|state| state == "learning")
            && found[60..].iter().all(|state| state == "normal")
    );
    assert_eq!(states(&sensor, "b", 0..1), ["learning"], "another device knows nothing of that");
    let alarm = sensor.ask(REQUEST, request("a", 200)).json();
    assert_eq!(alarm["state"], "alarm");
    assert!(
        alarm["prediction"].as_f64().unwrap() > 0.5
            && alarm["contributions"]["features[0]"].as_f64().unwrap() > 0.9
    );
    let (tail, threshold) = (&alarm["tail_probability"], &alarm["alarm_threshold"]);
    assert!(tail.as_f64().unwrap() < threshold.as_f64().unwrap(), "{alarm}");
}

#[test]
fn nobody_gets_more_than_the_six_members_who_did_not_ask_for_them() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::builder().deployment(Config::edge(), model(directory.path())).start().unwrap();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &[RESULTS]);
    let Value::Object(answer) = sensor.ask(REQUEST, request("a", 0)).json() else { panic!("no object") };
    let members: Vec<_> = answer.keys().map(String::as_str).collect();
    let six = [
        "cloud_latency_ms",
        "device_id",
        "inference_time_ms",
        "prediction",
        "timestamp_us",
        "total_latency_ms",
    ];
    assert_eq!(members, six);
}

#[test]
fn the_same_rows_are_answered_by_the_same_bits_over_mqtt_and_in_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = model(directory.path());
    let mut detector = Detector::load(&path).unwrap();
    let node = Node::builder().deployment(deployment(), &path).start().unwrap();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &[RESULTS]);
    for row in 0..210 {
        let device = DeviceId::new(["a", "b"][row as usize % 2]).unwrap();
        let answer = sensor.ask(REQUEST, request(device.as_str(), row)).json();
        let of = Provenance { device: Some(device), timestamp_us: Some(row * 1_000_000) };
        let seen = Seen::of_numbers(detector.predict_of(&features(row), &of).unwrap().values()).unwrap();
        assert_eq!(answer["prediction"].as_f64().unwrap() as f32, seen.score, "row {row}");
        assert_eq!(answer["state"], seen.state.as_str(), "row {row}");
        assert_eq!(answer["tail_probability"].as_f64().unwrap() as f32, seen.tail_probability, "row {row}");
    }
}

#[test]
fn a_message_has_a_device_or_all_of_them_learn_anew() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::builder()
        .relearn_topic(RELEARN)
        .deployment(deployment(), model(directory.path()))
        .start()
        .unwrap();
    let heard =
        ["ml/inference/result/#", "ml/inference/relearn/+/relearning", "ml/inference/relearn/+/error"];
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &heard);
    let normal = |device| states(&sensor, device, 0..70)[69].clone();
    assert_eq!((normal("a").as_str(), normal("b").as_str()), ("normal", "normal"));
    let relearn = |wish: &str| {
        sensor.publish("ml/inference/relearn/edge", Qos::AtLeastOnce, wish);
        let answer = sensor.next();
        (answer.topic.rsplit('/').next().unwrap().to_owned(), answer.json())
    };
    assert_eq!(
        relearn(r#"{"device_id": "a"}"#),
        ("relearning".into(), json!({ "node_id": "nearfar", "devices": 1 }))
    );
    assert_eq!(states(&sensor, "a", 70..71), ["learning"]);
    assert_eq!(states(&sensor, "b", 70..71), ["normal"]);
    assert_eq!(relearn(r#"{"all": true}"#).1["devices"], 2);
    assert_eq!(states(&sensor, "b", 71..72), ["learning"]);
    let (what, body) = relearn(r#"{"devise_id": "a"}"#);
    assert!(
        what == "error" && body["error"].as_str().unwrap().contains("did you mean `device_id`?"),
        "{body}"
    );
}

#[test]
fn a_restart_forgets_nothing_where_the_state_is_kept_and_what_is_broken_is_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    let (path, state) = (model(directory.path()), directory.path().join("pumps.state"));
    let kept = || Config {
        device_state: Some(DeviceState { path: state.clone(), interval: Duration::from_secs(3_600) }),
        ..deployment()
    };
    let run = |config: deployment::Config, rows: std::ops::Range<i64>| {
        let node = Node::builder().deployment(config, &path).start().unwrap();
        let sensor = Sensor::listening(node.mqtt_address().unwrap(), &[RESULTS]);
        let answer = |row| {
            let mut body = sensor.ask(REQUEST, request("a", row)).json();
            for time in ["inference_time_ms", "total_latency_ms"] {
                body[time].take();
            }
            body
        };
        let answers: Vec<Value> = rows.map(answer).collect();
        drop(sensor);
        node.stop();
        answers
    };
    let whole = run(deployment(), 0..130);
    let mut parts = run(kept(), 0..100);
    parts.extend(run(kept(), 100..130));
    assert_eq!(parts, whole);
    let mut bytes = std::fs::read(&state).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&state, bytes).unwrap();
    assert_eq!(run(kept(), 130..131)[0]["state"], "learning");
    assert!(state.with_extension("refused").exists(), "it is there for whoever wants to know");
}
