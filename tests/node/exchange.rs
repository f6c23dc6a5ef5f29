//! A model in force is exchanged between two batches: nothing stops or is lost, each answer is its author's.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nearfar::client::RemoteConfig;
use nearfar::deployment::{Answered, Config, Deployment, ExchangeError, Hybrid};
use nearfar::inference::{Caller, DeviceId, ErrorCode, Reason, Refusal, Request, Site};
use nearfar::model::{Model, ModelError, ModelInfo};
use nearfar::mqtt::Qos;
use nearfar::network::Profile;
use nearfar::placement::Policy;
use nearfar::wire::Members;
use nearfar::{Detector, Node};
use serde_json::json;

use crate::support::gate::gated;
use crate::support::waiting::wait_until;
use crate::support::{PATIENCE, Received, Sensor};

const REQUEST: &str = "ml/inference/request";
const ANSWERS: [&str; 2] = ["ml/inference/result/#", "ml/inference/error/#"];

/// What a row makes a [`Step`] do; any other is answered with the model's number.
const PANICS: f32 = -1.0;
const HANGS: f32 = -2.0;

/// Answers every row with its own number, a tenth each, and notes whether a batch was all its own.
#[derive(Clone)]
struct Step {
    number: u64,
    is_prompt: bool,
    /// What those wait for that hang.
    release: Arc<AtomicBool>,
}

impl Step {
    fn new(number: u64) -> Self {
        Self { number, is_prompt: false, release: Arc::default() }
    }

    fn prompt(number: u64) -> Self {
        Self { is_prompt: true, ..Self::new(number) }
    }

    /// Whose name is `step-NUMBER`, and whose threshold is half of what it says.
    fn detector(self) -> Detector {
        let mut info = ModelInfo::new(format!("step-{}", self.number), 1);
        info.version = Some(self.number.to_string());
        Detector::from_parts(info, Box::new(self))
    }
}

impl Model for Step {
    fn inputs(&self) -> usize {
        1
    }

    fn outputs(&self) -> usize {
        2
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        for &row in rows {
            assert!(row != PANICS, "the model was told to");
            while row == HANGS && !self.release.load(Ordering::Acquire) {
                thread::yield_now();
            }
            // The second number makes it no probability, which could not be more than 1.
            predictions.extend([self.number as f32 / 10.0, 0.0]);
        }
        Ok(())
    }

    fn replica(&self) -> Option<Box<dyn Model>> {
        Some(Box::new(self.clone()))
    }

    fn is_prompt(&self) -> bool {
        self.is_prompt
    }
}

fn members() -> Members {
    Members { model: true, model_version: true, anomaly: true, placement: true, ..Members::default() }
}

fn start(config: Config, detector: Detector) -> (Node, Sensor) {
    let config = Config { members: members(), ..config };
    let node = Node::builder().deployment(config, detector).start().expect("a node starts");
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &ANSWERS);
    (node, sensor)
}

fn edge(node: &Node) -> &Deployment {
    node.deployment("edge").expect("it is called so")
}

fn of(device: &str, feature: f32) -> Request {
    let caller = Caller { device_id: Some(DeviceId::new(device).unwrap()), ..Caller::default() };
    Request { caller, features: vec![feature], urgency: None }
}

fn payload(device: &str, number: i64, feature: f32) -> String {
    json!({ "device_id": device, "timestamp_us": number, "features": [feature] }).to_string()
}

/// The number of the model that made an answer, which its author confirms.
#[track_caller]
fn number_of(answered: &Answered) -> u64 {
    let number = (answered.prediction.score() * 10.0).round() as u64;
    assert_eq!(answered.by.model, format!("step-{number}"));
    number
}

#[track_caller]
fn number_on_the_wire(answer: &Received) -> u64 {
    let body = answer.json();
    let number = (body["prediction"].as_f64().unwrap_or_else(|| panic!("{body}")) * 10.0).round() as u64;
    assert_eq!(
        (&body["model"], &body["model_version"]),
        (&json!(format!("step-{number}")), &json!(number.to_string()))
    );
    number
}

#[test]
fn what_comes_after_an_exchange_is_the_new_model_s_and_everything_that_names_it_follows() {
    let (node, sensor) = start(Config::edge(), Step::new(1).detector());
    sensor.subscribe("ml/inference/status/#", Qos::AtLeastOnce);
    let status = |sensor: &Sensor| sensor.next().json()["deployments"][0]["model"].clone();
    assert_eq!(status(&sensor), json!("step-1"));
    assert_eq!(number_on_the_wire(&sensor.ask(REQUEST, payload("a", 1, 0.5))), 1);
    for number in 2..=4 {
        assert_eq!(edge(&node).exchange(Step::new(number).detector()), Ok(number - 1));
        assert_eq!(status(&sensor), json!(format!("step-{number}")));
        let answered = edge(&node).ask(of("a", 0.5), None).wait(PATIENCE).unwrap();
        assert_eq!((number_of(&answered), answered.by.revision), (number, number - 1));
        assert_eq!(number_on_the_wire(&sensor.ask(REQUEST, payload("a", number as i64, 0.5))), number);
    }
    assert_eq!(edge(&node).model().name, "step-4");
    assert_eq!(node.observer().snapshot().deployments[0].model.name, "step-4");
    // Who subscribes later hears of the one in force too.
    let later = Sensor::listening(node.mqtt_address().unwrap(), &["ml/inference/status/#"]);
    assert_eq!(status(&later), json!("step-4"));
    // What was answered before is answered alike when it comes again, by who answered it.
    let again = sensor.ask(REQUEST, payload("a", 1, 0.5));
    assert_eq!(number_on_the_wire(&again), 1);
}

#[test]
fn a_broker_elsewhere_is_told_too() {
    let broker = Node::builder().broker_alone().start().unwrap();
    let address = broker.mqtt_address().unwrap();
    let remote = RemoteConfig::new(address.ip().to_string(), address.port(), "elsewhere");
    let node = Node::builder()
        .remote_broker(remote)
        .deployment(Config::edge(), Step::new(1).detector())
        .start()
        .unwrap();
    // Before there is a connection, so that what it begins with is this already.
    edge(&node).exchange(Step::new(2).detector()).unwrap();
    node.wait_until_ready(PATIENCE).unwrap();
    let sensor = Sensor::listening(address, &["ml/inference/status/#"]);
    let until = |name: &str| while sensor.next().json()["deployments"][0]["model"] != json!(name) {};
    until("step-2");
    edge(&node).exchange(Step::new(3).detector()).unwrap();
    until("step-3");
}

#[test]
fn the_threshold_is_that_of_the_model_that_answers() {
    let with_threshold = |threshold| {
        let mut info = ModelInfo::new("step-5", 1);
        (info.version, info.threshold) = (Some("5".to_owned()), threshold);
        Detector::from_parts(info, Box::new(Step::new(5)))
    };
    let (node, sensor) = start(Config::edge(), with_threshold(0.4));
    assert_eq!(sensor.ask(REQUEST, payload("a", 1, 0.5)).json()["anomaly"], json!(true));
    edge(&node).exchange(with_threshold(0.6)).unwrap();
    assert_eq!(sensor.ask(REQUEST, payload("a", 2, 0.5)).json()["anomaly"], json!(false));
}

#[test]
fn a_prompt_model_makes_room_for_one_that_is_not_and_the_other_way_round() {
    for network in [Profile::NONE, Profile::constant(Duration::from_micros(100))] {
        let (node, sensor) = start(Config::edge().network(network), Step::prompt(1).detector());
        for number in 2..=7 {
            let model = if number % 2 == 0 { Step::new(number) } else { Step::prompt(number) };
            edge(&node).exchange(model.detector()).unwrap();
            for again in 0..3 {
                let answer = sensor.ask(REQUEST, payload("a", 10 * number as i64 + again, 0.5));
                assert_eq!(number_on_the_wire(&answer), number);
            }
        }
    }
}

#[test]
fn a_model_that_takes_other_requests_or_cannot_be_copied_is_refused_and_the_one_before_stays() {
    let (node, _sensor) = start(Config { workers: 2, ..Config::edge() }, Step::new(1).detector());
    let wide = Detector::from_parts(ModelInfo::new("wide", 2), Box::new(Step::new(2)));
    let error = edge(&node).exchange(wide).unwrap_err();
    assert_eq!(
        error.to_string(),
        "deployment edge: found a model \"wide\" with 2 inputs, expected 1, as many as the one in force has"
    );
    struct Unique;
    impl Model for Unique {
        fn inputs(&self) -> usize {
            1
        }

        fn predict(&mut self, _: &[f32], _: &mut Vec<f32>) -> Result<(), ModelError> {
            Err(ModelError::Forward("never".to_owned()))
        }
    }
    let unique = || Detector::from_parts(ModelInfo::new("unique", 1), Box::new(Unique));
    let error = edge(&node).exchange(unique()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "deployment edge: found 2 workers, expected 1: model \"unique\" cannot be copied"
    );
    let error = edge(&node).exchange_at(Site::Cloud, unique()).unwrap_err();
    assert!(
        matches!(error, ExchangeError::NoSuchSite { .. }) && error.to_string().contains("found no cloud")
    );
    let answered = edge(&node).ask(of("a", 0.5), None).wait(PATIENCE).unwrap();
    assert_eq!((number_of(&answered), answered.by.revision), (1, 0));
}

#[test]
fn what_is_with_a_model_stays_with_it_and_what_waits_is_the_next_one_s() {
    let (model, gate) = gated();
    let mut config = Config::edge();
    config.worker.batch_max = 1;
    let (node, _sensor) = start(config, Detector::from_parts(ModelInfo::new("gated", 1), Box::new(model)));
    let with_the_model = edge(&node).ask(of("a", 0.25), None);
    gate.wait_until_begun(&[0.25]);
    let waits = edge(&node).ask(of("a", 0.5), None);
    edge(&node).exchange(Step::new(3).detector()).unwrap();
    gate.open();
    let first = with_the_model.wait(PATIENCE).unwrap();
    assert_eq!((first.by.model.as_str(), first.prediction.score()), ("gated", 0.25));
    assert_eq!(number_of(&waits.wait(PATIENCE).unwrap()), 3);
    assert_eq!(gate.begun(), [0.25]);
}

#[test]
fn a_model_that_hangs_is_replaced_by_the_one_in_force() {
    let mut config = Config::edge();
    config.worker.inference_timeout = Some(Duration::from_millis(100));
    let hanging = Step::new(1);
    let release = hanging.release.clone();
    let (node, _sensor) = start(config, hanging.detector());
    let hangs = edge(&node).ask(of("a", HANGS), None);
    wait_until("it is never with the model", || edge(&node).queued() == 0);
    edge(&node).exchange(Step::new(2).detector()).unwrap();
    assert_eq!(hangs.wait(PATIENCE).unwrap_err().code, ErrorCode::Internal);
    assert_eq!(number_of(&edge(&node).ask(of("a", 0.5), None).wait(PATIENCE).unwrap()), 2);
    let health = edge(&node).health();
    assert_eq!((health.workers_replaced, health.failing), (1, None));
    release.store(true, Ordering::Release);
}

/// What the model of a number says, or a refusal that its row asked for.
type Said = (u64, Result<Answered, Refusal>);

/// Asks `asker` again and again while `goes_on`, beside others, and returns what was said, each with the
/// number that was in force before it was asked.
fn keep_asking(
    node: &Node,
    device: &str,
    features: &[f32],
    in_force: &AtomicU64,
    goes_on: &AtomicBool,
) -> Vec<Said> {
    let (asker, mut said) = (edge(node).asker(), Vec::new());
    while goes_on.load(Ordering::Acquire) {
        let batch: Vec<_> = features
            .iter()
            .map(|feature| (in_force.load(Ordering::Acquire), asker.ask(of(device, *feature), None)))
            .collect();
        said.extend(batch.into_iter().map(|(before, pending)| (before, pending.wait(PATIENCE))));
    }
    said
}

/// Exchanges models under load, local and MQTT, and checks every answer.
fn assert_that_all_is_answered(config: Config, features: &[f32], exchanges: u64) {
    let first = Step::new(1);
    let (node, sensor) = start(config, first.clone().detector());
    let (in_force, goes_on, sent) = (AtomicU64::new(1), AtomicBool::new(true), AtomicU64::new(0));
    let said = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for device in ["b", "c", "d"] {
            let (node, said, in_force, goes_on) = (&node, &said, &in_force, &goes_on);
            scope.spawn(move || {
                let own = keep_asking(node, device, features, in_force, goes_on);
                said.lock().unwrap().extend(own);
            });
        }
        let (counted, in_force_then, goes_on_then) = (&sent, &in_force, &goes_on);
        scope.spawn(move || {
            while goes_on_then.load(Ordering::Acquire) {
                let before = in_force_then.load(Ordering::Acquire);
                let number = counted.fetch_add(1, Ordering::Relaxed) as i64;
                let answer = number_on_the_wire(&sensor.ask(REQUEST, payload("a", number, 0.5)));
                assert!(answer >= before, "{answer} answered what came after {before}");
            }
        });
        for number in 2..=exchanges + 1 {
            // Not before the last one has answered something.
            let answered = edge(&node).statistics().answered;
            wait_until("nothing is answered", || edge(&node).statistics().answered > answered + 20);
            let next = Step { number, ..first.clone() };
            assert_eq!(edge(&node).exchange(next.detector()), Ok(number - 1));
            in_force.store(number, Ordering::Release);
        }
        goes_on.store(false, Ordering::Release);
    });
    first.release.store(true, Ordering::Release);
    let said = said.into_inner().unwrap();
    for (before, said) in &said {
        match said {
            Ok(answered) => assert!(number_of(answered) >= *before),
            Err(refusal) => assert!(matches!(refusal.code, ErrorCode::Internal), "{refusal}"),
        }
    }
    let statistics = edge(&node).statistics();
    assert!(statistics.is_conserved() && statistics.in_flight == 0, "{statistics:?}");
    assert_eq!(statistics.received, said.len() as u64 + sent.load(Ordering::Relaxed));
    assert_eq!(edge(&node).model().name, format!("step-{}", exchanges + 1));
}

#[test]
fn under_load_every_request_is_answered_once_by_one_model_or_the_next() {
    for workers in [1, 3] {
        assert_that_all_is_answered(Config { workers, ..Config::edge() }, &[0.5; 8], 30);
    }
}

#[test]
fn under_load_with_a_network_too() {
    let network = Profile::constant(Duration::from_micros(500));
    assert_that_all_is_answered(Config { workers: 2, ..Config::edge().network(network) }, &[0.5; 8], 15);
}

#[test]
fn under_load_while_workers_panic_and_hang_too() {
    let panics = [0.5, PANICS, 0.5, 0.5];
    assert_that_all_is_answered(Config { workers: 3, ..Config::edge() }, &panics, 15);
    let mut config = Config { workers: 2, ..Config::edge() };
    config.worker.inference_timeout = Some(Duration::from_millis(50));
    let first = Step::new(1);
    let (node, _sensor) = start(config, first.clone().detector());
    for number in 2..=6 {
        let hangs = edge(&node).ask(of("a", HANGS), None);
        edge(&node).exchange(Step { number, ..first.clone() }.detector()).unwrap();
        // Whichever of the two models has it: it hangs, and a worker with the new one takes its place.
        assert_eq!(hangs.wait(PATIENCE).unwrap_err().code, ErrorCode::Internal);
        let devices = ["a", "b", "c", "d"];
        let pending: Vec<_> = devices.map(|device| edge(&node).ask(of(device, 0.5), None)).into();
        for one in pending {
            assert_eq!(number_of(&one.wait(PATIENCE).unwrap()), number);
        }
    }
    // Four answers may be there before the fifth worker is.
    wait_until("the last worker is not replaced", || edge(&node).health().workers_replaced == 5);
    first.release.store(true, Ordering::Release);
}

#[test]
fn a_hybrid_s_sites_are_exchanged_each_for_itself_and_escalate_by_the_edge_s_own_threshold() {
    let hybrid = Hybrid { network: Profile::NONE, ..Hybrid::new(Policy::CONFIDENCE) };
    let config = Config { members: members(), ..Config::edge().hybrid(hybrid) };
    let node = Node::builder().deployment(config, Step::new(5).detector()).start().unwrap();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &["ml/inference/status/#"]);
    let deployment = || sensor.next().json()["deployments"][0].clone();
    let first = deployment();
    assert_eq!((&first["model"], first.get("cloud_model")), (&json!("step-5"), None), "the cloud has a copy");
    let ask = || {
        let answered = edge(&node).ask(of("a", 0.5), None).wait(PATIENCE).unwrap();
        let decision = answered.decision.unwrap();
        (number_of(&answered), answered.by.placement.clone(), decision.reason)
    };
    // 0.5 is at the threshold, so that the cloud decides.
    assert_eq!(ask(), (5, "cloud".to_owned(), Reason::Escalated));
    assert_eq!(edge(&node).exchange_at(Site::Cloud, Step::new(7).detector()), Ok(1));
    assert_eq!(deployment()["cloud_model"], json!("step-7"));
    assert_eq!(ask(), (7, "cloud".to_owned(), Reason::Escalated));
    // 0.9 is far from its threshold, and 0.5 from one of 0.8.
    edge(&node).exchange(Step::new(9).detector()).unwrap();
    assert_eq!(ask(), (9, "edge".to_owned(), Reason::Confident));
    let mut info = ModelInfo::new("step-5", 1);
    info.threshold = 0.8;
    edge(&node).exchange(Detector::from_parts(info, Box::new(Step::new(5)))).unwrap();
    assert_eq!(ask(), (5, "edge".to_owned(), Reason::Confident));
    assert_eq!(edge(&node).view().cloud_model().unwrap().name, "step-7");
}

#[test]
fn a_hybrid_under_load_answers_everything_while_both_sites_are_exchanged() {
    let hybrid =
        Hybrid { network: Profile::constant(Duration::from_micros(200)), ..Hybrid::new(Policy::HEDGED) };
    let node =
        Node::builder().deployment(Config::edge().hybrid(hybrid), Step::new(1).detector()).start().unwrap();
    let (in_force, goes_on) = (AtomicU64::new(1), AtomicBool::new(true));
    let said = thread::scope(|scope| {
        let asking = ["a", "b"].map(|device| {
            let (node, in_force, goes_on) = (&node, &in_force, &goes_on);
            scope.spawn(move || keep_asking(node, device, &[0.5; 6], in_force, goes_on))
        });
        for number in 2..=15 {
            let answered = edge(&node).statistics().answered;
            wait_until("nothing is answered", || edge(&node).statistics().answered > answered + 20);
            for site in Site::ALL {
                edge(&node).exchange_at(site, Step::new(number).detector()).unwrap();
            }
            in_force.store(number, Ordering::Release);
        }
        goes_on.store(false, Ordering::Release);
        asking.map(|thread| thread.join().unwrap()).concat()
    });
    for (before, said) in &said {
        assert!(number_of(said.as_ref().unwrap()) >= *before);
    }
    let statistics = edge(&node).statistics();
    assert!(statistics.is_conserved() && statistics.answered == said.len() as u64, "{statistics:?}");
}
