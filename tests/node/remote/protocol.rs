//! What a node says to a broker elsewhere, packet by packet: when it acknowledges,
//! what it sends again, how it leaves.

use std::time::Duration;

use nearfar::Node;
use nearfar::client::RemoteConfig;
use nearfar::deployment::{Config, Topics};
use nearfar::node::Readiness;

use crate::support::mqtt;
use crate::support::raw_broker::{NEW, Peer, RESUMED, RawBroker, Welcome, remote_v3};
use crate::support::{MODEL, PATIENCE, request};

const REQUEST: &str = "ml/inference/request";
const RESULT: &str = "ml/inference/result/s";

fn node(config: RemoteConfig) -> Node {
    Node::builder().remote_broker(config).deployment(Config::edge(), MODEL).start().expect("a node starts")
}

/// A node that is connected for the first time.
fn connected(broker: &RawBroker, config: RemoteConfig) -> (Node, Peer) {
    let node = node(config);
    let (peer, before) = broker.welcome(NEW);
    assert!(before.is_empty(), "{before:?}");
    (node, peer)
}

/// Waits until the node says why it is not ready, with `part` in the reason.
fn assert_not_ready_because(node: &Node, part: &str) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match node.readiness() {
            Readiness::NotReady(reason) if reason.contains(part) => return,
            other => assert!(std::time::Instant::now() < deadline, "{part:?} is not in {other:?}"),
        }
        std::thread::yield_now();
    }
}

/// The properties of a CONNECT.
fn connect_properties(connect: &[u8]) -> &[u8] {
    &connect[11..11 + usize::from(connect[10])]
}

/// Mosquitto 2.0 says nothing when it closes the connection of a client whose id comes again.
#[test]
fn a_broker_that_closes_each_connection_at_once_is_said_to_know_another_client_of_that_id() {
    let broker = RawBroker::start();
    let node = node(broker.config());
    for _ in 0..3 {
        let (peer, _) = broker.welcome(NEW);
        drop(peer);
    }
    assert_not_ready_because(&node, "perhaps another client has the client id \"node\" too");
}

#[test]
fn a_request_is_acknowledged_once_the_broker_has_its_answer_and_in_the_order_of_arrival() {
    let broker = RawBroker::start();
    let (_node, mut peer) = connected(&broker, broker.config());
    peer.request(REQUEST, &request("s", 1), 11, false);
    peer.request(REQUEST, &request("s", 2), 12, false);
    let (first, second) = (peer.answer(), peer.answer());
    assert_eq!(first.topic(), RESULT);
    peer.taken(&second);
    peer.request(REQUEST, &request("s", 3), 13, false);
    // Had the node acknowledged anything yet, it would have come before this answer.
    let third = peer.answer();
    peer.taken(&first);
    peer.assert_acknowledged(11);
    peer.assert_acknowledged(12);
    peer.taken(&third);
    peer.assert_acknowledged(13);
}

#[test]
fn every_answer_to_a_request_counts_before_it_is_acknowledged() {
    let broker = RawBroker::start();
    let other = Topics { result: "other/result".to_owned(), ..Topics::default() };
    let deployments = [Config::edge(), Config { name: "other".to_owned(), ..Config::edge().topics(other) }];
    let builder = Node::builder().remote_broker(broker.config());
    let builder = deployments.into_iter().fold(builder, |builder, config| builder.deployment(config, MODEL));
    let _node = builder.start().unwrap();
    let (mut peer, _) = broker.welcome(NEW);
    let wants_answer = [&[8, 0, 5][..], b"reply"].concat();
    let bytes = peer.client.publish_bytes(REQUEST, request("s", 1).as_bytes(), 2, 11, &wants_answer);
    peer.client.send(&bytes);
    let answers: Vec<_> = (0..4).map(|_| peer.answer()).collect();
    for answer in &answers[..3] {
        peer.taken(answer);
    }
    peer.request(REQUEST, &request("s", 2), 12, false);
    let (one, other) = (peer.answer(), peer.answer());
    peer.taken(&answers[3]);
    peer.assert_acknowledged(11);
    peer.taken(&one);
    peer.taken(&other);
    peer.assert_acknowledged(12);
}

#[test]
fn a_resumed_session_gets_unacknowledged_answers_again_and_no_request_is_done_twice() {
    let broker = RawBroker::start();
    let (_node, mut peer) = connected(&broker, broker.config());
    for number in 1..=3 {
        peer.request(REQUEST, &request("s", number), 10 + number as u16, false);
    }
    let answers: Vec<_> = (0..3).map(|_| peer.answer()).collect();
    drop(peer);
    let (mut peer, before) = broker.welcome(RESUMED);
    assert_eq!(before.len(), 3);
    for (sent, again) in answers.iter().zip(&before) {
        assert!(again.is_dup() && !sent.is_dup());
        assert_eq!((sent.packet_id(), sent.payload5()), (again.packet_id(), again.payload5()));
        peer.taken(again);
    }
    // Their requests come again, and are neither done again nor acknowledged before they come.
    for number in 1..=3 {
        peer.request(REQUEST, &request("s", number), 10 + number as u16, true);
        peer.assert_acknowledged(10 + number as u16);
    }
    // Another request with the packet id of one that was answered.
    peer.request(REQUEST, &request("s", 4), 11, true);
    let answer = peer.answer();
    peer.taken(&answer);
    peer.assert_acknowledged(11);
}

#[test]
fn a_broker_that_has_lost_the_session_gets_the_answers_as_new_ones() {
    let broker = RawBroker::start();
    let (_node, mut peer) = connected(&broker, broker.config());
    peer.request(REQUEST, &request("s", 1), 11, false);
    let sent = peer.answer();
    drop(peer);
    let (mut peer, before) = broker.welcome(NEW);
    assert_eq!(before.len(), 1);
    assert!(!before[0].is_dup());
    assert_eq!(before[0].payload5(), sent.payload5());
    peer.taken(&before[0]);
}

#[test]
fn a_broker_that_takes_one_message_at_a_time_gets_one_at_a_time() {
    let broker = RawBroker::start();
    let _node = node(broker.config());
    let (mut peer, _) = broker.welcome(Welcome { receive_max: Some(1), ..NEW });
    peer.request(REQUEST, &request("s", 1), 11, false);
    peer.request(REQUEST, &request("s", 2), 12, false);
    let first = peer.answer();
    peer.taken(&first);
    // The acknowledgement is no message, so it does not wait for the second answer's turn.
    let (mut has_acknowledged, mut has_answered) = (false, false);
    while !(has_acknowledged && has_answered) {
        let packet = peer.client.receive();
        has_acknowledged |= (packet.first, packet.packet_id()) == (0x40, 11);
        has_answered |= packet.kind() == 3;
    }
}

#[test]
fn an_answer_that_the_broker_does_not_take_this_time_lets_the_request_be_delivered_again() {
    let broker = RawBroker::start();
    let (_node, mut peer) = connected(&broker, broker.config());
    peer.request(REQUEST, &request("s", 1), 11, false);
    let answer = peer.answer();
    let quota_exceeded = [&answer.packet_id().to_be_bytes()[..], &[0x97]].concat();
    peer.client.send(&mqtt::packet(0x40, &quota_exceeded));
    assert_eq!(peer.client.next(), None, "the node comes again to fetch the request");
    let (mut peer, before) = broker.welcome(RESUMED);
    assert!(before.is_empty(), "{before:?}");
    peer.request(REQUEST, &request("s", 1), 11, true);
    let answer = peer.answer();
    peer.taken(&answer);
    peer.assert_acknowledged(11);
}

#[test]
fn an_answer_that_the_broker_will_never_take_does_not_come_again_and_again() {
    let broker = RawBroker::start();
    let (_node, mut peer) = connected(&broker, broker.config());
    peer.request(REQUEST, &request("s", 1), 11, false);
    let answer = peer.answer();
    let not_authorized = [&answer.packet_id().to_be_bytes()[..], &[0x87]].concat();
    peer.client.send(&mqtt::packet(0x40, &not_authorized));
    peer.assert_acknowledged(11);
}

#[test]
fn the_session_is_named_after_the_node_and_kept_as_long_as_asked() {
    let broker = RawBroker::start();
    let config =
        RemoteConfig { session_expiry: Duration::from_secs(258), receive_max: 77, ..broker.config() };
    let _node = node(config);
    let peer = broker.accept();
    let (connect, properties) = (&peer.connect, connect_properties(&peer.connect));
    assert_eq!(connect[7] & 2, 0, "no clean start");
    assert!(properties.windows(5).any(|window| window == [17, 0, 0, 1, 2]), "{properties:?}");
    assert!(properties.windows(3).any(|window| window == [33, 0, 77]), "{properties:?}");
    assert!(connect[11 + properties.len()..].starts_with(b"\0\x04node"));
    let broker = RawBroker::start();
    let _node = node(RemoteConfig { session_expiry: Duration::ZERO, ..broker.config() });
    assert_eq!(broker.accept().connect[7] & 2, 2, "a clean start");
}

#[test]
fn a_stopped_node_leaves_its_session_with_the_broker_for_its_next_start() {
    let broker = RawBroker::start();
    let (node, mut peer) = connected(&broker, broker.config());
    let stopping = std::thread::spawn(move || node.stop());
    let offline = peer.client.receive();
    assert_eq!(offline.payload5(), br#"{"node_id":"nearfar","status":"offline"}"#);
    peer.taken(&offline);
    let goodbye = peer.client.receive();
    assert_eq!((goodbye.first, goodbye.body.len()), (0xe0, 0), "{goodbye:?}");
    assert_eq!(peer.client.next(), None);
    stopping.join().unwrap();
}

#[test]
fn a_stopped_member_of_a_share_group_takes_what_is_its_own_and_ends_its_session() {
    let broker = RawBroker::start();
    let config = RemoteConfig { share_group: Some("team".to_owned()), ..broker.config() };
    let node = node(config);
    let mut peer = broker.accept();
    peer.welcome(NEW);
    let subscribe = peer.client.receive();
    let filter = b"$share/team/ml/inference/request";
    assert!(subscribe.body.windows(filter.len()).any(|window| window == filter), "{subscribe:?}");
    peer.client.send(&peer.suback(&subscribe, 1));
    let status = peer.client.receive();
    peer.taken(&status);
    node.wait_until_ready(PATIENCE).unwrap();
    let stopping = std::thread::spawn(move || node.stop());
    let unsubscribe = peer.client.receive();
    assert_eq!(unsubscribe.first, 0xa2);
    // What was queued for this member goes nowhere else: before the acknowledgement,
    // behind it, and as it makes room.
    peer.request(REQUEST, &request("s", 1), 11, false);
    peer.client.send(&mqtt::packet(0xb0, &[unsubscribe.body[0], unsubscribe.body[1], 0, 0]));
    peer.request(REQUEST, &request("s", 2), 12, false);
    let mut acknowledged = Vec::new();
    while acknowledged != [11, 12] {
        match peer.client.receive() {
            ack if ack.first == 0x40 => acknowledged.push(ack.packet_id()),
            answer => peer.taken(&answer),
        }
    }
    assert_eq!(peer.client.receive().first, 0xc0, "is there more?");
    peer.request(REQUEST, &request("s", 3), 13, false);
    peer.client.send(&[0xd0, 0]);
    let answer = peer.answer();
    peer.taken(&answer);
    peer.assert_acknowledged(13);
    assert_eq!(peer.client.receive().first, 0xc0, "is there more?");
    peer.client.send(&[0xd0, 0]);
    let offline = peer.client.receive();
    peer.taken(&offline);
    let goodbye = peer.client.receive();
    assert_eq!((goodbye.first, &goodbye.body[..]), (0xe0, &[0, 5, 17, 0, 0, 0, 0][..]));
    let (_, total) = stopping.join().unwrap()[0].clone();
    assert_eq!((total.received, total.answered, total.in_flight), (3, 3, 0));
}

#[test]
fn a_partition_takes_its_devices_and_acknowledges_the_others_unseen() {
    let broker = RawBroker::start();
    // "fan" is in the first of two parts, "pump" in the second: docs/cluster.md promises it.
    let config = RemoteConfig { partition: Some("1/2".parse().unwrap()), ..broker.config() };
    let topics = Topics { request: vec!["in/+".to_owned()], ..Topics::default() };
    let node = Node::builder().remote_broker(config).deployment(Config::edge().topics(topics), MODEL);
    let node = node.start().unwrap();
    let (mut peer, _) = broker.welcome(NEW);
    peer.request("in/pump", &request("pump", 1), 11, false);
    peer.assert_acknowledged(11);
    peer.request("in/fan", &request("fan", 1), 12, false);
    let answer = peer.answer();
    assert_eq!(answer.topic(), "ml/inference/result/fan");
    peer.taken(&answer);
    peer.assert_acknowledged(12);
    assert_eq!(node.deployment("edge").unwrap().statistics().received, 1);
}

#[test]
fn a_node_speaks_3_1_1_where_it_is_told_to() {
    let broker = RawBroker::start();
    let (_node, mut peer) = connected(&broker, remote_v3(broker.address(), "node"));
    assert_eq!(peer.connect[6], 4);
    peer.request(REQUEST, &request("s", 1), 11, false);
    let answer = peer.answer();
    assert_eq!(answer.topic(), RESULT);
    assert!(answer.payload().starts_with(b"{\"device_id\":\"s\""));
    drop(peer);
    let (mut peer, before) = broker.welcome(RESUMED);
    assert!(before[0].is_dup());
    peer.taken(&before[0]);
    peer.request(REQUEST, &request("s", 1), 11, true);
    peer.assert_acknowledged(11);
}

#[test]
fn what_the_broker_refuses_is_said_in_words_that_name_the_setting() {
    for (code, part) in [(0x86, "remote.password_file"), (0x84, "remote.protocol = \"3.1.1\"")] {
        let broker = RawBroker::start();
        let node = node(broker.config());
        let mut peer = broker.accept();
        peer.client.send(&mqtt::packet(0x20, &[0, code, 0]));
        assert_not_ready_because(&node, part);
    }
    let broker = RawBroker::start();
    let node = node(broker.config());
    let mut peer = broker.accept();
    peer.welcome(NEW);
    let subscribe = peer.client.receive();
    peer.client.send(&peer.suback(&subscribe, 0x87));
    assert_not_ready_because(&node, "the subscription to \"ml/inference/request\": this client may not");
    // Somebody else comes with this node's client id.
    peer.client.send(&mqtt::packet(0xe0, &[0x8e, 0]));
    assert_not_ready_because(&node, "give each node a node_id");
}
