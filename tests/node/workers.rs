//! Several workers for one model: what runs at the same time, whose order is kept,
//! and that nothing else changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nearfar::deployment::{Config, DeploymentError};
use nearfar::inference::ErrorCode;
use nearfar::model::{Model, ModelError, ModelInfo};
use nearfar::mqtt::Qos;
use nearfar::network::Profile;
use nearfar::node::NodeError;
use nearfar::testing::WORKERS_MAX;
use nearfar::testing::read_node_file;
use nearfar::{Detector, Node};
use serde_json::json;

use crate::support::gate::gated;
use crate::support::waiting::wait_until;
use crate::support::{MODEL, PATIENCE, Received, Sensor, assert_error, request};

const REQUEST: &str = "ml/inference/request";
const ANSWERS: [&str; 2] = ["ml/inference/result/#", "ml/inference/error/#"];

/// `workers` workers that take one request at a time, so that a test knows which worker has which.
fn one_at_a_time(workers: usize) -> Config {
    let mut config = Config { workers, ..Config::edge() };
    config.worker.batch_max = 1;
    config
}

fn serve(config: Config, model: impl Model + 'static) -> (Node, Sensor) {
    let detector = Detector::from_parts(ModelInfo::new("double", 1), Box::new(model));
    let node = Node::builder().deployment(config, detector).start().expect("a node starts");
    let sensor = Sensor::listening(node.mqtt_address().expect("it has a broker"), &ANSWERS);
    (node, sensor)
}

fn ask(sensor: &Sensor, device: &str, number: i64, feature: f32) {
    let payload = json!({ "device_id": device, "timestamp_us": number, "features": [feature] });
    sensor.publish(REQUEST, Qos::AtLeastOnce, payload.to_string());
}

/// Whose answer it is, and to which of its requests.
fn answered(answer: &Received) -> (String, i64) {
    let body = answer.json();
    (
        body["device_id"].as_str().expect("a device").to_owned(),
        body["timestamp_us"].as_i64().expect("a number"),
    )
}

#[test]
fn heavy_requests_of_different_devices_run_at_the_same_time() {
    let (model, gate) = gated();
    let (_node, sensor) = serve(one_at_a_time(3), model);
    for (device, feature) in [("a", 0.25), ("b", 0.5), ("c", 0.75)] {
        ask(&sensor, device, 1, feature);
    }
    gate.wait_until_begun(&[0.25, 0.5, 0.75]);
    gate.open();
    let mut devices: Vec<_> = sensor.take(3).iter().map(|answer| answered(answer).0).collect();
    devices.sort();
    assert_eq!(devices, ["a", "b", "c"]);
}

#[test]
fn a_device_s_next_request_waits_for_its_first_while_another_device_overtakes() {
    let (model, gate) = gated();
    let (_node, sensor) = serve(one_at_a_time(2), model);
    ask(&sensor, "a", 1, 0.125);
    ask(&sensor, "a", 2, 0.25);
    ask(&sensor, "b", 1, 0.5);
    gate.let_go(0.5);
    assert_eq!(answered(&sensor.next()), ("b".to_owned(), 1));
    // The other worker is idle by now, and leaves the second one alone.
    gate.wait_until_begun(&[0.125]);
    assert!(!gate.begun().contains(&0.25), "{:?}", gate.begun());
    gate.open();
    let answers: Vec<_> = sensor.take(2).iter().map(answered).collect();
    assert_eq!(answers, [("a".to_owned(), 1), ("a".to_owned(), 2)]);
}

#[test]
fn a_device_that_has_all_its_answers_goes_to_whichever_worker_is_free() {
    let (model, gate) = gated();
    let (_node, sensor) = serve(one_at_a_time(2), model);
    ask(&sensor, "a", 1, 0.125);
    gate.let_go(0.125);
    sensor.next();
    // It was the first one's, whose worker `b` now keeps busy.
    ask(&sensor, "b", 1, 0.25);
    gate.wait_until_begun(&[0.25]);
    ask(&sensor, "a", 2, 0.5);
    gate.let_go(0.5);
    assert_eq!(answered(&sensor.next()), ("a".to_owned(), 2));
    gate.open();
    assert_eq!(answered(&sensor.next()), ("b".to_owned(), 1));
}

/// Takes longer for some inputs than for others, and lets other threads run meanwhile.
#[derive(Clone)]
struct Uneven;

impl Model for Uneven {
    fn inputs(&self) -> usize {
        1
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        for &row in rows {
            (0..(row * 100.0) as usize).for_each(|_| std::thread::yield_now());
            predictions.push(row);
        }
        Ok(())
    }

    fn replica(&self) -> Option<Box<dyn Model>> {
        Some(Box::new(self.clone()))
    }
}

/// Sends many requests of few devices to workers of very different speed at each moment.
fn assert_that_each_device_s_order_is_kept(network: Profile) {
    const DEVICES: i64 = 7;
    const REQUESTS: i64 = 2_000;
    let mut config = Config { workers: 4, ..Config::edge() }.network(network);
    config.worker.batch_max = 3;
    let (node, sensor) = serve(config, Uneven);
    for number in 0..REQUESTS {
        // Every thirteenth is a hundred times as heavy as others, whosever it is.
        let feature = if number % 13 == 0 { 1.0 } else { (number % 5) as f32 / 100.0 };
        ask(&sensor, &format!("d{}", number % DEVICES), number, feature);
    }
    let mut by_device: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for answer in sensor.take(REQUESTS as usize) {
        let (device, number) = answered(&answer);
        by_device.entry(device).or_default().push(number);
    }
    for (at, numbers) in by_device.values().enumerate() {
        let sent: Vec<_> = (0..REQUESTS).filter(|number| number % DEVICES == at as i64).collect();
        assert_eq!(*numbers, sent);
    }
    let statistics = node.deployment("edge").unwrap().statistics();
    assert!(statistics.is_conserved());
    assert_eq!((statistics.answered, statistics.in_flight), (REQUESTS as u64, 0));
}

#[test]
fn each_device_s_answers_keep_its_order_under_load() {
    assert_that_each_device_s_order_is_kept(Profile::NONE);
}

#[test]
fn each_device_s_answers_keep_its_order_through_a_simulated_network() {
    assert_that_each_device_s_order_is_kept(Profile::constant(Duration::from_millis(5)));
}

#[test]
fn a_device_that_floods_makes_room_for_others() {
    let (model, gate) = gated();
    let mut config = one_at_a_time(2);
    config.worker.queue_requests_max = 4;
    let (node, sensor) = serve(config, model);
    ask(&sensor, "flood", 0, 0.125);
    gate.wait_until_begun(&[0.125]);
    // Alone it may have all of the queue, while another worker is idle: that keeps its order.
    for number in 1..=5 {
        ask(&sensor, "flood", number, 0.25);
    }
    let refused = sensor.next();
    assert_error(&refused, "ml/inference/error/flood", ErrorCode::Overloaded);
    assert_eq!(answered(&refused).1, 5);
    assert_eq!(node.deployment("edge").unwrap().queued(), 4);
    // Half of the queue is `calm`'s now.
    ask(&sensor, "calm", 1, 0.5);
    let refused = sensor.next();
    assert_error(&refused, "ml/inference/error/flood", ErrorCode::Overloaded);
    assert_eq!(answered(&refused).1, 4);
    gate.let_go(0.5);
    assert_eq!(sensor.next().topic, "ml/inference/result/calm");
    let statistics = node.deployment("edge").unwrap().statistics();
    assert!(statistics.is_conserved());
    assert_eq!((statistics.received, statistics.answered, statistics.in_flight), (7, 1, 4));
    gate.open();
    let numbers: Vec<_> = sensor.take(4).iter().map(|answer| answered(answer).1).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
}

#[test]
fn a_panic_on_one_worker_is_answered_internal_and_the_other_one_goes_on() {
    let (model, gate) = gated();
    let (node, sensor) = serve(one_at_a_time(2), model);
    ask(&sensor, "a", 1, 0.125);
    gate.wait_until_begun(&[0.125]);
    ask(&sensor, "b", 1, -1.0);
    assert_error(&sensor.next(), "ml/inference/error/b", ErrorCode::Internal);
    ask(&sensor, "b", 2, 0.25);
    gate.let_go(0.25);
    assert_eq!(answered(&sensor.next()), ("b".to_owned(), 2));
    gate.open();
    assert_eq!(answered(&sensor.next()), ("a".to_owned(), 1));
    let statistics = node.deployment("edge").unwrap().statistics();
    assert!(statistics.is_conserved());
    assert_eq!((statistics.answered, statistics.errors["INTERNAL"]), (2, 1));
}

#[test]
fn stopping_answers_what_every_worker_has_accepted() {
    let (model, gate) = gated();
    let config = one_at_a_time(3);
    let detector = Detector::from_parts(ModelInfo::new("double", 1), Box::new(model));
    let node = Node::builder().shutdown_grace(PATIENCE).deployment(config, detector).start().unwrap();
    let sensor = Sensor::connect(node.mqtt_address().unwrap());
    for number in 0..30 {
        ask(&sensor, &format!("d{}", number % 5), number, 0.5);
    }
    wait_until("requests never arrive", || node.deployment("edge").unwrap().statistics().received >= 30);
    let stopping = std::thread::spawn(move || node.stop());
    gate.open();
    let (_, total) = stopping.join().unwrap()[0].clone();
    assert_eq!((total.received, total.answered, total.in_flight), (30, 30, 0));
}

#[test]
fn the_shipped_model_answers_alike_from_every_worker() {
    let node = Node::builder().deployment(Config { workers: 4, ..Config::edge() }, MODEL).start().unwrap();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &ANSWERS);
    for device in 0..40 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request(&format!("d{device}"), 1));
    }
    let answers = sensor.take(40);
    let expected = answers[0].json()["prediction"].as_f64().unwrap();
    for answer in &answers {
        let prediction = answer.json()["prediction"].as_f64().unwrap();
        assert!((prediction - expected).abs() < 1e-6, "{prediction} {expected}");
    }
}

/// There can be only one of it.
struct Unique;

impl Model for Unique {
    fn inputs(&self) -> usize {
        1
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        predictions.extend_from_slice(rows);
        Ok(())
    }
}

#[test]
fn a_node_refuses_workers_that_it_cannot_have() {
    let start = |config: Config| Node::builder().deployment(config, MODEL).start().err();
    for workers in [0, WORKERS_MAX + 1] {
        let error = start(Config { workers, ..Config::edge() }).expect("it is refused");
        assert!(matches!(error, NodeError::Deployment(DeploymentError::Workers { .. })), "{error}");
        assert!(error.to_string().contains(&format!("found {workers} workers, expected between 1 and 64")));
    }
    let detector = || Detector::from_parts(ModelInfo::new("unique", 1), Box::new(Unique));
    let start =
        |workers| Node::builder().deployment(Config { workers, ..Config::edge() }, detector()).start().err();
    let error = start(2).expect("it is refused").to_string();
    assert_eq!(error, "deployment edge: found 2 workers, expected 1: model \"unique\" cannot be copied");
    assert!(start(1).is_none());
}

#[test]
fn the_file_says_how_many_workers_there_are_and_is_refused_where_it_makes_no_sense() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nearfar.toml");
    let read = |settings: &str| {
        std::fs::write(&path, format!("[deployments.edge]\nmodel = \"model\"\n{settings}\n")).unwrap();
        let file = read_node_file(&path).map_err(|error| error.to_string())?;
        let config = file.into_serve_config().map_err(|error| error.to_string())?;
        Ok::<_, String>(config.node.deployments[0].config.workers)
    };
    assert_eq!(read(""), Ok(1));
    assert_eq!(read("workers = 4"), Ok(4));
    let refused = |settings: &str, parts: &[&str]| {
        let error = read(settings).expect_err("it makes no sense");
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    refused(
        "workers = 0",
        &["line 3", "`deployments.edge.workers`", "found 0, expected a whole number between 1 and 64"],
    );
    refused("workers = 65", &["line 3", "found 65"]);
    refused("workers = -1", &["line 3"]);
    refused("workers = \"two\"", &["line 3"]);
    refused("worker = 2", &["line 3", "did you mean `workers`"]);
}

/// Says so if a row takes microseconds, notes which threads call it, and panics at a negative value.
#[derive(Clone)]
struct Noting {
    is_prompt: bool,
    callers: Arc<Mutex<Vec<String>>>,
}

impl Noting {
    fn new(is_prompt: bool) -> Self {
        Self { is_prompt, callers: Arc::default() }
    }

    fn callers(&self) -> Vec<String> {
        self.callers.lock().unwrap().clone()
    }
}

impl Model for Noting {
    fn inputs(&self) -> usize {
        1
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        let name = thread::current().name().unwrap_or_default().to_owned();
        self.callers.lock().unwrap().push(name);
        assert!(rows.iter().all(|row| *row >= 0.0), "a negative value");
        predictions.extend_from_slice(rows);
        Ok(())
    }

    fn replica(&self) -> Option<Box<dyn Model>> {
        Some(Box::new(self.clone()))
    }

    fn is_prompt(&self) -> bool {
        self.is_prompt
    }
}

#[test]
fn a_prompt_model_is_called_by_the_thread_that_reads_requests() {
    let model = Noting::new(true);
    let (_node, sensor) = serve(Config::edge(), model.clone());
    // A worker that is still on its way to its rest has it instead, which can happen a few times.
    let is_seen = (1..=1_000).any(|number| {
        ask(&sensor, "a", number, 0.5);
        assert_eq!(answered(&sensor.next()), ("a".to_owned(), number));
        model.callers().iter().any(|name| name == "intake-edge")
    });
    assert!(is_seen, "{:?}", model.callers());
}

#[test]
fn a_model_that_may_take_its_time_is_called_by_its_worker_alone() {
    let model = Noting::new(false);
    let (_node, sensor) = serve(Config::edge(), model.clone());
    for number in 1..=20 {
        ask(&sensor, "a", number, 0.5);
        sensor.next();
    }
    assert_eq!(model.callers(), vec!["model-edge"; 20]);
}

#[test]
fn a_prompt_model_that_panics_costs_its_own_request_and_is_replaced() {
    let (node, sensor) = serve(Config::edge(), Noting::new(true));
    for (number, feature) in [(1, 0.25), (2, -1.0), (3, 0.75)] {
        ask(&sensor, "a", number, feature);
    }
    let answers = sensor.take(3);
    assert_error(&answers[1], "ml/inference/error/a", ErrorCode::Internal);
    let results: Vec<_> = [&answers[0], &answers[2]].map(|answer| answered(answer).1).to_vec();
    assert_eq!(results, [1, 3]);
    let statistics = node.deployment("edge").expect("it is there").statistics();
    assert_eq!((statistics.received, statistics.answered), (3, 2));
}

#[test]
fn a_prompt_model_keeps_each_device_s_order_in_a_flood() {
    let (node, sensor) = serve(Config { workers: 3, ..Config::edge() }, Noting::new(true));
    let devices = ["a", "b", "c", "d"];
    for number in 1..=500 {
        devices.iter().for_each(|device| ask(&sensor, device, number, 0.5));
    }
    let mut next: BTreeMap<String, i64> = BTreeMap::new();
    for answer in sensor.take(4 * 500) {
        let (device, number) = answered(&answer);
        let last = next.entry(device).or_default();
        assert_eq!(number, *last + 1);
        *last = number;
    }
    let statistics = node.deployment("edge").expect("it is there").statistics();
    assert_eq!((statistics.received, statistics.answered), (2_000, 2_000));
}
