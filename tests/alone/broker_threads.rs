//! A broker starts and stops many times in one process, and leaves nothing behind.

use std::collections::BTreeSet;
use std::time::Instant;

use nearfar::broker::{Broker, BrokerError, Config};

use crate::alone;
use crate::support::mqtt::{Client, Connect, PATIENCE, start};

/// The threads of this process that run no test, by their numbers.
#[cfg(target_os = "linux")]
fn threads() -> BTreeSet<u32> {
    let number = |task: std::io::Result<std::fs::DirEntry>| {
        let task = task.unwrap();
        // A thread that has ended since has no name any more. One that runs a test is named after it, by
        // its path, and begins and ends when the harness likes.
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        (!name.contains(':')).then(|| task.file_name().to_str().unwrap().parse().unwrap())
    };
    std::fs::read_dir("/proc/self/task").unwrap().filter_map(number).collect()
}

#[cfg(not(target_os = "linux"))]
fn threads() -> BTreeSet<u32> {
    BTreeSet::new()
}

#[test]
fn fifty_brokers_come_and_go_without_leaving_ports_or_threads() {
    let _alone = alone();
    let threads_before = threads();
    let mut config = Config::loopback();
    for _ in 0..50 {
        let (broker, address) = start(config.clone());
        // The same port again: the one before has let it go.
        config.listeners[0].address = address;
        let mut client = Client::v5(address, "c");
        client.subscribe("t", 1);
        let _parked = Client::accepted(address, &Connect::v5("d").persistent());
        let (_publisher, _subscriber) = broker.link("in-process").unwrap();
        let taken = Broker::start(config.clone());
        assert!(matches!(&taken, Err(BrokerError::Bind { .. })));
        assert!(taken.err().unwrap().to_string().contains("in use"));
        broker.stop(PATIENCE);
        assert_eq!(client.last().unwrap().body[0], 0x8b);
    }
    // The router's thread ends a moment after it has let go of everything.
    let started = Instant::now();
    let left = || threads().difference(&threads_before).count();
    while left() > 0 && started.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    assert_eq!(left(), 0);
}
