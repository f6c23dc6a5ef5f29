//! The replaced system's own six tests, by name, against what replaces it.

use std::time::Duration;

use nearfar::deployment::{Config, Topics};
use nearfar::network::Profile;
use nearfar::{Detector, Node};

use crate::support::{self, INPUTS, MODEL, Sensor, request};

const REQUEST: &str = "ml/inference/request";

fn cloud_node() -> Node {
    let node = Node::builder().deployment(Config::cloud(), MODEL).start();
    node.expect("a node starts on a free port")
}

#[test]
fn cloud_service_loads_model() {
    let mut detector = Detector::load(MODEL).unwrap();
    assert_eq!(detector.info().inputs, INPUTS);
    let probability = detector.predict(&[0.5; INPUTS]).unwrap().score();
    assert!((0.0..=1.0).contains(&probability));
}

#[test]
fn cloud_service_mqtt_connection() {
    let node = cloud_node();
    node.wait_until_ready(support::PATIENCE).unwrap();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &["ml/inference/status/#"]);
    let status = sensor.next();
    assert!(status.retain);
    assert_eq!(status.json()["status"], "online");
}

#[test]
fn cloud_inference_request() {
    let node = cloud_node();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &["ml/inference/result/sensor1"]);
    sensor.ask(REQUEST, request("sensor1", 1));
    let statistics = node.deployment("cloud").unwrap().statistics();
    assert_eq!((statistics.received, statistics.answered), (1, 1));
    assert!(statistics.is_conserved());
}

#[test]
fn cloud_inference_result() {
    let node = cloud_node();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &["ml/inference/result/#"]);
    let result = sensor.ask(REQUEST, request("sensor1", 1_000_000));
    assert_eq!(result.topic, "ml/inference/result/sensor1");
    let body = result.json();
    let mut members: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    let contract = [
        "cloud_latency_ms",
        "device_id",
        "inference_time_ms",
        "prediction",
        "timestamp_us",
        "total_latency_ms",
    ];
    assert_eq!(members, contract);
    assert_eq!(
        (body["device_id"].as_str(), body["timestamp_us"].as_i64()),
        (Some("sensor1"), Some(1_000_000))
    );
    assert!((0.0..=1.0).contains(&body["prediction"].as_f64().unwrap()));
}

#[test]
fn cloud_latency_simulation() {
    let far = Config::cloud().network(Profile::constant(Duration::from_millis(30)));
    let node = Node::builder().deployment(far, MODEL).start().unwrap();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &["ml/inference/result/#"]);
    let body = sensor.ask(REQUEST, request("sensor1", 1)).json();
    let [inference, network, total] = ["inference_time_ms", "cloud_latency_ms", "total_latency_ms"]
        .map(|name| body[name].as_f64().unwrap());
    assert_eq!(network, 60.0);
    assert!(inference > 0.0 && total >= network + inference - 1e-9, "{body}");
}

#[test]
fn edge_vs_cloud_comparison() {
    let edge = Config::edge().topics(Topics::under("edge/"));
    let cloud = Config::cloud().topics(Topics::under("cloud/"));
    let node = Node::builder().deployment(edge, MODEL).deployment(cloud, MODEL).start().unwrap();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &["+/ml/inference/result/#"]);
    for number in 0..20 {
        let near = sensor.ask("edge/ml/inference/request", request("sensor1", number)).json();
        let far = sensor.ask("cloud/ml/inference/request", request("sensor1", number)).json();
        assert_eq!(near["prediction"], far["prediction"]);
        assert_eq!(
            (near["cloud_latency_ms"].as_f64(), far["cloud_latency_ms"].as_f64()),
            (Some(0.0), Some(100.0))
        );
        assert!(near["total_latency_ms"].as_f64() < far["total_latency_ms"].as_f64());
    }
    for name in ["edge", "cloud"] {
        assert_eq!(node.deployment(name).unwrap().statistics().answered, 20, "{name}");
    }
}
