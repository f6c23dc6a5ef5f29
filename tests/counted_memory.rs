//! What the broker says that it holds, beside what an allocator that counts says: in a process of its own, for that counts everything.
#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking

#[path = "support/mqtt.rs"]
mod mqtt;

use cap::Cap;
use mqtt::{Client, Connect, PATIENCE, start};
use nearfar::broker::{Broker, Config, Limits, MemoryKind};
use std::alloc::System;
use std::net::SocketAddr;
use std::time::Instant;

#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

/// How many packets are written before their answers are read.
const AT_ONCE: usize = 500;
/// More than the router's log holds.
const LOGGED_BYTES: usize = 3 << 20;
/// What is counted may be so many times what is taken, and the other way round.
const RATIO_MAX: f64 = 1.5;

/// No bound but the one on memory.
fn unbounded() -> Limits {
    let many = 1 << 30;
    Limits {
        filters_max: many,
        subscriptions_per_client_max: many,
        pending_messages_max: many,
        pending_bytes_max: many,
        inflight_bytes_max: many,
        parked_sessions_max: many,
        retained_messages_max: many,
        retained_bytes_max: many,
        memory_max: Some(many),
        ..Limits::default()
    }
}

/// Sends packets that are answered one by one.
fn send(client: &mut Client, packets: impl IntoIterator<Item = Vec<u8>>) {
    let mut packets = packets.into_iter().peekable();
    while packets.peek().is_some() {
        let some: Vec<_> = packets.by_ref().take(AT_ONCE).collect();
        // What is answered is not so much that the broker would stop reading.
        client.send(&some.concat());
        for _ in some {
            client.receive();
        }
    }
}

/// Publishes `count` messages at QoS 1.
fn publish(
    address: SocketAddr,
    count: usize,
    flags: u8,
    topic: impl Fn(usize) -> String,
    payload: &[u8],
    pairs: usize,
) {
    let mut client = Client::v5(address, "publisher");
    let properties = [38, 0, 0, 0, 0].repeat(pairs);
    let packets: Vec<_> = (0..count)
        .map(|n| client.publish_bytes(&topic(n), payload, 2 | flags, 1 + (n % AT_ONCE) as u16, &properties))
        .collect();
    if payload.len() + properties.len() < 1_000 {
        send(&mut client, packets);
    } else {
        packets.into_iter().for_each(|packet| send(&mut client, [packet]));
    }
    client.disconnect();
}

/// A session that is away and has subscribed to `filters`.
fn park(address: SocketAddr, client_id: &str, filters: impl IntoIterator<Item = String>) {
    let mut client = Client::accepted(address, &Connect::v5(client_id).persistent());
    let subscribes: Vec<_> =
        filters.into_iter().map(|filter| client.subscribe_bytes(&filter, 1, 9, &[])).collect();
    send(&mut client, subscribes);
    client.disconnect();
}

fn deep(n: usize) -> String {
    format!("{n}{}", "/level".repeat(100))
}

fn deep_at_the_end(n: usize) -> String {
    format!("{}{n}", "level/".repeat(100))
}

fn tiny(n: usize) -> String {
    format!("t/{n}")
}

/// What is counted and what is taken more than before `fill`, in bytes.
fn grown(broker: &Broker, fill: impl FnOnce()) -> impl Fn() -> (f64, f64) {
    let counted = |broker: &Broker| {
        let used = broker.statistics().memory;
        // The router's log is of one size, and was full before.
        used.total() - used.of(MemoryKind::Router)
    };
    let before = (counted(broker), ALLOCATED.allocated());
    fill();
    move || (counted(broker) as f64 - before.0 as f64, ALLOCATED.allocated() as f64 - before.1 as f64)
}

/// Waits until what is counted is what is taken, for what has ended is given back a moment later. `warm` publishes as `fill` does.
fn compare(name: &str, warm: impl FnOnce(SocketAddr), fill: impl FnOnce(SocketAddr)) -> Option<String> {
    let (broker, address) = start(Config { limits: unbounded(), ..Config::loopback() });
    // The router's log is of one size, and from here on full of messages like those that follow.
    let mut reader = Client::v3(address, "reader");
    reader.subscribe("#", 0);
    warm(address);
    reader.send(&[0xe0, 0]);
    while reader.next().is_some() {}
    let grown = grown(&broker, || fill(address));
    let started = Instant::now();
    loop {
        let (counted, taken) = grown();
        let ratio = counted / taken;
        let is_right = (1.0 / RATIO_MAX..RATIO_MAX).contains(&ratio);
        if is_right || started.elapsed() > PATIENCE {
            let line =
                format!("{name}: {:.1} MB counted, {:.1} taken, {ratio:.2}", counted / 1e6, taken / 1e6);
            println!("{line}");
            return (!is_right).then_some(line);
        }
        std::thread::yield_now();
    }
}

#[test]
fn what_is_counted_is_what_memory_holds() {
    let queued = |name: &str, count, topic: fn(usize) -> String, payload: &[u8], pairs| {
        let warm = |address| {
            publish(address, LOGGED_BYTES / (64 + payload.len() + 5 * pairs), 0, topic, payload, pairs);
        };
        let fill = |address| {
            park(address, "away", ["#".to_owned()]);
            publish(address, count, 0, topic, payload, pairs);
        };
        compare(name, warm, fill)
    };
    let retained = |name: &str, count, topic: fn(usize) -> String, payload: &[u8], pairs| {
        compare(name, |_| (), |address| publish(address, count, 1, topic, payload, pairs))
    };
    let subscribed = |name: &str, sessions: usize, each: usize, filter: fn(usize) -> String| {
        let fill = |address| {
            for session in 0..sessions {
                park(address, &format!("away-{session}"), (0..each).map(|n| filter(session * each + n)));
            }
        };
        compare(name, |_| (), fill)
    };
    let wrong: Vec<_> = [
        retained("retained, tiny", 20_000, tiny, b"x", 0),
        retained("retained, deep", 3_000, deep, b"x", 0),
        retained("retained, deep and alike", 3_000, deep_at_the_end, b"x", 0),
        retained("retained, empty user properties", 200, tiny, b"x", 20_000),
        retained("retained, large", 40, tiny, &[7; 500_000], 0),
        queued("queued, tiny", 20_000, tiny, b"x", 0),
        queued("queued, deep", 10_000, deep, b"x", 0),
        queued("queued, empty user properties", 200, tiny, b"x", 20_000),
        queued("queued, large", 40, tiny, &[7; 500_000], 0),
        subscribed("sessions", 1_000, 1, tiny),
        subscribed("filters", 10, 1_000, tiny),
        subscribed("filters, deep", 10, 300, deep),
        subscribed("filters, deep and alike", 10, 300, deep_at_the_end),
        subscribed("filters with wildcards", 10, 1_000, |n| format!("+/{n}/#")),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
