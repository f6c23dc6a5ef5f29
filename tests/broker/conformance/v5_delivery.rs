//! The statements of MQTT 5 about publishing, subscriptions, sessions and delivery;
//! `v5.rs` has the others.

mod shared;

use std::net::SocketAddr;

use nearfar::broker::Broker;

use crate::support::mqtt::{Client, Connect, Packet, packet, start_default, string};
use crate::support::waiting::wait_until;

const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;

fn assert_disconnects(address: SocketAddr, name: &str, bytes: &[u8], reason: u8) {
    let mut client = Client::v5(address, "faulty");
    client.send(bytes);
    let goodbye = client.next().unwrap_or_else(|| panic!("{name}: no DISCONNECT"));
    assert_eq!((goodbye.first, goodbye.body[0]), (0xe0, reason), "{name}");
    assert_eq!(client.next(), None, "{name}");
}

fn wait_until_parked(broker: &Broker) {
    wait_until("the session is not parked", || broker.statistics().parked_sessions > 0);
}

/// An acknowledgement with a reason code.
fn ack(first: u8, packet_id: u16, reason: u8) -> Vec<u8> {
    packet(first, &[&packet_id.to_be_bytes()[..], &[reason]].concat())
}

/// Waits until nothing is retained on `clock` any more: a message there tells
/// without a sleep of ours that its time is over.
fn wait_until_the_clock_has_expired(address: SocketAddr) {
    loop {
        let mut reader = Client::v5(address, "clock");
        reader.subscribe("clock", 0);
        if reader.until_pong().is_empty() {
            break;
        }
    }
}

#[test]
fn mqtt_3_3_2_17_properties_reach_every_subscriber_unaltered_and_in_order() {
    let (_broker, address) = start_default();
    let mut subscribers = [Client::v5(address, "a"), Client::v5(address, "b")];
    for client in &mut subscribers {
        client.subscribe("t", 1);
    }
    let properties = [
        &[1, 1][..],
        &[&[8][..], &string("answers/here")].concat(),
        &[9, 0, 3, 0, 0xff, 0],
        &[38, 0, 1, b'z', 0, 1, b'1', 38, 0, 1, b'a', 0, 1, b'2', 38, 0, 1, b'z', 0, 1, b'1'],
        &[&[3][..], &string("text/plain")].concat(),
    ]
    .concat();
    let mut publisher = Client::v5(address, "p");
    publisher.send(&publisher.publish_bytes("t", b"x", 3, 1, &properties));
    publisher.receive();
    for client in &mut subscribers {
        assert_eq!(client.receive().properties(), properties);
    }
    let mut late = Client::v5(address, "late");
    late.subscribe("t", 0);
    assert_eq!(late.receive().properties(), properties, "a retained message keeps them");
}

#[test]
fn mqtt_3_3_2_6_the_expiry_interval_is_what_is_left_and_what_has_expired_is_not_sent() {
    let (broker, address) = start_default();
    let connect = Connect::v5("c").persistent();
    let mut client = Client::accepted(address, &connect);
    client.subscribe("t", 1);
    client.disconnect();
    wait_until_parked(&broker);
    let mut publisher = Client::v5(address, "p");
    let began = std::time::Instant::now();
    for (payload, expiry_s) in [(b"short", 1), (b"long!", 100)] {
        publisher.send(&publisher.publish_bytes("t", payload, 2, 1, &[2, 0, 0, 0, expiry_s]));
        assert_eq!(publisher.receive().first, PUBACK);
    }
    // A message of one second, published now and awaited, tells without a sleep of ours
    // that its second is over.
    publisher.send(&publisher.publish_bytes("clock", b"x", 1, 0, &[2, 0, 0, 0, 1]));
    publisher.ping();
    wait_until_the_clock_has_expired(address);
    let mut client = Client::accepted(address, &connect);
    let got = client.receive();
    let left = i64::from(*got.properties().last().unwrap());
    assert_eq!((got.payload5(), &got.properties()[..4]), (&b"long!"[..], &[2, 0, 0, 0][..]));
    assert!(left < 100 && left >= 99 - began.elapsed().as_secs() as i64, "{left}");
    assert_eq!(client.until_pong(), []);
}

#[test]
fn mqtt_4_3_3_7_what_was_sent_once_does_not_expire() {
    let (broker, address) = start_default();
    let connect = Connect::v5("c").persistent();
    let mut client = Client::accepted(address, &connect);
    client.subscribe("t", 2);
    let mut publisher = Client::v5(address, "p");
    publisher.send(&publisher.publish_bytes("t", b"x", 4, 1, &[2, 0, 0, 0, 1]));
    publisher.send(&publisher.publish_bytes("clock", b"x", 1, 0, &[2, 0, 0, 0, 2]));
    let id = client.receive().packet_id();
    drop(client);
    wait_until_parked(&broker);
    wait_until_the_clock_has_expired(address);
    let mut client = Client::accepted(address, &connect);
    let again = client.receive();
    assert_eq!((again.first, again.packet_id()), (0x3c, id));
    assert_eq!(again.properties(), [2, 0, 0, 0, 0]);
}

#[test]
fn mqtt_4_3_3_13_an_exchange_goes_on_although_its_message_expired() {
    let (_broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    client.subscribe("t", 2);
    client.send(&client.publish_bytes("t", b"x", 4, 5, &[2, 0, 0, 0, 0]));
    assert_eq!(client.receive(), Packet { first: PUBREC, body: vec![0, 5] });
    client.ack(PUBREL, 5);
    assert_eq!(client.receive(), Packet { first: PUBCOMP, body: vec![0, 5] });
    assert_eq!(client.until_pong(), [], "nobody gets it");
}

#[test]
fn mqtt_3_3_2_7_aliases_end_with_the_connection() {
    let (_broker, address) = start_default();
    let connect = Connect::v5("c").persistent();
    let mut client = Client::accepted(address, &connect);
    client.send(&client.publish_bytes("t", b"x", 0, 0, &[35, 0, 1]));
    client.ping();
    let mut client = Client::accepted(address, &connect);
    client.send(&client.publish_bytes("", b"x", 0, 0, &[35, 0, 1]));
    assert_eq!(client.receive().body[0], 0x94);
}

#[test]
fn mqtt_3_3_2_12_every_alias_up_to_the_maximum_is_accepted_and_may_be_changed() {
    let (_broker, address) = start_default();
    let (mut client, connack) = Client::connect(address, &Connect::v5("c"));
    let at = connack.body.windows(2).rposition(|bytes| bytes == [34, 0]).unwrap();
    let maximum = connack.body[at + 2];
    client.subscribe("#", 0);
    for alias in [1, maximum] {
        for topic in ["first", "second"] {
            client.send(&client.publish_bytes(topic, b"", 0, 0, &[35, 0, alias]));
            client.send(&client.publish_bytes("", b"", 0, 0, &[35, 0, alias]));
            assert_eq!([client.receive().topic(), client.receive().topic()], [topic, topic]);
        }
    }
    let beyond = client.publish_bytes("t", b"", 0, 0, &[35, 0, maximum + 1]);
    assert_disconnects(address, "beyond the maximum", &beyond, 0x94);
}

#[test]
fn mqtt_3_1_2_26_the_server_uses_no_more_aliases_than_the_client_takes() {
    let (_broker, address) = start_default();
    let one = Connect { properties: vec![34, 0, 1], ..Connect::v5("c") };
    for (connect, aliases) in [(one, 2), (Connect::v5("c"), 0)] {
        let mut client = Client::accepted(address, &connect);
        client.subscribe("#", 0);
        for topic in ["a", "b", "a"] {
            client.publish(topic, b"", 0);
        }
        let got: Vec<_> = (0..3).map(|_| client.receive()).collect();
        assert_eq!(got.iter().filter(|packet| packet.properties() == [35, 0, 1]).count(), aliases);
        assert_eq!(got[1].topic(), "b");
    }
}

#[test]
fn mqtt_3_3_4_9_a_client_that_returns_with_a_smaller_window_is_sent_no_more_than_that() {
    let (_broker, address) = start_default();
    let connect = Connect::v5("c").persistent();
    let mut client = Client::accepted(address, &connect);
    client.subscribe("t", 1);
    let mut publisher = Client::v5(address, "p");
    for n in 0..4u8 {
        publisher.publish_acked("t", &[n], false);
    }
    let ids: Vec<_> = (0..4).map(|_| client.receive().packet_id()).collect();
    let properties = [connect.properties.clone(), vec![33, 0, 2]].concat();
    let mut client = Client::accepted(address, &Connect { properties, ..connect });
    publisher.publish_acked("t", &[4], false);
    let again = client.until_pong();
    assert_eq!(again.iter().map(Packet::packet_id).collect::<Vec<_>>(), ids[..2]);
    for (n, id) in ids.iter().enumerate() {
        client.ack(PUBACK, *id);
        if n < 2 {
            let next = client.receive();
            assert!(next.is_dup() && next.packet_id() == ids[n + 2]);
        }
    }
    let fresh = client.receive();
    assert_eq!((fresh.payload5(), fresh.is_dup()), (&[4][..], false));
}

#[test]
fn mqtt_4_9_0_3_a_full_window_holds_up_nothing_but_publishes() {
    let (_broker, address) = start_default();
    let mut client = Client::accepted(address, &Connect { properties: vec![33, 0, 1], ..Connect::v5("c") });
    client.subscribe("t", 1);
    let mut publisher = Client::v5(address, "p");
    publisher.publish_acked("t", b"1", false);
    publisher.publish_acked("t", b"2", false);
    let first = client.receive();
    client.ping();
    assert_eq!(client.subscribe("u", 0), 0);
    client.publish_acked("v", b"", false);
    publisher.publish("u", b"at QoS 0", 0);
    assert_eq!(client.receive().payload5(), b"at QoS 0");
    assert_eq!(client.unsubscribe("u").first, 0xb0);
    client.ack(PUBACK, first.packet_id());
    assert_eq!(client.receive().payload5(), b"2");
}

#[test]
fn mqtt_4_4_0_2_a_refused_delivery_is_acknowledged_and_not_sent_again() {
    let (_broker, address) = start_default();
    let connect = Connect::v5("c").persistent();
    let mut client = Client::accepted(address, &connect);
    client.subscribe("t", 2);
    let mut publisher = Client::v5(address, "p");
    for (flags, first) in [(2, PUBACK), (4, PUBREC)] {
        publisher.send(&publisher.publish_bytes("t", b"x", flags, 1, &[]));
        let id = client.receive().packet_id();
        client.send(&ack(first, id, 0x80));
    }
    assert_eq!(client.until_pong(), [], "no PUBREL for a refused PUBREC");
    assert_eq!(Client::accepted(address, &connect).until_pong(), []);
}

#[test]
fn mqtt_4_3_3_9_a_refused_qos_2_publish_leaves_its_packet_id_free() {
    let (broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    client.send(&client.publish_bytes("$SYS/x", b"x", 4, 5, &[]));
    assert_eq!(client.receive(), Packet { first: PUBREC, body: vec![0, 5, 0x87] });
    client.send(&client.publish_bytes("t", b"x", 4, 5, &[]));
    assert_eq!(client.receive(), Packet { first: PUBREC, body: vec![0, 5] });
    client.ack(PUBREL, 5);
    assert_eq!(client.receive(), Packet { first: PUBCOMP, body: vec![0, 5] });
    assert_eq!(broker.statistics().published_messages, 1);
    client.ack(PUBREL, 5);
    assert_eq!(client.receive(), Packet { first: PUBCOMP, body: vec![0, 5, 0x92] });
    client.ack(PUBREC, 6);
    assert_eq!(client.receive(), Packet { first: PUBREL, body: vec![0, 6, 0x92] });
}

#[test]
fn mqtt_3_8_3_5_a_subscribe_against_the_rules_ends_the_connection() {
    let (_broker, address) = start_default();
    for (name, body, reason) in [
        ("no filter", vec![0, 1, 0], 0x82),
        ("QoS 3", vec![0, 1, 0, 0, 1, b'a', 3], 0x82),
        ("retain handling 3", vec![0, 1, 0, 0, 1, b'a', 0x30], 0x82),
        ("reserved bit 6", vec![0, 1, 0, 0, 1, b'a', 0x40], 0x81),
        ("reserved bit 7", vec![0, 1, 0, 0, 1, b'a', 0x80], 0x81),
        ("no options", vec![0, 1, 0, 0, 1, b'a'], 0x81),
        ("packet id 0", vec![0, 0, 0, 0, 1, b'a', 0], 0x81),
        ("no local on a shared one", [&[0, 1, 0][..], &string("$share/g/a"), &[4]].concat(), 0x82),
    ] {
        assert_disconnects(address, name, &packet(0x82, &body), reason);
    }
    assert_disconnects(address, "UNSUBSCRIBE without a filter", &packet(0xa2, &[0, 1, 0]), 0x82);
    assert_disconnects(address, "UNSUBSCRIBE with packet id 0", &packet(0xa2, &[0, 0, 0, 0, 1, b'a']), 0x81);
}

#[test]
fn mqtt_3_8_4_3_the_same_filter_replaces_the_subscription() {
    let (_broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    for (identifier, options) in [(7, 0x02), (8, 0x09)] {
        client.send(&client.subscribe_bytes("t", options, 1, &[11, identifier]));
        assert_eq!(client.receive().body, [0, 1, 0, options & 3]);
    }
    client.publish_acked("t", b"x", true);
    let got = client.receive();
    assert_eq!((got.qos(), got.is_retained(), got.properties()), (1, true, &[11, 8][..]));
    client.ack(PUBACK, got.packet_id());
    assert_eq!(client.until_pong(), []);
}

#[test]
fn mqtt_3_9_3_1_codes_come_in_the_order_of_the_filters() {
    let (_broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    let filters = ["a", "$other/#", "b/+", "$share/g/c"];
    let subscribe: Vec<u8> =
        filters.iter().zip(0u8..).flat_map(|(f, n)| [string(f), vec![n % 3]].concat()).collect();
    client.send(&packet(0x82, &[&[0, 9, 0][..], &subscribe].concat()));
    assert_eq!(client.receive(), Packet { first: 0x90, body: vec![0, 9, 0, 0, 0x87, 2, 0] });
    let unsubscribe: Vec<u8> = filters.iter().flat_map(|filter| string(filter)).collect();
    client.send(&packet(0xa2, &[&[0, 8, 0][..], &unsubscribe].concat()));
    assert_eq!(client.receive(), Packet { first: 0xb0, body: vec![0, 8, 0, 0, 0x11, 0, 0] });
}

#[test]
fn mqtt_3_8_3_3_no_local_holds_for_the_client_id_after_a_reconnect_too() {
    let (_broker, address) = start_default();
    let connect = Connect::v5("c").persistent();
    let mut client = Client::accepted(address, &connect);
    client.subscribe("t", 0x04 | 1);
    let mut client = Client::accepted(address, &connect);
    client.publish_acked("t", b"mine", false);
    let mut other = Client::v5(address, "o");
    other.publish_acked("t", b"another's", false);
    assert_eq!(client.receive().payload5(), b"another's");
}
