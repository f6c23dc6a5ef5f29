//! Hybrid placements: each policy, a cloud that fails, and that a request stays one
//! request however many sites are asked.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nearfar::deployment::{Config, Hybrid};
use nearfar::inference::{ErrorCode, PerSite, Reason, Site, Urgency};
use nearfar::ledger::{HybridStatistics, Statistics};
use nearfar::model::{Model, ModelError, ModelInfo};
use nearfar::mqtt::Qos;
use nearfar::network::{Delay, LinkProfile, Loss, Lost, Profile, Shape};
use nearfar::placement::{BreakerConfig, Policy, Probing};
use nearfar::wire::Members;
use nearfar::{Detector, Node};
use serde_json::{Value, json};

use crate::support::gate::{Gate, gated};
use crate::support::mqtt::Client;
use crate::support::{self, PATIENCE, Received, Sensor, assert_error};

const REQUEST: &str = "ml/inference/request";
const ANSWERS: [&str; 2] = ["ml/inference/result/#", "ml/inference/error/#"];
const MS: Duration = Duration::from_millis(1);
const QOS_1: u8 = 0b0010;
const PUBACK: u8 = 0x40;

/// Answers with one minus its one input, once its gate lets it; while it is broken, with an error.
struct Inverted {
    gate: Arc<Gate>,
    is_broken: Arc<AtomicBool>,
}

impl Model for Inverted {
    fn inputs(&self) -> usize {
        1
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        for &row in rows {
            self.gate.pass(row);
            predictions.push(1.0 - row);
        }
        if self.is_broken.load(Ordering::Acquire) {
            return Err(ModelError::Forward("it was told to".to_owned()));
        }
        Ok(())
    }

    fn replica(&self) -> Option<Box<dyn Model>> {
        Some(Box::new(Self { gate: Arc::clone(&self.gate), is_broken: Arc::clone(&self.is_broken) }))
    }
}

/// A node with a hybrid, and what a test holds of it.
struct Field {
    node: Node,
    address: SocketAddr,
    sensor: Sensor,
    edge: Arc<Gate>,
    cloud: Arc<Gate>,
    is_cloud_broken: Arc<AtomicBool>,
}

/// A cloud without a network, so that only gates decide what is first, and for which
/// a loaded machine has patience.
fn cloud(policy: Policy) -> Hybrid {
    let mut hybrid = Hybrid { network: Profile::NONE, ..Hybrid::new(policy) };
    hybrid.placement.cloud_timeout = PATIENCE;
    hybrid
}

fn never_opens() -> BreakerConfig {
    BreakerConfig { failures_max: u32::MAX, ..BreakerConfig::default() }
}

fn config(hybrid: Hybrid) -> Config {
    let members = Members { placement: true, reason: true, model: true, ..Members::default() };
    let mut config = Config { members, ..Config::edge().hybrid(hybrid) };
    config.worker.inference_timeout = None;
    config
}

fn start(mut config: Config) -> Field {
    let (edge_model, edge) = gated();
    let (cloud, is_broken) = (Arc::<Gate>::default(), Arc::<AtomicBool>::default());
    let cloud_model = Inverted { gate: Arc::clone(&cloud), is_broken: Arc::clone(&is_broken) };
    config.hybrid.as_mut().unwrap().worker.inference_timeout = None;
    let node = Node::builder()
        .shutdown_grace(PATIENCE)
        .hybrid(
            config,
            Detector::from_parts(ModelInfo::new("small", 1), Box::new(edge_model)),
            Detector::from_parts(ModelInfo::new("large", 1), Box::new(cloud_model)),
        )
        .start()
        .expect("a node starts");
    let address = node.mqtt_address().expect("it has a broker");
    let sensor = Sensor::listening(address, &ANSWERS);
    Field { node, address, sensor, edge, cloud, is_cloud_broken: is_broken }
}

/// With both gates open.
fn open(config: Config) -> Field {
    let field = start(config);
    field.edge.open();
    field.cloud.open();
    field
}

fn payload(number: i64, feature: f64) -> String {
    json!({ "device_id": "d", "timestamp_us": number, "features": [feature] }).to_string()
}

/// Where an answer was made, why, and what it says.
fn made(answer: &Received) -> (String, String, f64) {
    let body = answer.json();
    let text = |member: &str| body[member].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
    (text("placement"), text("reason"), body["prediction"].as_f64().unwrap())
}

#[track_caller]
fn assert_made(answer: &Received, site: &str, reason: &str, prediction: f64) {
    let (found_site, found_reason, found) = made(answer);
    assert_eq!((found_site.as_str(), found_reason.as_str()), (site, reason));
    assert!((found - prediction).abs() < 1e-6, "{found}, expected {prediction}");
    let model = if site == "edge" { "small" } else { "large" };
    assert_eq!(answer.json()["model"], json!(model));
}

impl Field {
    #[track_caller]
    fn ask(&self, number: i64, feature: f64) -> Received {
        self.sensor.ask(REQUEST, payload(number, feature))
    }

    fn statistics(&self) -> Statistics {
        let statistics = self.node.deployment("edge").unwrap().statistics();
        assert!(statistics.is_conserved(), "{statistics:?}");
        let results = statistics.hybrid.as_ref().unwrap().results.total();
        assert_eq!(results, statistics.answered);
        statistics
    }

    /// The counts once they are as they should be.
    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn(&Statistics, &HybridStatistics) -> bool) -> HybridStatistics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let statistics = self.statistics();
            let hybrid = statistics.hybrid.as_deref().unwrap().clone();
            if is_so(&statistics, &hybrid) {
                return hybrid;
            }
            assert!(Instant::now() < deadline, "never {what}: {statistics:?}");
            std::thread::yield_now();
        }
    }

    /// Asserts that nothing was published but what the test has taken.
    #[track_caller]
    fn assert_nothing_else(&self) {
        self.sensor.publish("ml/inference/result/marker", Qos::AtLeastOnce, "{}");
        assert_eq!(self.sensor.next().topic, "ml/inference/result/marker");
    }
}

fn lossy(loss: f64, lost: Lost) -> Profile {
    let link = LinkProfile { loss: Loss::Independent(loss), lost, ..LinkProfile::default() };
    Profile::shaped(Shape { seed: 7, link: "cloud".to_owned(), uplink: link.clone(), downlink: link })
}

fn counts(edge: u64, cloud: u64) -> PerSite<u64> {
    PerSite { edge, cloud }
}

#[test]
fn by_deadline_the_cloud_answers_once_it_is_known_to_be_in_time_and_the_edge_while_it_is_not() {
    let probing = Probing { answers_min: 3, share: 1.0, ..Probing::default() };
    let mut hybrid = cloud(Policy::Deadline(probing));
    hybrid.placement.breaker = never_opens();
    hybrid.placement.cloud_timeout = 20 * MS;
    hybrid.placement.recent_answers_max = 3;
    let field = start(Config { deadline: Some(PATIENCE), ..config(hybrid) });
    field.edge.open();
    // The cloud's gate is shut: nothing comes back from it.
    for number in 0..3 {
        assert_made(&field.ask(number, 0.25), "edge", "probe", 0.25);
    }
    field.until("silent", |_, hybrid| hybrid.cloud_p95 == Some(Duration::MAX));
    assert_made(&field.ask(3, 0.25), "edge", "probe", 0.25);
    field.cloud.open();
    // What the cloud owes comes too late to count; every request is a probe, until
    // three are answered in time.
    let deadline = Instant::now() + PATIENCE;
    let in_time = (4..).map(|number| field.ask(number, 0.25)).find(|answer| {
        assert!(Instant::now() < deadline, "the cloud never has the requests");
        made(answer).0 == "cloud"
    });
    assert_made(&in_time.unwrap(), "cloud", "in_time", 0.75);
}

#[test]
fn by_deadline_a_cloud_that_is_too_late_is_asked_by_probes_alone() {
    let probing = Probing { answers_min: 2, share: 1e-6, every: Duration::from_secs(3_600) };
    let mut hybrid = cloud(Policy::Deadline(probing));
    hybrid.placement.breaker = never_opens();
    hybrid.placement.cloud_timeout = MS;
    hybrid.placement.recent_window = PATIENCE;
    let field = start(Config { deadline: Some(PATIENCE), ..config(hybrid) });
    field.edge.open();
    for number in 0..2 {
        assert_made(&field.ask(number, 0.25), "edge", "probe", 0.25);
    }
    field.until("silent", |_, hybrid| hybrid.counts.cloud_failures == 2);
    for number in 2..20 {
        assert_made(&field.ask(number, 0.25), "edge", "deadline", 0.25);
    }
    let hybrid = *field.statistics().hybrid.unwrap();
    assert_eq!((hybrid.counts.probes, hybrid.counts.asked), (2, counts(20, 2)));
    field.cloud.open();
}

#[test]
fn by_confidence_the_cloud_decides_what_the_edge_is_not_sure_of() {
    let field = open(config(cloud(Policy::Confidence { band: 0.1 })));
    assert_made(&field.ask(1, 0.25), "edge", "confident", 0.25);
    assert_made(&field.ask(2, 0.75), "edge", "confident", 0.75);
    assert_made(&field.ask(3, 0.4375), "cloud", "escalated", 0.5625);
    let hybrid = *field.statistics().hybrid.unwrap();
    assert_eq!((hybrid.counts.escalations, hybrid.counts.asked), (1, counts(3, 1)));
    field.assert_nothing_else();
}

#[test]
fn an_escalation_that_is_refused_lost_or_late_leaves_the_edge_s_answer() {
    let field = open(config(cloud(Policy::CONFIDENCE)));
    field.is_cloud_broken.store(true, Ordering::Release);
    assert_made(&field.ask(1, 0.4375), "edge", "cloud_refused", 0.4375);
    for lost in [Lost::Silence, Lost::Report] {
        let mut hybrid = Hybrid { network: lossy(1.0, lost), ..cloud(Policy::CONFIDENCE) };
        hybrid.placement.cloud_timeout = 20 * MS;
        let field = open(config(hybrid));
        assert_made(&field.ask(1, 0.4375), "edge", "cloud_silent", 0.4375);
        assert_eq!(field.statistics().answered, 1);
    }
    let mut hybrid = cloud(Policy::CONFIDENCE);
    hybrid.placement.cloud_timeout = 20 * MS;
    let field = start(config(hybrid));
    field.edge.open();
    assert_made(&field.ask(1, 0.4375), "edge", "cloud_silent", 0.4375);
    field.cloud.open();
    field.until("dropped", |_, hybrid| hybrid.counts.dropped == counts(0, 1));
    field.assert_nothing_else();
}

#[test]
fn by_urgency_a_word_in_the_request_decides() {
    let policy = Policy::Urgency { edge_from: Urgency::High, default_site: Site::Cloud };
    let field = open(config(cloud(policy)));
    let ask = |urgency: Value| {
        let body = json!({ "device_id": "d", "features": [0.25], "urgency": urgency });
        field.sensor.ask(REQUEST, body.to_string())
    };
    for urgency in ["high", "critical"] {
        assert_made(&ask(json!(urgency)), "edge", "urgent", 0.25);
    }
    for urgency in ["normal", "low"] {
        assert_made(&ask(json!(urgency)), "cloud", "not_urgent", 0.75);
    }
    for unknown in [json!("HIGH"), json!("very"), json!(9), json!(null), json!({ "urgency": "high" })] {
        assert_made(&ask(unknown), "cloud", "default_site", 0.75);
    }
    assert_made(&field.ask(1, 0.25), "cloud", "default_site", 0.75);
}

#[test]
fn the_first_of_two_hedged_answers_is_published_and_the_other_is_dropped() {
    for (first, prediction) in [(Site::Edge, 0.25), (Site::Cloud, 0.75)] {
        let field = start(config(cloud(Policy::HEDGED)));
        let (open, shut) =
            if first == Site::Edge { (&field.edge, &field.cloud) } else { (&field.cloud, &field.edge) };
        open.open();
        assert_made(&field.ask(1, 0.25), first.as_str(), "hedge", prediction);
        shut.wait_until_begun(&[0.25]);
        shut.open();
        let hybrid = field.until("dropped", |_, hybrid| hybrid.counts.dropped[first.other()] == 1);
        let won = u64::from(first == Site::Cloud);
        assert_eq!((hybrid.counts.hedges_won, hybrid.counts.hedges_lost), (won, 1 - won));
        assert_eq!(field.statistics().answered, 1);
        field.assert_nothing_else();
    }
}

#[test]
fn a_hedge_is_sent_only_after_so_long_without_an_answer() {
    let field = open(config(cloud(Policy::Hedged { first: Site::Edge, after: PATIENCE })));
    assert_made(&field.ask(1, 0.25), "edge", "in_time", 0.25);
    assert_eq!(field.statistics().hybrid.unwrap().counts.asked, counts(1, 0));
    let field = start(config(cloud(Policy::Hedged { first: Site::Edge, after: 5 * MS })));
    field.cloud.open();
    assert_made(&field.ask(1, 0.25), "cloud", "hedge", 0.75);
    assert_eq!(field.statistics().hybrid.unwrap().counts.hedges_won, 1);
    field.edge.open();
    field.until("dropped", |_, hybrid| hybrid.counts.dropped == counts(1, 0));
    field.assert_nothing_else();
}

#[test]
fn a_shadow_is_compared_and_never_published() {
    let field = open(config(cloud(Policy::Shadow)));
    for number in 0..20 {
        // The cloud says the opposite, but for the threshold itself.
        let feature = if number % 4 == 0 { 0.5 } else { 0.25 };
        assert_made(&field.ask(number, feature), "edge", "shadow", feature);
    }
    let hybrid = field
        .until("compared", |_, hybrid| hybrid.counts.shadow_agreed + hybrid.counts.shadow_disagreed == 20);
    assert_eq!(
        (hybrid.counts.shadow_agreed, hybrid.counts.shadow_disagreed, hybrid.counts.dropped),
        (5, 15, counts(0, 0))
    );
    assert_eq!(hybrid.results.of(Site::Edge, Reason::Shadow), 20);
    assert_eq!(field.statistics().received, 20);
    field.assert_nothing_else();
}

#[test]
fn a_cloud_that_refuses_or_loses_requests_leaves_them_to_the_edge() {
    let always_cloud = Policy::URGENCY;
    let field = open(config(cloud(always_cloud)));
    field.is_cloud_broken.store(true, Ordering::Release);
    assert_made(&field.ask(1, 0.25), "edge", "cloud_refused", 0.25);
    for (lost, timeout) in [(Lost::Silence, 10 * MS), (Lost::Report, PATIENCE)] {
        let mut hybrid = Hybrid { network: lossy(1.0, lost), ..cloud(always_cloud) };
        hybrid.placement.cloud_timeout = timeout;
        let field = open(config(hybrid));
        assert_made(&field.ask(1, 0.25), "edge", "cloud_silent", 0.25);
        let statistics = field.statistics();
        assert_eq!((statistics.received, statistics.answered, statistics.in_flight), (1, 1, 0));
        assert_eq!(statistics.hybrid.unwrap().counts.cloud_failures, 1);
        field.assert_nothing_else();
    }
}

#[test]
fn the_breaker_opens_when_the_cloud_fails_and_closes_when_it_is_back() {
    let mut hybrid = cloud(Policy::URGENCY);
    let wait = 20 * MS;
    hybrid.placement.breaker = BreakerConfig { failures_max: 3, wait, wait_max: 40 * MS };
    let field = open(config(hybrid));
    assert_made(&field.ask(0, 0.25), "cloud", "default_site", 0.75);
    field.is_cloud_broken.store(true, Ordering::Release);
    for number in 1..=3 {
        assert_made(&field.ask(number, 0.25), "edge", "cloud_refused", 0.25);
    }
    // From here on the edge answers, alone or while a probe is with the cloud, which fails again and again.
    let mut number = 3;
    let mut ask = || {
        number += 1;
        let answer = field.ask(number, 0.25);
        (made(&answer).0, made(&answer).1)
    };
    let deadline = Instant::now() + PATIENCE;
    while field.statistics().hybrid.unwrap().breaker_openings < 3 {
        assert!(Instant::now() < deadline, "no probe has failed");
        let (site, reason) = ask();
        assert_eq!(site, "edge");
        assert!(["breaker_open", "probe"].contains(&reason.as_str()), "{reason}");
    }
    field.is_cloud_broken.store(false, Ordering::Release);
    while ask() != ("cloud".to_owned(), "default_site".to_owned()) {
        assert!(Instant::now() < deadline, "the breaker never closes");
    }
    let hybrid = *field.statistics().hybrid.unwrap();
    assert_eq!(hybrid.breaker, "closed");
    assert!(hybrid.breaker_openings >= 3 && hybrid.counts.probes >= 3, "{hybrid:?}");
    field.assert_nothing_else();
}

#[test]
fn a_network_that_is_down_opens_the_breaker() {
    let mut hybrid = Hybrid { network: lossy(1.0, Lost::Silence), ..cloud(Policy::URGENCY) };
    hybrid.placement.cloud_timeout = 5 * MS;
    hybrid.placement.breaker = BreakerConfig { failures_max: 3, wait: PATIENCE, wait_max: PATIENCE };
    let field = open(config(hybrid));
    for number in 0..3 {
        assert_made(&field.ask(number, 0.25), "edge", "cloud_silent", 0.25);
    }
    for number in 3..6 {
        assert_made(&field.ask(number, 0.25), "edge", "breaker_open", 0.25);
    }
    let hybrid = *field.statistics().hybrid.unwrap();
    assert_eq!((hybrid.breaker, hybrid.breaker_openings, hybrid.counts.kept_back), ("open", 1, 3));
}

#[test]
fn a_hedged_request_is_acknowledged_once_when_the_first_has_answered() {
    let field = start(config(cloud(Policy::HEDGED)));
    let mut client = Client::v5(field.address, "a");
    let bytes = client.publish_bytes(REQUEST, payload(1, 0.25).as_bytes(), QOS_1, 7, &[]);
    client.send(&bytes);
    field.edge.wait_until_begun(&[0.25]);
    field.cloud.wait_until_begun(&[0.25]);
    assert!(client.until_pong().is_empty(), "it is with both, and not acknowledged");
    field.edge.open();
    let ack = client.receive();
    assert_eq!((ack.first, ack.packet_id(), ack.body.get(2).copied().unwrap_or(0)), (PUBACK, 7, 0));
    assert_made(&field.sensor.next(), "edge", "hedge", 0.25);
    field.cloud.open();
    field.until("dropped", |_, hybrid| hybrid.counts.dropped == counts(0, 1));
    assert!(client.until_pong().is_empty(), "once");
    // The same request once more has the same answer, and neither model sees it again.
    let bytes = client.publish_bytes(REQUEST, payload(1, 0.25).as_bytes(), QOS_1, 8, &[]);
    client.send(&bytes);
    assert_eq!(client.receive().packet_id(), 8);
    assert_made(&field.sensor.next(), "edge", "hedge", 0.25);
    assert_eq!((field.edge.begun(), field.cloud.begun()), (vec![0.25], vec![0.25]));
    let statistics = field.statistics();
    assert_eq!((statistics.received, statistics.answered, statistics.repeated), (2, 2, 1));
    assert_eq!(statistics.hybrid.unwrap().results.of(Site::Edge, Reason::Hedge), 2);
}

#[test]
fn a_request_that_both_sites_lose_is_lost_and_acknowledged() {
    let mut hybrid = Hybrid { network: lossy(1.0, Lost::Silence), ..cloud(Policy::HEDGED) };
    hybrid.placement.cloud_timeout = 5 * MS;
    let field = open(config(hybrid).network(lossy(1.0, Lost::Silence)));
    let mut client = Client::v5(field.address, "a");
    let bytes = client.publish_bytes(REQUEST, payload(1, 0.25).as_bytes(), QOS_1, 7, &[]);
    client.send(&bytes);
    assert_eq!(client.receive().packet_id(), 7);
    field.until("lost", |statistics, _| statistics.errors.get("NETWORK_LOST") == Some(&1));
    field.assert_nothing_else();
}

#[test]
fn a_loss_that_is_reported_is_the_answer_when_there_is_no_other() {
    let network = lossy(1.0, Lost::Report);
    for policy in [Policy::HEDGED, Policy::URGENCY, Policy::CONFIDENCE] {
        let hybrid = Hybrid { network: network.clone(), ..cloud(policy) };
        let field = open(config(hybrid).network(network.clone()));
        assert_error(&field.ask(1, 0.25), "ml/inference/error/d", ErrorCode::NetworkLost);
        field.assert_nothing_else();
    }
}

#[test]
fn what_is_no_request_is_refused_without_asking_a_site() {
    let field = open(config(cloud(Policy::HEDGED)));
    let answer = field.sensor.ask(REQUEST, r#"{"device_id": "d", "features": [1, 2]}"#);
    assert_error(&answer, "ml/inference/error/d", ErrorCode::ShapeMismatch);
    let statistics = field.statistics();
    assert_eq!((statistics.received, statistics.hybrid.unwrap().counts.asked), (1, counts(0, 0)));
}

#[test]
fn the_bound_on_requests_in_flight_counts_requests_and_not_legs() {
    let field = start(Config { in_flight_max: 2, ..config(cloud(Policy::HEDGED)) });
    for number in 0..2 {
        field.sensor.publish(REQUEST, Qos::AtLeastOnce, payload(number, 0.25));
    }
    field.until("received", |statistics, _| statistics.received == 2);
    assert_error(&field.ask(2, 0.25), "ml/inference/error/d", ErrorCode::Overloaded);
    field.edge.open();
    let answers = field.sensor.take(2);
    assert!(answers.iter().all(|answer| made(answer).1 == "hedge"));
    field.cloud.open();
}

#[test]
fn stopping_answers_what_was_accepted_and_does_not_wait_for_what_nobody_needs() {
    let field = start(config(cloud(Policy::Shadow)));
    field.edge.open();
    assert_made(&field.ask(1, 0.25), "edge", "shadow", 0.25);
    field.cloud.wait_until_begun(&[0.25]);
    // The shadow is still with the cloud's model.
    let total = field.node.stop()[0].clone().1;
    assert_eq!((total.received, total.answered, total.in_flight), (1, 1, 0));
    field.cloud.open();

    let hybrid = Hybrid { network: Profile::constant(50 * MS), ..cloud(Policy::URGENCY) };
    let field = open(config(hybrid));
    for number in 0..20 {
        field.sensor.publish(REQUEST, Qos::AtLeastOnce, payload(number, 0.25));
    }
    field.until("received", |statistics, _| statistics.received == 20);
    let total = field.node.stop()[0].clone().1;
    assert_eq!((total.received, total.answered), (20, 20));
    assert_eq!(total.hybrid.unwrap().results.total(), 20);
}

#[test]
fn a_deadline_that_passes_is_answered_once_whoever_was_asked() {
    let hybrid = Hybrid { network: Profile::constant(PATIENCE / 4), ..cloud(Policy::URGENCY) };
    let field = open(Config { deadline: Some(20 * MS), ..config(hybrid) });
    assert_error(&field.ask(1, 0.25), "ml/inference/error/d", ErrorCode::DeadlineExceeded);
    assert_eq!(field.statistics().errors["DEADLINE_EXCEEDED"], 1);
}

#[test]
fn whatever_the_network_does_every_request_ends_once() {
    const REQUESTS: i64 = 300;
    let policies = [
        Policy::Deadline(Probing { answers_min: 5, ..Probing::default() }),
        Policy::CONFIDENCE,
        Policy::URGENCY,
        Policy::HEDGED,
        Policy::Hedged { first: Site::Cloud, after: 2 * MS },
        Policy::Shadow,
    ];
    for policy in policies {
        let link = LinkProfile {
            delay: Delay::uniform(0.5, 3.0).unwrap(),
            loss: Loss::gilbert_elliott(0.1, 0.3, 0.0, 1.0).unwrap(),
            ..LinkProfile::default()
        };
        let link = link.duplicating(0.2).unwrap();
        let shape = Shape { seed: 3, link: "rough".to_owned(), uplink: link.clone(), downlink: link };
        let mut hybrid = Hybrid { network: Profile::shaped(shape), ..cloud(policy) };
        hybrid.placement.cloud_timeout = 10 * MS;
        hybrid.placement.breaker = BreakerConfig { failures_max: 4, wait: 5 * MS, wait_max: 20 * MS };
        let field = open(config(hybrid));
        for number in 0..REQUESTS {
            let feature = f64::from((number % 100) as u8) / 100.0;
            field.sensor.publish(REQUEST, Qos::AtLeastOnce, payload(number, feature));
        }
        let all = REQUESTS as u64;
        field.until("ended", |statistics, _| statistics.received == all && statistics.in_flight == 0);
        let answers = field.sensor.take(REQUESTS as usize);
        let numbers: BTreeSet<_> =
            answers.iter().map(|answer| answer.json()["timestamp_us"].as_i64().unwrap()).collect();
        assert_eq!(numbers.len(), REQUESTS as usize, "{policy:?}");
        field.assert_nothing_else();
        let total = field.node.stop()[0].clone().1;
        assert!(total.is_conserved() && total.answered == all, "{policy:?}: {total:?}");
        assert_eq!(total.hybrid.unwrap().results.total(), all);
    }
}

#[test]
fn one_model_stands_at_both_sites_unless_the_cloud_has_its_own() {
    let members = Members { placement: true, ..Members::default() };
    let config = Config { members, ..Config::edge().hybrid(cloud(Policy::URGENCY)) };
    let node = Node::builder().deployment(config, support::MODEL).start().unwrap();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &ANSWERS);
    let answer = sensor.ask(REQUEST, support::request("d", 1)).json();
    assert_eq!((&answer["placement"], answer.get("reason")), (&json!("cloud"), None));
    assert_eq!(node.stop()[0].clone().1.answered, 1);
}

#[test]
fn the_node_s_status_names_the_models_of_both_sites() {
    let field = open(config(cloud(Policy::CONFIDENCE)));
    let status = Sensor::listening(field.address, &["ml/inference/status/+"]).next().json();
    let expected = json!([{ "name": "edge", "placement": "edge", "model": "small", "cloud_model": "large" }]);
    assert_eq!(status["deployments"], expected);
}

#[test]
fn models_that_take_other_requests_are_refused() {
    let (edge, _) = gated();
    let edge = Detector::from_parts(ModelInfo::new("small", 1), Box::new(edge));
    let config = config(cloud(Policy::HEDGED));
    let error = Node::builder().hybrid(config, edge, support::MODEL).start().expect_err("it does not start");
    assert_eq!(
        error.to_string(),
        "deployment edge: the edge's model has 1 inputs and the cloud's 32, expected equally many"
    );
}
