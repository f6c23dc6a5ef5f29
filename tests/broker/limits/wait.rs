//! `pending_policy = "wait"`: publishers wait for whoever is slow, and nothing that was acknowledged is lost.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nearfar::broker::{Broker, Config, Limit, Limits, PendingPolicy};
use nearfar::mqtt::Message;

use crate::support::mqtt::{Client, Connect, PATIENCE, Packet, start};

const PAYLOAD_BYTES: usize = 40;

/// A session may lag by 64 KiB, which is some 300 of the messages here, and be sent ten unacknowledged ones.
fn waiting(limits: Limits) -> Config {
    let limits = Limits { pending_policy: PendingPolicy::Wait, pending_messages_max: 20, ..limits };
    let mut config = Config { limits, ..Config::loopback() };
    config.listeners[0].connections.inflight_messages_max = 10;
    config.router.segment_bytes_max = 32 * 1024;
    config.router.segments_max = 2;
    config
}

fn publishes(client: &Client, topic: &str, publisher: u32, messages: u32) -> Vec<u8> {
    let publish = |number: u32| {
        let mut payload = [0; PAYLOAD_BYTES];
        payload[..4].copy_from_slice(&publisher.to_be_bytes());
        payload[4..8].copy_from_slice(&number.to_be_bytes());
        client.publish_bytes(topic, &payload, 2, (number % 60_000 + 1) as u16, &[])
    };
    (0..messages).flat_map(publish).collect()
}

/// Publishes at QoS 1 as fast as it is let, and returns once all of it is acknowledged.
fn publish_all(address: SocketAddr, topic: &'static str, publisher: u32, messages: u32) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut client = Client::v3(address, &format!("publisher {publisher}"));
        let bytes = publishes(&client, topic, publisher, messages);
        let mut reader = Client { stream: client.stream.try_clone().unwrap(), is_v5: false };
        let acknowledged = std::thread::spawn(move || {
            (0..messages).for_each(|_| assert_eq!(reader.receive().first, 0x40));
        });
        client.send(&bytes);
        acknowledged.join().unwrap();
    })
}

/// Who published a message, and its number.
fn of(packet: &Packet) -> (u32, u32) {
    let payload = packet.payload();
    let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
    (number(0), number(4))
}

/// Reads so many messages and acknowledges each.
fn read(client: &mut Client, messages: u32) -> Vec<(u32, u32)> {
    let mut got = Vec::new();
    while got.len() < messages as usize {
        let packet = client.receive();
        if packet.kind() == 3 {
            client.ack(0x40, packet.packet_id());
            got.push(of(&packet));
        }
    }
    got
}

fn subscriber(address: SocketAddr, name: &str, filter: &str) -> Client {
    let mut client = Client::v3(address, name);
    assert_eq!(client.subscribe(filter, 1), 1);
    client
}

/// More than any reader here is sent without reading, and less than any publisher here has.
const BEGUN_MESSAGES: u64 = 100;

/// Waits until nothing more is published, because somebody waits.
fn wait_until_held(broker: &Broker) {
    let began = Instant::now();
    let mut last = (u64::MAX, Instant::now());
    while last.1.elapsed() < Duration::from_millis(200) {
        assert!(began.elapsed() < PATIENCE, "nobody waits");
        let published = broker.statistics().published_messages;
        // Nobody is held who has not begun.
        if published != last.0 || published < BEGUN_MESSAGES {
            last = (published, Instant::now());
        }
        std::thread::yield_now();
    }
}

fn assert_nothing_lost(broker: &Broker) {
    assert_eq!(broker.statistics().dropped_messages, 0);
}

#[test]
fn everything_arrives_in_order_however_slow_the_reader_is() {
    let (broker, address) = start(waiting(Limits::default()));
    let mut slow = subscriber(address, "slow", "t");
    let publisher = publish_all(address, "t", 0, 100_000);
    let got = read(&mut slow, 100_000);
    assert!(got.iter().zip(0..).all(|((_, number), expected)| *number == expected));
    publisher.join().unwrap();
    assert_nothing_lost(&broker);
}

#[test]
fn whoever_publishes_to_others_is_not_held_up() {
    let (broker, address) = start(waiting(Limits::default()));
    let mut slow = subscriber(address, "slow", "t");
    let mut quick = subscriber(address, "quick", "other");
    let publisher = publish_all(address, "t", 0, 5_000);
    wait_until_held(&broker);
    let published = broker.statistics().published_messages;
    assert!(published < 5_000, "{published} went by a reader that has taken nothing");
    let other = publish_all(address, "other", 1, 2_000);
    assert_eq!(read(&mut quick, 2_000).len(), 2_000);
    other.join().unwrap();
    assert_eq!(read(&mut slow, 5_000).len(), 5_000);
    publisher.join().unwrap();
    assert_nothing_lost(&broker);
}

#[test]
fn several_publishers_are_let_in_by_turns() {
    let (broker, address) = start(waiting(Limits::default()));
    let mut slow = subscriber(address, "slow", "t");
    let publishers: Vec<_> = (0..3).map(|number| publish_all(address, "t", number, 10_000)).collect();
    wait_until_held(&broker);
    let got = read(&mut slow, 30_000);
    for publisher in 0..3 {
        let first_half = got[..15_000].iter().filter(|(who, _)| *who == publisher).count();
        assert!(first_half > 2_500, "publisher {publisher} had {first_half} of the first 15000");
        let own: Vec<_> =
            got.iter().filter(|(who, _)| *who == publisher).map(|(_, number)| *number).collect();
        assert!(own.is_sorted() && own.len() == 10_000);
    }
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    assert_nothing_lost(&broker);
}

#[test]
fn a_client_never_waits_for_itself() {
    for filter in ["t", "$share/g/t"] {
        let (broker, address) = start(waiting(Limits::default()));
        let mut client = subscriber(address, "both", filter);
        let bytes = publishes(&client, "t", 0, 3_000);
        client.send(&bytes);
        let (mut acknowledged, mut got) = (0, 0);
        // What did not fit before it began to read is told as dropped.
        while acknowledged < 3_000 || got + broker.statistics().dropped_messages < 3_000 {
            let packet = client.receive();
            if packet.kind() == 3 {
                client.ack(0x40, packet.packet_id());
                got += 1;
            } else {
                acknowledged += 1;
            }
        }
        assert!(got >= 100, "{filter}: {got}");
        client.ping();
    }
}

/// Publishes to `topic`, with at most twenty messages unacknowledged as most clients
/// do, and acknowledges what comes meanwhile.
fn talk(mut client: Client, topic: &str, messages: usize) {
    let bytes = publishes(&client, topic, 0, messages as u32);
    let mut unsent = bytes.chunks_exact(bytes.len() / messages);
    let (mut got, mut acknowledged) = (0, 0);
    unsent.by_ref().take(20).for_each(|publish| client.send(publish));
    while got < messages || acknowledged < messages {
        let packet = client.receive();
        if packet.kind() == 3 {
            client.ack(0x40, packet.packet_id());
            got += 1;
        } else {
            acknowledged += 1;
            unsent.next().into_iter().for_each(|publish| client.send(publish));
        }
    }
}

#[test]
fn two_that_wait_for_each_other_go_on() {
    let (broker, address) = start(waiting(Limits::default()));
    let clients = [("a", "b"), ("b", "a")].map(|(own, others)| (subscriber(address, own, own), others));
    let mut idle = Client::v3(address, "idle");
    // Both have subscribed before either publishes, and each gets more than may lie before it.
    let ends = clients.map(|(client, others)| std::thread::spawn(move || talk(client, others, 5_000)));
    ends.into_iter().for_each(|end| end.join().unwrap());
    idle.ping();
    assert_nothing_lost(&broker);
}

#[test]
fn a_publisher_that_waits_is_told_that_the_broker_lives() {
    let (broker, address) = start(waiting(Limits::default()));
    let mut slow = subscriber(address, "slow", "t");
    let mut publisher = Client::accepted(address, &Connect { keep_alive_s: 1, ..Connect::v3("publisher") });
    publisher.send(&publishes(&publisher, "t", 0, 1_000));
    wait_until_held(&broker);
    // For longer than its keep-alive lets it be silent.
    let began = Instant::now();
    let mut acknowledged = 0;
    while began.elapsed() < Duration::from_millis(2_500) {
        acknowledged += publisher.until_pong().len();
    }
    assert!((1..1_000).contains(&acknowledged), "{acknowledged}");
    assert_eq!(read(&mut slow, 1_000).len(), 1_000);
    while acknowledged < 1_000 {
        assert_eq!(publisher.receive().first, 0x40);
        acknowledged += 1;
    }
}

#[test]
fn a_reader_that_takes_nothing_holds_nobody_for_ever() {
    let limits = Limits { write_timeout: Duration::from_millis(300), ..Limits::default() };
    let (broker, address) = start(waiting(limits));
    let mut quick = subscriber(address, "quick", "t");
    // It acknowledges nothing, and says that it lives.
    let mut silent = subscriber(address, "silent", "t");
    let mut sharing = subscriber(address, "sharing", "$share/g/t");
    let publisher = publish_all(address, "t", 0, 3_000);
    assert_eq!(read(&mut quick, 3_000).len(), 3_000);
    publisher.join().unwrap();
    assert!(silent.last().is_none_or(|packet| packet.kind() == 3));
    assert!(sharing.last().is_none_or(|packet| packet.kind() == 3));
    assert_eq!(broker.statistics().limits_reached.of(Limit::WriteTimeout), 2);
    quick.ping();
}

#[test]
fn a_shared_group_is_waited_for_too() {
    let (broker, address) = start(waiting(Limits::default()));
    let members = ["one", "other"].map(|name| subscriber(address, name, "$share/g/t"));
    let publisher = publish_all(address, "t", 0, 5_000);
    wait_until_held(&broker);
    let published = broker.statistics().published_messages;
    assert!(published < 5_000, "{published} went by members that have taken nothing");
    // One of them is gone, and what it was sent goes to the other one, which reads.
    let [one, mut other] = members;
    drop(one);
    let mut numbers: Vec<_> = read(&mut other, 5_000).into_iter().map(|(_, number)| number).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().zip(0..).all(|(number, expected)| *number == expected));
    publisher.join().unwrap();
}

#[test]
fn what_was_acknowledged_is_kept_when_the_reader_goes_and_nobody_waits_for_it_then() {
    let (broker, address) = start(waiting(Limits::default()));
    let connect = Connect::v3("slow").persistent();
    let mut slow = Client::accepted(address, &connect);
    assert_eq!(slow.subscribe("t", 1), 1);
    let publisher = publish_all(address, "t", 0, 5_000);
    wait_until_held(&broker);
    let held = broker.statistics().published_messages as u32;
    assert!((100..5_000).contains(&held), "{held}");
    drop(slow);
    publisher.join().unwrap();
    // All that was acknowledged has come out of the router when this has.
    let mut quick = subscriber(address, "quick", "after");
    publish_all(address, "after", 0, 1).join().unwrap();
    read(&mut quick, 1);
    let mut slow = Client::accepted(address, &connect);
    // Behind all that was kept.
    let last = publish_all(address, "t", 9, 1);
    let mut got = Vec::new();
    while got.last() != Some(&(9, 0)) {
        got.extend(read(&mut slow, 1));
    }
    last.join().unwrap();
    got.pop();
    assert!(got.len() >= held as usize, "{} of {held}", got.len());
    assert_eq!(got.len() as u64 + broker.statistics().dropped_messages, 5_000);
    assert!(got.iter().zip(0..).all(|((_, number), expected)| *number == expected), "the oldest are kept");
}

#[test]
fn the_node_itself_waits_for_nobody_and_what_does_not_fit_is_counted() {
    let (broker, address) = start(waiting(Limits::default()));
    let _slow = subscriber(address, "slow", "t");
    let mut quick = subscriber(address, "quick", "other");
    let (node, _link) = broker.link("node").unwrap();
    for number in 0..3_000_u32 {
        let mut payload = vec![0; PAYLOAD_BYTES];
        payload[4..8].copy_from_slice(&number.to_be_bytes());
        let mut message = Message::new("t", payload);
        message.qos = nearfar::mqtt::Qos::AtLeastOnce;
        node.publish(&mut vec![message]).unwrap();
    }
    node.publish(&mut vec![Message::new("other", [0; PAYLOAD_BYTES].to_vec())]).unwrap();
    let packet = quick.receive();
    assert_eq!(packet.topic(), "other");
    // The messages have come out of the router in their order.
    assert!(broker.statistics().dropped_messages > 1_000, "{:?}", broker.statistics());
}
