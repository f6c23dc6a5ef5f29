//! Memory for all: whoever has most gives way when it gets scarce, and the others lose nothing.

use crate::mqtt::{Client, Connect, PATIENCE, start};
use crate::{empty_user_properties, reached};
use nearfar::broker::{Broker, Config, Limit, Limits, MemoryKind};
use std::io::Write;
use std::net::SocketAddr;
use std::time::Instant;

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
