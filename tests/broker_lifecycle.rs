//! A broker starts and stops many times in one process, and leaves nothing behind.
//!
//! One test alone in this target: it counts the threads of the process.
#![allow(clippy::unwrap_used)] // helpers of tests fail by panicking

#[path = "support/mqtt.rs"]
mod mqtt;

use std::time::Instant;

use nearfar::broker::{Broker, BrokerError, Config};

use self::mqtt::{Client, Connect, PATIENCE, start};

#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[cfg(not(target_os = "linux"))]
fn threads() -> usize {
    0
}

#[test]
fn fifty_brokers_come_and_go_without_leaving_ports_or_threads() {
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
    while threads() > threads_before && started.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    assert_eq!(threads(), threads_before);
}
