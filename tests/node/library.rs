//! What a program that depends on the library may say and do wrong, and what it is told.

use std::time::Duration;

use nearfar::deployment::{Config, DeviceIdFrom, Hybrid, Topics, WorkerConfig};
use nearfar::inference::{Caller, ErrorCode, Refusal, Request};
use nearfar::model::{Model, ModelError, ModelInfo};
use nearfar::network::{Delay, LinkProfile, Profile, Shape};
use nearfar::node::{NodeBuilder, NodeError};
use nearfar::placement::{BreakerConfig, Policy};
use nearfar::{Detector, Node, broker};

use crate::support::{INPUTS, MODEL, PATIENCE, Sensor, request};

const FOREVER: Duration = Duration::MAX;

/// A model of the test's own with so many inputs, that says `says` of whatever it is asked.
struct Says {
    inputs: usize,
    outputs: usize,
    says: Vec<f32>,
}

impl Model for Says {
    fn inputs(&self) -> usize {
        self.inputs
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        for _ in rows.chunks(self.inputs) {
            predictions.extend(&self.says);
        }
        Ok(())
    }
}

fn says(outputs: usize, says: &[f32]) -> Detector {
    let model = Says { inputs: 1, outputs, says: says.to_vec() };
    Detector::from_parts(ModelInfo::new("says", 1), Box::new(model))
}

fn start(config: Config) -> Result<Node, NodeError> {
    Node::builder().deployment(config, MODEL).start()
}

fn why_not(builder: NodeBuilder) -> String {
    match builder.start() {
        Ok(_) => "it starts".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn whoever_waits_for_ever_waits_and_does_not_panic() {
    let mut config = Config { deadline: Some(FOREVER), ..Config::edge() };
    config.worker.inference_timeout = Some(FOREVER);
    let node = Node::builder().deployment(config, MODEL).shutdown_grace(FOREVER).start().unwrap();
    node.wait_until_ready(FOREVER).unwrap();
    let asked = node.ask([0.5; INPUTS], FOREVER).unwrap();
    let edge = node.deployment("edge").unwrap();
    assert_eq!(edge.ask([0.5; INPUTS], Some(FOREVER)).wait(FOREVER).unwrap().prediction, asked.prediction);
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &["ml/inference/result/#"]);
    assert!(sensor.ask("ml/inference/request", request("a", 1)).json()["prediction"].is_number());
    assert!(edge.is_alive());
    assert_eq!(node.stop()[0].1.answered, 3);
}

#[test]
fn a_network_is_never_longer_than_the_longest_delay() {
    let minute = Some(Duration::from_secs(60));
    assert_eq!(Profile::constant(FOREVER).as_constant(), minute);
    let link =
        LinkProfile { delay: Delay::constant(FOREVER).plus(60_000.0).unwrap(), ..LinkProfile::default() };
    let shape = Shape { uplink: link.clone(), downlink: link, ..Shape::default() };
    assert_eq!(Profile::shaped(shape).as_constant(), minute);
    assert!(Profile::constant(Duration::from_secs(3_600)).words().contains("60"), "it is what it says");
    let node = start(Config::edge().network(Profile::constant(FOREVER))).unwrap();
    let refusal = node.ask([0.5; INPUTS], Duration::from_millis(1)).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::DeadlineExceeded);
}

#[test]
fn a_hybrid_whose_cloud_has_all_the_time_there_is_answers() {
    for policy in [Policy::Hedged { first: nearfar::inference::Site::Edge, after: FOREVER }, Policy::URGENCY]
    {
        let mut hybrid = Hybrid { network: Profile::NONE, ..Hybrid::new(policy) };
        hybrid.placement.cloud_timeout = FOREVER;
        hybrid.placement.recent_window = FOREVER;
        hybrid.placement.breaker = BreakerConfig { failures_max: 1, wait: FOREVER, wait_max: FOREVER };
        let node = start(Config::edge().hybrid(hybrid)).unwrap();
        node.ask([0.5; INPUTS], PATIENCE).unwrap();
    }
}

#[test]
fn what_no_deployment_can_be_is_refused_with_the_member_that_says_it() {
    let topics = |change: fn(&mut Topics)| {
        let mut topics = Topics::default();
        change(&mut topics);
        Config { topics, ..Config::edge() }
    };
    let worker = |worker: WorkerConfig| Config { worker, ..Config::edge() };
    let usual = WorkerConfig::default();
    let cloud = |change: fn(&mut Hybrid)| {
        let mut hybrid = Hybrid::default();
        change(&mut hybrid);
        Config::edge().hybrid(hybrid)
    };
    let none = Some(Duration::ZERO);
    for (config, said) in [
        (
            Config { name: String::new(), ..Config::edge() },
            "deployment \"\": name: found \"\", expected one topic level",
        ),
        (
            Config { name: "a/b".to_owned(), ..Config::edge() },
            "name: found \"a/b\", expected one topic level",
        ),
        (
            topics(|it| it.result = "a/+/b".to_owned()),
            "topics.result: found \"a/+/b\", expected a topic without",
        ),
        (topics(|it| it.result = String::new()), "topics.result: found \"\", expected a topic"),
        (topics(|it| it.error = "a/#".to_owned()), "topics.error: found \"a/#\", expected a topic"),
        (topics(|it| it.request.clear()), "topics.request: found none, expected at least one topic filter"),
        (
            topics(|it| it.request = vec!["a/#/b".to_owned()]),
            "topics.request: found \"a/#/b\", expected a topic filter",
        ),
        (
            topics(|it| it.request = vec!["$SYS/#".to_owned()]),
            "topics.request: found \"$SYS/#\", expected a topic filter",
        ),
        (
            Config { in_flight_max: 0, ..Config::edge() },
            "deployment \"edge\": in_flight_max: found 0, expected at least 1",
        ),
        (Config { in_flight_bytes_max: 0, ..Config::edge() }, "in_flight_bytes_max: found 0"),
        (Config { deadline: none, ..Config::edge() }, "deadline: found no time at all, expected more"),
        (worker(WorkerConfig { queue_requests_max: 0, ..usual }), "worker.queue_requests_max: found 0"),
        (worker(WorkerConfig { queue_bytes_max: 0, ..usual }), "worker.queue_bytes_max: found 0"),
        (worker(WorkerConfig { batch_max: 0, ..usual }), "worker.batch_max: found 0"),
        (
            worker(WorkerConfig { inference_timeout: none, ..usual }),
            "worker.inference_timeout: found no time",
        ),
        (cloud(|it| it.worker.batch_max = 0), "hybrid.worker.batch_max: found 0"),
        (
            cloud(|it| it.placement.cloud_timeout = Duration::ZERO),
            "hybrid.placement.cloud_timeout: found no time",
        ),
    ] {
        let found = why_not(Node::builder().deployment(config, MODEL));
        assert!(found.contains(said), "{found}\n{said}");
    }
}

#[test]
fn what_no_node_can_be_is_refused_with_the_setting_that_says_it() {
    let usual = || Node::builder().deployment(Config::edge(), MODEL);
    let of_users = Config { device_id_from: DeviceIdFrom::Username, ..Config::edge() };
    for (builder, said) in [
        (usual().node_id("a/+#"), "node_id: found \"a/+#\", expected one topic level"),
        (usual().node_id(""), "node_id: found \"\", expected one topic level"),
        (usual().status_topic("x/#"), "status_topic: found \"x/#\", expected a topic without"),
        (usual().status_topic(""), "status_topic: found \"\", expected a topic"),
        (Node::builder().deployment(of_users, MODEL), "takes device ids from the users who send requests"),
    ] {
        let found = why_not(builder);
        assert!(found.contains(said), "{found}\n{said}");
    }
    let of_clients = Config { device_id_from: DeviceIdFrom::ClientId, ..Config::edge() };
    let broker = broker::Config::loopback();
    Node::builder().embedded_broker(broker).deployment(of_clients, MODEL).start().unwrap();
}

#[test]
fn a_model_that_is_not_as_it_is_described_is_refused_before_anybody_asks_it() {
    let model = |described: usize, outputs| {
        let model = Says { inputs: 2, outputs, says: vec![0.5] };
        Detector::from_parts(ModelInfo::new("bad", described), Box::new(model))
    };
    let inputs = "model \"bad\": it is described with 3 inputs and takes 2, expected as many";
    let outputs = "model \"bad\": it has 2 inputs and 0 outputs, expected at least one of each";
    for (described, numbers, said) in [(3, 1, inputs), (2, 0, outputs)] {
        let served = Node::builder().deployment(Config::edge(), model(described, numbers));
        assert_eq!(why_not(served), format!("deployment edge: {said}"));
        let cloud = Node::builder().hybrid(Config::edge(), model(2, 1), model(described, numbers));
        assert_eq!(why_not(cloud), format!("deployment edge: {said}"));
        let called = model(described, numbers).predict(&vec![0.5; described]).unwrap_err();
        assert!(said.ends_with(&called.to_string()), "{called}");
    }
    let node = Node::builder().deployment(Config::edge(), model(2, 1)).start().unwrap();
    let edge = node.deployment("edge").unwrap();
    assert!(edge.exchange(model(3, 1)).unwrap_err().to_string().contains("with 3 inputs, expected 2"));
    assert!(edge.exchange(model(2, 0)).unwrap_err().to_string().contains(outputs));
}

#[test]
fn a_detector_and_a_node_judge_what_a_model_says_alike() {
    let nan = f32::NAN;
    for (outputs, answer, feature, said) in [
        (1, &[7.0][..], 0.5, "the model's output is 7, outside [0, 1], expected a probability"),
        (1, &[-0.1], 0.5, "the model's output is -0.1, outside [0, 1], expected a probability"),
        (1, &[nan], 0.5, "the model's output is NaN, not a finite number"),
        (2, &[0.5, f32::INFINITY], 0.5, "the model's output is inf, not a finite number"),
        (1, &[0.5; 50], 0.5, "the model's answer to 1 rows has 50 numbers, expected 1"),
        (1, &[], 0.5, "the model's answer to 1 rows has 0 numbers, expected 1"),
        (1, &[0.5], nan, "features[0] is NaN, expected a finite number"),
        (1, &[0.0], 0.5, ""),
        (1, &[1.0], 0.5, ""),
        (2, &[7.0, -7.0], 0.5, ""),
    ] {
        let called = says(outputs, answer).predict(&[feature]).map_err(|error| error.to_string());
        let node = Node::builder().deployment(Config::edge(), says(outputs, answer)).start().unwrap();
        let asked = node.ask([feature], PATIENCE);
        match (called, asked) {
            (Ok(called), Ok(asked)) => assert_eq!((called, said), (asked.prediction, "")),
            (Err(called), Err(Refusal { message, .. })) => {
                assert_eq!(called, said);
                assert!(message.ends_with(said), "{message}");
            }
            (called, asked) => panic!("{called:?}, {asked:?}"),
        }
    }
    let mut predictions = Vec::new();
    let batch = says(1, &[0.5, 0.5]).predict_batch(&[0.5, 0.5], &mut predictions).unwrap_err();
    assert_eq!(batch.to_string(), "the model's answer to 2 rows has 4 numbers, expected 2");
}

#[test]
fn a_request_id_is_as_long_in_the_process_as_over_mqtt() {
    let node = start(Config::edge()).unwrap();
    let edge = node.deployment("edge").unwrap();
    let named = |bytes| {
        let caller = Caller { request_id: Some("x".repeat(bytes)), ..Caller::default() };
        edge.ask(Request { caller, ..[0.5; INPUTS].into() }, None).wait(PATIENCE)
    };
    named(128).unwrap();
    let refusal = named(129).unwrap_err();
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (ErrorCode::InvalidJson, "request_id has 129 bytes, at most 128 are allowed")
    );
}
