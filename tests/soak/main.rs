//! Abuse as bounded commands: a node in a process of its own is abused twice over
//! while a device goes on asking.
//!
//! Afterwards a fresh client is served, no socket and no thread is left, and memory has not
//! grown from one time to the next. Printed with `--nocapture`: how long the fresh client
//! took, and the device's p99 under abuse against its calm one. `NEARFAR_SOAK` multiplies
//! the sizes (default 1), `NEARFAR_SOAK_PROGRAM` is another build of the program, such as
//! the release: only that one's times mean anything. One scenario runs at a time.
#![cfg(target_os = "linux")] // what a process holds is read from /proc
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as a test does")]

#[path = "../support/mod.rs"]
mod support;

/// The node that is abused, as a process and as /proc shows it.
mod broker;
/// Clients whose every packet is as dear as the standard allows.
mod dear;
/// The device that goes on asking.
mod device;

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::broker::Node;
use self::device::{Device, Times};
use crate::support::mqtt::{self, Client, Connect};

/// Requests of the device before the abuse begins.
const CALM_REQUESTS: usize = 100;
/// Its requests while there is abuse: rounds go on until so many were answered.
const ABUSED_REQUESTS: usize = 100;
/// Memory that may come and go between two equal rounds: pools of the allocator,
/// buffers that were a little fuller.
const RESIDENT_SLACK_MIB: f64 = 24.0;
/// Nothing here makes a node larger than this.
const RESIDENT_MAX_MIB: f64 = 400.0;
/// Sockets that this process and the node need beside those of the abuse.
const SPARE_DESCRIPTORS: usize = 150;

/// The node's where they are few.
const DESCRIPTORS: usize = 64;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// `count`, as many times as asked for.
fn scaled(count: usize) -> usize {
    let scale = std::env::var("NEARFAR_SOAK").ok();
    count * scale.map_or(1, |scale| scale.parse().expect("NEARFAR_SOAK is a whole number"))
}

/// `count` sockets, as many times as asked for, as far as this process may open them.
fn scaled_sockets(count: usize, at_most: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let descriptors = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
    scaled(count).min(at_most).min(descriptors.saturating_sub(SPARE_DESCRIPTORS))
}

/// Runs `abuse` on processor time that nobody else wants: abusers bring machines of
/// their own, and must not take the node's or the device's.
fn stand_back(abuse: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let thread = std::fs::read_link("/proc/thread-self").expect("Linux names the thread");
            let id = thread.file_name().expect("it ends with the thread's number");
            // Threads that it starts inherit it.
            let idle = Command::new("chrt").args(["--idle", "--pid", "0"]).arg(id).status();
            if !idle.is_ok_and(|status| status.success()) {
                println!("SKIPPED: chrt (util-linux) is missing, so the abuse takes time from the device; times mean little");
            }
            abuse();
        });
    });
}

/// Runs `abuse` twice against a node, with a device beside it, and checks what is left.
fn soak(name: &str, abuse: impl Fn(SocketAddr) + Sync) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let node = Node::start();
    let address = node.address();
    let device = Device::connect(address);
    node.serve_fresh_client();
    let (mut device, calm) = device.calm(scaled(CALM_REQUESTS));
    let before = node.vitals();
    let mut abused = Times::default();
    let mut resident_mib = Vec::new();
    let mut fresh = Vec::new();
    while resident_mib.len() < 2 || abused.len() < scaled(ABUSED_REQUESTS) {
        let working = device.work();
        stand_back(|| abuse(address));
        let times;
        (device, times) = working.stop();
        abused.add(times);
        resident_mib.push(node.settle(before).resident_mib);
        fresh.push(node.serve_fresh_client());
    }
    let ratio = abused.p99().as_secs_f64() / calm.p99().as_secs_f64();
    println!(
        "{name}: device p99 {:.2?} calm, {:.2?} under abuse, ratio {ratio:.1} (p50 {:.2?} calm, {:.2?} under abuse, {} requests, {} rounds); \
         fresh client {:.1?} at most; resident {:.0} MiB before, {:.0} and at last {:.0} after",
        calm.p99(),
        abused.p99(),
        calm.quantile(50),
        abused.quantile(50),
        abused.len(),
        resident_mib.len(),
        fresh.iter().max().unwrap(),
        before.resident_mib,
        resident_mib[0],
        resident_mib[resident_mib.len() - 1],
    );
    if resident_mib[1] > resident_mib[0] + RESIDENT_SLACK_MIB {
        // What a round took is not with the system yet when the next one begins; but it comes to that.
        node.settle_below(resident_mib[0]);
    }
    assert!(resident_mib[1] <= RESIDENT_MAX_MIB, "{resident_mib:?} MiB");
    assert_eq!(node.stop().code, Some(0));
}

#[test]
fn connection_flood() {
    soak("connection flood", |address| {
        for n in 0..scaled(400) {
            let mut client = Client::open(address, false);
            if n % 2 == 0 {
                client.send(&Connect::v3(&format!("flood-{n}")).bytes());
            }
        }
    });
}

#[test]
fn half_open_handshakes() {
    soak("half-open handshakes", |address| {
        let sockets = scaled_sockets(150, 1_000);
        let half = Connect::v5("half").bytes();
        let open = (0..sockets).map(|n| {
            let mut client = Client::open(address, true);
            client.send(&half[..n % half.len()]);
            client
        });
        // All of them are cut off by the broker, not by us.
        for mut client in open.collect::<Vec<_>>() {
            assert_eq!(client.next(), None);
        }
    });
}

#[test]
fn slow_readers() {
    soak("slow readers", |address| {
        let deaf: Vec<_> = (0..20)
            .map(|n| {
                let mut client = Client::v3(address, &format!("deaf-{n}"));
                client.subscribe("flood/#", n % 2);
                client
            })
            .collect();
        let mut publisher = Client::v3(address, "publisher");
        for n in 0..scaled(1_500) {
            publisher.publish_acked(&format!("flood/{}", n % 4), &[7; 4_000], false);
        }
        drop(deaf);
    });
}

/// They write a byte a second; ten where nobody asks for more than the smallest size.
#[test]
fn slow_writers() {
    let byte_every = Duration::from_millis(if scaled(1) > 1 { 1_000 } else { 100 });
    soak("slow writers", |address| {
        let writers = scaled_sockets(30, 300);
        let mut clients: Vec<_> = (0..writers).map(|n| Client::v3(address, &format!("slow-{n}"))).collect();
        let publish = clients[0].publish_bytes("s", &[7], 2, 1, &[]);
        // The pace is theirs; nothing is waited for.
        let (_never, nothing) = sync_channel::<()>(0);
        for byte in publish.into_iter().chain([0xc0, 0]) {
            for client in &mut clients {
                client.send(&[byte]);
            }
            nothing.recv_timeout(byte_every).ok();
        }
        for client in &mut clients {
            assert_eq!((client.receive().first, client.receive().first), (0x40, 0xd0));
        }
    });
}

#[test]
fn subscription_bombs() {
    soak("subscription bombs", |address| {
        let mut bombers: Vec<_> = (0..4).map(|n| Client::v3(address, &format!("bomber-{n}"))).collect();
        for client in &mut bombers {
            subscribe_in_traffic(client, "#");
            subscribe_in_traffic(client, "+/+/+");
            // Every filter that matches one topic of nine levels.
            for mask in 0..512 {
                let levels = (0..9).map(|level| if mask >> level & 1 == 1 { "+" } else { "x" });
                let filter = levels.collect::<Vec<_>>().join("/");
                subscribe_in_traffic(client, &filter);
            }
        }
        let mut publisher = Client::v3(address, "publisher");
        for _ in 0..scaled(10) {
            publisher.publish_acked("x/x/x/x/x/x/x/x/x", b"boom", false);
        }
        // Each gets every message once, whatever it subscribed to.
        for client in &mut bombers {
            for _ in 0..scaled(10) {
                while client.receive().topic() != "x/x/x/x/x/x/x/x/x" {}
            }
        }
    });
}

/// Subscribes while messages come.
fn subscribe_in_traffic(client: &mut Client, filter: &str) {
    client.send(&client.subscribe_bytes(filter, 0, 9, &[]));
    while client.receive().first != 0x90 {}
}

#[test]
fn topic_explosion() {
    soak("topic explosion", |address| {
        let mut client = Client::v5(address, "exploding");
        for n in 0..scaled(2_000) {
            let packet = client.publish_bytes(&format!("new/{n}"), &[7; 100], 2 | (n % 2) as u8, 7, &[]);
            client.send(&packet);
            assert_eq!(client.receive().first, 0x40);
        }
        // Devices name the topics of their answers.
        for n in 0..scaled(500) {
            client.publish("ml/inference/request", support::request(&format!("d{n}"), 1).as_bytes(), 0);
        }
        client.ping();
    });
}

#[test]
fn client_id_collisions() {
    soak("client-id collisions", |address| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..scaled(40) {
                        let connect = Connect::v3("same");
                        let connect = if n % 3 == 0 { connect.persistent() } else { connect };
                        // It may lose the id before it hears that it has it.
                        let mut client = Client::open(address, false);
                        client.send(&connect.bytes());
                        client.next();
                    }
                });
            }
        });
        Client::v3(address, "same").disconnect();
    });
}

#[test]
fn takeover_storms() {
    soak("takeover storms", |address| {
        let mut previous = Vec::new();
        for n in 0..scaled(100) {
            let mut client = Client::accepted(address, &Connect::v5("stormy").persistent());
            if n == 0 {
                client.subscribe("storm", 1);
            }
            // It is never acknowledged, so every one of them gets all of it again.
            client.send(&client.publish_bytes("storm", &[7; 1_000], 2, 7, &[]));
            previous.push(client);
            if previous.len() > 20 {
                previous.clear();
            }
        }
        Client::v5(address, "stormy").disconnect();
    });
}

#[test]
fn clients_that_all_reconnect_at_once() {
    soak("reconnecting at once", |address| {
        let count = scaled_sockets(250, 1_000);
        let connect = |n: usize| {
            let id = format!("back-{n}");
            Client::accepted(address, &Connect::v3(&id).persistent())
        };
        let mut clients: Vec<_> = (0..count).map(connect).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            client.subscribe(&format!("back/{}", n % 50), 1);
        }
        drop(clients);
        let clients: Vec<_> = std::thread::scope(|scope| {
            let connecting: Vec<_> = (0..4)
                .map(|part| scope.spawn(move || (part..count).step_by(4).map(connect).collect::<Vec<_>>()))
                .collect();
            connecting.into_iter().flat_map(|part| part.join().unwrap()).collect()
        });
        assert_eq!(clients.len(), count);
        drop(clients);
        for n in 0..count {
            Client::v3(address, &format!("back-{n}")).disconnect();
        }
    });
}

#[test]
fn clean_disconnects_under_full_load() {
    soak("clean disconnects under load", |address| {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut publisher = Client::v3(address, "loading");
                let burst = publisher.publish_bytes("load", &[0; 100], 0, 0, &[]).repeat(100);
                while !done.load(Ordering::Relaxed) {
                    publisher.send(&burst);
                }
            });
            for n in 0..scaled(100) {
                let mut subscriber = Client::v3(address, "leaving");
                subscriber.subscribe("load", (n % 2) as u8);
                for _ in 0..n % 50 {
                    subscriber.receive();
                }
                subscriber.send(&[0xe0, 0]);
                subscriber.last();
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn more_sockets_than_file_descriptors_leave_some_for_the_rest() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let node = Node::with_descriptors(DESCRIPTORS);
    let mut served = Client::v3(node.address(), "served");
    let before = node.vitals();
    // The system completes connections whatever the node does with them, so none of these fails here.
    let mut crowd: Vec<_> = (0..100).map(|_| Client::open(node.address(), false)).collect();
    for client in &mut crowd {
        // Those that the node has are given up after half a second, and others come in
        // their place; it may have closed this one.
        client.stream.write_all(&Connect::v3("").bytes()).ok();
    }
    let (mut crowded, started) = (node.vitals(), Instant::now());
    while crowded.descriptors <= before.descriptors {
        assert!(started.elapsed() < mqtt::PATIENCE, "{crowded:?}");
        crowded = node.vitals();
    }
    // A client that it has is served all the while, for a second.
    let since = Instant::now();
    let (_never, nothing) = sync_channel::<()>(0);
    while since.elapsed().as_millis() < 1_000 {
        served.ping();
        let now = node.vitals();
        assert!(now.descriptors < DESCRIPTORS, "{now:?}");
        nothing.recv_timeout(Duration::from_millis(20)).ok();
    }
    let spent = node.vitals().cpu - crowded.cpu;
    let wall = since.elapsed();
    println!("few descriptors: {spent:?} of CPU in {wall:.1?} with {:?}", node.vitals());
    assert!(spent < wall / 2, "the node spins: {spent:?} of CPU in {wall:?}");
    drop(crowd);
    node.settle(before);
    println!("few descriptors: fresh client {:.1?}", node.serve_fresh_client());
    let ended = node.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stderr.contains("cannot accept"), "{}", ended.stderr);
}
