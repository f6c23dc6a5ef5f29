//! The statements of MQTT 5 about shared subscriptions, and what members owe each other beyond them.

use std::net::SocketAddr;

use super::{PUBACK, ack, assert_disconnects, wait_until_parked};
use crate::support::mqtt::{Client, Connect, packet, start_default, string};

#[test]
fn mqtt_4_8_2_1_a_share_has_a_name_and_a_filter() {
    let (_broker, address) = start_default();
    for filter in ["$share/g", "$share//a", "$share/g/", "$share/+/a", "$share/g#/a"] {
        let bytes = packet(0x82, &[&[0, 1, 0][..], &string(filter), &[0]].concat());
        assert_disconnects(address, filter, &bytes, 0x8f);
    }
}

#[test]
fn mqtt_3_3_4_5_a_copy_of_a_shared_subscription_has_its_identifier_alone() {
    let (_broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    for (id, filter) in [(7, "a/+"), (8, "a/#"), (9, "$share/g/a/b"), (10, "$share/h/a/#")] {
        client.send(&client.subscribe_bytes(filter, 0, id.into(), &[11, id]));
        assert_eq!(client.receive().first, 0x90);
    }
    client.publish("a/b", b"x", 0);
    let mut identifiers: Vec<_> = (0..3).map(|_| client.receive().properties().to_vec()).collect();
    identifiers.sort_unstable();
    assert_eq!(identifiers, [vec![11, 7, 11, 8], vec![11, 9], vec![11, 10]]);
    assert_eq!(client.until_pong(), [], "there is no other copy");
}

/// Two members of one group, the first one subscribed with QoS 2 and the second with `second`.
fn members(address: SocketAddr, first: &Connect<'_>, second: u8) -> [Client; 2] {
    let mut members = [Client::accepted(address, first), Client::v5(address, "second")];
    assert_eq!(members[0].subscribe("$share/g/t", 2), 2);
    assert_eq!(members[1].subscribe("$share/g/t", second), second);
    members
}

#[test]
fn mqtt_4_8_2_3_each_member_has_its_own_qos() {
    let (_broker, address) = start_default();
    let [mut first, mut second] = members(address, &Connect::v5("first"), 0);
    let mut publisher = Client::v5(address, "p");
    publisher.publish_acked("t", b"x", false);
    publisher.publish_acked("t", b"y", false);
    let mut qos = [first.receive().qos(), second.receive().qos()];
    qos.sort_unstable();
    assert_eq!(qos, [0, 1]);
}

#[test]
fn mqtt_4_8_2_4_a_qos_2_message_of_a_group_waits_for_its_member_and_goes_to_no_other() {
    let (broker, address) = start_default();
    let connect = Connect::v5("first").persistent();
    let [mut first, mut second] = members(address, &connect, 2);
    let mut publisher = Client::v5(address, "p");
    for id in [1, 2] {
        publisher.send(&publisher.publish_bytes("t", &[id], 4, id.into(), &[]));
    }
    let sent = first.receive();
    second.receive();
    drop(first);
    wait_until_parked(&broker);
    let mut first = Client::accepted(address, &connect);
    let again = first.receive();
    assert_eq!((again.packet_id(), again.payload5()), (sent.packet_id(), sent.payload5()));
    // The session ends, and the message with it.
    let mut fresh = Client::accepted(address, &Connect { is_clean: true, ..connect });
    assert_eq!(fresh.until_pong(), []);
    assert_eq!(second.until_pong(), []);
}

#[test]
fn mqtt_4_8_2_6_what_a_member_refuses_goes_to_no_other() {
    let (_broker, address) = start_default();
    let [mut first, mut second] = members(address, &Connect::v5("first"), 1);
    let mut publisher = Client::v5(address, "p");
    publisher.publish_acked("t", b"1", false);
    publisher.publish_acked("t", b"2", false);
    for client in [&mut first, &mut second] {
        let id = client.receive().packet_id();
        client.send(&ack(PUBACK, id, 0x80));
    }
    assert_eq!((first.until_pong(), second.until_pong()), (vec![], vec![]));
}

#[test]
fn a_member_whose_session_ends_gives_back_what_it_has_not_acknowledged() {
    let (_broker, address) = start_default();
    // A window of one: what follows the first message waits in the member's session.
    let connect = Connect { properties: vec![33, 0, 1], ..Connect::v5("first") };
    let [mut first, mut second] = members(address, &connect, 1);
    let mut publisher = Client::v5(address, "p");
    for n in 0..8u8 {
        publisher.publish_acked("t", &[n], false);
    }
    first.receive();
    let mut got: Vec<u8> = (0..4).map(|_| second.receive().payload5()[0]).collect();
    drop(first);
    got.extend((0..4).map(|_| second.receive().payload5()[0]));
    got.sort_unstable();
    assert_eq!(got, (0..8).collect::<Vec<u8>>());
}

#[test]
fn a_member_that_comes_back_afresh_gives_back_what_it_has_not_acknowledged() {
    let (broker, address) = start_default();
    let connect = Connect::v5("first").persistent();
    let [mut first, mut second] = members(address, &connect, 1);
    let mut publisher = Client::v5(address, "p");
    publisher.publish_acked("t", b"1", false);
    publisher.publish_acked("t", b"2", false);
    let left = first.receive().payload5().to_vec();
    assert_ne!(second.receive().payload5(), left);
    drop(first);
    wait_until_parked(&broker);
    assert_eq!(second.until_pong(), [], "it may come back for it");
    let _fresh = Client::accepted(address, &Connect { is_clean: true, ..connect });
    assert_eq!(second.receive().payload5(), left);
}

#[test]
fn a_member_that_unsubscribes_leaves_the_messages_to_the_others() {
    let (_broker, address) = start_default();
    let [mut first, mut second] = members(address, &Connect::v5("first"), 1);
    let mut publisher = Client::v5(address, "p");
    let burst: Vec<u8> =
        (0..100u16).flat_map(|n| publisher.publish_bytes("t", &n.to_be_bytes(), 2, n + 1, &[])).collect();
    publisher.send(&burst);
    first.send(&packet(0xa2, &[&[0, 5, 0][..], &string("$share/g/t")].concat()));
    (0..100).for_each(|_| drop(publisher.receive()));
    let mut got = Vec::new();
    while got.len() < 100 {
        for client in [&mut first, &mut second] {
            for packet in client.until_pong().into_iter().filter(|packet| packet.kind() == 3) {
                got.push(u16::from_be_bytes([packet.payload5()[0], packet.payload5()[1]]));
                client.ack(PUBACK, packet.packet_id());
            }
        }
    }
    got.sort_unstable();
    assert_eq!(got, (0..100).collect::<Vec<u16>>());
}

/// Reads QoS 0 and 1 messages, acknowledging the latter, until there are `count`.
fn receive_all(client: &mut Client, count: usize) -> Vec<(String, Vec<u8>)> {
    let mut got = Vec::new();
    while got.len() < count {
        let packet = client.receive();
        if packet.qos() > 0 {
            client.ack(PUBACK, packet.packet_id());
        }
        got.push((packet.topic(), packet.payload5().to_vec()));
    }
    got
}

#[test]
fn a_busy_group_of_a_client_does_not_keep_another_one_of_it_waiting() {
    let (_broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    assert_eq!(client.subscribe("$share/w/telemetry/#", 0), 0);
    assert_eq!(client.subscribe("$share/w/alarm/#", 1), 1);
    let mut publisher = Client::v5(address, "p");
    let telemetry = publisher.publish_bytes("telemetry/1", b"calm", 0, 0, &[]).repeat(3_000);
    let alarm = publisher.publish_bytes("alarm/1", b"fire", 2, 7, &[]);
    publisher.send(&[&telemetry[..], &alarm, &telemetry].concat());
    let got = receive_all(&mut client, 6_001);
    assert_eq!(publisher.receive().first, 0x40);
    let at = got.iter().position(|(topic, _)| topic == "alarm/1").unwrap();
    assert!(at < 3_100, "it came as number {at}");
}

#[test]
fn a_client_alone_in_a_hundred_groups_gets_a_hundred_copies() {
    let (_broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    for group in 0..100 {
        assert_eq!(client.subscribe(&format!("$share/g{group}/t"), 1), 1);
    }
    let mut publisher = Client::v5(address, "p");
    for number in 0..3u8 {
        publisher.publish_acked("t", &[number], false);
    }
    let got = receive_all(&mut client, 300);
    let copies = |number| got.iter().filter(|(_, payload)| payload == &[number]).count();
    assert_eq!([0, 1, 2].map(copies), [100; 3]);
    assert_eq!(client.until_pong(), []);
}

#[test]
fn what_waits_in_a_group_stays_with_its_last_member_while_that_is_away() {
    let (broker, address) = start_default();
    let connect = Connect { properties: vec![33, 0, 1], ..Connect::v5("only") }.persistent();
    let mut only = Client::accepted(address, &connect);
    assert_eq!(only.subscribe("$share/g/t", 1), 1);
    let mut publisher = Client::v5(address, "p");
    for number in 0..200u8 {
        publisher.publish_acked("t", &[number], false);
    }
    drop(only);
    wait_until_parked(&broker);
    let mut only = Client::accepted(address, &connect);
    let got: Vec<_> = receive_all(&mut only, 200).into_iter().map(|(_, payload)| payload[0]).collect();
    assert_eq!(got, (0..200).collect::<Vec<u8>>());
}
