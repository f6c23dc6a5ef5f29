//! A node whose connection to its broker is cut again and again, in the middle of packets: every
//! request is answered, and every device's first answers come in order. The cuts are drawn from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nearfar::Node;
use nearfar::broker::{self, Broker};
use nearfar::client::RemoteConfig;
use nearfar::deployment::Config;
use nearfar::mqtt::Qos;
use rand::{RngExt, SeedableRng};

use crate::support::mosquitto;
use crate::support::raw_broker;
use crate::support::{MODEL, PATIENCE, Sensor, request};

const DEVICES: i64 = 5;
/// Requests go on until the connection has been cut this often.
const CUTS: usize = 25;
/// Sent at once; the next ones when all of them are answered.
const BATCH: i64 = 40;
/// How long a connection lives, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 5..60;
/// Carried in pieces of at most this many bytes, so that a cut goes through packets.
const PIECE_BYTES: usize = 300;

/// Stands between a node and its broker.
struct Saboteur {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

impl Saboteur {
    fn between(broker: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(AtomicUsize::new(0));
        let saboteur = Self { address, cuts: Arc::clone(&cuts) };
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        std::thread::spawn(move || {
            for node in listener.incoming() {
                let (Ok(node), Ok(broker)) = (node, TcpStream::connect(broker)) else { return };
                for (from, to) in [(&node, &broker), (&broker, &node)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || carry(from, to));
                }
                // The fault itself: nobody waits for this.
                std::thread::sleep(Duration::from_millis(random.random_range(LIFE_MS)));
                cut(&node, &broker);
                cuts.fetch_add(1, Ordering::Relaxed);
            }
        });
        saboteur
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = [0; PIECE_BYTES];
    while let Ok(count @ 1..) = from.read(&mut piece)
        && to.write_all(&piece[..count]).is_ok()
    {}
    cut(&from, &to);
}

/// One of the ends may be gone already.
fn cut(one: &TcpStream, other: &TcpStream) {
    one.shutdown(Shutdown::Both).ok();
    other.shutdown(Shutdown::Both).ok();
}

fn every_request_is_answered(broker: SocketAddr, seed: u64, remote: fn(SocketAddr, &str) -> RemoteConfig) {
    let saboteur = Saboteur::between(broker, seed);
    let remote = remote(saboteur.address, "node");
    let node = Node::builder().remote_broker(remote).deployment(Config::edge(), MODEL).start().unwrap();
    // From its first subscription on, the broker keeps what comes for it.
    node.wait_until_ready(PATIENCE).unwrap();
    let sensor = Sensor::listening(broker, &["ml/inference/result/+"]);
    let (mut sent, mut seen) = (0, BTreeSet::new());
    let mut by_device = BTreeMap::<String, Vec<i64>>::new();
    while saboteur.cuts.load(Ordering::Relaxed) < CUTS {
        for number in sent..sent + BATCH {
            let device = format!("s{}", number % DEVICES);
            sensor.publish("ml/inference/request", Qos::AtLeastOnce, request(&device, number));
        }
        sent += BATCH;
        while seen.len() < sent as usize {
            let body = sensor.next().json();
            let number = body["timestamp_us"].as_i64().unwrap();
            if seen.insert(number) {
                by_device.entry(body["device_id"].to_string()).or_default().push(number);
            }
        }
    }
    for (device, numbers) in by_device {
        assert!(numbers.is_sorted(), "seed {seed}, {device}: {numbers:?}");
    }
    // No request was done twice: the broker kept the session.
    let (_, total) = node.stop()[0].clone();
    assert_eq!((total.received, total.answered), (sent as u64, sent as u64), "seed {seed}");
}

#[test]
fn no_answer_is_missing_when_our_broker_is_cut_off() {
    let broker = Broker::start(broker::Config::loopback()).unwrap();
    every_request_is_answered(broker.addresses()[0].1, 1, raw_broker::remote);
}

#[test]
fn none_is_in_3_1_1() {
    let broker = Broker::start(broker::Config::loopback()).unwrap();
    every_request_is_answered(broker.addresses()[0].1, 2, raw_broker::remote_v3);
}

#[test]
fn none_is_when_a_mosquitto_is_cut_off() {
    let Some(broker) = mosquitto::mosquitto() else { return };
    every_request_is_answered(broker.address(), 3, raw_broker::remote);
}
