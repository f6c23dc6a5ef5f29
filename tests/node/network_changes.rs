//! Simulated networks that change while the node runs, by a message, with requests under way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nearfar::broker::{self, AccessRules, AttemptLimits, Broker, Guard, Users};
use nearfar::client::RemoteConfig;
use nearfar::deployment::{Config, Topics};
use nearfar::mqtt::Qos;
use nearfar::network::Profile;
use nearfar::{Node, wire};
use serde_json::{Value, json};

use crate::support::mqtt::{Client, Connect};
use crate::support::raw_broker::remote;
use crate::support::{self, MODEL, PATIENCE, Sensor, request};

const REQUEST: &str = "ml/inference/request";
const NETWORK: &str = "ml/inference/network";
const QOS_1: u8 = 0b0010;
const RETAIN: u8 = 0b0001;
const CONNACK: u8 = 0x20;
const PUBACK: u8 = 0x40;

fn edge(network: Profile) -> Config {
    let members = wire::Members { network: true, ..wire::Members::default() };
    Config { members, ..Config::edge().network(network) }
}

fn ms(milliseconds: u64) -> Profile {
    Profile::constant(Duration::from_millis(milliseconds))
}

/// A node with a network topic, and somebody who hears results and what becomes of changes.
fn node(network: Profile) -> (Node, Sensor) {
    let node = Node::builder().network_topic(NETWORK).deployment(edge(network), MODEL).start().unwrap();
    let heard = ["ml/inference/result/#", "ml/inference/network/+/changed", "ml/inference/network/+/error"];
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &heard);
    (node, sensor)
}

/// The result of a request: the delay that the network gave it, and the network's number.
fn result(sensor: &Sensor, number: i64) -> (f64, Value) {
    let body = sensor.ask(REQUEST, request("s", number)).json();
    (body["cloud_latency_ms"].as_f64().unwrap(), body["network"].clone())
}

fn change(sensor: &Sensor, wish: &str) -> Value {
    sensor.publish_retained("ml/inference/network/edge", wish);
    let answer = sensor.next();
    assert_eq!(answer.topic, "ml/inference/network/edge/changed", "{:?}", answer.json());
    answer.json()
}

fn changes(node: &Node, name: &str) -> u64 {
    node.deployment(name).unwrap().network().in_force().1
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_message_changes_the_network_and_an_empty_one_brings_the_configured_one_back() {
    let (node, sensor) = node(Profile::NONE);
    assert_eq!(result(&sensor, 1), (0.0, json!(0)));
    let told = change(&sensor, r#"{"one_way_latency_ms": 5}"#);
    assert_eq!(told, json!({"node_id": "nearfar", "revision": 1, "changed": true, "configured": false}));
    assert_eq!(result(&sensor, 2), (10.0, json!(1)));
    change(&sensor, "[uplink]\ndelay = { model = \"constant\", ms = 7 }\n");
    assert_eq!(result(&sensor, 3), (7.0, json!(2)));
    // The same once more is no change.
    let told = change(&sensor, r#"{"uplink": {"delay": {"model": "constant", "ms": 7}}}"#);
    assert_eq!((&told["revision"], &told["changed"]), (&json!(2), &json!(false)));
    let told = change(&sensor, "");
    assert_eq!((&told["revision"], &told["configured"]), (&json!(3), &json!(true)));
    assert_eq!(result(&sensor, 4), (0.0, json!(3)));
    let statistics = node.deployment("edge").unwrap().statistics();
    assert_eq!((statistics.network_changes, statistics.network_changes_refused), (3, 0));
    assert_eq!((statistics.answered, node.readiness()), (4, nearfar::node::Readiness::Ready));
}

#[test]
fn what_cannot_be_used_is_answered_with_key_and_expectation_and_changes_nothing() {
    let (node, sensor) = node(ms(2));
    for (wish, key, expected) in [
        (r#"{"preset": "6g"}"#, "preset", "expected one of lan"),
        (r#"{"one_way_latency_ms": -3}"#, "one_way_latency_ms", "between 0 and"),
        (
            r#"{"uplink": {"loss": {"probabilty": 0.1}}}"#,
            "uplink.loss.probabilty",
            "did you mean `probability`?",
        ),
        (r#"{"preset": "#, "", "no JSON"),
    ] {
        sensor.publish_retained("ml/inference/network/edge", wish);
        let answer = sensor.next();
        assert_eq!(answer.topic, "ml/inference/network/edge/error");
        let body = answer.json();
        assert_eq!((&body["key"], &body["node_id"]), (&json!(key), &json!("nearfar")), "{body}");
        assert!(body["error"].as_str().unwrap().contains(expected), "{body}");
    }
    assert_eq!(result(&sensor, 1), (4.0, json!(0)));
    let statistics = node.deployment("edge").unwrap().statistics();
    assert_eq!((statistics.network_changes, statistics.network_changes_refused), (0, 4));
}

/// Whoever measures may change networks; a press asks, and says goodbye, and does nothing else.
const RULES: &str = r#"
[[rules]]
allow = ["publish"]
topics = ["ml/inference/request"]
[[rules]]
allow = ["will"]
topics = ["goodbye/%u"]
[[rules]]
allow = ["publish", "subscribe"]
users = ["experimenter"]
topics = ["ml/inference/network/#"]
"#;

#[test]
fn access_rules_say_who_changes_a_network() {
    const NOT_AUTHORISED: u8 = 0x87;
    let users = ["press", "experimenter"];
    let file =
        users.iter().fold(String::new(), |text, user| Users::with_password(&text, user, user).unwrap());
    let rules = AccessRules::from_toml(RULES).unwrap();
    let guard = Guard::new(Users::parse(&file).unwrap(), rules, AttemptLimits::default()).unwrap();
    let guarded = broker::Config { access: Arc::new(guard), ..broker::Config::loopback() };
    let builder = Node::builder().embedded_broker(guarded).network_topic(NETWORK);
    let node = builder.deployment(edge(Profile::NONE), MODEL).start().unwrap();
    let address = node.mqtt_address().unwrap();
    let login = |user| Connect { login: Some((user, user)), ..Connect::v5(user) };
    let topic = "ml/inference/network/edge";
    let wish = |ms: u32| format!(r#"{{"one_way_latency_ms": {ms}}}"#).into_bytes();

    let mut press = Client::accepted(address, &login("press"));
    for flags in [QOS_1, QOS_1 | RETAIN] {
        press.send(&press.publish_bytes(topic, &wish(900), flags, 7, &[]));
        let answer = press.receive();
        assert_eq!((answer.first, answer.packet_id(), answer.body[2]), (PUBACK, 7, NOT_AUTHORISED));
    }
    press.publish(topic, &wish(900), RETAIN);
    press.ping();
    // A will is refused before there is a connection.
    let will = Some((topic, &b"{}"[..], 0, true, Vec::new()));
    let connack = Client::connect(address, &Connect { will, ..login("press") }).1;
    assert_eq!((connack.first, connack.body[1]), (CONNACK, NOT_AUTHORISED));

    let mut experimenter = Client::accepted(address, &login("experimenter"));
    assert_eq!(experimenter.subscribe("ml/inference/network/#", 0), 0);
    experimenter.publish(topic, &wish(5), 0);
    let heard = [experimenter.receive(), experimenter.receive()];
    // Nothing of the press was kept for later subscribers, and the experimenter's is the first change.
    assert_eq!((heard[0].topic(), heard[0].is_retained()), (topic.to_owned(), false));
    assert_eq!(heard[1].topic(), "ml/inference/network/edge/changed");
    let told: Value = serde_json::from_slice(heard[1].payload5()).unwrap();
    assert_eq!((&told["revision"], &told["changed"]), (&json!(1), &json!(true)));
    assert_eq!(node.deployment("edge").unwrap().network().in_force(), (ms(5), 1));
    let statistics = node.deployment("edge").unwrap().statistics();
    assert_eq!((statistics.network_changes, statistics.network_changes_refused), (1, 0));
}

#[test]
fn nobody_changes_a_network_where_no_topic_is_configured() {
    let node = Node::builder().deployment(edge(Profile::NONE), MODEL).start().unwrap();
    let sensor =
        Sensor::listening(node.mqtt_address().unwrap(), &["ml/inference/network/#", "ml/inference/result/#"]);
    sensor.publish_retained("ml/inference/network/edge", r#"{"one_way_latency_ms": 5}"#);
    assert_eq!(sensor.next().topic, "ml/inference/network/edge");
    assert_eq!(result(&sensor, 1), (0.0, json!(0)));
}

#[test]
fn what_is_under_way_stays_so_and_nothing_of_its_device_overtakes_it() {
    let (node, sensor) = node(ms(1_500));
    for number in 0..5 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("far", number));
    }
    wait_until("requests arrive", || node.deployment("edge").unwrap().statistics().received == 5);
    change(&sensor, r#"{"one_way_latency_ms": 1}"#);
    for number in 5..10 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("far", number));
    }
    sensor.publish(REQUEST, Qos::AtLeastOnce, request("near", 0));
    let answers = sensor.take(11);
    let of = |device: &str| -> Vec<Value> {
        let topic = format!("ml/inference/result/{device}");
        answers.iter().filter(|answer| answer.topic == topic).map(support::Received::json).collect()
    };
    // A device with nothing under way has the new network at once.
    let near = &of("near")[0];
    assert_eq!((&near["cloud_latency_ms"], &near["network"]), (&json!(2.0), &json!(1)));
    let far = of("far");
    let numbers: Vec<_> = far.iter().map(|body| body["timestamp_us"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    let networks: Vec<_> = far.iter().map(|body| body["network"].as_u64().unwrap()).collect();
    assert_eq!(networks, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    assert!(far.iter().all(|body| body["network_back"].is_null() || body["network_back"] == json!(1)));
    assert!(node.deployment("edge").unwrap().statistics().is_conserved());
}

#[test]
fn networks_that_change_all_the_time_lose_no_request_and_keep_every_device_s_order() {
    let (node, sensor) = node(Profile::NONE);
    let network = node.deployment("edge").unwrap().network();
    let wishes = [
        ms(3),
        Profile::NONE,
        ms(1),
        Profile::shaped(nearfar::network::Shape {
            uplink: nearfar::network::LinkProfile {
                delay: nearfar::network::Delay::uniform(0.0, 4.0).unwrap(),
                ..Default::default()
            },
            ..Default::default()
        }),
    ];
    for number in 0..600 {
        for device in ["a", "b", "c"] {
            sensor.publish(REQUEST, Qos::AtLeastOnce, request(device, number));
        }
        if number % 10 == 0 {
            network.put_instead(Some(wishes[(number / 10) as usize % wishes.len()].clone())).unwrap();
        }
    }
    let answers = sensor.take(1_800);
    for device in ["a", "b", "c"] {
        let topic = format!("ml/inference/result/{device}");
        let own = answers.iter().filter(|answer| answer.topic == topic);
        let numbers: Vec<_> = own.map(|answer| answer.json()["timestamp_us"].as_i64().unwrap()).collect();
        assert_eq!(numbers, (0..600).collect::<Vec<_>>(), "{device}");
    }
    let totals = node.stop();
    assert_eq!((totals[0].1.answered, totals[0].1.in_flight), (1_800, 0));
}

#[test]
fn a_retained_message_meets_every_node_of_a_group_when_it_starts() {
    let broker = Broker::start(broker::Config::loopback()).unwrap();
    let address: SocketAddr = broker.addresses()[0].1;
    let sensor = Sensor::listening(address, &["ml/inference/network/+/changed"]);
    sensor.publish_retained("ml/inference/network/far", r#"{"preset": "geo"}"#);
    let member = |id: &str| {
        let remote = RemoteConfig { share_group: Some("group".to_owned()), ..remote(address, id) };
        let config = Config { name: "far".to_owned(), ..Config::edge().topics(Topics::default()) };
        Node::builder()
            .node_id(id)
            .remote_broker(remote)
            .network_topic(NETWORK)
            .deployment(config, MODEL)
            .start()
            .unwrap()
    };
    let nodes = [member("one"), member("two")];
    for node in &nodes {
        wait_until("the retained message is taken", || changes(node, "far") == 1);
    }
    sensor.publish_retained("ml/inference/network/far", "");
    for node in &nodes {
        wait_until("the network is the configured one again", || changes(node, "far") == 2);
    }
}
