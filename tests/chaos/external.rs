//! A broker elsewhere and the nodes behind it fail one after the other; what was
//! acknowledged to senders is answered in the end.

use std::net::SocketAddr;
use std::path::Path;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::proxy::Proxy;
use crate::sender::Sender;
use crate::support::MODEL;
use crate::support::mosquitto::{Mosquitto, mosquitto};
use crate::support::process::{Process, nearfar};
use crate::{random, rounds};

const DEVICES: usize = 4;
/// Requests of each device that are acknowledged between two failures.
const REQUESTS_BETWEEN: u64 = 50;

/// A node's process and its way to the broker.
struct Member {
    name: String,
    group: Option<&'static str>,
    proxy: Proxy,
    process: Option<Process>,
}

impl Member {
    fn start(name: String, group: Option<&'static str>, broker: SocketAddr, directory: &Path) -> Self {
        let mut member = Self { name, group, proxy: Proxy::to(broker), process: None };
        member.restart(directory);
        member
    }

    /// Kills its process, if it has one, and starts another.
    fn restart(&mut self, directory: &Path) {
        self.process = None;
        let (name, port) = (&self.name, self.proxy.address.port());
        let group = self.group.map_or(String::new(), |group| format!("share_group = \"{group}\"\n"));
        let text = format!(
            "node_id = \"{name}\"\n[remote]\nhost = \"127.0.0.1\"\nport = {port}\n{group}\
             [deployments.edge]\nmodel = {MODEL:?}\n"
        );
        let file = directory.join(format!("{name}.toml"));
        std::fs::write(&file, text).unwrap();
        let process = Process::start(nearfar(&["serve", "--config"]).arg(&file));
        assert!(process.line().starts_with("ready"));
        self.process = Some(process);
    }
}

/// Causes one failure. Whatever was stopped runs again afterwards.
fn fail(
    random: &mut ChaCha8Rng,
    broker: &mut Mosquitto,
    members: &mut [Member],
    senders: &Proxy,
    directory: &Path,
) {
    let at = random.random_range(0..members.len());
    let member = &mut members[at];
    // Mosquitto 2.0 forgets shared subscriptions when it is stopped: what it acknowledges until the
    // first member has subscribed again is lost, with clients of its own too. So a group's broker stays.
    let failures = if member.group.is_some() { 5 } else { 6 };
    match random.random_range(0..failures) {
        0 | 1 => member.restart(directory),
        2 => {
            let ended = member.process.take().unwrap().terminate();
            assert_eq!(ended.code, Some(0), "{ended:?}");
            member.restart(directory);
        }
        3 => member.proxy.cut(),
        4 => {
            member.proxy.stall(true);
            senders.cut();
            member.proxy.cut();
            member.proxy.stall(false);
        }
        _ => {
            broker.stop();
            broker.start();
        }
    }
}

fn survive(name: &str, nodes: usize, group: Option<&'static str>) {
    let Some(mut broker) = mosquitto() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut random = random();
    let start = |at| Member::start(format!("node{at}"), group, broker.address(), directory.path());
    let mut members: Vec<_> = (0..nodes).map(start).collect();
    let way = Proxy::to(broker.address());
    let senders: Vec<_> =
        (0..DEVICES).map(|device| Sender::start(&format!("device{device}"), way.address, false)).collect();
    for round in 1..=rounds() {
        let goal: Vec<_> = senders.iter().map(|sender| sender.ledger.count() + REQUESTS_BETWEEN).collect();
        for (sender, goal) in senders.iter().zip(goal) {
            sender.ledger.wait_until_acknowledged(goal);
            assert!(sender.is_well(), "round {round}");
        }
        fail(&mut random, &mut broker, &mut members, &way, directory.path());
    }
    let totals: Vec<_> = senders.into_iter().map(Sender::finish).collect();
    let (mut acknowledged, mut repeated) = (0, 0);
    for total in totals {
        acknowledged += total.0;
        repeated += total.1;
        // One node keeps each device's order; of several each keeps its own.
        assert!(group.is_some() || total.2 == 0, "{} answers out of order", total.2);
    }
    println!(
        "{name}: {} failures, {acknowledged} requests acknowledged and answered, none lost, {repeated} answered again",
        rounds()
    );
}

#[test]
fn a_broker_elsewhere_and_one_node_may_fail_and_no_acknowledged_request_is_lost() {
    survive("one node behind Mosquitto", 1, None);
}

#[test]
fn a_group_of_nodes_answers_for_those_that_fail() {
    survive("three nodes behind Mosquitto", 3, Some("team"));
}
