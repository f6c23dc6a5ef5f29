//! Nodes come and go: many in one process, drained stops, brokers that die, and
//! brokers elsewhere that come back.

use std::net::SocketAddr;
use std::time::Duration;

use nearfar::broker::{self, Broker};
use nearfar::client::RemoteConfig;
use nearfar::deployment::{Config, Topics};
use nearfar::mqtt::Qos;
use nearfar::network::Profile;
use nearfar::node::{NodeError, NotReady, Readiness};
use nearfar::testing::kill_router;
use nearfar::{Node, deployment};

use crate::support::mqtt;
use crate::support::waiting::wait_until;
use crate::support::{MODEL, PATIENCE, Sensor, request};

const REQUEST: &str = "ml/inference/request";
const RESULTS: &str = "ml/inference/result/#";

fn broker_on(address: SocketAddr) -> Broker {
    let mut config = broker::Config::loopback();
    config.listeners[0].address = address;
    Broker::start(config).expect("a broker starts")
}

fn any_broker() -> (Broker, SocketAddr) {
    let broker = Broker::start(broker::Config::loopback()).expect("a broker starts on a free port");
    let address = broker.addresses()[0].1;
    (broker, address)
}

fn remote(address: SocketAddr, id: &str) -> RemoteConfig {
    let config = RemoteConfig::new(address.ip().to_string(), address.port(), id);
    // Tests want the connection back at once.
    RemoteConfig { reconnect_wait_max: Duration::from_millis(50), ..config }
}

fn remote_node(address: SocketAddr, id: &str, config: deployment::Config) -> Node {
    let node =
        Node::builder().node_id(id).remote_broker(remote(address, id)).deployment(config, MODEL).start();
    let node = node.expect("a node starts");
    node.wait_until_ready(PATIENCE).expect("the node reaches its broker");
    node
}

#[test]
fn many_nodes_live_in_one_process() {
    let nodes: Vec<_> =
        (0..8).map(|_| Node::builder().deployment(Config::edge(), MODEL).start().unwrap()).collect();
    for (number, node) in nodes.iter().enumerate() {
        let sensor = Sensor::listening(node.mqtt_address().unwrap(), &[RESULTS]);
        let result = sensor.ask(REQUEST, request(&format!("s{number}"), 1));
        assert_eq!(result.topic, format!("ml/inference/result/s{number}"));
    }
    for node in nodes {
        assert_eq!(node.stop()[0].1.answered, 1);
    }
}

#[test]
fn a_node_starts_and_stops_again_and_again_on_one_address() {
    let (broker, address) = any_broker();
    broker.stop(Duration::ZERO);
    for round in 1..=5 {
        let mut config = broker::Config::loopback();
        config.listeners[0].address = address;
        let node = Node::builder().embedded_broker(config).deployment(Config::edge(), MODEL).start().unwrap();
        let sensor = Sensor::listening(address, &[RESULTS]);
        assert_eq!(sensor.ask(REQUEST, request("s", round)).json()["timestamp_us"], round);
        node.stop();
    }
}

#[test]
fn stopping_answers_what_was_accepted() {
    let far = Config::cloud().network(Profile::constant(Duration::from_millis(150)));
    let node = Node::builder().deployment(far, MODEL).start().unwrap();
    // Not rumqttc: it drops what it has read together with the broker's goodbye.
    let mut listener = mqtt::Client::v3(node.mqtt_address().unwrap(), "listener");
    listener.subscribe(RESULTS, 0);
    let sensor = Sensor::connect(node.mqtt_address().unwrap());
    for number in 0..100 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", number));
    }
    wait_until("requests never arrive", || node.deployment("cloud").unwrap().statistics().received >= 100);
    let (_, total) = node.stop()[0].clone();
    assert_eq!((total.received, total.answered, total.in_flight), (100, 100, 0));
    for _ in 0..100 {
        assert_eq!(listener.receive().topic(), "ml/inference/result/s");
    }
}

#[test]
fn stopping_waits_no_longer_than_its_grace() {
    let far = Config::cloud().network(Profile::constant(Duration::from_secs(60)));
    let grace = Duration::from_millis(10);
    let node = Node::builder().shutdown_grace(grace).deployment(far, MODEL).start().unwrap();
    let sensor = Sensor::connect(node.mqtt_address().unwrap());
    sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", 1));
    wait_until("requests never arrive", || node.deployment("cloud").unwrap().statistics().received >= 1);
    let (_, total) = node.stop()[0].clone();
    assert_eq!((total.received, total.answered, total.in_flight), (1, 0, 1));
    assert!(total.is_conserved());
}

#[test]
fn a_dead_router_makes_the_node_failed_and_never_ready() {
    let node = Node::builder().deployment(Config::edge(), MODEL).start().unwrap();
    assert_eq!(node.readiness(), Readiness::Ready);
    kill_router(node.broker().unwrap());
    let reason = node.wait_for_failure(PATIENCE).expect("the death is noticed");
    assert!(!reason.is_empty());
    assert!(matches!(node.readiness(), Readiness::Failed(_)));
    assert!(node.wait_until_ready(Duration::ZERO).is_err());
}

#[test]
fn a_node_refuses_what_it_could_not_keep_apart() {
    let same = Node::builder().deployment(Config::edge(), MODEL).deployment(Config::cloud(), MODEL).start();
    assert!(matches!(same, Err(NodeError::SharedTopics(..))));
    let twice = Node::builder()
        .deployment(Config::edge(), MODEL)
        .deployment(Config::edge().topics(Topics::under("b/")), MODEL)
        .start();
    assert!(matches!(twice, Err(NodeError::DuplicateName(_))));
    assert!(matches!(Node::builder().start(), Err(NodeError::NoDeployment)));
    let everything = Topics { request: vec!["#".to_owned()], ..Topics::default() };
    let answers_itself = Node::builder().deployment(Config::edge().topics(everything), MODEL).start();
    let Err(NodeError::Loop(found)) = answers_itself else { panic!("it starts") };
    assert_eq!((found.filter.as_str(), found.topic.as_str()), ("#", "ml/inference/result/+"));
    let missing = Node::builder().deployment(Config::edge(), "no/such/model").start();
    assert!(matches!(missing, Err(NodeError::ModelOf { .. })));
}

#[test]
fn a_broker_elsewhere_sees_the_node_come_and_go() {
    let (broker, address) = any_broker();
    let watcher = Sensor::listening(address, &["ml/inference/status/+"]);
    let node = remote_node(address, "gateway", Config::edge());
    let online = watcher.next();
    assert_eq!(online.topic, "ml/inference/status/gateway");
    assert_eq!(online.json()["status"], "online");
    node.stop();
    assert_eq!(watcher.next().json()["status"], "offline");
    broker.stop(Duration::ZERO);
}

#[test]
fn a_node_waits_for_a_broker_that_is_not_there_yet() {
    let (broker, address) = any_broker();
    broker.stop(Duration::ZERO);
    let node = Node::builder()
        .remote_broker(remote(address, "early"))
        .deployment(Config::edge(), MODEL)
        .start()
        .unwrap();
    assert!(matches!(node.wait_until_ready(Duration::ZERO), Err(NotReady(Readiness::NotReady(_)))));
    let _broker = broker_on(address);
    node.wait_until_ready(PATIENCE).unwrap();
    let sensor = Sensor::listening(address, &[RESULTS]);
    assert_eq!(sensor.ask(REQUEST, request("s", 1)).topic, "ml/inference/result/s");
}

#[test]
fn requests_under_way_survive_the_restart_of_a_broker_elsewhere() {
    let (broker, address) = any_broker();
    let far = Config::cloud().network(Profile::constant(Duration::from_millis(500)));
    let node = remote_node(address, "survivor", far);
    let sensor = Sensor::connect(address);
    for number in 0..50 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", number));
    }
    wait_until("requests never arrive", || node.deployment("cloud").unwrap().statistics().received >= 50);
    drop(sensor);
    broker.stop(Duration::ZERO);
    let _broker = broker_on(address);
    let sensor = Sensor::listening(address, &[RESULTS]);
    let answers: Vec<_> =
        sensor.take(50).iter().map(|a| a.json()["timestamp_us"].as_i64().unwrap()).collect();
    assert_eq!(answers, (0..50).collect::<Vec<_>>());
    node.wait_until_ready(PATIENCE).unwrap();
    assert_eq!(sensor.ask(REQUEST, request("s", 99)).json()["timestamp_us"], 99);
    let statistics = node.deployment("cloud").unwrap().statistics();
    assert!(statistics.is_conserved());
    assert_eq!((statistics.answered, statistics.undelivered), (51, 0));
}
