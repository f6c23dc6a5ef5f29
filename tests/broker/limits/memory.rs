//! Memory for all: whoever has most gives way when it gets scarce, and the others lose nothing.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Instant;

use nearfar::broker::{Broker, Config, Limit, Limits, MemoryKind};

use crate::limits::{empty_user_properties, reached};
use crate::support::mqtt::{Client, Connect, PATIENCE, start};

const MIB: usize = 1 << 20;
/// The addresses of who takes everything, and of who has little.
const HOG: u8 = 2;
const CALM: u8 = 3;

fn broker(memory_max: usize, limits: Limits) -> (Broker, SocketAddr) {
    start(Config { limits: Limits { memory_max: Some(memory_max), ..limits }, ..Config::loopback() })
}

fn connect(host: u8, address: SocketAddr, connect: &Connect<'_>) -> Option<Client> {
    let mut client = Client::open_from(host, address, connect.is_v5);
    client.send(&connect.bytes());
    client.next().is_some_and(|connack| connack.body[1] == 0).then_some(client)
}

/// Leaves a session behind that has subscribed to `filter` with QoS 1.
fn park(host: u8, address: SocketAddr, client_id: &str, filter: &str) {
    let Some(mut client) = connect(host, address, &Connect::v5(client_id).persistent()) else { return };
    assert_eq!(client.subscribe(filter, 1), 1);
    client.disconnect();
}

fn wait_until(broker: &Broker, what: &str, is_so: impl Fn(&Broker) -> bool) {
    let started = Instant::now();
    while !is_so(broker) {
        assert!(started.elapsed() < PATIENCE, "{what}: {:?}", broker.statistics());
        std::thread::yield_now();
    }
}

#[test]
fn the_one_who_has_most_gets_no_more_and_who_has_little_loses_nothing() {
    let (broker, address) = broker(32 * MIB, Limits::default());
    let calm = Connect::v5("calm").persistent();
    park(CALM, address, "calm", "calm/#");
    let mut publisher = connect(CALM, address, &Connect::v3("publisher")).unwrap();
    for n in 0..20 {
        publisher.publish_acked("calm/1", &[n; 1_000], false);
    }
    for n in 0..30 {
        park(HOG, address, &format!("hog-{n}"), "flood/#");
    }
    let mut flood = connect(HOG, address, &Connect::v3("flood")).unwrap();
    // Each would wait thirty times: 300 MB in all.
    for _ in 0..100 {
        flood.publish_acked("flood/1", &vec![7; 100_000], false);
    }
    wait_until(&broker, "memory is never scarce", |broker| reached(broker, Limit::Memory) > 0);
    let used = broker.statistics().memory;
    assert!(used.total() < 30 * MIB, "{used:?}");
    let mut calm = connect(CALM, address, &calm).expect("who has little is let in");
    let kept: Vec<_> = calm.until_pong().iter().map(|packet| packet.payload5()[0]).collect();
    assert_eq!(kept, (0..20).collect::<Vec<_>>(), "acknowledged messages of others are kept");
}

#[test]
fn retained_messages_of_empty_user_properties_count_as_what_they_take_and_are_refused_first() {
    let limits = Limits { retained_bytes_max: 1 << 30, ..Limits::default() };
    let (broker, address) = broker(32 * MIB, limits);
    let mut hog = connect(HOG, address, &Connect::v5("hog")).unwrap();
    for n in 0..300 {
        let properties = empty_user_properties(20_000);
        hog.send(&hog.publish_bytes(&format!("hog/{n}"), b"x", 3, 7, &properties));
        assert_eq!(hog.receive().first, 0x40);
    }
    let used = broker.statistics().memory;
    assert!((20 * MIB..28 * MIB).contains(&used.of(MemoryKind::Retained)), "{used:?}");
    assert!(reached(&broker, Limit::Memory) > 0);
    let mut calm = connect(CALM, address, &Connect::v3("calm")).unwrap();
    calm.publish_acked("calm", b"kept", true);
    calm.subscribe("calm", 0);
    assert_eq!(calm.receive().payload(), b"kept");
}

#[test]
fn connections_of_the_one_who_has_most_end_when_memory_is_full() {
    let (broker, address) = broker(16 * MIB, Limits::default());
    let mut calm = connect(CALM, address, &Connect::v5("calm")).unwrap();
    // Packets of a megabyte that never end.
    let half = [&[0x30, 0x80, 0x80, 0x3c, 0, 1, b'a'][..], &vec![0; 900_000]].concat();
    let mut hogs: Vec<_> =
        (0..30).filter_map(|n| connect(HOG, address, &Connect::v5(&format!("hog-{n}")))).collect();
    for hog in &mut hogs {
        // It may be gone already, which is what this is about.
        let _gone = hog.stream.write_all(&half);
    }
    wait_until(&broker, "nobody gives way", |broker| reached(broker, Limit::Memory) > 0);
    wait_until(&broker, "memory stays full", |broker| broker.statistics().memory.total() < 14 * MIB);
    assert!(broker.statistics().connections < hogs.len(), "{:?}", broker.statistics());
    calm.ping();
    assert!(connect(CALM, address, &Connect::v3("calm-2")).is_some());
}

#[test]
fn what_was_taken_is_given_back_when_everybody_has_left() {
    let (broker, address) = broker(64 * MIB, Limits::default());
    let bare = broker.statistics().memory.total();
    let mut clients = Vec::new();
    for n in 0..20 {
        let mut client = Client::v5(address, &n.to_string());
        client.subscribe("$share/group/#", 1);
        client.subscribe(&format!("{n}/#"), 1);
        clients.push(client);
    }
    let mut publisher = Client::v3(address, "publisher");
    for n in 0..20 {
        publisher.publish_acked(&format!("{n}/x"), &[1; 1_000], true);
    }
    let used = broker.statistics().memory;
    for kind in [MemoryKind::Retained, MemoryKind::Sessions, MemoryKind::Connections, MemoryKind::Groups] {
        assert!(used.of(kind) > 0, "{kind:?}: {used:?}");
    }
    for n in 0..20 {
        publisher.publish_acked(&format!("{n}/x"), b"", true);
    }
    drop((clients, publisher));
    wait_until(&broker, "something is still held", |broker| {
        let used = broker.statistics().memory;
        used.total() - used.of(MemoryKind::Router) <= bare + 64 * 1_024
    });
}

/// A message, of which so many make ten megabytes.
const LARGE_BYTES: usize = 100_000;
/// Whoever presses on a bound of 32 MiB has less than a quarter of what the hog has.
const PRESSING: [u8; 3] = [4, 5, 6];
const PRESSING_MESSAGES: usize = 40;

fn publish_large(client: &mut Client, count: usize, retain: bool, topic: impl Fn(usize) -> String) {
    for n in 0..count {
        let payload = [&(n as u32).to_be_bytes()[..], &[7; LARGE_BYTES]].concat();
        client.publish_acked(&topic(n), &payload, retain);
    }
}

/// So many messages, and no more.
fn take(client: &mut Client, count: usize) -> Vec<crate::support::mqtt::Packet> {
    let mut packets: Vec<_> = (0..count).map(|_| client.receive()).collect();
    packets.extend(client.until_pong());
    packets
}

/// The numbers of those messages among what came.
fn numbers(packets: &[crate::support::mqtt::Packet]) -> Vec<usize> {
    let number = |packet: &crate::support::mqtt::Packet| {
        packet.payload5().first_chunk().copied().map(u32::from_be_bytes)
    };
    packets.iter().filter(|packet| packet.kind() == 3).filter_map(number).map(|n| n as usize).collect()
}

/// Others take what is left of a bound of 32 MiB when a hog has 19 of it, until
/// somebody has to give something up; then nothing of theirs is missing.
fn press(broker: &Broker, address: SocketAddr) {
    for host in PRESSING {
        let mut client = connect(host, address, &Connect::v5(&format!("pressing-{host}"))).unwrap();
        publish_large(&mut client, PRESSING_MESSAGES, true, |n| format!("pressing/{host}/{n}"));
    }
    wait_until(broker, "nothing is given up", |broker| {
        reached(broker, Limit::Memory) > 0 && broker.statistics().memory.total() < 28 * MIB
    });
    for host in PRESSING {
        let mut client = connect(host, address, &Connect::v5(&format!("pressing-{host}"))).unwrap();
        client.subscribe(&format!("pressing/{host}/#"), 0);
        assert_eq!(take(&mut client, PRESSING_MESSAGES).len(), PRESSING_MESSAGES, "of {host}");
    }
}

fn much_retained() -> Limits {
    Limits { retained_bytes_max: 1 << 30, ..Limits::default() }
}

#[test]
fn what_a_client_that_has_left_retained_is_given_up_like_anybody_elses() {
    let (broker, address) = broker(32 * MIB, much_retained());
    let mut hog = connect(HOG, address, &Connect::v5("hog")).unwrap();
    publish_large(&mut hog, 200, true, |n| format!("hog/{n}"));
    hog.disconnect();
    press(&broker, address);
    let mut reader = connect(HOG, address, &Connect::v5("reader")).unwrap();
    reader.subscribe("hog/#", 0);
    let count = broker.statistics().retained_messages - PRESSING.len() * PRESSING_MESSAGES;
    let kept = take(&mut reader, count);
    assert!((50..190).contains(&kept.len()), "{} are left", kept.len());
    assert!(kept.iter().any(|packet| packet.topic() == "hog/199"), "the oldest go");
    assert!(!kept.iter().any(|packet| packet.topic() == "hog/0"), "the oldest go");
}

#[test]
fn retained_messages_go_before_a_session_that_holds_less() {
    let (broker, address) = broker(32 * MIB, much_retained());
    park(HOG, address, "away", "away");
    let mut hog = connect(HOG, address, &Connect::v5("hog")).unwrap();
    publish_large(&mut hog, 30, false, |_| "away".to_owned());
    publish_large(&mut hog, 170, true, |n| format!("hog/{n}"));
    press(&broker, address);
    assert!(broker.statistics().retained_messages < PRESSING.len() * PRESSING_MESSAGES + 170);
    let (mut away, connack) = reconnect(address, "away");
    assert_eq!((connack, numbers(&take(&mut away, 30))), (1, (0..30).collect()));
    hog.ping();
}

/// Comes back to a session of the hog's. Whether there was one, as the CONNACK has it.
fn reconnect(address: SocketAddr, client_id: &str) -> (Client, u8) {
    let mut client = Client::open_from(HOG, address, true);
    client.send(&Connect::v5(client_id).persistent().bytes());
    let connack = client.receive();
    assert_eq!(connack.body[1], 0);
    (client, connack.body[0])
}

#[test]
fn a_reader_that_lags_loses_the_older_half_of_what_it_has_not_taken_and_goes_on() {
    let limits = Limits { memory_max: Some(32 * MIB), ..much_retained() };
    let mut config = Config { limits, ..Config::loopback() };
    config.router.segment_bytes_max = 16 * MIB;
    let (broker, address) = start(config);
    let mut reader = connect(HOG, address, &Connect::v5("reader")).unwrap();
    reader.subscribe("flood", 0);
    let mut flood = connect(HOG, address, &Connect::v5("flood")).unwrap();
    let mut sent = 0;
    while broker.statistics().memory.of(MemoryKind::Queues) < 19 * MIB {
        publish_large(&mut flood, 1, false, |_| "flood".to_owned());
        sent += 1;
        assert!(sent < 1_000, "{:?}", broker.statistics());
    }
    press(&broker, address);
    let left = broker.statistics().memory.of(MemoryKind::Queues);
    assert!((8 * MIB..11 * MIB).contains(&left), "{left} bytes");
    flood.publish("flood", b"last", 0);
    let received =
        std::iter::from_fn(|| Some(reader.receive())).take_while(|packet| packet.payload5() != b"last");
    // What was written to it before is not lost either.
    let lost = sent - received.count();
    assert!((90..110).contains(&lost), "{lost} of {sent}");
}

#[test]
fn the_largest_sessions_of_the_one_who_has_most_end_and_nobody_else_loses_anything() {
    let (broker, address) = broker(32 * MIB, much_retained());
    park(CALM, address, "calm", "calm");
    let mut calm = connect(CALM, address, &Connect::v5("calm-publisher")).unwrap();
    publish_large(&mut calm, 10, false, |_| "calm".to_owned());
    let mut publisher = connect(HOG, address, &Connect::v5("publisher")).unwrap();
    let sizes: Vec<_> = (8..=20).collect();
    for &size in &sizes {
        park(HOG, address, &format!("away-{size}"), &format!("away/{size}"));
        publish_large(&mut publisher, size, false, |_| format!("away/{size}"));
    }
    let mut unacknowledging = connect(HOG, address, &Connect::v5("online")).unwrap();
    assert_eq!(unacknowledging.subscribe("online", 1), 1);
    publish_large(&mut publisher, 24, false, |_| "online".to_owned());
    (0..24).for_each(|_| drop(unacknowledging.receive()));
    press(&broker, address);
    let last = unacknowledging.receive();
    assert_eq!((last.first, last.body[0]), (0xe0, 0x97), "the largest goes first, and is told");
    let left: Vec<_> = sizes
        .iter()
        .copied()
        .filter(|&size| {
            let (mut away, was_there) = reconnect(address, &format!("away-{size}"));
            let waited = take(&mut away, usize::from(was_there) * size);
            assert_eq!(waited.len(), usize::from(was_there) * size, "all of it, or the session has ended");
            was_there == 1
        })
        .collect();
    assert!(!left.is_empty() && left.len() < sizes.len(), "{left:?}");
    assert_eq!(left, sizes[..left.len()], "the largest end");
    publisher.ping();
    let mut calm = connect(CALM, address, &Connect::v5("calm").persistent()).unwrap();
    assert_eq!(numbers(&take(&mut calm, 10)), (0..10).collect::<Vec<_>>());
}
