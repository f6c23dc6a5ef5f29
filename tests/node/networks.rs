//! Simulated networks that lose, duplicate and delay: every request is still
//! accounted for, and the same seed repeats itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nearfar::deployment::Config;
use nearfar::ledger::Statistics;
use nearfar::mqtt::Qos;
use nearfar::network::{Bandwidth, Delay, LinkProfile, Loss, Lost, Profile, Shape};
use nearfar::{Detector, Node};

use crate::support::{self, MODEL, Received, Sensor, request};

const REQUEST: &str = "ml/inference/request";
const REQUESTS: i64 = 400;

fn profile(seed: u64, link: LinkProfile) -> Profile {
    Profile::shaped(Shape { seed, link: "test".to_owned(), uplink: link.clone(), downlink: link })
}

fn node(network: Profile) -> (Node, Sensor) {
    let detector = Detector::load(MODEL).expect("the shipped model loads");
    let config = Config::cloud().network(network);
    let node = Node::builder().deployment(config, detector).start().expect("a node starts");
    let address = node.mqtt_address().expect("it has a broker");
    (node, Sensor::listening(address, &["ml/inference/result/#", "ml/inference/error/#"]))
}

fn send_all(sensor: &Sensor) {
    for number in 0..REQUESTS {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", number));
    }
}

/// The counts once every request has ended.
fn ended(node: &Node, requests: u64) -> Statistics {
    let deadline = Instant::now() + support::PATIENCE;
    loop {
        let statistics = node.deployment("cloud").expect("the deployment has this name").statistics();
        assert!(statistics.is_conserved());
        if statistics.received >= requests && statistics.in_flight == 0 {
            return statistics;
        }
        assert!(Instant::now() < deadline, "requests never ended: {statistics:?}");
        std::thread::yield_now();
    }
}

fn jitter() -> Delay {
    Delay::uniform(1.0, 3.0).expect("these are delays")
}

fn lossy(lost: Lost) -> LinkProfile {
    let loss = Loss::gilbert_elliott(0.05, 0.3, 0.0, 1.0).expect("these are probabilities");
    LinkProfile { delay: jitter(), loss, lost, ..LinkProfile::default() }
}

fn timestamps<'a>(answers: impl IntoIterator<Item = &'a Received>) -> BTreeSet<i64> {
    answers.into_iter().filter_map(|answer| answer.json()["timestamp_us"].as_i64()).collect()
}

#[test]
fn what_is_lost_in_silence_ends_as_lost_and_nothing_is_published() {
    let (node, sensor) = node(profile(1, lossy(Lost::Silence)));
    send_all(&sensor);
    let statistics = ended(&node, REQUESTS as u64);
    let lost = statistics.errors["NETWORK_LOST"];
    assert_eq!(statistics.answered + lost, REQUESTS as u64);
    assert!((50..220).contains(&lost), "{lost}");
    let answers = sensor.take(statistics.answered as usize);
    assert!(answers.iter().all(|answer| answer.topic == "ml/inference/result/s"));
    // The next message is the answer to the next request: nothing came in between.
    sensor.publish("ml/inference/result/marker", Qos::AtLeastOnce, "{}");
    assert_eq!(sensor.next().topic, "ml/inference/result/marker");
}

#[test]
fn the_same_seed_loses_the_same_requests_and_reports_them_when_asked() {
    let lost_with = |seed| {
        let (_node, sensor) = node(profile(seed, lossy(Lost::Report)));
        send_all(&sensor);
        let answers = sensor.take(REQUESTS as usize);
        let errors = answers.iter().filter(|answer| answer.topic == "ml/inference/error/s");
        let errors: Vec<_> = errors.collect();
        assert!(errors.iter().all(|error| error.json()["code"] == "NETWORK_LOST"));
        timestamps(errors)
    };
    let first = lost_with(7);
    assert!(!first.is_empty());
    assert_eq!(first, lost_with(7));
    assert_ne!(first, lost_with(8));
}

#[test]
fn a_copy_made_by_the_network_is_counted_and_answered_like_any_request() {
    let link = LinkProfile { delay: jitter(), ..LinkProfile::default() };
    let (node, sensor) = node(profile(3, link.duplicating(0.2).unwrap()));
    send_all(&sensor);
    // Copies count too, so that the counts alone do not tell whether every request has come.
    let (mut seen, mut answers) = (BTreeSet::new(), 0);
    while seen.len() < REQUESTS as usize {
        seen.extend(timestamps([&sensor.next()]));
        answers += 1;
    }
    let statistics = ended(&node, REQUESTS as u64);
    assert_eq!(statistics.answered, statistics.received);
    assert!((500..660).contains(&statistics.received), "{}", statistics.received);
    let rest = sensor.take(statistics.answered as usize - answers);
    assert!(timestamps(&rest).is_subset(&seen));
}

#[test]
fn jitter_keeps_a_device_s_order_both_ways() {
    let delay = Delay::lognormal(5.0, 10.0).unwrap();
    let (_node, sensor) = node(profile(3, LinkProfile { delay, ..LinkProfile::default() }));
    send_all(&sensor);
    let answers = sensor.take(REQUESTS as usize);
    let order: Vec<_> =
        answers.iter().map(|answer| answer.json()["timestamp_us"].as_i64().unwrap()).collect();
    assert_eq!(order, (0..REQUESTS).collect::<Vec<_>>());
}

#[test]
fn a_narrow_link_delays_a_burst_by_its_size() {
    // A request has some 400 bytes, so that 20 of them take half a second and a bit.
    let bandwidth = Some(Bandwidth::new(120_000, 100_000, 0).unwrap());
    let shape = Shape { uplink: LinkProfile { bandwidth, ..LinkProfile::default() }, ..Shape::default() };
    let (_node, sensor) = node(Profile::shaped(shape));
    let began = Instant::now();
    let bytes = REQUEST.len() + request("s", 100).len();
    for number in 100..120 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", number));
    }
    let answers = sensor.take(20);
    let least = Duration::from_secs_f64(20.0 * bytes as f64 * 8.0 / 120_000.0);
    assert!(began.elapsed() >= least, "{:?} {least:?}", began.elapsed());
    let latency_ms = answers[19].json()["cloud_latency_ms"].as_f64().unwrap();
    assert!(latency_ms > least.as_secs_f64() * 500.0, "{latency_ms}");
}
