//! What MQTT 3.1.1 and 5 promise, one promise a test, over raw sockets.

mod sys;

use nearfar::broker::{Config, Dropped, SharedStrategy};
use nearfar::mqtt::Message;

use crate::support::mqtt::{Client, Connect, PATIENCE, packet, start, start_default, string};
use crate::support::waiting::wait_until;

const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;

#[test]
fn both_versions_meet_on_one_port() {
    let (_broker, address) = start_default();
    let mut old = Client::v3(address, "old");
    let mut new = Client::v5(address, "new");
    assert_eq!((old.subscribe("t", 0), new.subscribe("t", 0)), (0, 0));
    // A property in the publish does not disturb the client that has none.
    new.send(&new.publish_bytes("t", b"hello", 0, 0, &[3, 0, 1, b'x']));
    assert_eq!(old.receive().payload(), b"hello");
    let got = new.receive();
    assert_eq!((got.payload5(), got.properties()), (&b"hello"[..], &[3, 0, 1, b'x'][..]));
}

#[test]
fn delivery_has_the_lower_qos_of_publish_and_subscription() {
    let (_broker, address) = start_default();
    for (subscribed, published, delivered) in [(0, 2, 0), (2, 0, 0), (1, 2, 1), (2, 1, 1), (2, 2, 2)] {
        let mut subscriber = Client::v3(address, "s");
        let mut publisher = Client::v3(address, "p");
        assert_eq!(subscriber.subscribe("t", subscribed), subscribed);
        publisher.send(&publisher.publish_bytes("t", b"x", published << 1, 1, &[]));
        assert_eq!(subscriber.receive().qos(), delivered, "{subscribed} {published}");
    }
}

#[test]
fn a_qos_2_duplicate_is_delivered_once() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.subscribe("t", 0);
    let publish = client.publish_bytes("t", b"x", 4, 5, &[]);
    let again = client.publish_bytes("t", b"x", 4 | 8, 5, &[]);
    client.send(&publish);
    client.send(&again);
    client.publish("t", b"end", 0);
    let mut firsts = Vec::new();
    loop {
        match client.receive() {
            packet if packet.kind() == 3 && packet.payload() == b"end" => break,
            packet => firsts.push(packet.first),
        }
    }
    firsts.sort_unstable();
    assert_eq!(firsts, [0x30, PUBREC, PUBREC]);
    client.ack(PUBREL, 5);
    assert_eq!(client.receive().first, PUBCOMP);
    // Released, the packet id is free for a new message.
    client.send(&again);
    let mut firsts = [client.receive().first, client.receive().first];
    firsts.sort_unstable();
    assert_eq!(firsts, [0x30, PUBREC]);
}

#[test]
fn a_qos_2_delivery_takes_four_steps() {
    let (_broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.subscribe("t", 2);
    client.send(&client.publish_bytes("t", b"x", 4, 5, &[]));
    let packets = [client.receive(), client.receive()];
    let delivery = packets.iter().find(|packet| packet.kind() == 3).unwrap();
    client.ack(PUBREC, delivery.packet_id());
    let pubrel = client.receive();
    assert_eq!((pubrel.first, pubrel.packet_id()), (PUBREL, delivery.packet_id()));
    client.ack(PUBCOMP, delivery.packet_id());
    client.ping();
}

#[test]
fn every_retained_message_arrives_however_many() {
    let (_broker, address) = start_default();
    let mut publisher = Client::v3(address, "p");
    for n in 0..300 {
        publisher.publish_acked(&format!("r/{n}"), b"kept", true);
    }
    for qos in [0, 1] {
        let mut subscriber = Client::v3(address, "s");
        subscriber.send(&subscriber.subscribe_bytes("r/#", qos, 1, &[]));
        assert_eq!(subscriber.receive().first, 0x90);
        for _ in 0..300 {
            let got = subscriber.receive();
            assert!(got.is_retained() && got.qos() == qos);
            if qos == 1 {
                subscriber.ack(PUBACK, got.packet_id());
            }
        }
    }
}

#[test]
fn only_an_empty_payload_with_the_retain_flag_clears_a_retained_message() {
    let (broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.publish_acked("t", b"kept", true);
    client.publish_acked("t", b"", false);
    assert_eq!(broker.statistics().retained_messages, 1);
    client.publish_acked("t", b"", true);
    assert_eq!((broker.statistics().retained_messages, broker.statistics().retained_bytes), (0, 0));
}

#[test]
fn a_live_delivery_is_not_marked_retained_unless_asked_for() {
    let (_broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    client.subscribe("t", 0);
    client.publish("t", b"x", 1);
    assert!(!client.receive().is_retained());
    client.subscribe("t", 0x08 | 0x20);
    client.publish("t", b"x", 1);
    assert!(client.receive().is_retained());
}

#[test]
fn retain_handling_decides_when_retained_messages_come() {
    let (_broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    client.publish_acked("t", b"kept", true);
    let mut counts = Vec::new();
    // Retained messages follow their SUBACK at once, so a pong comes behind them.
    for options in [0x20, 0x00, 0x10] {
        client.subscribe("t", options);
        counts.push(client.until_pong().len());
    }
    client.unsubscribe("t");
    client.subscribe("t", 0x10);
    counts.push(client.until_pong().len());
    assert_eq!(counts, [0, 1, 0, 1]);
}

#[test]
fn unsubscribe_is_always_answered() {
    let (_broker, address) = start_default();
    let mut old = Client::v3(address, "old");
    assert_eq!(old.unsubscribe("never").first, 0xb0);
    let mut new = Client::v5(address, "new");
    new.subscribe("t", 0);
    assert_eq!(new.unsubscribe("t").body, [0, 10, 0, 0x00]);
    assert_eq!(new.unsubscribe("t").body, [0, 10, 0, 0x11]);
    new.publish("t", b"x", 0);
    new.ping();
}

#[test]
fn a_persistent_session_keeps_subscriptions_and_messages() {
    let (broker, address) = start_default();
    for connect in [Connect::v3("away").persistent(), Connect::v5("away5").persistent()] {
        let (mut client, connack) = Client::connect(address, &connect);
        assert_eq!(connack.body[0], 0);
        client.subscribe("t", 1);
        client.disconnect();
        wait_until("the session is not parked", || broker.statistics().parked_sessions > 0);
        let mut publisher = Client::v3(address, "p");
        for n in 0..150u8 {
            publisher.publish_acked("t", &[n], false);
        }
        let (mut client, connack) = Client::connect(address, &connect);
        assert_eq!(connack.body[0], 1, "session present");
        for n in 0..150u8 {
            let got = client.receive();
            assert_eq!(got.body.last(), Some(&n));
            client.ack(PUBACK, got.packet_id());
        }
        let (_fresh, connack) = Client::connect(address, &Connect { is_clean: true, ..connect });
        assert_eq!(connack.body[0], 0);
    }
}

#[test]
fn an_unacknowledged_message_comes_again_marked_dup() {
    let (_broker, address) = start_default();
    let connect = Connect::v3("c").persistent();
    let mut client = Client::accepted(address, &connect);
    client.subscribe("t", 1);
    client.publish_acked("other", b"", false);
    client.send(&client.publish_bytes("t", b"x", 2, 1, &[]));
    let first = [client.receive(), client.receive()].into_iter().find(|packet| packet.kind() == 3).unwrap();
    let mut client = Client::accepted(address, &connect);
    let again = client.receive();
    assert!(again.is_dup() && !first.is_dup());
    assert_eq!((again.packet_id(), again.payload()), (first.packet_id(), first.payload()));
}

#[test]
fn a_session_of_mqtt_5_ends_when_it_expires() {
    let (broker, address) = start_default();
    let connect = Connect { properties: vec![17, 0, 0, 0, 1], ..Connect::v5("c") };
    let client = Client::accepted(address, &connect);
    client.disconnect();
    wait_until("the session is not parked", || broker.statistics().parked_sessions > 0);
    wait_until("the session does not expire", || broker.statistics().parked_sessions == 0);
    let (_client, connack) = Client::connect(address, &Connect { is_clean: false, ..connect });
    assert_eq!(connack.body[0], 0);
}

#[test]
fn a_will_is_published_when_the_client_is_lost_and_not_when_it_says_goodbye() {
    let (_broker, address) = start_default();
    let mut watcher = Client::v3(address, "w");
    watcher.subscribe("wills/#", 0);
    let with_will =
        |id, topic| Connect { will: Some((topic, b"gone", 0, false, Vec::new())), ..Connect::v3(id) };
    Client::accepted(address, &with_will("polite", "wills/polite")).disconnect();
    drop(Client::accepted(address, &with_will("lost", "wills/lost")));
    assert_eq!(watcher.receive().topic(), "wills/lost");
    // On takeover it is the old connection's will that is published.
    let _old = Client::accepted(address, &with_will("same", "wills/old"));
    let _new = Client::accepted(address, &with_will("same", "wills/new"));
    assert_eq!(watcher.receive().topic(), "wills/old");
    watcher.ping();
}

#[test]
fn a_wills_user_properties_arrive_as_they_were_written_however_many_there_are() {
    let (_broker, address) = start_default();
    let mut watcher = Client::v5(address, "w");
    watcher.subscribe("wills/#", 0);
    let pairs = [38, 0, 0, 0, 0].repeat(100_000);
    let named = [&pairs[..], &[38, 0, 1, b'k', 0, 1, b'v']].concat();
    let kind = &[3, 0, 1, b't'][..];
    for (properties, kind) in [(named.clone(), &[][..]), ([&named[..], kind].concat(), kind)] {
        let will = Some(("wills/c", &b"gone"[..], 0, false, properties));
        // Those of the CONNECT itself are nobody's.
        drop(Client::accepted(address, &Connect { will, properties: pairs.clone(), ..Connect::v5("c") }));
        let published = watcher.receive();
        // Behind three bytes with their length.
        assert!(published.payload()[3..] == [kind, &named, b"gone"].concat());
    }
}

#[test]
fn a_delayed_will_is_cancelled_when_the_client_returns_in_time() {
    let (_broker, address) = start_default();
    let mut watcher = Client::v5(address, "w");
    watcher.subscribe("wills/#", 0);
    let delayed = |seconds: u8| Connect {
        will: Some(("wills/c", b"gone", 0, false, vec![24, 0, 0, 0, seconds])),
        ..Connect::v5("c").persistent()
    };
    drop(Client::accepted(address, &delayed(60)));
    let client = Client::accepted(address, &delayed(1));
    watcher.ping();
    drop(client);
    assert_eq!(watcher.receive().topic(), "wills/c");
}

#[test]
fn a_second_connection_takes_the_client_id_over() {
    let (_broker, address) = start_default();
    let mut old = Client::v5(address, "same");
    let mut new = Client::v5(address, "same");
    let goodbye = old.last().unwrap();
    assert_eq!((goodbye.first, goodbye.body[0]), (0xe0, 0x8e));
    new.ping();
}

#[test]
fn keep_alive_0_never_times_out_and_a_silent_client_does() {
    let (_broker, address) = start_default();
    let mut forever = Client::v3(address, "forever");
    let mut silent = Client::accepted(address, &Connect { keep_alive_s: 1, ..Connect::v5("silent") });
    let goodbye = silent.last().unwrap();
    assert_eq!((goodbye.first, goodbye.body[0]), (0xe0, 0x8d));
    forever.ping();
}

#[test]
fn a_shared_subscription_gives_each_message_to_one_member() {
    for strategy in [SharedStrategy::RoundRobin, SharedStrategy::Random, SharedStrategy::Sticky] {
        let mut config = Config::loopback();
        config.router.shared_strategy = strategy;
        let (_broker, address) = start(config);
        let mut members: Vec<_> = (0..3).map(|n| Client::v5(address, &format!("m{n}"))).collect();
        for member in &mut members {
            assert_eq!(member.subscribe("$share/g/t/#", 0), 0);
            assert_eq!(member.subscribe("$share/g/u", 0), 0, "a second filter in the same group");
        }
        let mut publisher = Client::v3(address, "p");
        for n in 0..30u8 {
            publisher.publish_acked(if n % 2 == 0 { "t/x" } else { "u" }, &[n], false);
        }
        let mut got = Vec::new();
        while got.len() < 30 {
            for member in &mut members {
                got.extend(member.until_pong().iter().map(|packet| packet.payload5()[0]));
            }
        }
        got.sort_unstable();
        assert_eq!(got, (0..30).collect::<Vec<u8>>(), "{strategy:?}");
    }
}

#[test]
fn no_local_spares_the_publisher_its_own_messages() {
    let (_broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    let mut other = Client::v5(address, "o");
    client.subscribe("t", 0x04);
    other.subscribe("t", 0);
    client.publish("t", b"mine", 0);
    assert_eq!(other.receive().payload5(), b"mine");
    other.publish("t", b"yours", 0);
    assert_eq!(client.receive().payload5(), b"yours");
}

#[test]
fn topic_aliases_work_in_both_directions() {
    let (_broker, address) = start_default();
    let mut client = Client::accepted(address, &Connect { properties: vec![34, 0, 2], ..Connect::v5("c") });
    client.subscribe("#", 0);
    client.send(&client.publish_bytes("long/topic", b"1", 0, 0, &[35, 0, 1]));
    client.send(&client.publish_bytes("", b"2", 0, 0, &[35, 0, 1]));
    let (first, second) = (client.receive(), client.receive());
    assert_eq!((first.topic().as_str(), first.properties()), ("long/topic", &[35, 0, 1][..]));
    assert_eq!(
        (second.topic().as_str(), second.properties(), second.payload5()),
        ("", &[35, 0, 1][..], &b"2"[..])
    );
    client.send(&client.publish_bytes("t", b"x", 0, 0, &[35, 0xff, 0xff]));
    assert_eq!(client.last().unwrap().body[0], 0x94);
}

#[test]
fn what_the_last_member_of_a_group_left_goes_to_whoever_has_joined_since() {
    let (broker, address) = start_default();
    let mut last = Client::accepted(address, &Connect::v5("last").persistent());
    assert_eq!(last.subscribe("$share/g/t", 1), 1);
    let mut publisher = Client::v5(address, "publisher");
    publisher.publish_acked("t", b"unacknowledged", false);
    assert_eq!(last.receive().payload5(), b"unacknowledged");
    drop(last);
    wait_until("the session is not parked", || broker.statistics().parked_sessions > 0);
    let mut heir = Client::v5(address, "heir");
    assert_eq!(heir.subscribe("$share/g/t", 1), 1);
    // Its session ends when it comes back and wants another.
    drop(Client::v5(address, "last"));
    assert_eq!(heir.receive().payload5(), b"unacknowledged");
}

#[test]
fn receive_maximum_bounds_what_is_in_flight() {
    let (_broker, address) = start_default();
    let mut client = Client::accepted(address, &Connect { properties: vec![33, 0, 2], ..Connect::v5("c") });
    client.subscribe("t", 1);
    let mut publisher = Client::v3(address, "p");
    for n in 0..5u8 {
        publisher.publish_acked("t", &[n], false);
    }
    let first = [client.receive(), client.receive()];
    assert_eq!(client.until_pong(), []);
    client.ack(PUBACK, first[1].packet_id());
    assert_eq!(client.receive().payload5(), [2]);
}

#[test]
fn a_packet_larger_than_the_client_takes_is_not_sent() {
    let (broker, address) = start_default();
    let mut client =
        Client::accepted(address, &Connect { properties: vec![39, 0, 0, 0, 50], ..Connect::v5("c") });
    client.subscribe("t", 1);
    let mut publisher = Client::v3(address, "p");
    publisher.publish_acked("t", &[0; 100], false);
    publisher.publish_acked("t", b"small", false);
    assert_eq!(client.receive().payload5(), b"small");
    assert_eq!(broker.statistics().dropped.of(Dropped::TooLarge), 1);
    assert_eq!(broker.statistics().dropped_messages, 1);
}

#[test]
fn message_expiry_counts_down_and_drops() {
    let (broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    client.subscribe("t", 0);
    client.send(&client.publish_bytes("t", b"old", 0, 0, &[2, 0, 0, 0, 0]));
    client.send(&client.publish_bytes("t", b"new", 0, 0, &[2, 0, 0, 0, 100]));
    let got = client.receive();
    assert_eq!((got.payload5(), got.properties()), (&b"new"[..], &[2, 0, 0, 0, 100][..]));
    assert_eq!(broker.statistics().dropped.of(Dropped::Expired), 1);
}

#[test]
fn subscription_identifiers_of_all_matching_subscriptions_come_with_one_delivery() {
    let (_broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    client.send(&client.subscribe_bytes("a/+", 0, 1, &[11, 7]));
    client.send(&client.subscribe_bytes("a/#", 0, 2, &[11, 8]));
    assert_eq!([client.receive().first, client.receive().first], [0x90; 2]);
    client.publish("a/b", b"x", 0);
    assert_eq!(client.receive().properties(), [11, 7, 11, 8]);
    // Only now: messages that come by different subscriptions are not ordered among each other.
    client.publish("a", b"end", 0);
    let end = client.receive();
    assert_eq!((end.payload5(), end.properties()), (&b"end"[..], &[11, 8][..]));
}

#[test]
fn a_client_without_an_id_is_given_one() {
    let (_broker, address) = start_default();
    let (_client, connack) = Client::connect(address, &Connect::v5(""));
    let has_assigned_id = connack.body.windows(5).any(|bytes| bytes == b"auto-");
    assert!(connack.body[1] == 0 && has_assigned_id);
    let (_client, connack) = Client::connect(address, &Connect::v3(""));
    assert_eq!(connack.body, [0, 0]);
    let (_client, connack) = Client::connect(address, &Connect::v3("").persistent());
    assert_eq!(connack.body, [0, 2]);
}

#[test]
fn what_the_standard_forbids_ends_only_that_connection() {
    let (_broker, address) = start_default();
    let mut bystander = Client::v3(address, "bystander");
    let publish = |topic: &str| packet(0x30, &[string(topic), vec![0]].concat());
    let faults: [(&str, Vec<u8>, u8); 8] = [
        ("wildcard topic", publish("a/#"), 0x90),
        ("QoS 3", packet(0x36, &string("t")), 0x81),
        ("packet id 0", packet(0x32, &[string("t"), vec![0, 0, 0]].concat()), 0x81),
        ("filter a#", packet(0x82, &[vec![0, 1, 0], string("a#"), vec![0]].concat()), 0x8f),
        ("second CONNECT", Connect::v5("x").bytes(), 0x82),
        ("too large", vec![0x30, 0xff, 0xff, 0xff, 0x7f], 0x95),
        ("bad length", vec![0x30, 0xff, 0xff, 0xff, 0xff], 0x81),
        ("no filters", packet(0x82, &[0, 1, 0]), 0x82),
    ];
    for (name, bytes, reason) in faults {
        let mut client = Client::v5(address, "faulty");
        client.send(&bytes);
        let goodbye = client.last().unwrap_or_else(|| panic!("{name}: no DISCONNECT"));
        assert_eq!((goodbye.first, goodbye.body[0]), (0xe0, reason), "{name}");
    }
    bystander.ping();
}

#[test]
fn a_topic_that_starts_with_a_dollar_is_not_the_clients() {
    let (_broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    assert_eq!(client.subscribe("$other/#", 0), 0x87);
    client.send(&client.publish_bytes("$SYS/x", b"x", 2, 3, &[]));
    assert_eq!(client.receive().body, [0, 3, 0x87]);
    assert_eq!(Client::v3(address, "d").subscribe("$SYSTEM/#", 0), 0x80);
}

#[test]
fn limits_on_what_a_client_can_make_grow_are_refused_by_the_standards_means() {
    let mut config = Config::loopback();
    config.limits.filters_max = 3;
    config.limits.subscriptions_per_client_max = 2;
    config.router.connections_max = 3;
    let (broker, address) = start(config);
    let mut client = Client::v5(address, "c");
    assert_eq!([client.subscribe("a", 0), client.subscribe("b", 0), client.subscribe("c", 0)], [0, 0, 0x97]);
    let mut old = Client::v3(address, "d");
    assert_eq!([old.subscribe("c", 0), old.subscribe("e", 0)], [0, 0x80]);
    let _third = Client::v3(address, "e");
    let (_fourth, connack) = Client::connect(address, &Connect::v3("f"));
    assert_eq!(connack.body, [0, 3]);
    assert_eq!(broker.statistics().filters, 3);
    // What nobody is subscribed to any more makes room.
    client.unsubscribe("b");
    assert_eq!(client.subscribe("f", 0), 0);
}

#[test]
fn a_stopping_broker_first_delivers_what_was_published_before() {
    let (broker, address) = start_default();
    let (publisher, _subscriber) = broker.link("in-process").unwrap();
    let mut client = Client::v3(address, "c");
    client.subscribe("t", 0);
    let mut batch: Vec<_> = (0..5_000).map(|n: u32| Message::new("t", n.to_string())).collect();
    publisher.publish(&mut batch).unwrap();
    let stopping = std::thread::spawn(move || broker.stop(PATIENCE));
    for number in 0..5_000 {
        assert_eq!(client.receive().payload(), number.to_string().as_bytes());
    }
    stopping.join().unwrap();
}
