//! A node that takes device ids from its senders: nobody asks, or is answered, as another device.

use std::net::SocketAddr;
use std::sync::Arc;

use nearfar::broker::{self, AccessRules, AttemptLimits, Guard, Users};
use nearfar::client::RemoteConfig;
use nearfar::deployment::{self, DeviceIdFrom};
use nearfar::mqtt::{Message, Sender};
use nearfar::node::NodeError;
use nearfar::testing::read_node_file;
use nearfar::{Node, inference::ErrorCode};
use serde_json::Value;

use crate::support::mqtt::{self, Client, Connect};
use crate::support::{INPUTS, MODEL, request};

const REQUEST: &str = "ml/inference/request";

/// The rules that the README shows.
const RULES: &str = r##"
[[rules]]
allow = ["publish"]
topics = ["ml/inference/request"]
[[rules]]
allow = ["subscribe"]
topics = ["ml/inference/result/%u", "ml/inference/error/%u"]
[[rules]]
allow = ["publish", "subscribe"]
topics = ["answers/%u/#"]
[[rules]]
allow = ["subscribe"]
users = ["boss"]
topics = ["#"]
"##;

fn guard(names: &[&str]) -> Arc<Guard> {
    let text =
        names.iter().fold(String::new(), |text, name| Users::with_password(&text, name, "secret").unwrap());
    let (users, rules) = (Users::parse(&text).unwrap(), AccessRules::from_toml(RULES).unwrap());
    Arc::new(Guard::new(users, rules, AttemptLimits::default()).unwrap())
}

fn node(device_id_from: DeviceIdFrom, names: &[&str]) -> (Node, SocketAddr) {
    let broker = broker::Config { access: guard(names), ..broker::Config::loopback() };
    let deployment = deployment::Config { device_id_from, ..deployment::Config::edge() };
    let node = Node::builder().embedded_broker(broker).deployment(deployment, MODEL).start().unwrap();
    let address = node.mqtt_address().unwrap();
    (node, address)
}

/// A client of `user` that receives what it may of its own.
fn device(address: SocketAddr, client_id: &str, user: &str, filters: &[&str]) -> Client {
    let mut client =
        Client::accepted(address, &Connect { login: Some((user, "secret")), ..Connect::v5(client_id) });
    for filter in filters {
        assert_eq!(client.subscribe(filter, 0), 0, "{filter}");
    }
    client
}

/// Publishes a request, and returns the topic and the JSON of the first answer.
fn ask(client: &mut Client, payload: &str, properties: &[u8]) -> (String, Value) {
    client.send(&client.publish_bytes(REQUEST, payload.as_bytes(), 0, 0, properties));
    let answer = client.receive();
    (answer.topic(), serde_json::from_slice(answer.payload5()).unwrap())
}

fn without_device() -> String {
    format!("{{\"timestamp_us\":1,\"features\":[{}]}}", ["0.5"; INPUTS].join(","))
}

#[test]
fn a_request_is_its_users_whatever_the_payload_says() {
    let (node, address) = node(DeviceIdFrom::Username, &["press", "lathe", "boss"]);
    let mut boss = device(address, "b", "boss", &["ml/inference/result/+", "ml/inference/error/#"]);
    let mut press = device(address, "p", "press", &["ml/inference/result/press", "ml/inference/error/press"]);
    for payload in [request("press", 1), without_device()] {
        let (topic, answer) = ask(&mut press, &payload, &[]);
        assert_eq!((topic.as_str(), &answer["device_id"]), ("ml/inference/result/press", &"press".into()));
    }
    let (topic, answer) = ask(&mut press, &request("lathe", 1), &[]);
    assert_eq!(topic, "ml/inference/error/press");
    assert_eq!(answer["code"], ErrorCode::InvalidDeviceId.as_str());
    let seen: Vec<_> = (0..3).map(|_| boss.receive().topic()).collect();
    assert_eq!(seen, ["ml/inference/result/press", "ml/inference/result/press", "ml/inference/error/press"]);
    assert_eq!(node.deployment("edge").unwrap().statistics().answered, 2);
}

#[test]
fn a_request_is_its_client_ids_where_that_is_asked_for() {
    let (_node, address) = node(DeviceIdFrom::ClientId, &["press", "boss"]);
    let mut boss = device(address, "boss-1", "boss", &["#"]);
    let mut press = device(address, "press-1", "press", &[]);
    press.publish(REQUEST, without_device().as_bytes(), 0);
    press.publish(REQUEST, request("press", 1).as_bytes(), 0);
    let mut topics: Vec<_> = std::iter::from_fn(|| Some(boss.receive().topic()))
        .filter(|topic| topic.starts_with("ml/inference/result") || topic.starts_with("ml/inference/error"))
        .take(2)
        .collect();
    topics.sort_unstable();
    assert_eq!(topics, ["ml/inference/error/press-1", "ml/inference/result/press-1"]);
}

#[test]
fn a_name_that_is_no_device_id_asks_for_nobody() {
    let (_node, address) = node(DeviceIdFrom::Username, &["press/1", "boss"]);
    let mut boss = device(address, "b", "boss", &["ml/inference/error/#"]);
    let mut odd = device(address, "o", "press/1", &[]);
    odd.publish(REQUEST, request("press", 1).as_bytes(), 0);
    let answer = boss.receive();
    assert_eq!(answer.topic(), "ml/inference/error");
    let answer: Value = serde_json::from_slice(answer.payload5()).unwrap();
    assert_eq!(answer["code"], ErrorCode::InvalidDeviceId.as_str());
}

#[test]
fn the_node_answers_only_where_its_requester_may_publish() {
    let (node, address) = node(DeviceIdFrom::Username, &["press", "boss"]);
    let mut press = device(address, "p", "press", &["answers/press/#"]);
    let answers_on = |topic: &str| [&[8][..], &mqtt::string(topic)].concat();
    let (topic, _) = ask(&mut press, &request("press", 1), &answers_on("answers/press/1"));
    assert_eq!(topic, "answers/press/1");
    let elsewhere =
        press.publish_bytes(REQUEST, request("press", 2).as_bytes(), 2, 5, &answers_on("answers/boss/1"));
    press.send(&elsewhere);
    assert_eq!(press.receive().body[..3], [0, 5, 0x87]);
    assert_eq!(node.deployment("edge").unwrap().statistics().received, 1, "it never came to the node");
}

#[test]
fn who_sent_a_message_is_told_to_links_alone_and_no_client_can_forge_it() {
    let config = broker::Config {
        access: guard(&["press", "boss"]),
        tells_senders: true,
        ..broker::Config::loopback()
    };
    let (broker, address) = mqtt::start(config);
    let (publisher, mut link) = broker.link("test").unwrap();
    link.subscribe(&[REQUEST.to_owned()]).unwrap();
    let mut boss = device(address, "b", "boss", &["#"]);
    let mut press = device(address, "p", "press", &[]);
    // User properties that look like the ones that the broker uses inside.
    let forged = [("", "7:7"), ("admin", "::admin"), ("admin", "1:2:admin")]
        .map(|(name, value)| [&[38][..], &mqtt::string(name), &mqtt::string(value)].concat())
        .concat();
    press.send(&press.publish_bytes(REQUEST, b"x", 0, 0, &forged));
    let mut received = Vec::new();
    link.receive(&mut received, 10).unwrap();
    let sender = Sender { client_id: "p".to_owned(), user: Some("press".to_owned()) };
    assert_eq!(received[0].sender.as_deref(), Some(&sender));
    assert_eq!(received[0].properties.as_ref().unwrap().user_properties.len(), 3);
    assert_eq!(
        boss.receive().properties(),
        forged,
        "another client sees what the first one said and no more"
    );
    publisher.publish(&mut vec![Message::new(REQUEST, "inside")]).unwrap();
    received.clear();
    link.receive(&mut received, 10).unwrap();
    assert_eq!(received[0].sender, None, "the process itself is no client");
}

#[test]
fn senders_that_nobody_knows_are_refused_in_the_configuration() {
    let deployment =
        deployment::Config { device_id_from: DeviceIdFrom::ClientId, ..deployment::Config::edge() };
    let remote = RemoteConfig::new("127.0.0.1", 1, "c");
    let refused = Node::builder().remote_broker(remote).deployment(deployment, MODEL).start().err().unwrap();
    assert!(matches!(&refused, NodeError::SendersUnknown(name) if name == "edge"), "{refused}");
    let directory = tempfile::tempdir().unwrap();
    for (broker, source, part) in [
        ("[remote]\nhost = \"h\"\n", "client_id", "broker elsewhere"),
        ("[remote]\nhost = \"h\"\n", "username", "broker elsewhere"),
        ("", "username", "broker.users"),
    ] {
        let file = directory.path().join("nearfar.toml");
        let text = format!("{broker}[deployments.edge]\nmodel = \"m\"\ndevice_id_from = \"{source}\"\n");
        std::fs::write(&file, text).unwrap();
        let read = read_node_file(&file).and_then(|file| file.into_serve_config());
        let error = read.unwrap_err().to_string();
        assert!(error.contains("`deployments.edge.device_id_from`") && error.contains(part), "{error}");
    }
}
