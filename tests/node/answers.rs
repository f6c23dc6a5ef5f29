//! An answer for every request: bad ones, many at once, too many, and those that ask
//! for an answer of their own.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use nearfar::deployment::Config;
use nearfar::inference::ErrorCode;
use nearfar::model::{Model, ModelError, ModelInfo};
use nearfar::mqtt::Qos;
use nearfar::network::Profile;
use nearfar::{Detector, Node, wire};
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use serde_json::json;

use crate::support::{self, MODEL, Received, Sensor, assert_error, request};

const REQUEST: &str = "ml/inference/request";
const ANSWERS: [&str; 2] = ["ml/inference/result/#", "ml/inference/error/#"];

fn node(config: Config) -> (Node, Sensor) {
    serve(config, Detector::load(MODEL).expect("the shipped model loads"))
}

fn serve(config: Config, detector: Detector) -> (Node, Sensor) {
    let node = Node::builder().deployment(config, detector).start().expect("a node starts");
    let sensor = Sensor::listening(node.mqtt_address().expect("it has a broker"), &ANSWERS);
    (node, sensor)
}

/// A model of one input that does what the input says: -1 panics, -2 fails, -3
/// answers NaN, others wait for a permit.
struct Puppet {
    permits: Option<Receiver<()>>,
}

impl Model for Puppet {
    fn inputs(&self) -> usize {
        1
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        if let Some(permits) = &self.permits {
            permits.recv_timeout(support::PATIENCE).expect("the test gives permits");
        }
        for row in rows {
            match *row {
                -1.0 => panic!("the puppet was told to"),
                -2.0 => return Err(ModelError::Forward("the puppet was told to".to_owned())),
                -3.0 => predictions.push(f32::NAN),
                row => predictions.push(row),
            }
        }
        Ok(())
    }
}

fn puppet() -> Detector {
    Detector::from_parts(ModelInfo::new("puppet", 1), Box::new(Puppet { permits: None }))
}

fn held_puppet() -> (Detector, SyncSender<()>) {
    let (permit, permits) = sync_channel(1024);
    (Detector::from_parts(ModelInfo::new("puppet", 1), Box::new(Puppet { permits: Some(permits) })), permit)
}

fn feature(value: f64) -> String {
    json!({ "device_id": "p", "features": [value] }).to_string()
}

#[test]
fn every_bad_payload_of_the_contract_is_answered_with_its_code() {
    let (node, sensor) = node(Config::edge());
    let mine = "ml/inference/error/a";
    let nobody = "ml/inference/error";
    let short: Vec<f64> = vec![0.5; 31];
    let nan = format!(r#"{{"device_id":"a","features":[NaN{}]}}"#, ",0.5".repeat(31));
    let cases = [
        ("not json".to_owned(), nobody, ErrorCode::InvalidJson),
        ("{\"device_id\":\"a\",\"features\":\"x\"}".to_owned(), mine, ErrorCode::InvalidJson),
        (request("", 1), nobody, ErrorCode::InvalidDeviceId),
        (request("b/c", 1), nobody, ErrorCode::InvalidDeviceId),
        (json!({ "features": short }).to_string(), nobody, ErrorCode::InvalidDeviceId),
        (json!({ "device_id": "a", "features": short }).to_string(), mine, ErrorCode::ShapeMismatch),
        (json!({ "device_id": "a" }).to_string(), mine, ErrorCode::ShapeMismatch),
        (nan, mine, ErrorCode::NonFinite),
    ];
    for (payload, topic, code) in &cases {
        assert_error(&sensor.ask(REQUEST, payload.as_str()), topic, *code);
    }
    let error =
        sensor.ask(REQUEST, json!({"device_id":"a","timestamp_us":7,"features":short}).to_string()).json();
    assert_eq!(error["error"], json!("expected 32 features, got 31"));
    assert_eq!((&error["device_id"], &error["timestamp_us"]), (&json!("a"), &json!(7)));
    let statistics = node.deployment("edge").unwrap().statistics();
    assert!(statistics.is_conserved());
    assert_eq!((statistics.received, statistics.errors_total()), (9, 9));
}

#[test]
fn ten_thousand_requests_are_in_flight_at_once_and_each_is_answered() {
    const REQUESTS: i64 = 10_000;
    // Far enough that nothing returns before everything is sent, however slow the machine is in debug builds.
    let far = Config::cloud().network(Profile::constant(Duration::from_millis(1_500)));
    let (node, sensor) = node(far);
    for number in 0..REQUESTS {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", number));
    }
    let answers = sensor.take(REQUESTS as usize);
    let timestamps: BTreeSet<_> =
        answers.iter().map(|answer| answer.json()["timestamp_us"].as_i64()).collect();
    assert_eq!(timestamps.len(), REQUESTS as usize);
    let statistics = node.deployment("cloud").unwrap().statistics();
    assert!(statistics.is_conserved());
    assert_eq!((statistics.answered, statistics.in_flight), (REQUESTS as u64, 0));
}

#[test]
fn one_device_s_answers_keep_its_order() {
    let (_node, sensor) = node(Config::cloud().network(Profile::constant(Duration::from_millis(5))));
    for number in 0..500 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", number));
    }
    let order: Vec<_> = sensor.take(500).iter().map(|a| a.json()["timestamp_us"].as_i64().unwrap()).collect();
    assert_eq!(order, (0..500).collect::<Vec<_>>());
}

#[test]
fn full_queue_is_answered_overloaded() {
    let (detector, permit) = held_puppet();
    let mut config = Config::edge();
    config.worker.queue_requests_max = 4;
    config.worker.batch_max = 1;
    let (node, sensor) = serve(config, detector);
    // One request is with the model, four wait, the sixth is one too many.
    sensor.publish(REQUEST, Qos::AtLeastOnce, feature(0.5));
    wait_until_taken(&node);
    for _ in 0..5 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, feature(0.5));
    }
    assert_error(&sensor.next(), "ml/inference/error/p", ErrorCode::Overloaded);
    for _ in 0..5 {
        permit.send(()).unwrap();
    }
    let results = sensor.take(5);
    assert!(results.iter().all(|result| result.topic == "ml/inference/result/p"));
    let statistics = node.deployment("edge").unwrap().statistics();
    assert!(statistics.is_conserved());
    assert_eq!(statistics.errors["OVERLOADED"], 1);
}

/// Until the worker has taken everything that was sent.
fn wait_until_taken(node: &Node) {
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while node.deployment("edge").is_none_or(|edge| edge.queued() > 0 || edge.statistics().received == 0) {
        assert!(std::time::Instant::now() < deadline, "the worker never took the request");
        std::thread::yield_now();
    }
}

#[test]
fn too_many_in_flight_are_answered_overloaded_at_once() {
    let far = Profile::constant(Duration::from_secs(2));
    let config = Config { in_flight_max: 3, ..Config::cloud().network(far) };
    let (node, sensor) = node(config);
    for number in 0..5 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", number));
    }
    for refused in sensor.take(2) {
        assert_error(&refused, "ml/inference/error/s", ErrorCode::Overloaded);
    }
    assert!(node.deployment("cloud").unwrap().statistics().is_conserved());
    let results = sensor.take(3);
    assert!(results.iter().all(|result| result.topic == "ml/inference/result/s"));
}

#[test]
fn a_device_with_many_in_flight_leaves_room_for_another() {
    let far = Profile::constant(Duration::from_secs(2));
    let config = Config { in_flight_max: 16, ..Config::cloud().network(far) };
    let (_node, sensor) = node(config);
    for number in 0..20 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("hog", number));
    }
    sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", 1));
    for refused in sensor.take(6) {
        assert_error(&refused, "ml/inference/error/hog", ErrorCode::Overloaded);
        let error = refused.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains("nearly 16 requests") && error.contains("its share"), "{error}");
    }
    let results = sensor.take(15);
    let own = results.iter().filter(|result| result.topic == "ml/inference/result/s");
    assert_eq!(own.count(), 1);
}

#[test]
fn a_model_that_fails_or_panics_is_answered_internal_and_spoils_nobody_else() {
    let (node, sensor) = serve(Config::edge(), puppet());
    for fault in [-2.0, -1.0] {
        let failed = sensor.ask(REQUEST, feature(fault));
        assert_error(&failed, "ml/inference/error/p", ErrorCode::Internal);
        assert_eq!(failed.json()["retryable"], json!(false), "it would fail again");
    }
    assert_error(&sensor.ask(REQUEST, feature(-3.0)), "ml/inference/error/p", ErrorCode::NonFinite);
    assert_eq!(sensor.ask(REQUEST, feature(0.25)).json()["prediction"], json!(0.25));
    assert!(node.deployment("edge").unwrap().statistics().is_conserved());
}

/// Promises a probability and gives a logit.
struct Logit;

impl Model for Logit {
    fn inputs(&self) -> usize {
        1
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        predictions.clear();
        predictions.extend(rows.iter().map(|_| f32::NAN));
        Ok(())
    }

    fn outside(&self, _row: usize) -> Option<f32> {
        Some(-5.6)
    }
}

#[test]
fn an_output_that_is_no_probability_is_told_with_its_number() {
    let (_node, sensor) =
        serve(Config::edge(), Detector::from_parts(ModelInfo::new("logit", 1), Box::new(Logit)));
    let refused = sensor.ask(REQUEST, feature(0.5));
    assert_error(&refused, "ml/inference/error/p", ErrorCode::NonFinite);
    let error = refused.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("output is -5.6, outside [0, 1]: is it a logit?"), "{error}");
}

#[test]
fn one_bad_row_never_spoils_its_batch() {
    let (detector, permit) = held_puppet();
    let (node, sensor) = serve(Config::edge(), detector);
    sensor.publish(REQUEST, Qos::AtLeastOnce, feature(0.125));
    wait_until_taken(&node);
    for value in [0.25, -2.0, 0.5, -3.0] {
        sensor.publish(REQUEST, Qos::AtLeastOnce, feature(value));
    }
    // Enough for every batch that can form, and for rows that are tried again alone.
    for _ in 0..64 {
        permit.send(()).unwrap();
    }
    // Results and errors come under two filters, whose order to each other is not promised.
    let said = |answer: &Received| {
        let body = answer.json();
        body["prediction"].as_f64().map_or(body["code"].to_string(), |prediction| prediction.to_string())
    };
    let said: BTreeSet<_> = sensor.take(5).iter().map(said).collect();
    let expected = ["0.125", "0.25", "0.5", "\"INTERNAL\"", "\"NON_FINITE\""];
    assert_eq!(said, BTreeSet::from(expected.map(str::to_owned)));
}

#[test]
fn a_response_topic_gets_the_result_too_with_its_correlation_data() {
    let (_node, sensor) = node(Config::edge());
    sensor.subscribe("replies/+", Qos::AtLeastOnce);
    let asked = PublishProperties {
        response_topic: Some("replies/me".to_owned()),
        correlation_data: Some(vec![0u8, 255, 7].into()),
        ..PublishProperties::default()
    };
    for (payload, ordinary) in
        [(request("s", 1), "ml/inference/result/s"), ("bad".to_owned(), "ml/inference/error")]
    {
        sensor.publish_with(REQUEST, payload, asked.clone());
        let answers = sensor.take(2);
        let topics: BTreeSet<_> = answers.iter().map(|answer| answer.topic.as_str()).collect();
        assert_eq!(topics, BTreeSet::from([ordinary, "replies/me"]));
        assert_eq!(answers[0].payload, answers[1].payload);
        for answer in &answers {
            let correlation = answer.properties.as_ref().and_then(|p| p.correlation_data.clone());
            assert_eq!(correlation.as_deref(), Some(&[0u8, 255, 7][..]), "{}", answer.topic);
        }
    }
}

#[test]
fn a_response_topic_of_the_broker_s_own_is_refused_and_the_request_answered() {
    let (node, sensor) = node(Config::edge());
    let asked =
        PublishProperties { response_topic: Some("$SYS/me".to_owned()), ..PublishProperties::default() };
    sensor.publish_with(REQUEST, request("s", 1), asked);
    assert_eq!(sensor.next().topic, "ml/inference/result/s");
    assert_eq!(node.deployment("edge").unwrap().statistics().response_topics_refused, 1);
}

#[test]
fn a_request_that_starts_too_late_is_answered_deadline_exceeded() {
    let far = Profile::constant(Duration::from_millis(1_200));
    let (node, sensor) = node(Config::cloud().network(far.clone()));
    let soon = PublishProperties { message_expiry_interval: Some(1), ..PublishProperties::default() };
    sensor.publish_with(REQUEST, request("s", 1), soon);
    assert_error(&sensor.next(), "ml/inference/error/s", ErrorCode::DeadlineExceeded);
    let enough = PublishProperties { message_expiry_interval: Some(600), ..PublishProperties::default() };
    sensor.publish_with(REQUEST, request("s", 2), enough);
    assert_eq!(sensor.next().topic, "ml/inference/result/s");
    assert!(node.deployment("cloud").unwrap().statistics().is_conserved());
    let deadline = Some(Duration::from_millis(5));
    let (_node, sensor) = self::node(Config { deadline, ..Config::cloud().network(far) });
    assert_error(&sensor.ask(REQUEST, request("s", 3)), "ml/inference/error/s", ErrorCode::DeadlineExceeded);
}

#[test]
fn members_beyond_the_six_appear_where_they_are_asked_for() {
    let members = wire::Members {
        model: true,
        model_version: true,
        anomaly: true,
        stages_ms: true,
        placement: true,
        network: true,
        reason: true,
        state: true,
        tail_probability: true,
        alarm_threshold: true,
        contributions: true,
    };
    let (_node, sensor) = node(Config { members, ..Config::edge() });
    let body = sensor.ask(REQUEST, request("s", 1)).json();
    assert_eq!((&body["model"], &body["placement"]), (&json!("anomaly_detector"), &json!("edge")));
    assert!(body["anomaly"].is_boolean());
    assert_eq!(body.get("reason"), None, "one site alone needs no reason");
    for of_detectors in ["state", "tail_probability", "alarm_threshold", "contributions"] {
        assert_eq!(body.get(of_detectors), None, "a model that does not detect says no {of_detectors}");
    }
    for stage in ["uplink", "queue", "batch", "inference", "downlink"] {
        assert!(body["stages_ms"][stage].is_number(), "{stage}");
    }
}

#[test]
fn the_old_double_sigmoid_can_be_had_for_old_baselines() {
    let (_plain, sensor) = node(Config::edge());
    let plain = sensor.ask(REQUEST, request("s", 1)).json()["prediction"].as_f64().unwrap();
    let (_compatible, sensor) = node(Config { double_sigmoid: true, ..Config::edge() });
    let twice = sensor.ask(REQUEST, request("s", 1)).json()["prediction"].as_f64().unwrap();
    assert!((twice - 1.0 / (1.0 + (-plain).exp())).abs() < 1e-6, "{plain} {twice}");
}
