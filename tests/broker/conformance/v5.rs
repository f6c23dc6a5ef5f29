//! The statements of MQTT 5 about form, CONNECT and properties, each test named
//! after one; `docs/conformance.md` lists them all.

use std::net::SocketAddr;

use nearfar::broker::Config;

use crate::support::mqtt::{self, Client, Connect, Packet, packet, start, start_default, string};

const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const DISCONNECT: u8 = 0xe0;

/// Text of exactly these bytes, with its length.
fn text(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// A property block with its length.
fn block(properties: &[u8]) -> Vec<u8> {
    [&[properties.len() as u8][..], properties].concat()
}

/// A CONNECT of exactly these flags, properties and payload.
fn connect(flags: u8, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    packet(0x10, &[&string("MQTT")[..], &[5, flags, 0, 0], &block(properties), payload].concat())
}

/// The connection is refused with this reason, and closed.
fn assert_refused(address: SocketAddr, name: &str, bytes: &[u8], reason: u8) {
    let mut client = Client::open(address, true);
    client.send(bytes);
    let connack = client.next().unwrap_or_else(|| panic!("{name}: no CONNACK"));
    assert_eq!((connack.first, &connack.body[..2]), (0x20, &[0, reason][..]), "{name}");
    assert_eq!(client.next(), None, "{name}");
}

/// A connected client's packet is answered with a DISCONNECT of this reason, and nothing after it.
fn assert_disconnects(address: SocketAddr, name: &str, bytes: &[u8], reason: u8) {
    let mut client = Client::v5(address, "faulty");
    client.send(bytes);
    let goodbye = client.next().unwrap_or_else(|| panic!("{name}: no DISCONNECT"));
    assert_eq!((goodbye.first, goodbye.body[0]), (DISCONNECT, reason), "{name}");
    assert_eq!(client.next(), None, "{name}");
}

#[test]
fn mqtt_1_5_4_1_ill_formed_text_and_nul_are_malformed() {
    let (_broker, address) = start_default();
    for bad in [&[0xff][..], &[0xed, 0xa0, 0x80], b"a\0b"] {
        let bad = text(bad);
        let id = string("c");
        assert_refused(address, "client id", &connect(2, &[], &bad), 0x81);
        assert_refused(
            address,
            "will topic",
            &connect(6, &[], &[&id, &[0][..], &bad, &[0, 0]].concat()),
            0x81,
        );
        assert_refused(address, "user name", &connect(0x82, &[], &[&id[..], &bad].concat()), 0x81);
        let pair = [&[38][..], &bad, &string("v")].concat();
        assert_refused(address, "user property", &connect(2, &pair, &id), 0x81);
        for property in [3, 8] {
            let own = block(&[&[property][..], &bad].concat());
            let publish = packet(0x30, &[&string("t")[..], &own].concat());
            assert_disconnects(address, "content type, response topic", &publish, 0x81);
        }
        let pair = [&[38][..], &string("k"), &bad].concat();
        let publish = packet(0x30, &[&string("t")[..], &block(&pair)].concat());
        assert_disconnects(address, "user property of PUBLISH", &publish, 0x81);
        let subscribe = packet(0x82, &[&[0, 1, 0][..], &bad, &[0]].concat());
        assert_disconnects(address, "filter", &subscribe, 0x81);
        let unsubscribe = packet(0xa2, &[&[0, 1, 0][..], &bad].concat());
        assert_disconnects(address, "filter to end", &unsubscribe, 0x81);
    }
}

#[test]
fn mqtt_1_5_5_1_lengths_take_as_few_bytes_as_they_can() {
    let (_broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    client.subscribe("t", 0);
    for (payload_bytes, length_bytes) in [(123, 1), (124, 2), (16_379, 2), (16_380, 3)] {
        let payload = vec![b'x'; payload_bytes];
        client.publish("t", &payload, 0);
        let mut raw = vec![0; 1 + length_bytes + 4 + payload_bytes];
        std::io::Read::read_exact(&mut client.stream, &mut raw).unwrap();
        assert_eq!(raw, packet(0x30, &[&string("t")[..], &[0], &payload].concat()));
    }
}

#[test]
fn mqtt_2_1_3_1_wrong_flags_are_malformed() {
    let (_broker, address) = start_default();
    for (name, bytes) in [
        ("PUBREL", vec![0x60, 2, 0, 1]),
        ("SUBSCRIBE", vec![0x80, 7, 0, 1, 0, 0, 1, b'a', 0]),
        ("UNSUBSCRIBE", vec![0xa0, 6, 0, 1, 0, 0, 1, b'a']),
        ("PINGREQ", vec![0xc1, 0]),
        ("DISCONNECT", vec![0xe1, 0]),
        ("AUTH", vec![0xf1, 0]),
        ("PUBLISH with QoS 3", packet(0x36, &[string("t"), vec![0, 1, 0]].concat())),
        ("DUP at QoS 0", packet(0x38, &[string("t"), vec![0]].concat())),
    ] {
        assert_disconnects(address, name, &bytes, 0x81);
    }
}

#[test]
fn mqtt_2_2_2_1_packets_without_properties_say_so() {
    let (_broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    client.send(&client.subscribe_bytes("t", 1, 5, &[]));
    assert_eq!(client.receive(), Packet { first: 0x90, body: vec![0, 5, 0, 1] });
    client.publish("t", b"x", 0);
    assert_eq!(client.receive().body, [string("t"), vec![0, b'x']].concat());
    assert_eq!(client.unsubscribe("t").body, [0, 10, 0, 0]);
}

#[test]
fn mqtt_4_13_1_1_properties_come_once_and_where_they_belong() {
    let (_broker, address) = start_default();
    let id = string("c");
    for (name, properties, reason) in [
        ("session expiry twice", vec![17, 0, 0, 0, 1, 17, 0, 0, 0, 1], 0x82),
        ("receive maximum 0", vec![33, 0, 0], 0x82),
        ("packet size 0", vec![39, 0, 0, 0, 0], 0x82),
        ("request problem information 2", vec![23, 2], 0x82),
        ("of a PUBLISH", vec![35, 0, 1], 0x81),
        ("unknown", vec![0x7f], 0x81),
        ("cut short", vec![33, 0], 0x81),
    ] {
        assert_refused(address, name, &connect(2, &properties, &id), reason);
    }
    let with = |properties: &[u8]| packet(0x30, &[&string("t")[..], &block(properties)].concat());
    for (name, bytes, reason) in [
        ("alias twice", with(&[35, 0, 1, 35, 0, 1]), 0x82),
        ("subscription identifier from a client", with(&[11, 1]), 0x82),
        ("alias 0", with(&[35, 0, 0]), 0x94),
        ("response topic with a wildcard", with(&[&[8][..], &string("a/#")].concat()), 0x82),
        ("no topic and no alias", packet(0x30, &[0, 0, 0]), 0x82),
        ("alias never set", packet(0x30, &[0, 0, 3, 35, 0, 9]), 0x94),
        ("identifier 0", packet(0x82, &[0, 1, 2, 11, 0, 0, 1, b'a', 0]), 0x82),
        ("identifier twice", packet(0x82, &[0, 1, 4, 11, 1, 11, 2, 0, 1, b'a', 0]), 0x82),
        ("PUBACK that is longer than it says", packet(0x40, &[0, 1, 0, 0, 0]), 0x81),
    ] {
        assert_disconnects(address, name, &bytes, reason);
    }
}

#[test]
fn mqtt_3_1_2_2_an_unknown_version_is_answered_0x84() {
    let (_broker, address) = start_default();
    let body = [&string("MQTT")[..], &[6, 2, 0, 0, 0], &string("c")].concat();
    assert_refused(address, "version 6", &packet(0x10, &body), 0x84);
}

#[test]
fn mqtt_3_1_4_1_a_connect_against_the_rules_is_refused() {
    let (_broker, address) = start_default();
    let id = string("c");
    let with = |more: &[u8]| [&id[..], more].concat();
    for (name, flags, payload) in [
        ("reserved flag", 0x03, with(&[])),
        ("no client id", 0x02, vec![]),
        ("will QoS without a will", 0x0a, with(&[])),
        ("will retain without a will", 0x22, with(&[])),
        ("will QoS 3", 0x1e, with(&[0, 0, 1, b't', 0, 0])),
        ("will without its message", 0x06, with(&[0, 0, 1, b't'])),
        ("a will that no flag announces", 0x02, with(&[0, 0, 1, b't', 0, 0])),
        ("user name missing", 0x82, with(&[])),
        ("a user name that no flag announces", 0x02, with(&string("user"))),
        ("password missing", 0xc2, with(&string("user"))),
        ("a password that no flag announces", 0x82, with(&[0, 1, b'u', 0, 1, b'p'])),
    ] {
        assert_refused(address, name, &connect(flags, &[], &payload), 0x81);
    }
}

#[test]
fn mqtt_3_1_2_4_clean_start_decides_what_becomes_of_the_session() {
    let (_broker, address) = start_default();
    let kept = Connect::v5("c").persistent();
    let mut client = Client::accepted(address, &kept);
    client.subscribe("t", 1);
    // Taken over with the session.
    let (_client, connack) = Client::connect(address, &kept);
    assert_eq!(connack.body[..2], [1, 0]);
    // Clean start ends it; a new one starts, which is kept as well.
    let (mut client, connack) = Client::connect(address, &Connect { is_clean: true, ..kept.clone() });
    assert_eq!(connack.body[..2], [0, 0]);
    client.publish_acked("t", b"x", false);
    assert_eq!(client.until_pong(), []);
    let (_client, connack) = Client::connect(address, &kept);
    assert_eq!(connack.body[..2], [1, 0]);
    // No session by that id: a new one.
    let (_client, connack) = Client::connect(address, &Connect { client_id: "other", ..kept });
    assert_eq!(connack.body[..2], [0, 0]);
}

#[test]
fn mqtt_3_1_2_10_only_a_normal_disconnect_discards_the_will() {
    let (_broker, address) = start_default();
    let mut watcher = Client::v5(address, "w");
    watcher.subscribe("will/#", 1);
    let properties = [
        &[1, 1, 8, 0, 1, b'r', 9, 0, 1, 7][..],
        // User properties keep their order; that of different properties means nothing (MQTT 5, 2.2.2.2).
        &[3, 0, 1, b'c', 38, 0, 1, b'z', 0, 1, b'1', 38, 0, 1, b'a', 0, 1, b'2'],
    ];
    let will =
        |topic| Connect { will: Some((topic, b"gone", 1, true, properties.concat())), ..Connect::v5("c") };
    let mut normal = Client::accepted(address, &will("will/normal"));
    normal.send(&[0xe0, 1, 0]);
    assert_eq!(normal.next(), None);
    let mut asked_for = Client::accepted(address, &will("will/asked"));
    asked_for.send(&[0xe0, 1, 4]);
    assert_eq!(asked_for.next(), None);
    let got = watcher.receive();
    assert_eq!((got.topic().as_str(), got.payload5(), got.qos()), ("will/asked", &b"gone"[..], 1));
    assert_eq!(got.properties(), properties.concat(), "in their order");
    let mut late = Client::v5(address, "late");
    late.subscribe("will/#", 0);
    let retained = late.until_pong();
    assert_eq!(retained.iter().map(Packet::topic).collect::<Vec<_>>(), ["will/asked"]);
}

#[test]
fn mqtt_3_1_2_8_a_delayed_will_comes_no_later_than_its_session_ends() {
    let (_broker, address) = start_default();
    let mut watcher = Client::v5(address, "w");
    watcher.subscribe("will", 0);
    // A minute of delay, but the session ends with the connection, then after a second,
    // then by a clean start.
    let delayed = |properties: Vec<u8>| Connect {
        will: Some(("will", b"gone", 0, false, vec![24, 0, 0, 0, 60])),
        properties,
        ..Connect::v5("c")
    };
    drop(Client::accepted(address, &delayed(vec![])));
    assert_eq!(watcher.receive().payload5(), b"gone");
    drop(Client::accepted(address, &delayed(vec![17, 0, 0, 0, 1])));
    assert_eq!(watcher.receive().payload5(), b"gone");
    drop(Client::accepted(address, &delayed(vec![17, 0, 0, 0, 60])));
    Client::v5(address, "c").ping();
    assert_eq!(watcher.receive().payload5(), b"gone");
}

#[test]
fn mqtt_3_1_2_28_response_information_is_never_returned() {
    let (_broker, address) = start_default();
    for properties in [vec![], vec![25, 0], vec![25, 1]] {
        let (_client, connack) = Client::connect(address, &Connect { properties, ..Connect::v5("c") });
        // Receive maximum, maximum packet size and topic alias maximum, and nothing else.
        assert_eq!(connack.body.len(), 3 + 3 + 5 + 3);
    }
}

#[test]
fn mqtt_3_1_2_29_refusals_carry_no_text_where_the_client_wants_none() {
    let (_broker, address) = start_default();
    let mut client = Client::accepted(address, &Connect { properties: vec![23, 0], ..Connect::v5("c") });
    client.send(&client.publish_bytes("$SYS/x", b"", 2, 3, &[]));
    assert_eq!(client.receive().body, [0, 3, 0x87]);
    client.send(&client.subscribe_bytes("$other/#", 0, 4, &[]));
    assert_eq!(client.receive().body, [0, 4, 0, 0x87]);
}

#[test]
fn mqtt_3_14_2_3_the_reason_is_said_in_words_where_they_fit() {
    let (_broker, address) = start_default();
    for (properties, has_words) in [(vec![], true), (vec![39, 0, 0, 0, 24], false)] {
        let mut client = Client::accepted(address, &Connect { properties, ..Connect::v5("c") });
        client.send(&packet(0x30, &[&string("a/#")[..], &[0]].concat()));
        let goodbye = client.receive();
        assert_eq!(goodbye.body[0], 0x90);
        assert_eq!(goodbye.body.windows(18).any(|bytes| bytes == b"topic name invalid"), has_words);
        assert!(has_words || goodbye.body.len() + 2 <= 24);
    }
    assert_refused(address, "unknown property", &connect(2, &[0x7f], &string("c")), 0x81);
}

#[test]
fn mqtt_3_1_2_24_no_packet_is_larger_than_the_client_takes() {
    let (_broker, address) = start_default();
    let takes = |bytes: u8| vec![39, 0, 0, 0, bytes];
    // It could not be told that it is accepted, and is told that in 5 bytes.
    assert_refused(address, "23 bytes", &connect(2, &takes(23), &string("c")), 0x95);
    let bad = [takes(24), vec![21, 0, 1, b'x']].concat();
    let mut client = Client::open(address, true);
    client.send(&connect(2, &bad, &string("c")));
    assert_eq!(client.receive().body, [0, 0x8c, 0], "refused without words");
    let mut client = Client::accepted(address, &Connect { properties: takes(24), ..Connect::v5("c") });
    // The SUBACK for 20 filters would be larger.
    let filters = [string("a"), vec![0]].concat().repeat(20);
    client.send(&packet(0x82, &[&[0, 1, 0][..], &filters].concat()));
    assert_eq!(client.receive(), Packet { first: DISCONNECT, body: vec![0x95, 0] });
}

#[test]
fn mqtt_3_14_2_1_a_stopping_server_says_0x8b() {
    let (broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    client.subscribe("t", 0);
    broker.stop(mqtt::PATIENCE);
    let goodbye = client.receive();
    assert_eq!((goodbye.first, goodbye.body[0]), (DISCONNECT, 0x8b));
    assert_eq!(client.next(), None);
}

#[test]
fn mqtt_3_1_4_3_a_second_connection_ends_the_first_with_0x8e() {
    let (_broker, address) = start_default();
    let mut first = Client::v5(address, "same");
    let mut second = Client::v5(address, "same");
    let goodbye = first.receive();
    assert_eq!((goodbye.first, goodbye.body[0]), (DISCONNECT, 0x8e));
    assert_eq!(first.next(), None);
    second.ping();
}

#[test]
fn mqtt_3_1_4_6_what_follows_a_refused_connect_is_not_processed() {
    let (broker, address) = start_default();
    let mut client = Client::open(address, true);
    let publish = client.publish_bytes("t", b"x", 1, 0, &[]);
    client.send(&[connect(2, &[21, 0, 1, b'x'], &string("c")), publish].concat());
    assert_eq!(client.receive().body[..2], [0, 0x8c]);
    assert_eq!(client.next(), None);
    assert_eq!(broker.statistics().published_messages, 0);
}

#[test]
fn mqtt_3_2_2_16_assigned_client_ids_are_new_ones_and_stand_for_the_client() {
    let (_broker, address) = start_default();
    let assigned = |connack: &Packet| {
        let at = connack.body.windows(5).position(|bytes| bytes == b"auto-").unwrap();
        let bytes = usize::from(connack.body[at - 1]);
        assert_eq!(connack.body[at - 3..at - 1], [18, 0]);
        String::from_utf8(connack.body[at..at + bytes].to_vec()).unwrap()
    };
    let anonymous = Connect::v5("").persistent();
    let (first, connack) = Client::connect(address, &anonymous);
    let (_second, other) = Client::connect(address, &anonymous);
    let id = assigned(&connack);
    assert_ne!(id, assigned(&other));
    drop(first);
    let (_again, connack) = Client::connect(address, &Connect { client_id: &id, ..anonymous });
    assert_eq!(connack.body[..2], [1, 0], "the session by that id is there");
}

#[test]
fn mqtt_3_2_2_21_a_longer_keep_alive_than_the_server_wants_is_cut() {
    let mut config = Config::loopback();
    config.listeners[0].connections.keep_alive_max_s = 1;
    let (_broker, address) = start(config);
    let (mut cut, connack) = Client::connect(address, &Connect { keep_alive_s: 120, ..Connect::v5("c") });
    assert!(connack.body.windows(3).any(|bytes| bytes == [19, 0, 1]), "{connack:?}");
    let goodbye = cut.receive();
    assert_eq!((goodbye.first, goodbye.body[0]), (DISCONNECT, 0x8d));
    let (_own, connack) = Client::connect(address, &Connect { keep_alive_s: 1, ..Connect::v5("d") });
    assert_eq!(connack.body.len(), 14, "its own keep-alive stands");
}

#[test]
fn mqtt_3_2_2_22_by_default_every_client_has_the_keep_alive_that_it_asks_for() {
    let (_broker, address) = start_default();
    for keep_alive_s in [61, 180, u16::MAX] {
        let (_client, connack) = Client::connect(address, &Connect { keep_alive_s, ..Connect::v5("c") });
        assert_eq!(connack.body[1], 0);
        assert_eq!(connack.body.len(), 14, "no server keep-alive is sent: {connack:?}");
    }
}

#[test]
fn mqtt_4_12_0_1_authentication_methods_are_refused_and_auth_ends_the_connection() {
    let (_broker, address) = start_default();
    let method = [&[21][..], &string("SCRAM-SHA-1"), &[22, 0, 1, 7]].concat();
    assert_refused(address, "method", &connect(2, &method, &string("c")), 0x8c);
    let mut client = Client::v5(address, "c");
    client.send(&[0xf0, 0]);
    let goodbye = client.receive();
    assert_eq!(goodbye.first, DISCONNECT);
    assert!(goodbye.body[0] >= 0x80);
    assert_eq!(client.next(), None);
}

#[test]
fn mqtt_3_14_4_3_a_session_expiry_may_be_changed_but_not_begun_at_the_end() {
    let (broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    client.send(&[0xe0, 7, 0, 5, 17, 0, 0, 0, 9]);
    let goodbye = client.receive();
    assert_eq!((goodbye.first, goodbye.body[0]), (DISCONNECT, 0x82));
    let mut client =
        Client::accepted(address, &Connect { properties: vec![17, 0, 0, 0, 9], ..Connect::v5("d") });
    client.send(&[0xe0, 7, 0, 5, 17, 0, 0, 0, 0]);
    assert_eq!(client.next(), None);
    let again = Connect { is_clean: false, ..Connect::v5("d") };
    let (_client, connack) = Client::connect(address, &again);
    assert_eq!(connack.body[0], 0, "its session ended with the connection");
    assert_eq!(broker.statistics().parked_sessions, 0);
}

#[test]
fn mqtt_3_3_4_7_more_unreleased_publishes_than_the_server_takes_end_the_connection_with_0x93() {
    let mut config = Config::loopback();
    config.limits.receive_max = 3;
    let (_broker, address) = start(config);
    let (mut client, connack) = Client::connect(address, &Connect::v5("c"));
    assert!(connack.body.windows(3).any(|bytes| bytes == [33, 0, 3]));
    for id in 1..=3 {
        client.send(&client.publish_bytes("t", b"x", 4, id, &[]));
        assert_eq!(client.receive().first, PUBREC);
    }
    // A released one makes room again.
    client.ack(PUBREL, 1);
    client.receive();
    for id in [4, 5] {
        client.send(&client.publish_bytes("t", b"x", 4, id, &[]));
    }
    let packets = [client.receive(), client.receive()];
    assert_eq!([packets[0].first, packets[1].first], [PUBREC, DISCONNECT]);
    assert_eq!(packets[1].body[0], 0x93);
}
