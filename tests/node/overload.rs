//! Too much, too late, and models that misbehave: every request is answered all the
//! same, and the node goes on.

use std::sync::Arc;
use std::time::Duration;

use nearfar::deployment::Config;
use nearfar::deployment::QueuePolicy;
use nearfar::inference::ErrorCode;
use nearfar::model::{Model, ModelError, ModelInfo};
use nearfar::mqtt::Qos;
use nearfar::network::Profile;
use nearfar::node::Readiness;
use nearfar::{Detector, Node};
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use serde_json::json;

use crate::support::gate::{Gate, gated};
use crate::support::waiting::wait_until;
use crate::support::{Received, Sensor, assert_error};

const REQUEST: &str = "ml/inference/request";
const ANSWERS: [&str; 2] = ["ml/inference/result/#", "ml/inference/error/#"];

/// One request at a time, and no time limit that a busy machine could reach by itself.
fn one_at_a_time() -> Config {
    let mut config = Config::edge();
    config.worker.batch_max = 1;
    config.worker.inference_timeout = None;
    config
}

fn serve(config: Config, model: impl Model + 'static) -> (Node, Sensor) {
    let detector = Detector::from_parts(ModelInfo::new("test", 1), Box::new(model));
    let node = Node::builder().deployment(config, detector).start().expect("a node starts");
    let sensor = Sensor::listening(node.mqtt_address().expect("it has a broker"), &ANSWERS);
    (node, sensor)
}

fn payload(device: &str, number: i64, feature: f32) -> String {
    json!({ "device_id": device, "timestamp_us": number, "features": [feature] }).to_string()
}

fn ask(sensor: &Sensor, device: &str, number: i64, feature: f32) {
    sensor.publish(REQUEST, Qos::AtMostOnce, payload(device, number, feature));
}

fn number(answer: &Received) -> i64 {
    answer.json()["timestamp_us"].as_i64().unwrap()
}

fn assert_conserved(node: &Node) {
    let statistics = node.deployment("edge").unwrap().statistics();
    assert!(statistics.is_conserved(), "{statistics:?}");
}

/// A node whose model is busy with one request of `device`, number 0.
fn busy(config: Config, device: &str) -> (Node, Sensor, Arc<Gate>) {
    let (model, gate) = gated();
    let (node, sensor) = serve(config, model);
    ask(&sensor, device, 0, 0.125);
    gate.wait_until_begun(&[0.125]);
    (node, sensor, gate)
}

#[test]
fn dropping_the_oldest_answers_it_and_keeps_the_newest() {
    let mut config = one_at_a_time();
    config.worker.queue_requests_max = 2;
    config.worker.queue_policy = QueuePolicy::DropOldest;
    let (node, sensor, gate) = busy(config, "a");
    for number in 1..=3 {
        ask(&sensor, "a", number, 0.25);
    }
    let dropped = sensor.next();
    assert_error(&dropped, "ml/inference/error/a", ErrorCode::Overloaded);
    assert_eq!(number(&dropped), 1);
    gate.open();
    assert_eq!(sensor.take(3).iter().map(number).collect::<Vec<_>>(), [0, 2, 3]);
    assert_conserved(&node);
}

#[test]
fn a_newer_reading_supersedes_the_one_that_waits() {
    let mut config = one_at_a_time();
    config.worker.queue_policy = QueuePolicy::LatestPerDevice;
    let (node, sensor, gate) = busy(config, "a");
    for number in 1..=3 {
        ask(&sensor, "a", number, 0.25);
    }
    ask(&sensor, "b", 7, 0.5);
    for expected in [1, 2] {
        let superseded = sensor.next();
        assert_error(&superseded, "ml/inference/error/a", ErrorCode::Superseded);
        assert_eq!(number(&superseded), expected);
    }
    gate.open();
    assert_eq!(
        sensor.take(3).iter().map(number).collect::<Vec<_>>(),
        [0, 7, 3],
        "a device whose answer is out goes behind one that waits"
    );
    assert_eq!(node.deployment("edge").unwrap().statistics().errors["SUPERSEDED"], 2);
    assert_conserved(&node);
}

#[test]
fn bytes_bound_the_queue_as_requests_do() {
    let mut config = one_at_a_time();
    config.worker.queue_bytes_max = 1;
    let (node, sensor) = serve(config, gated().0);
    assert_error(&sensor.ask(REQUEST, payload("a", 1, 0.5)), "ml/inference/error/a", ErrorCode::Overloaded);
    assert_conserved(&node);
}

#[test]
fn devices_have_turns_whatever_one_of_them_sends() {
    let (node, sensor, gate) = busy(one_at_a_time(), "flood");
    for number in 1..=50 {
        ask(&sensor, "flood", number, 0.25);
    }
    for device in ["calm1", "calm2", "calm3"] {
        ask(&sensor, device, 1, 0.5);
    }
    wait_until("requests never wait", || node.deployment("edge").unwrap().queued() >= 53);
    gate.open();
    let devices: Vec<_> =
        sensor.take(5).iter().map(|answer| answer.json()["device_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(devices[0], "flood");
    assert!(
        ["calm1", "calm2", "calm3"].iter().all(|calm| devices.iter().any(|device| device == calm)),
        "{devices:?}"
    );
    sensor.take(49);
    assert_conserved(&node);
}

#[test]
fn a_deadline_is_answered_when_it_comes_and_not_when_its_turn_does() {
    let deadline = Some(Duration::from_millis(50));
    let (node, sensor, gate) = busy(Config { deadline, ..one_at_a_time() }, "a");
    // The model stays busy until the test lets it go, so the answer comes by the clock.
    for device in ["a", "b"] {
        ask(&sensor, device, 1, 0.25);
        assert_error(&sensor.next(), &format!("ml/inference/error/{device}"), ErrorCode::DeadlineExceeded);
    }
    gate.open();
    // What had started before its deadline is answered.
    assert_eq!(sensor.next().topic, "ml/inference/result/a");
    assert!(!gate.begun().contains(&0.25), "expired work is never started");
    assert_conserved(&node);
}

#[test]
fn a_later_request_may_have_an_earlier_deadline() {
    let (_node, sensor, gate) = busy(one_at_a_time(), "a");
    for (device, expiry_s) in [("late", 600), ("soon", 1)] {
        let expiry = PublishProperties { message_expiry_interval: Some(expiry_s), ..Default::default() };
        sensor.publish_with(REQUEST, payload(device, 1, 0.25), expiry);
    }
    assert_error(&sensor.next(), "ml/inference/error/soon", ErrorCode::DeadlineExceeded);
    gate.open();
    assert_eq!(sensor.take(2).len(), 2);
}

#[test]
fn a_deadline_on_the_way_is_kept_where_the_request_came_in() {
    let far = Profile::constant(Duration::from_secs(3_600));
    let config = Config { deadline: Some(Duration::from_millis(20)), ..one_at_a_time() }.network(far);
    let (node, sensor) = serve(config, gated().0);
    assert_error(
        &sensor.ask(REQUEST, payload("a", 1, 0.5)),
        "ml/inference/error/a",
        ErrorCode::DeadlineExceeded,
    );
    assert_conserved(&node);
}

#[test]
fn a_model_that_hangs_is_answered_for_and_replaced() {
    let mut config = one_at_a_time();
    config.worker.inference_timeout = Some(Duration::from_millis(200));
    let (node, sensor, gate) = busy(config, "a");
    ask(&sensor, "a", 1, 0.25);
    gate.let_go(0.25);
    let given_up = sensor.next();
    assert_error(&given_up, "ml/inference/error/a", ErrorCode::Internal);
    assert_eq!(given_up.json()["retryable"], json!(true), "the machine may have been busy");
    assert!(given_up.json()["error"].as_str().unwrap().contains("inference_timeout"));
    let answer = sensor.next();
    assert_eq!((answer.topic.as_str(), number(&answer)), ("ml/inference/result/a", 1));
    let health = node.deployment("edge").unwrap().health();
    assert_eq!((health.workers_replaced, health.inference_timeouts, health.failing), (1, 1, None));
    gate.open();
    assert_conserved(&node);
    assert!(node.stop().iter().all(|(_, total)| total.in_flight == 0), "what hung is left behind");
}

/// There is one of it, and it waits at the gate.
struct Single(Arc<Gate>);

impl Model for Single {
    fn inputs(&self) -> usize {
        1
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        rows.iter().for_each(|&row| self.0.pass(row));
        predictions.extend_from_slice(rows);
        Ok(())
    }
}

#[test]
fn a_model_that_hangs_and_cannot_be_copied_refuses_until_it_returns() {
    let mut config = one_at_a_time();
    config.worker.inference_timeout = Some(Duration::from_millis(200));
    let gate = Arc::new(Gate::default());
    let (node, sensor) = serve(config, Single(Arc::clone(&gate)));
    ask(&sensor, "a", 0, 0.125);
    gate.wait_until_begun(&[0.125]);
    ask(&sensor, "b", 1, 0.25);
    let codes: Vec<_> =
        sensor.take(2).iter().map(|answer| answer.json()["code"].as_str().unwrap().to_owned()).collect();
    assert_eq!(codes, ["INTERNAL", "MODEL_NOT_READY"]);
    assert_error(
        &sensor.ask(REQUEST, payload("c", 2, 0.5)),
        "ml/inference/error/c",
        ErrorCode::ModelNotReady,
    );
    let Readiness::NotReady(reason) = node.readiness() else { panic!("{:?}", node.readiness()) };
    assert!(reason.contains("edge") && reason.contains("hangs"), "{reason}");
    gate.open();
    // It returns, and serves again.
    while sensor.ask(REQUEST, payload("d", 3, 0.75)).topic != "ml/inference/result/d" {}
    assert_eq!(node.readiness(), Readiness::Ready);
    assert_conserved(&node);
}

/// Fails below zero, panics at zero.
#[derive(Clone)]
struct Moody;

impl Model for Moody {
    fn inputs(&self) -> usize {
        1
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        for &row in rows {
            assert!(row != 0.0, "the model was told to");
            if row < 0.0 {
                return Err(ModelError::Features { inputs: 1, values: 2 });
            }
            predictions.push(row);
        }
        Ok(())
    }

    fn replica(&self) -> Option<Box<dyn Model>> {
        Some(Box::new(self.clone()))
    }
}

#[test]
fn failures_concern_their_requests_alone_and_many_in_a_row_make_the_node_not_ready() {
    let (node, sensor) = serve(Config::edge(), Moody);
    let ask = |number, feature| sensor.ask(REQUEST, payload("a", number, feature));
    for round in 1..=5 {
        assert_eq!(node.readiness(), Readiness::Ready, "before failure {round}");
        let feature = if round % 2 == 0 { 0.0 } else { -1.0 };
        assert_error(&ask(round, feature), "ml/inference/error/a", ErrorCode::Internal);
        // The same request again is known, and the model is spared.
        assert_error(&ask(round, feature), "ml/inference/error/a", ErrorCode::Internal);
    }
    let Readiness::NotReady(reason) = node.readiness() else { panic!("{:?}", node.readiness()) };
    assert!(reason.contains("failed 5 times in a row") && reason.contains("edge"), "{reason}");
    assert_eq!(node.deployment("edge").unwrap().health().workers_replaced, 2, "one for each panic");
    assert_eq!(ask(6, 0.5).topic, "ml/inference/result/a");
    assert_eq!(node.readiness(), Readiness::Ready);
    assert_conserved(&node);
}

#[test]
fn ten_times_too_much_is_answered_within_the_bounds() {
    const REQUESTS: i64 = 3_000;
    let mut config = one_at_a_time();
    config.worker.queue_requests_max = 100;
    config.in_flight_max = 150;
    let (node, sensor, gate) = busy(config, "d0");
    for number in 1..REQUESTS {
        ask(&sensor, &format!("d{}", number % 10), number, 0.25);
        if number == REQUESTS / 2 {
            let arrived = || node.deployment("edge").unwrap().statistics().received > REQUESTS as u64 / 2;
            wait_until("half of the requests never arrive", arrived);
            gate.open();
        }
    }
    let answers = sensor.take(REQUESTS as usize);
    let mut numbers: Vec<_> = answers.iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..REQUESTS).collect::<Vec<_>>(), "each is answered once");
    let statistics = node.deployment("edge").unwrap().statistics();
    assert_eq!((statistics.received, statistics.in_flight), (REQUESTS as u64, 0));
    assert!(statistics.errors["OVERLOADED"] >= 1_000, "{statistics:?}");
    assert!(statistics.is_conserved());
}
