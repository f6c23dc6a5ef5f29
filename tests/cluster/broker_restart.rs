//! A Mosquitto that is stopped and started while requests are under way: none is without
//! an answer, and every device's come in order. Skipped where it is not installed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use nearfar::Node;
use nearfar::client::RemoteConfig;
use nearfar::deployment::Config;
use nearfar::network::Profile;

use crate::support::mosquitto;
use crate::support::mqtt::{Client, Connect};
use crate::support::raw_broker;
use crate::support::{MODEL, PATIENCE, request};

const REQUEST: &str = "ml/inference/request";
const ROUNDS: i64 = 4;
const REQUESTS_A_ROUND: i64 = 100;
const DEVICES: i64 = 4;

/// Somebody who wants every result, and whose session survives the broker.
struct Listener {
    client: Client,
    /// Of each device the numbers of its results, each at its first time.
    results: BTreeMap<String, Vec<i64>>,
    seen: BTreeSet<i64>,
}

fn session(address: SocketAddr) -> Client {
    Client::accepted(address, &Connect::v5("listener").persistent())
}

impl Listener {
    fn new(address: SocketAddr) -> Self {
        let mut client = session(address);
        assert_eq!(client.subscribe("ml/inference/result/+", 1), 1);
        Self { client, results: BTreeMap::new(), seen: BTreeSet::new() }
    }

    /// Takes results until those of `count` requests are there.
    fn take_until(&mut self, count: i64) {
        while self.seen.len() < count as usize {
            let result = self.client.receive();
            assert_eq!((result.kind(), result.qos()), (3, 1), "{result:?}");
            let body: serde_json::Value = serde_json::from_slice(result.payload5()).unwrap();
            let number = body["timestamp_us"].as_i64().unwrap();
            self.client.ack(0x40, result.packet_id());
            if self.seen.insert(number) {
                self.results.entry(body["device_id"].to_string()).or_default().push(number);
            }
        }
    }
}

/// Sends the requests of a round, each acknowledged by the broker.
fn send_round(address: SocketAddr, round: i64) {
    let mut sender = Client::v5(address, "sender");
    for number in round * REQUESTS_A_ROUND..(round + 1) * REQUESTS_A_ROUND {
        sender.publish_acked(REQUEST, request(&format!("s{}", number % DEVICES), number).as_bytes(), false);
    }
    sender.disconnect();
}

fn all_answers_survive(config: impl Fn(SocketAddr) -> RemoteConfig) {
    let Some(mut broker) = mosquitto::mosquitto() else { return };
    let address = broker.address();
    // Some of a round are with the simulated network when the broker goes, some are
    // answered, some have not been fetched.
    let far = Config::edge().network(Profile::constant(Duration::from_millis(30)));
    let node = Node::builder().remote_broker(RemoteConfig { receive_max: 60, ..config(address) });
    let node = node.deployment(far, MODEL).start().unwrap();
    node.wait_until_ready(PATIENCE).unwrap();
    let mut listener = Listener::new(address);
    for round in 0..ROUNDS {
        send_round(address, round);
        listener.take_until(round * REQUESTS_A_ROUND + 20);
        broker.stop();
        broker.start();
        listener.client = session(address);
    }
    listener.take_until(ROUNDS * REQUESTS_A_ROUND);
    for (device, numbers) in &listener.results {
        assert!(numbers.is_sorted(), "{device}: {numbers:?}");
    }
    node.stop();
}

#[test]
fn requests_results_and_their_order_survive_restarts_of_the_broker() {
    all_answers_survive(|address| raw_broker::remote(address, "node"));
}

#[test]
fn they_do_in_3_1_1_too() {
    all_answers_survive(|address| raw_broker::remote_v3(address, "node"));
}
