//! An acknowledged request is an answered request: when the embedded broker
//! acknowledges, and what becomes of one that comes again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nearfar::client::Acknowledge;
use nearfar::deployment::{Config, Topics, Window};
use nearfar::inference::ErrorCode;
use nearfar::model::{Model, ModelInfo};
use nearfar::mqtt::Message;
use nearfar::{Detector, Node};
use serde_json::json;

use crate::support::gate::{Gate, gated};
use crate::support::mqtt::{self, Client, Connect, Packet};
use crate::support::waiting::wait_until;
use crate::support::{self, Sensor, assert_error};

const REQUEST: &str = "ml/inference/request";
const ANSWERS: [&str; 2] = ["ml/inference/result/#", "ml/inference/error/#"];
const QOS_1: u8 = 0b0010;
const QOS_2: u8 = 0b0100;
const DUP: u8 = 0b1000;
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;

fn one_at_a_time() -> Config {
    let mut config = Config::edge();
    config.worker.batch_max = 1;
    config.worker.inference_timeout = None;
    config
}

fn start(config: Config, model: impl Model + 'static) -> (Node, SocketAddr) {
    let detector = Detector::from_parts(ModelInfo::new("test", 1), Box::new(model));
    let node = Node::builder()
        .shutdown_grace(support::PATIENCE)
        .deployment(config, detector)
        .start()
        .expect("a node starts");
    let address = node.mqtt_address().expect("it has a broker");
    (node, address)
}

fn held(config: Config) -> (Node, SocketAddr, Arc<Gate>) {
    let (model, gate) = gated();
    let (node, address) = start(config, model);
    (node, address, gate)
}

fn payload(number: i64, feature: f32) -> Vec<u8> {
    json!({ "device_id": "d", "timestamp_us": number, "features": [feature] }).to_string().into_bytes()
}

fn publish(client: &mut Client, flags: u8, packet_id: u16, payload: &[u8]) {
    let bytes = client.publish_bytes(REQUEST, payload, flags, packet_id, &[]);
    client.send(&bytes);
}

fn ack(packet: &Packet) -> (u8, u16, u8) {
    (packet.first, packet.packet_id(), packet.body.get(2).copied().unwrap_or(0))
}

#[test]
fn a_request_is_acknowledged_when_it_is_answered() {
    for (connect, flags, first) in [
        (Connect::v3("a"), QOS_1, PUBACK),
        (Connect::v5("a"), QOS_1, PUBACK),
        (Connect::v3("a"), QOS_2, PUBREC),
        (Connect::v5("a"), QOS_2, PUBREC),
    ] {
        let (_node, address, gate) = held(one_at_a_time());
        let listener = Sensor::listening(address, &ANSWERS);
        let mut client = Client::accepted(address, &connect);
        publish(&mut client, flags, 7, &payload(1, 0.5));
        gate.wait_until_begun(&[0.5]);
        assert!(client.until_pong().is_empty(), "it is with the model, and not acknowledged");
        gate.open();
        assert_eq!(ack(&client.receive()), (first, 7, 0));
        assert_eq!(listener.next().topic, "ml/inference/result/d");
    }
}

#[test]
fn a_sender_that_gets_its_own_answers_has_them_before_the_acknowledgement() {
    for subscription_qos in [0, 1] {
        let (_node, address, gate) = held(one_at_a_time());
        gate.open();
        let mut client = Client::v5(address, "a");
        client.subscribe("ml/inference/result/d", subscription_qos);
        for packet_id in 1..=100 {
            publish(&mut client, QOS_1, packet_id, &payload(i64::from(packet_id), 0.5));
        }
        let (mut answered, mut acknowledged) = (0, 0);
        while acknowledged < 100 {
            let packet = client.receive();
            if packet.kind() == 3 {
                answered += 1;
            } else {
                acknowledged += 1;
                assert_eq!(ack(&packet), (PUBACK, acknowledged, 0));
                assert!(answered >= acknowledged, "{answered} answers before acknowledgement {acknowledged}");
            }
        }
    }
}

#[test]
fn acknowledgements_keep_the_order_of_the_publishes_whoever_answers_first() {
    let (_node, address, gate) = held(Config { workers: 2, ..one_at_a_time() });
    let mut client = Client::v5(address, "a");
    let slow = json!({ "device_id": "slow", "timestamp_us": 1, "features": [0.25] }).to_string();
    publish(&mut client, QOS_1, 1, slow.as_bytes());
    publish(&mut client, QOS_1, 2, &payload(1, 0.5));
    let elsewhere = client.publish_bytes("no/request", b"x", QOS_1, 3, &[]);
    client.send(&elsewhere);
    gate.wait_until_begun(&[0.25, 0.5]);
    gate.let_go(0.5);
    assert!(client.until_pong().is_empty(), "the first one is still with the model");
    gate.open();
    let given: Vec<_> = (0..3).map(|_| ack(&client.receive())).map(|(first, id, _)| (first, id)).collect();
    assert_eq!(given, [(PUBACK, 1), (PUBACK, 2), (PUBACK, 3)]);
}

#[test]
fn a_refused_request_is_answered_and_so_acknowledged() {
    let (_node, address) = start(one_at_a_time(), gated().0);
    let listener = Sensor::listening(address, &ANSWERS);
    let mut client = Client::v5(address, "a");
    publish(&mut client, QOS_1, 1, b"not json");
    assert_eq!(ack(&client.receive()), (PUBACK, 1, 0));
    assert_error(&listener.next(), "ml/inference/error", ErrorCode::InvalidJson);
}

#[test]
fn on_receipt_nobody_waits_for_the_model() {
    let (_node, address, gate) = held(Config { acknowledge: Acknowledge::OnReceipt, ..one_at_a_time() });
    let mut client = Client::v5(address, "a");
    publish(&mut client, QOS_1, 1, &payload(1, 0.5));
    assert_eq!(ack(&client.receive()), (PUBACK, 1, 0));
    gate.open();
}

#[test]
fn with_two_deployments_both_have_answered() {
    let (edge, cloud) = (gated(), gated());
    let detector = |model| Detector::from_parts(ModelInfo::new("test", 1), Box::new(model));
    let config = |name: &str, result: &str| Config {
        name: name.to_owned(),
        topics: Topics { result: result.to_owned(), ..Topics::default() },
        ..one_at_a_time()
    };
    let node = Node::builder()
        .deployment(config("edge", "edge/result"), detector(edge.0))
        .deployment(config("cloud", "cloud/result"), detector(cloud.0))
        .start()
        .unwrap();
    let mut client = Client::v5(node.mqtt_address().unwrap(), "a");
    publish(&mut client, QOS_1, 1, &payload(1, 0.5));
    let listener = Sensor::listening(node.mqtt_address().unwrap(), &["edge/#"]);
    edge.1.open();
    assert_eq!(listener.next().topic, "edge/result/d");
    cloud.1.wait_until_begun(&[0.5]);
    assert!(client.until_pong().is_empty(), "the cloud has not answered");
    cloud.1.open();
    assert_eq!(ack(&client.receive()), (PUBACK, 1, 0));
}

#[test]
fn a_request_that_is_sent_again_while_it_is_under_way_is_answered_once_to_each() {
    let (node, address, gate) = held(one_at_a_time());
    let listener = Sensor::listening(address, &ANSWERS);
    let mut first = Client::accepted(address, &Connect::v5("a").persistent());
    publish(&mut first, QOS_1, 1, &payload(1, 0.5));
    gate.wait_until_begun(&[0.5]);
    drop(first);
    let mut again = Client::accepted(address, &Connect::v5("a").persistent());
    publish(&mut again, QOS_1 | DUP, 1, &payload(1, 0.5));
    wait_until("requests never arrive", || node.deployment("edge").unwrap().statistics().received >= 2);
    assert!(again.until_pong().is_empty());
    gate.open();
    assert_eq!(ack(&again.receive()), (PUBACK, 1, 0));
    let answers = listener.take(2);
    assert_eq!(answers[0].payload, answers[1].payload, "the same answer");
    assert_eq!(gate.begun(), [0.5], "the model saw it once");
    let statistics = node.deployment("edge").unwrap().statistics();
    assert_eq!((statistics.received, statistics.answered, statistics.repeated), (2, 2, 1));
    assert!(statistics.is_conserved());
}

#[test]
fn a_request_that_was_answered_is_answered_the_same_again() {
    let (node, address, gate) = held(one_at_a_time());
    gate.open();
    let listener = Sensor::listening(address, &ANSWERS);
    let mut client = Client::v3(address, "a");
    for packet_id in 1..=3 {
        publish(&mut client, QOS_1, packet_id, &payload(1, 0.5));
        assert_eq!(ack(&client.receive()), (PUBACK, packet_id, 0));
    }
    let answers = listener.take(3);
    assert!(answers.iter().all(|answer| answer.payload == answers[0].payload), "{answers:?}");
    assert_eq!(gate.begun(), [0.5]);
    // Another reading at the same time of a clock that stands still is another request.
    publish(&mut client, QOS_1, 4, &payload(1, 0.25));
    assert_eq!(listener.next().json()["prediction"], json!(0.25));
    assert_eq!(node.deployment("edge").unwrap().statistics().repeated, 2);
}

#[test]
fn without_a_window_every_request_is_a_new_one() {
    let duplicates = Window { duration: Duration::ZERO, ..Window::default() };
    let (node, address, gate) = held(Config { duplicates, ..one_at_a_time() });
    gate.open();
    let mut client = Client::v3(address, "a");
    for packet_id in 1..=2 {
        publish(&mut client, QOS_1, packet_id, &payload(1, 0.5));
        client.receive();
    }
    assert_eq!((gate.begun().len(), node.deployment("edge").unwrap().statistics().repeated), (2, 0));
}

#[test]
fn qos_2_is_received_once_across_connections_and_acknowledged_when_it_is_answered() {
    let (node, address, gate) = held(one_at_a_time());
    let connect = Connect::v3("a").persistent();
    let mut first = Client::accepted(address, &connect);
    publish(&mut first, QOS_2, 5, &payload(1, 0.5));
    gate.wait_until_begun(&[0.5]);
    drop(first);
    let (mut again, connack) = Client::connect(address, &connect);
    assert_eq!(connack.body[0], 1, "the session is there");
    publish(&mut again, QOS_2 | DUP, 5, &payload(1, 0.5));
    assert!(again.until_pong().is_empty());
    gate.open();
    assert_eq!(ack(&again.receive()), (PUBREC, 5, 0));
    again.send(&[0x62, 2, 0, 5]);
    assert_eq!(again.receive().first, 0x70);
    assert_eq!(
        node.deployment("edge").unwrap().statistics().received,
        1,
        "the broker kept the second one to itself"
    );
}

#[test]
fn a_stopping_node_acknowledges_what_it_has_answered_and_nothing_else() {
    let (node, address, gate) = held(one_at_a_time());
    let mut client = Client::v5(address, "a");
    publish(&mut client, QOS_1, 1, &payload(1, 0.5));
    gate.wait_until_begun(&[0.5]);
    let stopping = std::thread::spawn(move || node.stop());
    // Messages to nobody are acknowledged at once, until the node takes no more. If
    // this gives up too early, the rest holds too.
    let mut late = Client::v5(address, "late");
    late.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    loop {
        let elsewhere = late.publish_bytes("no/request", b"x", QOS_1, 2, &[]);
        late.send(&elsewhere);
        if late.stream.peek(&mut [0]).is_err() {
            break;
        }
        late.receive();
    }
    late.stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    publish(&mut late, QOS_1, 3, &payload(3, 0.25));
    gate.open();
    let (_, total) = stopping.join().unwrap()[0].clone();
    assert_eq!(total.in_flight, 0);
    let mut requests_acknowledged = 0;
    for client in [&mut client, &mut late] {
        let packets = std::iter::from_fn(|| client.next());
        let acks = packets.filter(|packet| packet.first == PUBACK && packet.packet_id() != 2);
        requests_acknowledged += acks.count() as u64;
    }
    assert_eq!(
        (requests_acknowledged, total.answered),
        (1, 1),
        "what came too late is for its sender to send again"
    );
}

#[test]
fn what_an_answering_link_drops_is_refused_so_that_it_is_sent_again() {
    let (broker, address) = mqtt::start_default();
    let (_publisher, mut subscriber) = broker.answering_link("link").unwrap();
    subscriber.subscribe(&["a".to_owned()]).unwrap();
    let mut receive = |client: &mut Client| -> Message {
        let bytes = client.publish_bytes("a", b"x", QOS_1, 1, &[]);
        client.send(&bytes);
        let mut batch = Vec::new();
        assert!(subscriber.receive(&mut batch, 1).unwrap());
        batch.remove(0)
    };
    let mut v5 = Client::v5(address, "v5");
    drop(receive(&mut v5));
    assert_eq!(ack(&v5.receive()), (PUBACK, 1, 0x80));
    receive(&mut v5).receipt.unwrap().settle();
    assert_eq!(ack(&v5.receive()), (PUBACK, 1, 0));
    let mut v3 = Client::v3(address, "v3");
    drop(receive(&mut v3));
    assert!(v3.next().is_none(), "3.1.1 knows no refusal: the connection ends");
}
