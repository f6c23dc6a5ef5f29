//! The embedded broker dies with its node; what it had not answered its senders still have.

use std::net::{SocketAddr, TcpListener};

use rand::RngExt;

use crate::proxy::Proxy;
use crate::sender::Sender;
use crate::support::MODEL;
use crate::support::process::{Process, nearfar};
use crate::{random, rounds};

const DEVICES: usize = 4;
/// Requests of each device that are acknowledged between two failures.
const REQUESTS_BETWEEN: u64 = 50;

/// A port that nobody has now.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn serve(address: SocketAddr) -> Process {
    let process = Process::start(&mut nearfar(&["serve", MODEL, "--listen", &address.to_string()]));
    assert!(process.line().starts_with("ready"));
    process
}

#[test]
fn an_acknowledged_request_is_an_answered_request_whatever_happens_to_the_node() {
    let (mut random, address) = (random(), free_address());
    let mut node = serve(address);
    let proxy = Proxy::to(address);
    let senders: Vec<_> =
        (0..DEVICES).map(|device| Sender::start(&format!("device{device}"), proxy.address, true)).collect();
    for round in 1..=rounds() {
        let goal: Vec<_> = senders.iter().map(|sender| sender.ledger.count() + REQUESTS_BETWEEN).collect();
        for (sender, goal) in senders.iter().zip(goal) {
            sender.ledger.wait_until_acknowledged(goal);
            assert!(sender.is_well(), "round {round}");
        }
        match random.random_range(0..4) {
            0 => {
                // SIGKILL.
                drop(node);
                node = serve(address);
            }
            1 => {
                let ended = node.terminate();
                assert_eq!(ended.code, Some(0), "round {round}: {ended:?}");
                node = serve(address);
            }
            2 => proxy.cut(),
            _ => {
                proxy.stall(true);
                // Meanwhile the node dies, so that what is under way on both sides is lost.
                drop(node);
                node = serve(address);
                proxy.stall(false);
            }
        }
    }
    let totals: Vec<_> = senders.into_iter().map(Sender::finish).collect();
    assert!(
        totals.iter().all(|&(_, _, out_of_order)| out_of_order == 0),
        "each device's order is kept: {totals:?}"
    );
    let sum = |part: fn(&(u64, u64, u64)) -> u64| totals.iter().map(part).sum::<u64>();
    println!(
        "embedded: {} failures, {} requests acknowledged and answered, none lost, {} answered again",
        rounds(),
        sum(|total| total.0),
        sum(|total| total.1)
    );
    assert_eq!(node.terminate().code, Some(0));
}
