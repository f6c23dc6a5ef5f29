//! What the broker says that it holds, beside what an allocator that counts says.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use nearfar::broker::{Broker, Config, Limits, Listener, MemoryKind};

use crate::support::mqtt::{self, Client, Connect, PATIENCE, start};
use crate::support::websocket::{self, WebSocket};
use crate::{ALLOCATED, alone};

/// How many packets are written before their answers are read.
const AT_ONCE: usize = 500;
/// More than the router's log holds.
const LOGGED_BYTES: usize = 3 << 20;
/// What is counted may be so many times what is taken, and the other way round;
const RATIO_MAX: f64 = 1.5;
/// beside as much as the router's log differs by, which has one segment more or
/// less, and tables that nobody is counted for.
const SLACK_BYTES: f64 = 1e6;

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

/// A broker with a listener for WebSocket as well, behind the plain one, where one
/// client may have much unacknowledged.
fn config() -> Config {
    let mut config = Config { limits: unbounded(), ..Config::loopback() };
    config.router.segment_bytes_max = 16 << 20;
    config.listeners[0].connections.inflight_messages_max = u16::MAX;
    let address = config.listeners[0].address;
    config.listeners.push(Listener { websocket: Some(Default::default()), ..Listener::new("ws", address) });
    config
}

/// What `fill` leaves, and what is counted and what is taken more than before it, in bytes.
fn grown<T>(broker: &Broker, fill: impl FnOnce() -> T) -> (T, impl Fn() -> (f64, f64)) {
    let counted = |broker: &Broker| {
        let used = broker.statistics().memory;
        // The router's log is of one size, and was full before.
        used.total() - used.of(MemoryKind::Router)
    };
    let before = (counted(broker), ALLOCATED.allocated());
    let held = fill();
    let grown =
        move || (counted(broker) as f64 - before.0 as f64, ALLOCATED.allocated() as f64 - before.1 as f64);
    (held, grown)
}

/// Waits until what is counted is what is taken, for what has ended is given back a
/// moment later. `warm` publishes as `fill` does. What that returns lives until then.
fn compare<T>(
    name: &str,
    warm: impl FnOnce(SocketAddr),
    fill: impl FnOnce(SocketAddr) -> T,
) -> Option<String> {
    compare_over(name, warm, |broker| fill(broker.addresses()[0].1))
}

fn compare_over<T>(
    name: &str,
    warm: impl FnOnce(SocketAddr),
    fill: impl FnOnce(&Broker) -> T,
) -> Option<String> {
    let (broker, address) = start(config());
    // The router's log is of one size, and from here on full of messages like those that follow.
    let mut reader = Client::v3(address, "reader");
    reader.subscribe("#", 0);
    warm(address);
    reader.send(&[0xe0, 0]);
    while reader.next().is_some() {}
    let (_held, grown) = grown(&broker, || fill(&broker));
    let started = Instant::now();
    loop {
        let (counted, taken) = grown();
        let ratio = counted / taken;
        let exceeds = |one: f64, other: f64| one > RATIO_MAX * other + SLACK_BYTES;
        let is_right = !exceeds(counted, taken) && !exceeds(taken, counted);
        if is_right || started.elapsed() > PATIENCE {
            let line =
                format!("{name}: {:.1} MB counted, {:.1} taken, {ratio:.2}", counted / 1e6, taken / 1e6);
            println!("{line}");
            return (!is_right).then_some(line);
        }
        std::thread::yield_now();
    }
}

/// Fills the router's log with messages of this size.
fn warm(topic: fn(usize) -> String, payload: &'static [u8]) -> impl FnOnce(SocketAddr) {
    move |address| {
        let bytes = 64 + topic(1).len() + payload.len();
        publish(address, LOGGED_BYTES / bytes, 0, topic, payload, 0);
    }
}

/// Clients that have subscribed to a topic each, at this QoS, and read nothing more.
fn readers(address: SocketAddr, count: usize, qos: u8, properties: &[u8]) -> Vec<Client> {
    let reader = |n: usize| {
        let client_id = format!("reader-{n}");
        let connect = Connect { properties: properties.to_vec(), ..Connect::v5(&client_id) };
        let mut client = Client::accepted(address, &connect);
        assert_eq!(client.subscribe(&format!("{n}/#"), qos), qos);
        client
    };
    (0..count).map(reader).collect()
}

/// Members of a group that have much waiting: a message that each was given and has
/// not acknowledged, and the rest in the group.
fn members(address: SocketAddr) -> Vec<Client> {
    let member = |n: usize| {
        let properties = vec![33, 0, 1];
        let mut client =
            Client::accepted(address, &Connect { properties, ..Connect::v5(&format!("member-{n}")) });
        assert_eq!(client.subscribe("$share/group/+/+", 1), 1);
        client
    };
    (0..3).map(member).collect()
}

fn sharing(address: SocketAddr) -> Vec<Client> {
    let members = members(address);
    publish(address, 20_000, 0, tiny, &[7; 100], 0);
    members
}

/// The same with what each was read into together with something large.
fn sharing_behind_large_ones(address: SocketAddr) -> Vec<Client> {
    let members = members(address);
    publish_behind_large_ones(address, 300);
    members
}

fn unread(address: SocketAddr) -> Vec<Client> {
    let readers = readers(address, 10, 0, &[]);
    // The system takes some megabytes for each.
    publish(address, 300, 0, |n| format!("{}/x", n % 10), &[7; 500_000], 0);
    readers
}

fn unacknowledged(address: SocketAddr) -> Vec<Client> {
    let readers = readers(address, 10, 2, &[]);
    let mut client = Client::v5(address, "publisher");
    for _ in 0..40 {
        let both = |n: usize| {
            let packet_id = 1 + n as u16;
            let publish = client.publish_bytes(&format!("{}/x", n % 10), b"x", 4, packet_id, &[]);
            [publish, mqtt::packet(0x62, &packet_id.to_be_bytes())].concat()
        };
        let packets: Vec<_> = (0..AT_ONCE).map(both).collect();
        client.send(&packets.concat());
        (0..2 * AT_ONCE).for_each(|_| drop(client.receive()));
    }
    readers
}

/// Each small message to somebody comes behind a large one to nobody, with which it
/// shares what it was read into.
fn unacknowledged_behind_large_ones(address: SocketAddr) -> Vec<Client> {
    let readers = readers(address, 10, 1, &[]);
    publish_behind_large_ones(address, 300);
    readers
}

fn publish_behind_large_ones(address: SocketAddr, count: usize) {
    let mut client = Client::v5(address, "publisher");
    for n in 0..count {
        let large = client.publish_bytes("nobody", &[7; 60_000], 0, 0, &[]);
        let small = client.publish_bytes(&format!("{}/x", n % 10), b"x", 2, 1, &[]);
        client.send(&[large, small].concat());
        client.receive();
    }
    client.disconnect();
}

/// Clients that have sent something large, and nothing since.
fn idle_after_large_ones(address: SocketAddr) -> Vec<Client> {
    let sender = |n: usize| {
        let mut client = Client::v5(address, &format!("sender-{n}"));
        client.publish("nobody", &[7; 1_000_000], 0);
        client.ping();
        client
    };
    (0..40).map(sender).collect()
}

fn unreleased(address: SocketAddr) -> Vec<Client> {
    let publisher = |n: usize| {
        let mut client = Client::v5(address, &format!("publisher-{n}"));
        let publishes: Vec<_> =
            (1..=20_000).map(|id| client.publish_bytes("nobody", b"x", 4, id, &[])).collect();
        send(&mut client, publishes);
        client
    };
    (0..3).map(publisher).collect()
}

/// Topics of four kilobytes, as long as one may be.
fn long(n: usize) -> String {
    format!("{n:0>4000}")
}

fn aliases_of_publishers(address: SocketAddr) -> Vec<Client> {
    let publisher = |n: usize| {
        let mut client = Client::v5(address, &format!("publisher-{n}"));
        for alias in 1..=64 {
            client.send(&client.publish_bytes(&long(alias), b"x", 2, 1, &[35, 0, alias as u8]));
            client.receive();
        }
        client
    };
    (0..40).map(publisher).collect()
}

fn aliases_of_readers(address: SocketAddr) -> Vec<Client> {
    let mut readers = readers(address, 40, 0, &[34, 0, 64]);
    publish(address, 40 * 64, 0, |n| format!("{}/{}", n % 40, long(n)), b"x", 0);
    // They have read it, so that only the aliases are left.
    readers.iter_mut().for_each(|reader| (0..64).for_each(|_| drop(reader.receive())));
    readers
}

fn wills(address: SocketAddr) -> Vec<Client> {
    let leaving = |n: usize| {
        let will = Some(("will", &[7; 60_000][..], 1, true, [38, 0, 0, 0, 0].repeat(1_000)));
        let client_id = format!("leaving-{n}");
        Client::accepted(address, &Connect { will, ..Connect::v5(&client_id) })
    };
    (0..200).map(leaving).collect()
}

/// A packet of a megabyte of which the last byte does not come.
fn half_packet() -> Vec<u8> {
    let mut packet = mqtt::packet(0x30, &[&[0, 1, b'a', 0][..], &vec![7; 1_000_000]].concat());
    packet.pop();
    packet
}

fn half_packets(address: SocketAddr) -> Vec<Client> {
    let half = half_packet();
    let sending = |n: usize| {
        let mut client = Client::v5(address, &format!("half-{n}"));
        client.send(&half);
        client
    };
    (0..40).map(sending).collect()
}

/// The same within one message of a WebSocket, and in messages of their own.
fn half_messages(broker: &Broker) -> Vec<Client<WebSocket<TcpStream>>> {
    let half = half_packet();
    let frame = websocket::frame(websocket::FIN | websocket::BINARY, &half);
    let sending = |n: usize| {
        let stream = WebSocket::over(websocket::connect(broker.addresses()[1].1));
        let (mut client, _connack) = Client::over(stream, &Connect::v5(&format!("half-{n}")));
        if n.is_multiple_of(2) {
            client.stream.stream.write_all(&frame[..frame.len() - 1]).unwrap();
        } else {
            client.send(&half);
        }
        client
    };
    (0..40).map(sending).collect()
}

#[test]
fn what_is_counted_is_what_memory_holds() {
    let _alone = alone();
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
        compare("shared groups", warm(tiny, &[7; 100]), sharing),
        compare("shared groups, each read with a large one", |_| (), sharing_behind_large_ones),
        compare("written and not read", warm(tiny, &[7; 500_000]), unread),
        compare("unacknowledged at QoS 2", warm(tiny, b"x"), unacknowledged),
        compare("unacknowledged, each read with a large one", |_| (), unacknowledged_behind_large_ones),
        compare("unreleased at QoS 2", |_| (), unreleased),
        compare("topic aliases of publishers", |_| (), aliases_of_publishers),
        compare("topic aliases of readers", warm(long, b"x"), aliases_of_readers),
        compare("wills", |_| (), wills),
        compare("half packets", |_| (), half_packets),
        compare_over("half packets over WebSocket", |_| (), half_messages),
        compare("idle after large packets", |_| (), idle_after_large_ones),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
