//! Many nodes on one broker, which is a Mosquitto where one is installed, and our own everywhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use nearfar::broker::{self, Broker};
use nearfar::client::RemoteConfig;
use nearfar::deployment::{Config, Topics};
use nearfar::mqtt::Qos;
use nearfar::network::Profile;
use nearfar::node::NodeError;
use nearfar::{Node, client};

use crate::support::mosquitto;
use crate::support::process::{Process, nearfar};
use crate::support::raw_broker::{remote, remote_v3};
use crate::support::waiting::wait_until;
use crate::support::{self, MODEL, PATIENCE, Sensor, request};

const REQUEST: &str = "ml/inference/request";
const RESULTS: &str = "ml/inference/result/#";

/// A broker that the nodes share.
struct Shared {
    address: SocketAddr,
    _keep: Box<dyn std::any::Any>,
}

fn ours() -> Option<Shared> {
    let broker = Broker::start(broker::Config::loopback()).unwrap();
    Some(Shared { address: broker.addresses()[0].1, _keep: Box::new(broker) })
}

fn mosquitto() -> Option<Shared> {
    let broker = mosquitto::mosquitto()?;
    Some(Shared { address: broker.address(), _keep: Box::new(broker) })
}

type Start = fn() -> Option<Shared>;

macro_rules! over_both_brokers {
    ($($name:ident)*) => {
        mod over_ours { $(#[test] fn $name() { super::$name(super::ours) })* }
        mod over_mosquitto { $(#[test] fn $name() { super::$name(super::mosquitto) })* }
    };
}

over_both_brokers! {
    a_share_group_divides_the_requests_and_answers_each_once
    members_come_and_go_and_every_request_is_answered_once
    a_killed_node_answers_at_its_next_start
    a_node_that_was_away_finds_the_requests_of_the_meantime
    every_part_of_a_partition_answers_its_devices_in_order
    nodes_that_speak_3_1_1_answer_too
}

fn member(address: SocketAddr, name: &str) -> Node {
    member_with(address, name, Config::edge())
}

fn member_with(address: SocketAddr, name: &str, deployment: Config) -> Node {
    ready(RemoteConfig { share_group: Some("team".to_owned()), ..remote(address, name) }, deployment)
}

fn ready(remote: RemoteConfig, deployment: Config) -> Node {
    let builder = Node::builder().node_id(remote.client_id.clone()).remote_broker(remote);
    let node = builder.deployment(deployment, MODEL).start().unwrap();
    node.wait_until_ready(PATIENCE).unwrap();
    node
}

/// The device and the number of an answer.
fn identity(answer: &support::Received) -> (String, i64) {
    let body = answer.json();
    let device = body["device_id"].as_str().expect("an answer names its device").to_owned();
    (device, body["timestamp_us"].as_i64().expect("an answer echoes its timestamp"))
}

/// Takes answers until every number below `count` has one, and returns how many times each came.
fn take_all(sensor: &Sensor, count: i64) -> BTreeMap<i64, usize> {
    let mut times = BTreeMap::new();
    while times.len() < count as usize {
        *times.entry(identity(&sensor.next()).1).or_default() += 1;
    }
    times
}

fn received(nodes: &[Node]) -> Vec<u64> {
    nodes.iter().map(|node| node.deployment("edge").unwrap().statistics().received).collect()
}

fn a_share_group_divides_the_requests_and_answers_each_once(start: Start) {
    let Some(broker) = start() else { return };
    let nodes: Vec<_> = ["a", "b", "c"].iter().map(|name| member(broker.address, name)).collect();
    let sensor = Sensor::listening(broker.address, &[RESULTS]);
    for number in 0..300 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request(&format!("s{}", number % 7), number));
    }
    let times = take_all(&sensor, 300);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    let shares = received(&nodes);
    assert_eq!(shares.iter().sum::<u64>(), 300);
    assert!(shares.iter().all(|share| *share >= 50), "{shares:?}");
}

fn members_come_and_go_and_every_request_is_answered_once(start: Start) {
    let Some(broker) = start() else { return };
    // With a network of 20 ms each way there is always something under way when a member leaves.
    let far = || Config::edge().network(Profile::constant(Duration::from_millis(20)));
    let mut nodes = vec![member_with(broker.address, "0", far()), member_with(broker.address, "1", far())];
    let sensor = Sensor::listening(broker.address, &[RESULTS]);
    let (mut number, mut left_total) = (0, 0);
    for round in 2..6 {
        for _ in 0..100 {
            sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", number));
            number += 1;
        }
        nodes.push(member_with(broker.address, &round.to_string(), far()));
        let (_, total) = nodes.remove(0).stop()[0].clone();
        assert_eq!(total.in_flight, 0);
        left_total += total.received;
    }
    let times = take_all(&sensor, number);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    assert_eq!(left_total + received(&nodes).iter().sum::<u64>(), number as u64);
}

/// A member of the group in a process of its own.
fn process(
    address: SocketAddr,
    directory: &std::path::Path,
    session_expiry_s: u32,
    latency_ms: u32,
) -> Process {
    let file = directory.join("doomed.toml");
    let (host, port) = (address.ip(), address.port());
    let text = format!(
        "node_id = \"doomed\"\n[remote]\nhost = \"{host}\"\nport = {port}\nshare_group = \"team\"\n\
         session_expiry_s = {session_expiry_s}\n\
         [deployments.cloud]\nmodel = \"{MODEL}\"\none_way_latency_ms = {latency_ms}\n"
    );
    std::fs::write(&file, text).unwrap();
    let process = Process::start(&mut nearfar(&["serve", "--config", file.to_str().unwrap()]));
    assert!(process.line().starts_with("ready "));
    process
}

/// Sends 40 requests to a member whose answers need longer than it will live, and kills it.
fn requests_of_a_killed_member(
    broker: &Shared,
    directory: &std::path::Path,
    session_expiry_s: u32,
) -> Sensor {
    let doomed = process(broker.address, directory, session_expiry_s, 60_000);
    let sensor = Sensor::listening(broker.address, &[RESULTS]);
    for number in 0..40 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", number));
    }
    // The broker has them before it answers this.
    sensor.subscribe("nothing/comes/here", Qos::AtMostOnce);
    let watcher = Sensor::listening(broker.address, &["ml/inference/status/doomed"]);
    assert_eq!(watcher.next().json()["status"], "online");
    assert!(doomed.signal("KILL"));
    assert_eq!(watcher.next().json()["status"], "offline");
    sensor
}

fn a_killed_node_answers_at_its_next_start(start: Start) {
    let Some(broker) = start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let sensor = requests_of_a_killed_member(&broker, directory.path(), 3_600);
    let _again = process(broker.address, directory.path(), 3_600, 1);
    let order: Vec<_> = sensor.take(40).iter().map(|answer| identity(answer).1).collect();
    assert_eq!(order, (0..40).collect::<Vec<_>>());
}

/// Mosquitto drops what a session holds when it ends.
#[test]
fn a_killed_members_requests_go_to_another_member_when_its_session_ends_where_the_broker_hands_over() {
    let broker = ours().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let heir = member(broker.address, "heir");
    let sensor = requests_of_a_killed_member(&broker, directory.path(), 1);
    let times = take_all(&sensor, 40);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    assert_eq!(heir.deployment("edge").unwrap().statistics().answered, 40);
}

fn a_node_that_was_away_finds_the_requests_of_the_meantime(start: Start) {
    let Some(broker) = start() else { return };
    let node = || ready(remote(broker.address, "press-hall"), Config::edge());
    let sensor = Sensor::listening(broker.address, &[RESULTS]);
    let first = node();
    assert_eq!(identity(&sensor.ask(REQUEST, request("s", 0))).1, 0);
    first.stop();
    for number in 1..20 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", number));
    }
    // The broker has them before the node comes: it acknowledges in order.
    sensor.subscribe("nothing/comes/here", Qos::AtMostOnce);
    let _second = node();
    let order: Vec<_> = sensor.take(19).iter().map(|answer| identity(answer).1).collect();
    assert_eq!(order, (1..20).collect::<Vec<_>>());
}

fn every_part_of_a_partition_answers_its_devices_in_order(start: Start) {
    let Some(broker) = start() else { return };
    let topics = || Topics { request: vec![format!("{REQUEST}/+")], ..Topics::default() };
    let part = |part: &str| {
        let config = remote(broker.address, &part.replace('/', "-of-"));
        let config = RemoteConfig { partition: Some(part.parse().unwrap()), ..config };
        ready(config, Config { ordered: true, ..Config::edge().topics(topics()) })
    };
    let nodes: Vec<_> = ["1/3", "2/3", "3/3"].map(part).into_iter().collect();
    let sensor = Sensor::listening(broker.address, &[RESULTS]);
    for number in 0..200 {
        let device = format!("sensor-{}", number % 20);
        sensor.publish(&format!("{REQUEST}/{device}"), Qos::AtLeastOnce, request(&device, number));
    }
    let mut by_device: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for answer in sensor.take(200) {
        let (device, number) = identity(&answer);
        by_device.entry(device).or_default().push(number);
    }
    assert_eq!(by_device.len(), 20);
    for (device, numbers) in by_device {
        assert!(numbers.len() == 10 && numbers.is_sorted(), "{device}: {numbers:?}");
    }
    let shares = received(&nodes);
    assert!(shares.iter().sum::<u64>() == 200 && shares.iter().all(|share| *share > 0), "{shares:?}");
}

fn nodes_that_speak_3_1_1_answer_too(start: Start) {
    let Some(broker) = start() else { return };
    let node = ready(remote_v3(broker.address, "old"), Config::edge());
    let sensor = Sensor::listening(broker.address, &[RESULTS]);
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        sensor.publish(REQUEST, qos, request("s", qos as i64));
    }
    let times = take_all(&sensor, 3);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    let (_, total) = node.stop()[0].clone();
    assert_eq!((total.answered, total.in_flight), (3, 0));
}

#[test]
fn two_nodes_that_read_each_others_answers_answer_once() {
    for with in [remote, remote_v3] {
        let shared = ours().unwrap();
        let node = |name: &str, from: &str, to: &str| {
            let (request, result, error) = (vec![format!("{from}/+")], to.to_owned(), to.to_owned());
            let deployment = Config::edge().topics(Topics { request, result, error });
            let node = Node::builder().remote_broker(with(shared.address, name));
            let node = node.deployment(deployment, MODEL).start().unwrap();
            node.wait_until_ready(PATIENCE).unwrap();
            node
        };
        let (one, other) = (node("one", "a", "b"), node("other", "b", "a"));
        let sensor = Sensor::listening(shared.address, &["a/#", "b/#"]);
        sensor.publish("a/s", Qos::AtLeastOnce, request("s", 1));
        assert_eq!([sensor.next().topic, sensor.next().topic], ["a/s", "b/s"]);
        let counts = |node: &Node| {
            let counts = node.deployment("edge").unwrap().statistics();
            (counts.received, counts.answered, counts.answers_dropped)
        };
        wait_until("the answer is not dropped", || {
            assert_eq!(counts(&other).0, 0, "it answers an answer");
            counts(&other) == (0, 0, 1)
        });
        assert_eq!(counts(&one), (1, 1, 0));
        // Nothing else was said.
        assert_eq!(sensor.ask("a/s", request("s", 2)).topic, "a/s");
    }
}

#[test]
fn an_ordered_deployment_refuses_a_share_group() {
    let remote =
        RemoteConfig { share_group: Some("team".to_owned()), ..RemoteConfig::new("127.0.0.1", 1, "c") };
    let deployment = Config { ordered: true, ..Config::edge() };
    let refused = Node::builder().remote_broker(remote).deployment(deployment, MODEL).start();
    let Err(error @ NodeError::OrderedInGroup(..)) = refused else { panic!("it started") };
    assert!(error.to_string().contains("\"edge\"") && error.to_string().contains("partition"), "{error}");
}

#[test]
fn a_file_that_contradicts_itself_is_refused_with_line_and_key() {
    let deployment = format!("[deployments.d]\nmodel = \"{MODEL}\"\n");
    for (remote, more, key, part) in [
        ("share_group = \"g\"", "ordered = true", "deployments.d.ordered", "remote.partition"),
        ("partition = \"1/2\"", "", "deployments.d.request_topics", "exactly one '+'"),
        ("partition = \"3/2\"", "request_topics = [\"a/+\"]", "remote.partition", "\"2/3\""),
        ("share_group = \"g\"\npartition = \"1/2\"", "", "remote.partition", "one or the other"),
        ("share_group = \"a/b\"", "", "remote.share_group", "one topic level"),
        ("receive_max = 0", "", "remote.receive_max", "between 1 and 65535"),
        ("[remote.tls]\nca_file = \"ca.pem\"\nclient_key = \"k\"", "", "remote.tls", "both or none"),
        ("protocol = \"4\"", "", "remote.protocol", "3.1.1"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("nearfar.toml");
        std::fs::write(&file, format!("[remote]\nhost = \"h\"\n{remote}\n{deployment}{more}\n")).unwrap();
        let error = nearfar::testing::read_node_file(&file).expect_err(key).to_string();
        assert!(error.contains(key) && error.contains(part) && error.contains("line "), "{error}");
    }
}

#[test]
fn files_of_tls_that_cannot_be_used_are_named_at_the_start() {
    let tls = client::RemoteTls { ca_file: "/no/such/file.pem".into(), client: None, server_name: None };
    let remote = RemoteConfig { tls: Some(tls), ..RemoteConfig::new("localhost", 1, "c") };
    let refused = Node::builder().remote_broker(remote).deployment(Config::edge(), MODEL).start();
    let error = refused.expect_err("it is refused").to_string();
    assert!(error.contains("remote.tls.ca_file") && error.contains("/no/such/file.pem"), "{error}");
}
