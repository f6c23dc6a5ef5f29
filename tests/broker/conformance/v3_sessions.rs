//! The statements of MQTT 3.1.1 about subscriptions, sessions and delivery;
//! `v3.rs` has the others.

use std::net::SocketAddr;

use nearfar::broker::Config;

use crate::support::mqtt::{self, Client, Connect, packet, start, start_default, string};

const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;

fn assert_closes(address: SocketAddr, name: &str, bytes: &[u8]) {
    let mut client = Client::v3(address, "faulty");
    client.send(bytes);
    assert_eq!(client.next(), None, "{name}");
}

#[test]
fn mqtt_3_8_3_4_a_subscribe_against_the_rules_closes_the_connection() {
    let (_broker, address) = start_default();
    for (name, body) in [
        ("no filter", vec![0, 1]),
        ("QoS 3", vec![0, 1, 0, 1, b'a', 3]),
        ("reserved bits", vec![0, 1, 0, 1, b'a', 4]),
        ("the options of MQTT 5", vec![0, 1, 0, 1, b'a', 0x20]),
        ("no QoS", vec![0, 1, 0, 1, b'a']),
        ("one good, one bad", vec![0, 1, 0, 1, b'a', 0, 0, 1, b'b', 0x80]),
    ] {
        assert_closes(address, name, &packet(0x82, &body));
    }
    assert_closes(address, "UNSUBSCRIBE without a filter", &packet(0xa2, &[0, 1]));
}

#[test]
fn mqtt_3_8_4_3_the_same_filter_replaces_the_subscription_and_brings_retained_messages_again() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.publish_acked("t", b"kept", true);
    for qos in [0, 1] {
        client.subscribe("t", qos);
        assert_eq!(client.receive().qos(), qos);
    }
    Client::v3(address, "p").publish_acked("t", b"live", false);
    let got = client.receive();
    assert_eq!((got.payload(), got.qos()), (&b"live"[..], 1));
    assert_eq!(client.until_pong(), [], "one subscription, not two");
}

#[test]
fn mqtt_3_9_3_1_one_suback_has_a_code_for_each_filter_in_their_order() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    let mut body = vec![0, 9];
    for (filter, qos) in [("a", 2), ("$other/#", 1), ("b/+", 0), ("a", 1)] {
        body.extend(string(filter));
        body.push(qos);
    }
    client.send(&packet(0x82, &body));
    assert_eq!(client.receive(), mqtt::Packet { first: 0x90, body: vec![0, 9, 2, 0x80, 0, 1] });
    client.publish_acked("b/x", b"x", false);
    assert_eq!(client.receive().topic(), "b/x");
}

#[test]
fn mqtt_3_10_4_1_unsubscribe_ends_exactly_the_filters_it_names() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    for filter in ["a/b", "a/+", "c"] {
        client.subscribe(filter, 0);
    }
    let filters = [string("a/b"), string("A/+"), string("c"), string("never")].concat();
    client.send(&packet(0xa2, &[&[0, 5][..], &filters].concat()));
    assert_eq!(client.receive(), mqtt::Packet { first: 0xb0, body: vec![0, 5] });
    client.publish("c", b"x", 0);
    client.publish("a/b", b"by the wildcard", 0);
    assert_eq!(client.receive().payload(), b"by the wildcard");
    assert_eq!(client.until_pong(), []);
}

#[test]
fn mqtt_3_10_4_3_a_delivery_that_has_begun_is_completed_after_unsubscribe() {
    let (_broker, address) = start_default();
    let connect = Connect::v3("c").persistent();
    let mut client = Client::accepted(address, &connect);
    client.subscribe("t", 2);
    let mut publisher = Client::v3(address, "p");
    publisher.send(&publisher.publish_bytes("t", b"x", 4, 1, &[]));
    let id = client.receive().packet_id();
    client.unsubscribe("t");
    let mut client = Client::accepted(address, &connect);
    assert_eq!(client.receive().packet_id(), id);
    client.ack(PUBREC, id);
    assert_eq!(client.receive().first, PUBREL);
}

#[test]
fn mqtt_3_12_4_1_a_ping_is_answered() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.send(&[0xc0, 0]);
    assert_eq!(client.receive(), mqtt::Packet { first: 0xd0, body: vec![] });
    assert_closes(address, "PINGREQ with a body", &[0xc0, 1, 0]);
    assert_closes(address, "DISCONNECT with a body", &[0xe0, 1, 0]);
}

#[test]
fn mqtt_4_3_3_1_after_pubrec_only_the_pubrel_comes_again() {
    let (_broker, address) = start_default();
    let connect = Connect::v3("c").persistent();
    let mut client = Client::accepted(address, &connect);
    client.subscribe("t", 2);
    let mut publisher = Client::v3(address, "p");
    publisher.send(&publisher.publish_bytes("t", b"x", 4, 1, &[]));
    let delivery = client.receive();
    assert_eq!((delivery.first, delivery.is_dup()), (0x34, false));
    client.ack(PUBREC, delivery.packet_id());
    assert_eq!(client.receive().first, PUBREL);
    for _ in 0..2 {
        client = Client::accepted(address, &connect);
        let pubrel = client.receive();
        assert_eq!((pubrel.first, pubrel.packet_id()), (PUBREL, delivery.packet_id()));
        assert_eq!(client.until_pong(), []);
    }
    client.ack(PUBCOMP, delivery.packet_id());
    client.ping();
    assert_eq!(Client::accepted(address, &connect).until_pong(), []);
}

#[test]
fn mqtt_4_3_3_2_a_qos_2_publish_survives_the_publishers_reconnect_once() {
    let (broker, address) = start_default();
    let connect = Connect::v3("c").persistent();
    let mut client = Client::accepted(address, &connect);
    client.send(&client.publish_bytes("t", b"x", 4, 5, &[]));
    assert_eq!(client.receive().first, PUBREC);
    let mut client = Client::accepted(address, &connect);
    client.send(&client.publish_bytes("t", b"x", 4 | 8, 5, &[]));
    assert_eq!(client.receive().first, PUBREC);
    client.ack(PUBREL, 5);
    assert_eq!(client.receive().first, PUBCOMP);
    assert_eq!(broker.statistics().published_messages, 1);
}

#[test]
fn mqtt_4_3_2_2_after_its_puback_a_packet_id_is_a_new_publication_whatever_dup_says() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.subscribe("t", 0);
    for flags in [2, 2 | 8] {
        client.send(&client.publish_bytes("t", b"x", flags, 5, &[]));
        let mut firsts = [client.receive().first, client.receive().first];
        firsts.sort_unstable();
        assert_eq!(firsts, [0x30, PUBACK]);
    }
}

#[test]
fn mqtt_4_6_0_1_unacknowledged_messages_come_again_in_their_order() {
    let (_broker, address) = start_default();
    let connect = Connect::v3("c").persistent();
    let mut client = Client::accepted(address, &connect);
    client.subscribe("t", 2);
    let mut publisher = Client::v3(address, "p");
    for n in 0..20u8 {
        publisher.publish_acked("t", &[n], false);
    }
    let first: Vec<_> =
        (0..20).map(|_| client.receive()).map(|got| (got.packet_id(), got.payload().to_vec())).collect();
    let mut client = Client::accepted(address, &connect);
    for expected in first {
        let again = client.receive();
        assert!(again.is_dup());
        assert_eq!((again.packet_id(), again.payload().to_vec()), expected);
    }
}

#[test]
fn mqtt_4_6_0_6_messages_of_one_topic_and_qos_arrive_in_the_order_they_were_published() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.subscribe("t", 1);
    let mut publisher = Client::v3(address, "p");
    let burst: Vec<u8> =
        (0..300u16).flat_map(|n| publisher.publish_bytes("t", &n.to_be_bytes(), 2, n + 1, &[])).collect();
    publisher.send(&burst);
    for n in 0..300u16 {
        let ack = publisher.receive();
        assert_eq!((ack.first, ack.packet_id()), (PUBACK, n + 1), "acknowledged in order too");
        let got = client.receive();
        assert_eq!(got.payload(), n.to_be_bytes());
        client.ack(PUBACK, got.packet_id());
    }
}

#[test]
fn mqtt_4_7_1_2_filters_match_level_by_level_and_character_by_character() {
    let (_broker, address) = start_default();
    let topics = ["sport", "sport/", "sport/tennis", "sport/tennis/p1", "/sport", "Sport", "s port", "/"];
    for (filter, expected) in [
        ("sport/#", &["sport", "sport/", "sport/tennis", "sport/tennis/p1"][..]),
        ("#", &topics),
        ("sport/+", &["sport/", "sport/tennis"]),
        ("+", &["sport", "Sport", "s port"]),
        ("+/+", &["sport/", "sport/tennis", "/sport", "/"]),
        ("/+", &["/sport", "/"]),
        ("+/tennis/#", &["sport/tennis", "sport/tennis/p1"]),
        ("sport", &["sport"]),
    ] {
        let mut client = Client::v3(address, "c");
        client.subscribe(filter, 0);
        topics.iter().for_each(|topic| client.publish(topic, b"", 0));
        // By a client of its own: to the subscriber, deliveries may come before an acknowledgement.
        let mut end = Client::v3(address, "end");
        end.publish_acked("$other", b"", false);
        end.publish_acked("unrelated/marker/of/the/end", b"", false);
        let mut got = Vec::new();
        while got.len() < expected.len() {
            got.push(client.receive().topic());
        }
        let more = client.until_pong();
        assert!(more.iter().all(|packet| packet.topic().starts_with("unrelated")), "{filter}: {more:?}");
        assert_eq!(got, expected, "{filter}");
    }
    for filter in ["sport#", "sport/#/x", "sp+", "+sport", "", "#/", "a\0"] {
        let mut client = Client::v3(address, "c");
        client.send(&client.subscribe_bytes(filter, 0, 1, &[]));
        assert_eq!(client.next(), None, "{filter}");
    }
}

#[test]
fn mqtt_4_7_2_1_wildcards_do_not_match_topics_with_a_dollar() {
    let (broker, address) = start_default();
    let (publisher, _subscriber) = broker.link("in-process").unwrap();
    let mut client = Client::v3(address, "c");
    client.subscribe("#", 0);
    client.subscribe("+/x", 0);
    // Clients may not publish there; the node itself may.
    let mut batch =
        vec![nearfar::mqtt::Message::new("$SYS/x", "hidden"), nearfar::mqtt::Message::new("a/x", "seen")];
    publisher.publish(&mut batch).unwrap();
    assert_eq!(client.receive().payload(), b"seen");
}

#[test]
fn mqtt_4_7_3_3_a_topic_of_65535_bytes_is_carried() {
    let mut config = Config::loopback();
    config.limits.topic_bytes_max = 65_535;
    let (_broker, address) = start(config);
    let topic = "x".repeat(65_535);
    let mut client = Client::v3(address, "c");
    client.subscribe(&topic, 0);
    client.publish(&topic, b"long", 0);
    let got = client.receive();
    assert!(got.topic() == topic && got.payload() == b"long");
}
