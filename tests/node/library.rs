//! What a program that depends on the library may say and do wrong, and what it is told.

use std::time::Duration;

use nearfar::client::State;
use nearfar::deployment::{Config, DeviceIdFrom, Hybrid, Topics, WorkerConfig};
use nearfar::inference::{Caller, ErrorCode, Refusal, Request};
use nearfar::model::{Model, ModelError, ModelInfo, Origin};
use nearfar::network::{Delay, LinkProfile, Profile, Shape};
use nearfar::node::{ModelSource, NodeBuilder, NodeError, Readiness};
use nearfar::placement::{BreakerConfig, Policy};
use nearfar::requester::{Requester, RequesterError};
use nearfar::testing::read_node_file;
use nearfar::wire::client::RequestBody;
use nearfar::{Detector, Node, broker, http};

use crate::support::gate::{Gated, gated};
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

/// Waits at a gate, and is the only one of its kind.
struct Unique(Gated);

impl Model for Unique {
    fn inputs(&self) -> usize {
        self.0.inputs()
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        self.0.predict(rows, predictions)
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

#[test]
fn whatever_holds_features_can_be_asked_and_whatever_names_a_path_is_a_model() {
    let path = std::path::Path::new(MODEL);
    for model in [
        ModelSource::from(MODEL),
        MODEL.to_owned().into(),
        (&MODEL.to_owned()).into(),
        path.into(),
        path.to_owned().into(),
        (&path.to_owned()).into(),
        "shipped".into(),
        Detector::shipped().unwrap().into(),
    ] {
        let node = Node::builder().deployment(Config::edge(), model).start().unwrap();
        assert_eq!(node.deployment("edge").unwrap().model().inputs, INPUTS);
    }
    let node = start(Config::edge()).unwrap();
    let vector = vec![0.5; INPUTS];
    let expected = node.ask([0.5; INPUTS], PATIENCE).unwrap().prediction;
    for request in [
        Request::from(&vector),
        Request::from(vector.as_slice()),
        Request::from(&[0.5; INPUTS]),
        Request::from(vector.clone()),
        Request::new(vector.clone()),
    ] {
        assert_eq!(node.ask(request, PATIENCE).unwrap().prediction, expected);
    }
}

#[test]
fn a_question_mark_takes_every_error_of_a_model_where_a_node_is_started() {
    fn started() -> Result<Node, NodeError> {
        let shipped = Detector::shipped()?;
        let path = Detector::load(MODEL)?;
        Node::builder().hybrid(Config::edge(), shipped, path).start()
    }
    started().unwrap();
}

#[test]
fn a_model_that_is_not_there_is_told_with_its_deployment_and_where_it_was_looked_for() {
    let here = std::env::current_dir().unwrap();
    let relative = why_not(Node::builder().deployment(Config::edge(), "no/such_model"));
    assert!(relative.starts_with("deployment \"edge\": cannot read no/such_model: "), "{relative}");
    assert!(relative.ends_with(&format!(", looked for in {}", here.display())), "{relative}");
    let absolute = why_not(Node::builder().deployment(Config::edge(), "/no/such_model"));
    assert!(absolute.starts_with("deployment \"edge\": cannot read /no/such_model: "), "{absolute}");
    assert!(!absolute.contains("looked for"), "{absolute}");
    let empty = why_not(Node::builder().deployment(Config::edge(), ""));
    assert!(empty.contains("found an empty path, expected that of a directory or file"), "{empty}");
}

#[test]
fn everything_that_runs_can_be_shown_in_a_line() {
    let node = start(Config::edge()).unwrap();
    let edge = node.deployment("edge").unwrap();
    let pending = edge.ask([0.5; INPUTS], None);
    let requester = Requester::connect_to(node.mqtt_address().unwrap(), &[Topics::default()], "+").unwrap();
    let server = http::Server::start(http::Config::loopback(), node.observer()).unwrap();
    for (shown, said) in [
        (format!("{node:?}"), "deployments: [\"edge\"]"),
        (format!("{:?}", Node::builder()), "nearfar"),
        (format!("{:?}", node.observer()), "Ready"),
        (format!("{edge:?}"), "anomaly_detector"),
        (format!("{:?}", edge.view()), "placement: \"edge\""),
        (format!("{:?}", edge.asker()), "edge"),
        (format!("{:?}", edge.network()), "edge"),
        (format!("{:?}", node.broker().unwrap()), "mqtt"),
        (format!("{requester:?}"), "Online"),
        (format!("{:?}", requester.sender()), "Sender"),
        (format!("{server:?}"), "127.0.0.1"),
        (format!("{:?}", edge.model()), "inputs: 32"),
        (format!("{:?}", Detector::shipped().unwrap()), "origin: Shipped"),
        (format!("{pending:?}"), "is_answered"),
    ] {
        assert!(shown.contains(said) && shown.len() < 700, "{shown}");
    }
    let nothing = Node::builder().start().unwrap_err();
    assert_eq!(nothing.to_string(), "a node needs at least one deployment");
}

#[test]
fn what_was_counted_is_found_by_name_and_by_code() {
    let node = Node::builder().deployment(Config::edge(), MODEL).deployment(
        Config { name: "other".to_owned(), ..Config::edge().topics(Topics::under("other/")) },
        "shipped",
    );
    let node = node.start().unwrap();
    node.ask([0.5; INPUTS], PATIENCE).unwrap();
    node.ask([0.5; 3], PATIENCE).unwrap_err();
    let totals = node.stop();
    let edge = &totals["edge"];
    assert_eq!((edge.received, edge.answered, edge.errors_of(ErrorCode::ShapeMismatch)), (2, 1, 1));
    assert_eq!((edge.errors_of(ErrorCode::Internal), totals["other"].received), (0, 0));
    assert!(totals.of("nobody").is_none());
    let names: Vec<_> = totals.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, totals[1].0.as_str(), totals.len()), (vec!["edge", "other"], "other", 2));
    // One request: every quantile is it.
    let total = &edge.spread.total;
    assert_eq!(total.quantile_duration(0.5), total.quantile_duration(0.99));
    assert_eq!(total.quantile_duration(0.5), Some(total.sum_duration()));
    assert_eq!(edge.spread.network.quantile_duration(0.99), Some(Duration::ZERO));
}

#[test]
fn the_requester_is_a_client_for_tests_of_a_node_over_mqtt() {
    let node = start(Config::edge()).unwrap();
    let requester = Requester::connect_to(node.mqtt_address().unwrap(), &[Topics::default()], "+").unwrap();
    // An answer to another request is for whoever looks for the next one.
    let other = RequestBody { device_id: "other", features: &[0.5; INPUTS], ..RequestBody::default() };
    requester.sender().send("ml/inference/request", &other).unwrap();
    let expected = node.ask([0.25; INPUTS], PATIENCE).unwrap().prediction.score();
    let answer = requester.ask("press", &[0.25; INPUTS], PATIENCE).unwrap();
    assert_eq!((answer.body.outcome(), answer.topic.as_str()), (Ok(expected), "ml/inference/result/press"));
    let refused = requester.ask("press", &[0.5; 31], PATIENCE).unwrap().body.outcome().unwrap_err();
    assert_eq!(refused, Refusal::new(ErrorCode::ShapeMismatch, "expected 32 features, got 31"));
    let kept: Vec<_> = requester.answers(PATIENCE).take(1).collect();
    assert_eq!(kept[0].body.device_id.as_deref(), Some("other"));
    assert!(matches!(requester.ask("a/b", &[0.5; INPUTS], PATIENCE), Err(RequesterError::Device(_))));
    assert_eq!(requester.state(), State::Online);
    node.stop();
    let gone = requester.ask("press", &[0.5; INPUTS], Duration::from_millis(200)).unwrap_err();
    assert!(
        gone.to_string().contains("no answer to \"press\" within 200ms; the connection is not there: "),
        "{gone}"
    );
    assert!(matches!(requester.state(), State::Offline(_)));
}

#[test]
fn whoever_knows_better_waits_less_for_a_broker() {
    let topics = [Topics::default()];
    // Nobody listens on a port that has just been free.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let begun = std::time::Instant::now();
    let error =
        Requester::connect_within(Duration::from_millis(100), "127.0.0.1", port, &topics, "+").unwrap_err();
    assert!(matches!(error, RequesterError::Silent { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(9));
}

#[test]
fn a_file_that_says_what_no_node_can_be_is_told_line_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nearfar.toml");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let file = read_node_file(&path).map_err(|error| error.to_string())?;
        file.into_serve_config().map_err(|error| error.to_string())
    };
    let edge = "[deployments.edge]\nmodel = \"shipped\"\n";
    for (before, after, said) in [
        ("", "deadline_ms = 0", "line 3, key `deployments.edge.deadline_ms`: found no time at all"),
        (
            "",
            "topic_prefix = \"a/+/\"",
            "line 3, key `deployments.edge.topic_prefix`: found \"a/+/ml/inference/result\"",
        ),
        ("status_topic = \"x/#\"\n", "", "line 1, key `status_topic`: found \"x/#\", expected a topic"),
    ] {
        let error = read(&format!("{before}{edge}{after}")).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let config = read(edge).unwrap();
    let node = NodeBuilder::from(config.node).start().unwrap();
    assert_eq!(node.deployment("edge").unwrap().model().origin, Origin::Shipped);
    // A file of that name is what is meant, where there is one.
    std::fs::write(directory.path().join("shipped"), "").unwrap();
    let found = why_not(NodeBuilder::from(read(edge).unwrap().node));
    assert!(found.contains("shipped: expected a directory, or a file that ends in"), "{found}");
}

#[test]
fn whoever_is_told_that_a_model_did_not_return_may_ask_at_once_whether_the_node_is_ready() {
    let (model, gate) = gated();
    let mut config = Config::edge();
    config.worker.inference_timeout = Some(Duration::from_millis(20));
    let detector = Detector::from_parts(ModelInfo::new("unique", 1), Box::new(Unique(model)));
    let node = Node::builder().deployment(config, detector).start().unwrap();
    let refusal = node.ask([0.5], PATIENCE).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::Internal);
    assert!(matches!(node.readiness(), Readiness::NotReady(_)), "{}", node.readiness());
    gate.open();
}
