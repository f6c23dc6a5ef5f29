//! What stops rumqttd's own broker, tried on ours: nothing of it may stop or disturb
//! it. One test for each row of the list.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nearfar::broker::{Broker, BrokerError, Config};
use nearfar::testing::kill_router;

use crate::support::mqtt::{self, Client, Connect, PATIENCE, packet, start, start_default};
use crate::support::waiting::wait_until;

/// A client sends a message to itself: connections are accepted, and the router routes.
fn assert_well(broker: &Broker, address: SocketAddr) {
    let mut client = Client::v3(address, "is-it-well");
    assert_eq!(client.subscribe("well", 1), 1);
    client.publish("well", b"yes", 0);
    assert_eq!(client.receive().payload(), b"yes");
    client.disconnect();
    assert!(broker.is_alive());
}

#[test]
fn subscribers_may_disconnect_cleanly_while_messages_flow() {
    let (broker, address) = start_default();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = Client::v3(address, "p");
            let burst = publisher.publish_bytes("flow", &[0; 100], 0, 0, &[]).repeat(200);
            while !done.load(Ordering::Relaxed) {
                publisher.send(&burst);
            }
        });
        for n in 0..100 {
            let mut subscriber = Client::v3(address, "s");
            subscriber.subscribe("flow", 0);
            for _ in 0..n {
                subscriber.receive();
            }
            subscriber.send(&[0xe0, 0]);
            subscriber.last();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_well(&broker, address);
}

#[test]
fn unsolicited_acknowledgements_are_answered_or_ignored() {
    let (broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.ack(0x40, 77);
    client.ack(0x70, 77);
    client.ack(0x62, 77);
    assert_eq!(client.receive().first, 0x70, "a PUBCOMP for a PUBREL");
    client.ack(0x50, 77);
    assert_eq!(client.receive().first, 0x62, "a PUBREL for a PUBREC");
    client.ping();
    assert_well(&broker, address);
}

#[test]
fn a_subscription_to_topics_that_are_nobodys_is_refused_and_nothing_else() {
    let (broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    assert_eq!(client.subscribe("$SYSTEM/#", 0), 0x80);
    client.ping();
    assert_well(&broker, address);
}

#[test]
fn a_topic_may_start_with_any_character() {
    let (broker, address) = start_default();
    let mut client = Client::v3(address, "c");
    client.subscribe("#", 0);
    for topic in ["ü/x", "😀", "\u{1}", "é"] {
        client.publish(topic, b"x", 0);
        assert_eq!(client.receive().topic(), topic);
    }
    let mut exact = Client::v3(address, "d");
    exact.subscribe("ü/+", 0);
    client.publish("ü/y", b"x", 0);
    assert_eq!(exact.receive().topic(), "ü/y");
    assert_well(&broker, address);
}

#[test]
fn the_last_member_of_a_persistent_shared_subscription_may_drop() {
    let (broker, address) = start_default();
    let connect = Connect::v3("member").persistent();
    let mut member = Client::accepted(address, &connect);
    assert_eq!(member.subscribe("$share/g/t", 1), 1);
    Client::v3(address, "p").publish_acked("t", b"x", false);
    assert_eq!(member.receive().payload(), b"x");
    drop(member);
    wait_until("the session is not parked", || broker.statistics().parked_sessions > 0);
    assert_well(&broker, address);
    let mut member = Client::accepted(address, &connect);
    assert_eq!(member.receive().payload(), b"x", "it was not acknowledged");
}

#[test]
fn a_segment_size_of_zero_is_refused_at_the_start() {
    let mut config = Config::loopback();
    config.router.segment_bytes_max = 0;
    let refused = Broker::start(config);
    assert!(matches!(refused, Err(BrokerError::Limit { limit: "segment_bytes_max", found: 0, .. })));
}

#[test]
fn a_client_id_may_be_taken_over_again_and_again() {
    let (broker, address) = start_default();
    let mut previous: Option<Client> = None;
    for n in 0..60 {
        let connect = if n % 2 == 0 { Connect::v3("same").persistent() } else { Connect::v5("same") };
        let mut client = Client::accepted(address, &connect);
        client.subscribe("t", 1);
        client.publish("t", b"x", 0);
        previous = Some(client);
    }
    drop(previous);
    assert_well(&broker, address);
}

#[test]
fn a_client_id_may_hold_any_character_and_connect_twice() {
    let (broker, address) = start_default();
    for id in ["a+b", "$x", "#", "a/b", "ü"] {
        let _first = Client::v3(address, id);
        let mut second = Client::v3(address, id);
        second.ping();
    }
    assert_well(&broker, address);
}

#[test]
fn clients_may_retry_after_the_broker_was_full() {
    let mut config = Config::loopback();
    config.router.connections_max = 2;
    let (broker, address) = start(config);
    let (first, second) = (Client::v3(address, "1"), Client::v3(address, "2"));
    for _ in 0..20 {
        let (_refused, connack) = Client::connect(address, &Connect::v3("3"));
        assert_eq!(connack.body, [0, 3]);
    }
    first.disconnect();
    second.disconnect();
    wait_until("somebody is connected still", || broker.statistics().connections == 0);
    assert_well(&broker, address);
}

#[test]
fn a_publish_with_every_property_reaches_an_old_client() {
    let (broker, address) = start_default();
    let mut old = Client::v3(address, "old");
    old.subscribe("t", 0);
    let mut new = Client::v5(address, "new");
    let properties = [
        &[1, 1, 2, 0, 0, 0, 9, 3, 0, 1, b'c', 8, 0, 1, b'r', 9, 0, 1, b'd'][..],
        &[38, 0, 1, b'k', 0, 1, b'v'],
    ]
    .concat();
    new.send(&new.publish_bytes("t", b"x", 0, 0, &properties));
    assert_eq!(old.receive().payload(), b"x");
    old.ping();
    assert_well(&broker, address);
}

#[test]
fn a_packet_that_only_servers_send_ends_its_own_connection() {
    let (broker, address) = start_default();
    let mut bystander = Client::v3(address, "bystander");
    for packet in [&[0x20, 3, 0, 0, 0][..], &[0x90, 3, 0, 1, 0], &[0xb0, 2, 0, 1], &[0xd0, 0], &[0xf0, 0]] {
        let mut client = Client::v5(address, "c");
        client.send(packet);
        assert_eq!(client.last().unwrap().first, 0xe0);
        let mut before_connect = Client::open(address, true);
        before_connect.send(packet);
        assert_eq!(before_connect.next(), None);
    }
    bystander.ping();
    assert_well(&broker, address);
}

#[test]
fn a_subscribe_that_ends_its_connection_subscribes_to_nothing() {
    let (broker, address) = start_default();
    let connect = Connect::v3("c").persistent();
    let mut client = Client::accepted(address, &connect);
    // A packet id, a good filter, and one that no client may send.
    client.send(&[0x82, 12, 0, 9, 0, 1, b't', 0, 0, 3, b'a', b'b', b'#', 0]);
    assert_eq!(client.last(), None);
    let mut client = Client::accepted(address, &connect);
    assert_eq!(client.subscribe("t", 0), 0);
    client.publish("t", b"x", 0);
    assert_eq!(client.receive().payload(), b"x");
    assert_well(&broker, address);
}

#[test]
fn an_idle_connection_disturbs_nobody_and_is_timed_out() {
    let mut config = Config::loopback();
    config.listeners[0].connections.connect_timeout = Duration::from_millis(200);
    let (broker, address) = start(config);
    let mut silent = Client::open(address, true);
    let mut halfway = Client::open(address, true);
    halfway.send(&Connect::v5("halfway").bytes()[..7]);
    assert_well(&broker, address);
    assert_eq!((silent.next(), halfway.next()), (None, None));
}

/// Fewer file descriptors than connections: the limit cannot be lowered for one test
/// alone, so the same path is taken by more sockets than the broker serves.
#[test]
fn more_sockets_than_the_broker_serves_are_closed_and_it_goes_on() {
    let mut config = Config::loopback();
    config.router.connections_max = 1;
    config.listeners[0].connections.connect_timeout = PATIENCE;
    let (broker, address) = start(config);
    let idle: Vec<_> = (0..300).map(|_| Client::open(address, true)).collect();
    // The last ones are beyond the bound, and closed at once.
    let mut idle = idle.into_iter();
    assert_eq!(idle.next_back().unwrap().next(), None);
    drop(idle);
    // The broker sees the closed sockets in its own time.
    wait_until("the closed sockets are not seen", || {
        Client::open(address, false).connect_or_none("probe").is_some()
    });
    assert!(broker.is_alive());
}

#[test]
fn a_router_that_dies_all_the_same_is_reported_and_clients_are_told() {
    let (broker, address) = start_default();
    let (told, hears) = std::sync::mpsc::channel();
    broker.on_death(move |cause| told.send(cause).unwrap());
    let mut subscriber = Client::v5(address, "s");
    subscriber.subscribe("t", 0);
    let mut idle = Client::v5(address, "idle");
    assert!(broker.is_alive());
    kill_router(&broker);
    assert!(!hears.recv_timeout(PATIENCE).unwrap().is_empty());
    assert!(!broker.is_alive());
    for client in [&mut subscriber, &mut idle] {
        assert_eq!(client.last().unwrap().body[0], 0x8b);
    }
    let (_client, connack) = Client::connect(address, &Connect::v5("late"));
    assert_eq!(connack.body[1], 0x88);
    let (_client, connack) = Client::connect(address, &Connect::v3("late"));
    assert_eq!(connack.body, [0, 3]);
    assert!(broker.link("late").is_err());
    let (told, hears) = std::sync::mpsc::channel();
    broker.on_death(move |cause| told.send(cause).unwrap());
    assert!(hears.try_recv().is_ok(), "who asks late is told at once");
}

/// What is set aside while a SUBSCRIBE is answered, and brings no write when its
/// turn comes, does not keep what follows it waiting for something else to happen.
#[test]
fn messages_set_aside_behind_a_subscribe_are_taken_to_the_last() {
    const OWN: usize = 900;
    let mut config = Config::loopback();
    config.router.outgoing_packets_max = 2 * OWN as u64;
    config.limits.pending_messages_max = 1;
    let (_broker, address) = start(config);
    let receive_maximum_of_1 = vec![33, 0, 1];
    let (mut client, _) =
        Client::connect(address, &Connect { properties: receive_maximum_of_1, ..Connect::v5("c") });
    let no_local = 4;
    assert_eq!(
        [("own", no_local), ("full", 1), ("heard", 0)]
            .map(|(filter, options)| client.subscribe(filter, options)),
        [0, 1, 0]
    );
    let mut other = Client::v5(address, "other");
    other.subscribe("heard", 0);
    // One is not acknowledged yet and another waits behind it, so no more is taken from the router.
    other.publish_acked("full", b"1", false);
    other.publish_acked("full", b"2", false);
    let first = client.receive();
    assert_eq!((first.topic().as_str(), first.payload5()), ("full", &b"1"[..]));
    client.send(&client.publish_bytes("own", b"", 0, 0, &[]).repeat(OWN));
    client.publish("heard", b"last", 0);
    assert_eq!(other.receive().topic(), "heard");
    // The publish behind the SUBSCRIBE waits for its answer, and the acknowledgement
    // that makes room waits behind the publish.
    let rest = [
        client.subscribe_bytes("new", 0, 9, &[]),
        client.publish_bytes("own", b"", 0, 0, &[]),
        packet(0x40, &first.packet_id().to_be_bytes()),
    ];
    client.send(&rest.concat());
    // Far less than the time after which the broker looks at every connection anyway.
    client.stream.set_read_timeout(Some(PATIENCE / 4)).unwrap();
    assert_eq!(client.receive().first, 0x90);
    let second = client.receive();
    assert_eq!((second.topic().as_str(), second.payload5()), ("full", &b"2"[..]));
    let last = client.receive();
    assert_eq!((last.topic().as_str(), last.payload5()), ("heard", &b"last"[..]));
}

/// A SUBSCRIBE for all of these at QoS 0.
fn subscribe_all<'a>(filters: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut body = vec![0, 9];
    for filter in filters {
        body.extend(mqtt::string(filter));
        body.push(0);
    }
    packet(0x82, &body)
}

#[test]
fn a_filter_that_is_repeated_in_one_subscribe_brings_what_is_retained_once() {
    let (broker, address) = start_default();
    let mut publisher = Client::v3(address, "p");
    for n in 0..50 {
        publisher.publish_acked(&format!("r/{n}"), &[b'x'; 1_000], true);
    }
    let mut client = Client::v3(address, "c");
    client.send(&subscribe_all(["#"; 5_000]));
    let suback = client.receive();
    assert_eq!((suback.first, suback.body.len()), (0x90, 2 + 5_000));
    for _ in 0..50 {
        assert!(client.receive().is_retained());
    }
    assert_eq!(client.until_pong(), []);
    assert_well(&broker, address);
}

#[test]
fn a_hundred_thousand_filters_in_one_packet_are_each_answered_and_others_are_served_meanwhile() {
    let (broker, address) = start_default();
    let filters: Vec<_> = (0..100_000).map(|n| format!("+/{n}")).collect();
    let mut calm = Client::v3(address, "calm");
    let mut client = Client::v3(address, "c");
    client.send(&subscribe_all(filters.iter().map(String::as_str)));
    client.publish("behind", b"", 0);
    let mut served = 0;
    while client.has_nothing() {
        calm.ping();
        served += 1;
    }
    assert!(served > 1, "nobody is served before it is done");
    let suback = client.receive();
    let codes = &suback.body[2..];
    // They do not overlap, so that as many are granted as a client may have.
    let (granted, refused) = codes.split_at(1_000);
    assert!(granted.iter().all(|&code| code == 0) && refused.iter().all(|&code| code == 0x80));
    assert_eq!(codes.len(), 100_000);
    assert_well(&broker, address);
}

#[test]
fn a_fault_in_the_last_of_many_filters_comes_before_the_first_subscription() {
    let (broker, address) = start_default();
    let mut client = Client::v5(address, "c");
    let filters: Vec<_> = (0..50_000).map(|n| format!("f/{n}")).collect();
    let mut body = vec![0, 9, 0];
    for filter in filters.iter().map(String::as_str).chain(["a#"]) {
        body.extend(mqtt::string(filter));
        body.push(0);
    }
    client.send(&packet(0x82, &body));
    let goodbye = client.last().expect("a DISCONNECT");
    assert_eq!((goodbye.first, goodbye.body[0]), (0xe0, 0x8f));
    assert_eq!(broker.statistics().filters, 0);
    assert_well(&broker, address);
}

#[test]
fn an_old_retained_message_never_follows_a_new_one_however_slowly_a_client_reads() {
    const TOPICS: usize = 3_000;
    let (broker, address) = start_default();
    let mut publisher = Client::v3(address, "p");
    for n in 0..TOPICS {
        publisher.publish_acked(&format!("r/{n:04}"), &[b'o'; 4_096], true);
    }
    let mut client = Client::v3(address, "c");
    // More than the system's buffers take, so that the broker is not through with it
    // when the next ones are published.
    client.send(&client.subscribe_bytes("r/#", 0, 1, &[]));
    assert_eq!(client.receive().first, 0x90);
    for n in [0, TOPICS / 2, TOPICS - 1] {
        publisher.publish_acked(&format!("r/{n:04}"), b"new", true);
    }
    publisher.publish_acked("r/end", b"", false);
    let mut last = std::collections::HashMap::new();
    loop {
        let got = client.receive();
        if got.topic() == "r/end" {
            break;
        }
        let is_new = got.payload() == b"new";
        let before = last.insert(got.topic(), is_new);
        assert!(before != Some(true) && (before.is_none() || is_new), "{}", got.topic());
    }
    assert_eq!((last.len(), last.values().filter(|is_new| **is_new).count()), (TOPICS, 3));
    assert_well(&broker, address);
}
