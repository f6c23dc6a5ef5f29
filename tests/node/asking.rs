//! Asking a deployment from within its process: the same bounds, queue, networks and ledger as over MQTT.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nearfar::deployment::{Config, Deployment, Hybrid};
use nearfar::inference::{Caller, DeviceId, ErrorCode, Reason, Request, Site};
use nearfar::ledger::Statistics;
use nearfar::model::{Model, ModelError, ModelInfo};
use nearfar::mqtt::Qos;
use nearfar::network::{LinkProfile, Loss, Lost, Profile, Shape};
use nearfar::placement::Policy;
use nearfar::wire::Members;
use nearfar::{Detector, Node};
use serde_json::json;

use crate::support::gate::{Gate, gated};
use crate::support::waiting::wait_until;
use crate::support::{INPUTS, MODEL, PATIENCE, Sensor, request};

const REQUEST: &str = "ml/inference/request";
const ANSWERS: [&str; 2] = ["ml/inference/result/#", "ml/inference/error/#"];

fn serve(config: Config, model: impl Model + 'static) -> Node {
    let detector = Detector::from_parts(ModelInfo::new("test", 1), Box::new(model));
    Node::builder().deployment(config, detector).start().expect("a node starts")
}

/// A node whose model waits at a gate and takes one request at a time.
fn gate_at(mut config: Config) -> (Node, Arc<Gate>) {
    config.worker.batch_max = 1;
    config.worker.inference_timeout = None;
    let (model, gate) = gated();
    (serve(config, model), gate)
}

fn edge(node: &Node) -> &Deployment {
    node.deployment("edge").expect("it is called so")
}

/// The counts once nothing is in flight.
fn ended(node: &Node) -> Statistics {
    wait_until("requests never end", || edge(node).statistics().in_flight == 0);
    let statistics = edge(node).statistics();
    assert!(statistics.is_conserved(), "{statistics:?}");
    statistics
}

fn of(device: &str, features: Vec<f32>) -> Request {
    let caller = Caller { device_id: Some(DeviceId::new(device).unwrap()), ..Caller::default() };
    Request { caller, features, urgency: None }
}

#[test]
fn whoever_asks_in_the_process_gets_the_model_s_answer_and_its_author() {
    let node = Node::builder().deployment(Config::edge(), MODEL).start().unwrap();
    let mut detector = Detector::load(MODEL).unwrap();
    let features = vec![0.5; INPUTS];
    let answered = edge(&node).ask(of("a", features.clone()), None).wait(PATIENCE).unwrap();
    assert_eq!(answered.prediction, detector.predict(&features).unwrap());
    let info = detector.info();
    let by = &answered.by;
    assert_eq!(
        (by.model.as_str(), &by.version, by.threshold),
        (info.name.as_str(), &info.version, info.threshold)
    );
    assert_eq!((by.placement.as_str(), by.revision, answered.decision), ("edge", 0, None));
    assert!(answered.total >= answered.stages.queue + answered.stages.inference);
    let statistics = ended(&node);
    assert_eq!((statistics.received, statistics.answered, statistics.undelivered), (1, 1, 0));
}

#[test]
fn tasks_await_their_answers() {
    let node = Node::builder().deployment(Config::edge(), MODEL).start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let asker = edge(&node).asker();
    runtime.block_on(async {
        let ask = |number: u8| asker.ask(of("a", vec![f32::from(number) / 100.0; INPUTS]), None);
        let pending: Vec<_> = (0..50).map(|number| tokio::spawn(ask(number))).collect();
        // They run while nobody waits for them yet.
        for one in pending {
            one.await.unwrap().unwrap();
        }
    });
    assert_eq!(ended(&node).answered, 50);
}

#[test]
fn what_is_no_request_is_refused_and_counted() {
    let node = Node::builder().deployment(Config::edge(), MODEL).start().unwrap();
    let refusal = |features| edge(&node).ask(of("a", features), None).wait(PATIENCE).unwrap_err();
    let short = refusal(vec![0.5; INPUTS - 1]);
    assert_eq!(
        (short.code, short.message.as_str()),
        (ErrorCode::ShapeMismatch, "expected 32 features, got 31")
    );
    let mut features = vec![0.5; INPUTS];
    features[3] = f32::NAN;
    let unfit = refusal(features);
    assert_eq!(
        (unfit.code, unfit.message.as_str()),
        (ErrorCode::NonFinite, "features[3] is NaN, expected a finite number")
    );
    let statistics = ended(&node);
    assert_eq!((statistics.errors["SHAPE_MISMATCH"], statistics.errors["NON_FINITE"]), (1, 1));
}

#[test]
fn the_bound_on_requests_in_flight_holds_for_both_and_a_device_leaves_room_for_others() {
    let (node, gate) = gate_at(Config { in_flight_max: 8, ..Config::edge() });
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &ANSWERS);
    for number in 0..4 {
        let payload = json!({ "device_id": "mqtt", "timestamp_us": number, "features": [0.25] });
        sensor.publish(REQUEST, Qos::AtMostOnce, payload.to_string());
    }
    wait_until("requests never arrive", || edge(&node).statistics().received == 4);
    let hog: Vec<_> = (0..4).map(|_| edge(&node).ask(of("hog", vec![0.5]), None)).collect();
    let other = edge(&node).ask(of("other", vec![0.75]), None);
    gate.open();
    let hog: Vec<_> = hog.into_iter().map(|one| one.wait(PATIENCE).map_err(|refusal| refusal.code)).collect();
    assert!(hog[..3].iter().all(Result::is_ok), "{hog:?}");
    assert_eq!(hog[3], Err(ErrorCode::Overloaded), "the last of the bound is not for one device");
    assert_eq!(other.wait(PATIENCE).unwrap().prediction.score(), 0.75);
    sensor.take(4);
    ended(&node);
}

#[test]
fn a_full_queue_and_a_deadline_refuse_as_over_mqtt() {
    let mut config = Config::edge();
    config.worker.queue_requests_max = 1;
    let (node, gate) = gate_at(config);
    let first = edge(&node).ask(of("a", vec![0.125]), None);
    gate.wait_until_begun(&[0.125]);
    let late = edge(&node).ask(of("a", vec![0.25]), Some(Duration::from_millis(1)));
    assert_eq!(late.wait(PATIENCE).unwrap_err().code, ErrorCode::DeadlineExceeded);
    let waits = edge(&node).ask(of("a", vec![0.5]), None);
    let full = edge(&node).ask(of("a", vec![0.75]), None);
    assert_eq!(full.wait(PATIENCE).unwrap_err().code, ErrorCode::Overloaded);
    gate.open();
    assert_eq!(first.wait(PATIENCE).unwrap().prediction.score(), 0.125);
    assert_eq!(waits.wait(PATIENCE).unwrap().prediction.score(), 0.5);
    assert!(!gate.begun().contains(&0.25) && !gate.begun().contains(&0.75));
    ended(&node);
}

#[test]
fn a_device_that_floods_in_the_process_waits_for_itself() {
    let (node, gate) = gate_at(Config::edge());
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &ANSWERS);
    let flood: Vec<_> = (1..=4).map(|at| edge(&node).ask(of("flood", vec![at as f32 / 8.0]), None)).collect();
    gate.wait_until_begun(&[0.125]);
    let payload = json!({ "device_id": "calm", "features": [0.75] });
    sensor.publish(REQUEST, Qos::AtMostOnce, payload.to_string());
    wait_until("the request never waits", || edge(&node).queued() == 4);
    gate.open();
    sensor.next();
    flood.into_iter().for_each(|one| drop(one.wait(PATIENCE).unwrap()));
    assert_eq!(gate.begun(), [0.125, 0.75, 0.25, 0.375, 0.5]);
}

#[test]
fn the_model_is_not_asked_for_a_caller_that_has_left() {
    let (node, gate) = gate_at(Config::edge());
    let with_the_model = edge(&node).ask(of("a", vec![0.125]), None);
    gate.wait_until_begun(&[0.125]);
    drop(edge(&node).ask(of("a", vec![0.25]), None));
    let last = edge(&node).ask(of("a", vec![0.5]), None);
    // One that leaves while the model is busy with its request ends quietly.
    drop(with_the_model);
    gate.open();
    assert_eq!(last.wait(PATIENCE).unwrap().prediction.score(), 0.5);
    let statistics = ended(&node);
    assert_eq!((statistics.answered, statistics.errors["DEADLINE_EXCEEDED"]), (2, 1));
    assert!(!gate.begun().contains(&0.25), "{:?}", gate.begun());
}

#[test]
fn a_question_is_no_duplicate_and_so_is_a_request_that_looks_like_one() {
    let (node, gate) = gate_at(Config::edge());
    gate.open();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &ANSWERS);
    let payload = json!({ "device_id": "a", "timestamp_us": 7, "features": [0.5] }).to_string();
    let mut again = of("a", vec![0.5]);
    again.caller.timestamp_us = Some(7);
    for _ in 0..2 {
        edge(&node).ask(again.clone(), None).wait(PATIENCE).unwrap();
        sensor.ask(REQUEST, payload.clone());
    }
    assert_eq!(gate.begun().len(), 3, "what came again over MQTT was answered from memory");
    assert_eq!(ended(&node).repeated, 1);
}

#[test]
fn a_question_meets_the_simulated_network() {
    let ms = Duration::from_millis;
    let node = Node::builder()
        .deployment(Config::cloud().network(Profile::constant(ms(20))), MODEL)
        .start()
        .unwrap();
    let cloud = node.deployment("cloud").unwrap();
    let answered = cloud.ask(of("a", vec![0.5; INPUTS]), None).wait(PATIENCE).unwrap();
    assert_eq!(answered.network, ms(40));
    assert!(answered.total >= ms(40) && answered.stages.uplink >= ms(20), "{answered:?}");
    let late = cloud.ask(of("a", vec![0.5; INPUTS]), Some(ms(5))).wait(PATIENCE).unwrap_err();
    assert_eq!(late.code, ErrorCode::DeadlineExceeded);
    assert!(cloud.statistics().is_conserved());
}

#[test]
fn what_a_network_loses_is_told_and_what_it_doubles_is_answered_once() {
    let link = |loss, lost| LinkProfile { loss: Loss::Independent(loss), lost, ..LinkProfile::default() };
    for lost in [Lost::Report, Lost::Silence] {
        let network = Profile::shaped(Shape { uplink: link(1.0, lost), ..Shape::default() });
        let node = Node::builder().deployment(Config::edge().network(network), MODEL).start().unwrap();
        let refusal = edge(&node).ask(of("a", vec![0.5; INPUTS]), None).wait(PATIENCE).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::NetworkLost, "{lost:?}");
        assert_eq!(ended(&node).errors["NETWORK_LOST"], 1);
    }
    let doubles = LinkProfile::default().duplicating(1.0).unwrap();
    let network = Profile::shaped(Shape { uplink: doubles, ..Shape::default() });
    let node = Node::builder().deployment(Config::edge().network(network), MODEL).start().unwrap();
    edge(&node).ask(of("a", vec![0.5; INPUTS]), None).wait(PATIENCE).unwrap();
    assert_eq!((ended(&node).received, edge(&node).statistics().answered), (2, 2));
}

#[test]
fn a_hybrid_says_which_site_answered_and_why() {
    let hybrid = Hybrid { network: Profile::NONE, ..Hybrid::new(Policy::URGENCY) };
    let node = Node::builder().deployment(Config::edge().hybrid(hybrid), MODEL).start().unwrap();
    for (urgency, site, reason) in
        [(None, Site::Cloud, Reason::DefaultSite), (Some("high"), Site::Edge, Reason::Urgent)]
    {
        let urgency = urgency.and_then(nearfar::inference::Urgency::named);
        let question = Request { urgency, ..of("a", vec![0.5; INPUTS]) };
        let answered = edge(&node).ask(question, None).wait(PATIENCE).unwrap();
        let decision = answered.decision.unwrap();
        assert_eq!((decision.site, decision.reason), (site, reason));
        assert_eq!(answered.by.placement, site.as_str());
    }
    assert_eq!(ended(&node).answered, 2);
    let lost = LinkProfile { loss: Loss::Independent(1.0), lost: Lost::Silence, ..LinkProfile::default() };
    let network = Profile::shaped(Shape { uplink: lost.clone(), ..Shape::default() });
    let mut hybrid = Hybrid { network: network.clone(), ..Hybrid::new(Policy::URGENCY) };
    hybrid.placement.cloud_timeout = Duration::from_millis(1);
    let node =
        Node::builder().deployment(Config::edge().network(network).hybrid(hybrid), MODEL).start().unwrap();
    let refusal = edge(&node).ask(of("a", vec![0.5; INPUTS]), None).wait(PATIENCE).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::NetworkLost, "both sites are lost");
    ended(&node);
}

#[test]
fn a_node_that_stops_answers_what_was_asked_and_refuses_what_comes_later() {
    let (node, gate) = gate_at(Config::edge());
    let asker = edge(&node).asker();
    let asked = asker.ask(of("a", vec![0.5]), None);
    gate.wait_until_begun(&[0.5]);
    let stopping = thread::spawn(move || node.stop());
    let begun = Instant::now();
    // Until it is told to stop it takes questions, which it answers.
    while let Err(timed_out) = asker.ask(of("a", vec![0.25]), None).wait(Duration::from_millis(1)) {
        if timed_out.code == ErrorCode::ModelNotReady {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it takes questions for ever");
    }
    gate.open();
    assert_eq!(asked.wait(PATIENCE).unwrap().prediction.score(), 0.5);
    let totals = stopping.join().unwrap();
    assert!(totals[0].1.is_conserved() && totals[0].1.in_flight == 0, "{totals:?}");
    let refusal = asker.ask(of("a", vec![0.5]), None).wait(PATIENCE).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::ModelNotReady);
}

/// Says three numbers of a row.
struct Three;

impl Model for Three {
    fn inputs(&self) -> usize {
        1
    }

    fn outputs(&self) -> usize {
        3
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        rows.iter().for_each(|row| predictions.extend([*row, 2.0 * row, 3.0 * row]));
        Ok(())
    }
}

#[test]
fn a_model_with_several_outputs_says_all_of_them_here_and_the_first_on_the_wire() {
    let members = Members { anomaly: true, ..Members::default() };
    let node = serve(Config { members, ..Config::edge() }, Three);
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &ANSWERS);
    let answered = edge(&node).ask(of("a", vec![0.25]), None).wait(PATIENCE).unwrap();
    assert_eq!((answered.prediction.values(), answered.prediction.score()), (&[0.25, 0.5, 0.75][..], 0.25));
    let payload = json!({ "device_id": "a", "features": [0.25] }).to_string();
    let answer = sensor.ask(REQUEST, payload).json();
    assert_eq!((&answer["prediction"], &answer["anomaly"]), (&json!(0.25), &json!(false)));
}

#[test]
fn both_ways_of_asking_under_load_end_every_request_once() {
    const ASKERS: usize = 3;
    const EACH: usize = 300;
    for network in [Profile::NONE, Profile::constant(Duration::from_millis(2))] {
        let config = Config { in_flight_max: 400, workers: 2, ..Config::edge().network(network) };
        let node = Node::builder().deployment(config, MODEL).start().unwrap();
        let sensor = Sensor::listening(node.mqtt_address().unwrap(), &ANSWERS);
        let (mut told, mut left) = (0, 0);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..ASKERS)
                .map(|at| {
                    let asker = edge(&node).asker();
                    scope.spawn(move || {
                        let device = format!("asker{at}");
                        let ask = |number: usize| {
                            asker.ask(of(&device, vec![number as f32 / EACH as f32; INPUTS]), None)
                        };
                        let (kept, left): (Vec<_>, Vec<_>) = (0..EACH)
                            .map(|number| (number, ask(number)))
                            .partition(|(number, _)| number % 5 > 0);
                        let left = left.len();
                        for (_, pending) in kept {
                            // An answer or a refusal, but it comes.
                            if let Err(refusal) = pending.wait(PATIENCE) {
                                assert_eq!(refusal.code, ErrorCode::Overloaded);
                            }
                        }
                        (EACH - left, left)
                    })
                })
                .collect();
            for number in 0..EACH {
                sensor.publish(REQUEST, Qos::AtMostOnce, request("sensor", number as i64));
            }
            sensor.take(EACH);
            for thread in threads {
                let (kept, gone) = thread.join().unwrap();
                (told, left) = (told + kept, left + gone);
            }
        });
        let statistics = ended(&node);
        assert_eq!(statistics.received as usize, EACH + told + left);
        assert_eq!((statistics.in_flight, statistics.undelivered), (0, 0));
    }
}
