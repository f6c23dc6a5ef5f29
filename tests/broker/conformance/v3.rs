//! The statements of MQTT 3.1.1 that bind a server, each test named after one;
//! `docs/conformance.md` lists them all.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::mqtt::{self, Client, Connect, packet, start_default, string};

const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;

/// A CONNECT of exactly these flags and payload.
fn connect(flags: u8, payload: &[u8]) -> Vec<u8> {
    packet(0x10, &[&string("MQTT")[..], &[4, flags, 0, 0], payload].concat())
}

/// Text of exactly these bytes, with its length.
fn text(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn assert_refused_silently(address: SocketAddr, name: &str, bytes: &[u8]) {
    let mut client = Client::open(address, false);
    client.send(bytes);
    assert_eq!(client.next(), None, "{name}");
}

fn assert_closes(address: SocketAddr, name: &str, bytes: &[u8]) {
    let mut client = Client::v3(address, "faulty");
    client.send(bytes);
    assert_eq!(client.next(), None, "{name}");
}

#[test]
fn mqtt_1_5_3_1_ill_formed_text_and_nul_close_the_connection() {
    let (_broker, address) = start_default();
    for bad in [&[0xff][..], &[0xed, 0xa0, 0x80], b"a\0b"] {
        let bad = text(bad);
        assert_refused_silently(
            address,
            "will topic",
            &connect(0x06, &[string("c"), bad.clone(), text(b"x")].concat()),
        );
        assert_refused_silently(address, "user name", &connect(0x82, &[string("c"), bad.clone()].concat()));
        assert_closes(address, "topic", &packet(0x30, &bad));
        assert_closes(address, "filter", &packet(0x82, &[&[0, 1][..], &bad, &[0]].concat()));
        assert_closes(address, "filter to end", &packet(0xa2, &[&[0, 1][..], &bad].concat()));
        let mut client = Client::open(address, false);
        client.send(&connect(0x02, &bad));
        // Ill-formed: no answer. A NUL in it: closed as well.
        assert!(client.next().is_none_or(|connack| connack.body == [0, 2]) && client.next().is_none());
    }
}

#[test]
fn mqtt_1_5_3_3_a_byte_order_mark_stays_part_of_the_topic() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.subscribe("\u{feff}a/+", 0);
    client.publish("a/b", b"without", 0);
    client.publish("\u{feff}a/b", b"with", 0);
    let got = client.receive();
    assert_eq!((got.topic().as_str(), got.payload()), ("\u{feff}a/b", &b"with"[..]));
}

#[test]
fn mqtt_2_2_2_2_wrong_flags_close_the_connection() {
    let (_broker, address) = start_default();
    for (name, bytes) in [
        ("PUBACK", vec![0x41, 2, 0, 1]),
        ("PUBREC", vec![0x52, 2, 0, 1]),
        ("PUBREL", vec![0x60, 2, 0, 1]),
        ("PUBCOMP", vec![0x71, 2, 0, 1]),
        ("SUBSCRIBE", vec![0x80, 6, 0, 1, 0, 1, b'a', 0]),
        ("UNSUBSCRIBE", vec![0xa0, 5, 0, 1, 0, 1, b'a']),
        ("PINGREQ", vec![0xc1, 0]),
        ("DISCONNECT", vec![0xe1, 0]),
        ("PUBLISH with QoS 3", packet(0x36, &[string("t"), vec![0, 1]].concat())),
    ] {
        assert_closes(address, name, &bytes);
    }
    assert_refused_silently(address, "CONNECT", &[&[0x11][..], &Connect::v3("c").bytes()[1..]].concat());
}

#[test]
fn mqtt_2_3_1_1_a_packet_id_of_zero_closes_the_connection() {
    let (_broker, address) = start_default();
    assert_closes(address, "SUBSCRIBE", &packet(0x82, &[&[0, 0][..], &string("a"), &[0]].concat()));
    assert_closes(address, "UNSUBSCRIBE", &packet(0xa2, &[&[0, 0][..], &string("a")].concat()));
    assert_closes(address, "PUBLISH", &packet(0x32, &[&string("a")[..], &[0, 0]].concat()));
}

#[test]
fn mqtt_2_3_1_4_deliveries_in_flight_have_ids_of_their_own() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.subscribe("t", 1);
    let mut publisher = Client::v3(address, "p");
    (0..3).for_each(|_| publisher.publish_acked("t", b"x", false));
    let mut ids: Vec<u16> = (0..3).map(|_| client.receive().packet_id()).collect();
    assert!(ids.iter().all(|&id| id != 0));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn mqtt_2_3_1_5_a_qos_0_delivery_has_no_packet_id() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.subscribe("t", 2);
    client.publish("t", b"x", 0);
    let got = client.receive();
    assert_eq!((got.first, got.body), (0x30, [string("t"), vec![b'x']].concat()));
}

#[test]
fn mqtt_2_3_1_6_acknowledgements_name_the_packet_they_answer() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.send(&client.publish_bytes("t", b"x", 2, 77, &[]));
    assert_eq!(client.receive(), mqtt::Packet { first: PUBACK, body: vec![0, 77] });
    client.send(&client.publish_bytes("t", b"x", 4, 78, &[]));
    assert_eq!(client.receive(), mqtt::Packet { first: PUBREC, body: vec![0, 78] });
    client.ack(PUBREL, 78);
    assert_eq!(client.receive(), mqtt::Packet { first: PUBCOMP, body: vec![0, 78] });
    client.send(&client.subscribe_bytes("t", 1, 79, &[]));
    assert_eq!(client.receive(), mqtt::Packet { first: 0x90, body: vec![0, 79, 1] });
    client.send(&packet(0xa2, &[&[0, 80][..], &string("t")].concat()));
    assert_eq!(client.receive(), mqtt::Packet { first: 0xb0, body: vec![0, 80] });
}

#[test]
fn mqtt_3_1_0_1_nothing_but_connect_comes_first() {
    let (_broker, address) = start_default();
    for bytes in [&[0xc0, 0][..], &[0xe0, 0], &[0x30, 3, 0, 1, b't']] {
        assert_refused_silently(address, "not CONNECT", bytes);
    }
}

#[test]
fn mqtt_3_1_0_2_a_second_connect_closes_the_connection() {
    let (_broker, address) = start_default();
    assert_closes(address, "second CONNECT", &Connect::v3("faulty").bytes());
}

#[test]
fn mqtt_3_1_2_2_an_unknown_level_is_answered_1_and_closed() {
    let (_broker, address) = start_default();
    let mut client = Client::open(address, false);
    client.send(&packet(0x10, &[&string("MQTT")[..], &[3, 2, 0, 0], &string("c")].concat()));
    assert_eq!(client.receive().body, [0, 1]);
    assert_eq!(client.next(), None);
    let other_name = packet(0x10, &[&string("hj")[..], &[4, 2, 0, 0], &string("c")].concat());
    assert_refused_silently(address, "another protocol's name", &other_name);
}

#[test]
fn mqtt_3_1_4_1_a_connect_against_the_rules_gets_no_answer() {
    let (_broker, address) = start_default();
    let id = string("c");
    let with = |more: &[Vec<u8>]| [id.clone(), more.concat()].concat();
    for (name, flags, payload) in [
        ("reserved flag", 0x03, with(&[])),
        ("no client id", 0x02, vec![]),
        ("will QoS without a will", 0x0a, with(&[])),
        ("will retain without a will", 0x22, with(&[])),
        ("will QoS 3", 0x1e, with(&[string("t"), text(b"x")])),
        ("will without its message", 0x06, with(&[string("t")])),
        ("a will that no flag announces", 0x02, with(&[string("t"), text(b"x")])),
        ("user name missing", 0x82, with(&[])),
        ("a user name that no flag announces", 0x02, with(&[string("user")])),
        ("password missing", 0xc2, with(&[string("user")])),
        ("a password that no flag announces", 0x82, with(&[string("user"), string("password")])),
        ("password without user name", 0x42, with(&[string("password")])),
    ] {
        assert_refused_silently(address, name, &connect(flags, &payload));
    }
}

#[test]
fn mqtt_3_1_2_6_a_clean_session_leaves_nothing_but_retained_messages() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.subscribe("t", 1);
    client.publish_acked("kept", b"still here", true);
    client.disconnect();
    let (mut client, connack) = Client::connect(address, &Connect::v3("c").persistent());
    assert_eq!(connack.body, [0, 0]);
    Client::v3(address, "p").publish_acked("t", b"x", false);
    assert_eq!(client.until_pong(), []);
    client.subscribe("kept", 0);
    assert_eq!(client.receive().payload(), b"still here");
}

#[test]
fn mqtt_3_1_2_17_a_will_has_the_qos_and_the_retain_flag_of_its_connect() {
    let (_broker, address) = start_default();
    for retain in [false, true] {
        let mut watcher = Client::v3(address, "w");
        watcher.subscribe("#", 2);
        watcher.until_pong();
        drop(Client::v3(address, "without a will"));
        let will = Some(("will", &b"gone"[..], 1, retain, Vec::new()));
        drop(Client::accepted(address, &Connect { will, ..Connect::v3("c") }));
        let got = watcher.receive();
        assert_eq!((got.qos(), got.payload(), got.is_retained()), (1, &b"gone"[..], false));
        assert_eq!(watcher.until_pong(), [], "nothing of the one without a will");
        let mut late = Client::v3(address, "late");
        late.subscribe("will", 0);
        assert_eq!(late.until_pong().len(), usize::from(retain));
    }
}

#[test]
fn mqtt_3_1_2_24_a_silent_client_is_disconnected_after_one_and_a_half_keep_alives() {
    let (_broker, address) = start_default();
    let mut watcher = Client::v3(address, "w");
    watcher.subscribe("will", 0);
    let will = Some(("will", &b"gone"[..], 0, false, Vec::new()));
    let began = Instant::now();
    let mut silent = Client::accepted(address, &Connect { keep_alive_s: 1, will, ..Connect::v3("c") });
    assert_eq!(silent.next(), None);
    assert!(began.elapsed() >= Duration::from_millis(1_450), "{:?}", began.elapsed());
    assert_eq!(watcher.receive().payload(), b"gone");
}

#[test]
fn mqtt_3_1_3_1_every_field_is_read_in_its_order() {
    let (_broker, address) = start_default();
    let mut watcher = Client::v3(address, "w");
    watcher.subscribe("will", 0);
    let will = Some(("will", &b"message"[..], 0, false, Vec::new()));
    drop(Client::accepted(address, &Connect { will, login: Some(("user", "password")), ..Connect::v3("c") }));
    assert_eq!(watcher.receive().payload(), b"message");
}

#[test]
fn mqtt_3_1_3_5_client_ids_of_letters_and_digits_are_accepted() {
    let (_broker, address) = start_default();
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for id in [&all[..1], &all[..23], &all[20..43], &all[39..]] {
        Client::v3(address, id).ping();
    }
}

#[test]
fn mqtt_3_1_4_2_a_second_connection_ends_the_first() {
    let (_broker, address) = start_default();
    let mut first = Client::v3(address, "same");
    let mut second = Client::v3(address, "same");
    assert_eq!(first.next(), None);
    second.ping();
}

#[test]
fn mqtt_3_1_4_5_what_follows_a_refused_connect_is_not_processed() {
    let (broker, address) = start_default();
    let mut client = Client::open(address, false);
    let publish = client.publish_bytes("t", b"x", 1, 0, &[]);
    client.send(&[Connect::v3("").persistent().bytes(), publish].concat());
    assert_eq!(client.receive().body, [0, 2]);
    assert_eq!(client.next(), None);
    assert_eq!((broker.statistics().published_messages, broker.statistics().retained_messages), (0, 0));
}

#[test]
fn mqtt_3_2_0_1_connack_comes_before_all_else() {
    let (_broker, address) = start_default();
    let mut client = Client::open(address, false);
    let bytes = [
        Connect::v3("c").bytes(),
        client.subscribe_bytes("t", 0, 1, &[]),
        client.publish_bytes("t", b"x", 0, 0, &[]),
    ];
    client.send(&bytes.concat());
    assert_eq!([0; 3].map(|_| client.receive().first), [0x20, 0x90, 0x30]);
}

#[test]
fn mqtt_3_3_1_3_dup_is_not_passed_on() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.subscribe("t", 1);
    client.send(&client.publish_bytes("t", b"x", 2 | 8, 5, &[]));
    let mut firsts = [client.receive().first, client.receive().first];
    firsts.sort_unstable();
    assert_eq!(firsts, [0x32, PUBACK]);
    assert_closes(address, "DUP at QoS 0", &packet(0x38, &string("t")));
}

#[test]
fn mqtt_3_3_1_5_the_last_retained_message_comes_with_its_qos_and_the_flag() {
    let (_broker, address) = start_default();
    let mut publisher = Client::v3(address, "p");
    publisher.publish_acked("t", b"first", true);
    publisher.publish_acked("t", b"second", true);
    publisher.publish_acked("t", b"not kept", false);
    let mut client = Client::v3(address, "c");
    client.subscribe("#", 2);
    let got = client.receive();
    assert_eq!((got.payload(), got.qos(), got.is_retained()), (&b"second"[..], 1, true));
    // One of QoS 0 takes its place, and is not marked for who was there before.
    publisher.publish("t", b"third", 1);
    let got = client.receive();
    assert_eq!((got.payload(), got.is_retained()), (&b"third"[..], false));
    let mut late = Client::v3(address, "late");
    late.subscribe("t", 2);
    let got = late.receive();
    assert_eq!((got.payload(), got.qos(), got.is_retained()), (&b"third"[..], 0, true));
}

#[test]
fn mqtt_3_3_1_10_an_empty_retained_message_is_delivered_and_clears() {
    let (broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.publish_acked("t", b"kept", true);
    client.subscribe("+", 0);
    assert_eq!(client.receive().payload(), b"kept");
    client.publish("t", b"", 1);
    let got = client.receive();
    assert_eq!((got.payload(), got.is_retained()), (&b""[..], false));
    assert_eq!(broker.statistics().retained_messages, 0);
}

#[test]
fn mqtt_3_3_2_2_a_topic_with_a_wildcard_closes_the_connection() {
    let (_broker, address) = start_default();
    for topic in ["#", "a/+", "a+", ""] {
        assert_closes(address, topic, &packet(0x30, &string(topic)));
    }
}

#[test]
fn mqtt_3_3_5_1_overlapping_subscriptions_give_one_delivery_of_the_highest_qos() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.subscribe("a/#", 0);
    client.subscribe("a/+", 2);
    client.subscribe("a/b", 1);
    Client::v3(address, "p").send(&client.publish_bytes("a/b", b"x", 4, 1, &[]));
    assert_eq!(client.receive().qos(), 2);
    assert_eq!(client.until_pong(), []);
}

#[test]
fn mqtt_3_3_5_2_a_publish_that_is_not_allowed_is_acknowledged_and_dropped() {
    let (broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.publish_acked("$SYS/x", b"x", false);
    client.send(&client.publish_bytes("$SYS/x", b"x", 4, 9, &[]));
    assert_eq!(client.receive().first, PUBREC);
    client.ack(PUBREL, 9);
    assert_eq!(client.receive().first, PUBCOMP);
    assert_eq!(broker.statistics().published_messages, 0);
}

/// Collects the names of the tests in all files below `directory`.
fn collect_tests(directory: &Path, names: &mut HashSet<String>) {
    for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect_tests(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            for (attribute, function) in text.lines().zip(text.lines().skip(1)) {
                if attribute == "#[test]" {
                    let name = function.trim_start_matches("fn ").split('(').next().unwrap();
                    names.insert(name.to_owned());
                }
            }
        }
    }
}

#[test]
fn every_row_of_the_conformance_page_is_shown_by_tests_that_exist() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/conformance.md")).unwrap();
    let mut tests = HashSet::new();
    collect_tests(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")), &mut tests);
    let mut rows = 0;
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| statement")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [statement, _what, here, shown] = cells[..] else { panic!("four cells are wanted: {row}") };
        let state = here.split(':').next().unwrap();
        assert!(["kept", "ours", "n/a", "not kept"].contains(&state), "{statement}: {here}");
        assert!(here.contains(": ") || ["kept", "ours"].contains(&state), "{statement}: a reason is missing");
        let named: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() || ["n/a", "not kept"].contains(&state), "{statement}: no test shows it");
        for name in named {
            assert!(tests.contains(name), "{statement}: there is no test `{name}`");
        }
        rows += 1;
    }
    assert!(rows > 300, "{rows} rows");
    let is_of_a_statement = |name: &str| {
        name.strip_prefix("mqtt_").is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    for name in tests.iter().filter(|name| is_of_a_statement(name)) {
        assert!(page.contains(&format!("`{name}`")), "the page does not name `{name}`");
    }
}
