//! Clients that publish, read and acknowledge when they like, against queues that
//! are always full: whoever waits for room, for a window or for its turn is served
//! once there is some, and nothing that was acknowledged is lost.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::time::Instant;

use nearfar::broker::{Config, Limits, SharedStrategy};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::mqtt::{Client, Connect, PATIENCE, start};

const TOPICS: [&str; 4] = ["a", "b/1", "b/2", "c"];
const PLAIN: [&str; 4] = ["a", "b/+", "#", "+/2"];
const SHARED: [&str; 5] = ["$share/g/#", "$share/g/b/+", "$share/h/a", "$share/i/#", "$share/j/b/2"];

/// A client, and what it knows.
struct Peer {
    client: Client,
    input: Vec<u8>,
    unacknowledged: Vec<u16>,
    /// By the number that is each message's payload.
    got: BTreeMap<u32, usize>,
    published: usize,
    answered: usize,
    plain: Vec<&'static str>,
    shared: Vec<&'static str>,
}

impl Peer {
    fn new(address: SocketAddr, number: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut client = Client::accepted(address, &Connect::v3(&format!("peer-{number}")));
        let mut some = |filters: &[&'static str], most: usize| -> Vec<&'static str> {
            filters.iter().filter(|_| rng.random_range(0..filters.len()) < most).copied().collect()
        };
        let (plain, shared) = (some(&PLAIN, 1), some(&SHARED, 3));
        for filter in plain.iter().chain(&shared) {
            assert_eq!(client.subscribe(filter, 1), 1, "{filter}");
        }
        Self {
            client,
            input: Vec::new(),
            unacknowledged: Vec::new(),
            got: BTreeMap::new(),
            published: 0,
            answered: 0,
            plain,
            shared,
        }
    }

    fn publish(&mut self, topic: &str, number: u32) {
        self.published += 1;
        let packet_id = self.published as u16;
        let bytes = self.client.publish_bytes(topic, &number.to_be_bytes(), 2, packet_id, &[]);
        self.client.send(&bytes);
    }

    /// Reads what is there, so many bytes at most.
    fn read(&mut self, bytes_max: usize) {
        let mut bytes = vec![0; bytes_max];
        self.client.stream.set_nonblocking(true).unwrap();
        let read = self.client.stream.read(&mut bytes);
        self.client.stream.set_nonblocking(false).unwrap();
        let Ok(read) = read else { return };
        assert!(read > 0, "the broker closed the connection");
        self.input.extend_from_slice(&bytes[..read]);
        // Every packet here is shorter than 128 bytes.
        while self.input.len() >= 2 && self.input.len() >= 2 + usize::from(self.input[1]) {
            let rest = self.input.split_off(2 + usize::from(self.input[1]));
            let packet = std::mem::replace(&mut self.input, rest);
            self.take(&super::Packet { first: packet[0], body: packet[2..].to_vec() });
        }
    }

    fn take(&mut self, packet: &super::Packet) {
        match packet.kind() {
            3 => {
                self.unacknowledged.push(packet.packet_id());
                let number = packet.payload()[..4].try_into().map(u32::from_be_bytes).unwrap();
                *self.got.entry(number).or_default() += 1;
            }
            4 => self.answered += 1,
            kind => panic!("packet of kind {kind}"),
        }
    }

    fn acknowledge(&mut self, most: usize) {
        let some = most.min(self.unacknowledged.len());
        let acks: Vec<u8> = (self.unacknowledged.drain(..some))
            .flat_map(|id| [&[0x40, 2][..], &id.to_be_bytes()].concat())
            .collect();
        self.client.send(&acks);
    }
}

fn matches(filter: &str, topic: &str) -> bool {
    let path =
        filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')).map_or(filter, |(_, path)| path);
    nearfar::mqtt::filter_matches(path, topic)
}

/// Copies of a message that all peers together are to get, and have got.
fn copies(peers: &[Peer], topic: &str, number: u32) -> (usize, usize) {
    let is_for = |peer: &&Peer| peer.plain.iter().any(|filter| matches(filter, topic));
    let plain = peers.iter().filter(is_for).count();
    let mut groups: Vec<_> =
        peers.iter().flat_map(|peer| &peer.shared).filter(|own| matches(own, topic)).collect();
    groups.sort_unstable();
    groups.dedup();
    let got = peers.iter().filter_map(|peer| peer.got.get(&number)).sum();
    (plain + groups.len(), got)
}

fn run(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let strategies = [SharedStrategy::RoundRobin, SharedStrategy::Random, SharedStrategy::Sticky];
    let mut config = Config::loopback();
    config.router.shared_strategy = strategies[seed as usize % 3];
    config.listeners[0].connections.inflight_messages_max = rng.random_range(1..5);
    let receive_max = rng.random_range(1..10);
    config.limits = Limits { pending_messages_max: rng.random_range(1..4), receive_max, ..Limits::default() };
    let (_broker, address) = start(config);
    let mut peers: Vec<_> = (0..5).map(|number| Peer::new(address, number, &mut rng)).collect();
    let mut sent = Vec::new();
    for _ in 0..80 {
        let at = rng.random_range(0..peers.len());
        match rng.random_range(0..4) {
            0 | 1 => {
                for _ in 0..rng.random_range(1..30) {
                    let topic = TOPICS[rng.random_range(0..TOPICS.len())];
                    peers[at].publish(topic, sent.len() as u32);
                    sent.push(topic);
                }
            }
            2 => peers[at].read(rng.random_range(1..2_000)),
            _ => peers[at].acknowledge(rng.random_range(0..20)),
        }
    }
    let started = Instant::now();
    let due: usize = sent.iter().map(|topic| copies(&peers, topic, 0).0).sum();
    let is_served = |peers: &[Peer]| {
        let got: usize = peers.iter().flat_map(|peer| peer.got.values()).sum();
        got >= due && peers.iter().all(|peer| peer.answered == peer.published)
    };
    while !is_served(&peers) && started.elapsed() < PATIENCE {
        for peer in &mut peers {
            peer.read(4_000);
            peer.acknowledge(usize::MAX);
        }
    }
    for (topic, number) in sent.iter().zip(0..) {
        let (due, got) = copies(&peers, topic, number);
        assert_eq!(got, due, "seed {seed}, message {number} to {topic}");
    }
    for peer in &peers {
        assert_eq!(peer.answered, peer.published, "seed {seed}: acknowledgements of publishes");
    }
}

#[test]
fn whoever_waits_is_served_in_the_end() {
    (0..6).for_each(run);
}
