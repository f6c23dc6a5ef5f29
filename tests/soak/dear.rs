//! Packets that used to cost far more than they weigh: ten attackers at a time.

use std::net::SocketAddr;

use crate::support::mqtt::{Client, Connect, packet, string};
use crate::{scaled, scaled_sockets, soak};

/// Clients that attack at the same time.
const ATTACKERS: usize = 10;
/// Levels of a deep topic.
const LEVELS: usize = 121;
/// Retained messages of so many levels.
const RETAINED: usize = 2_000;

/// A SUBSCRIBE for all of these at QoS 0.
fn subscribe(filters: impl Iterator<Item = String>) -> Vec<u8> {
    let mut body = vec![0, 9];
    for filter in filters {
        body.extend(string(&filter));
        body.push(0);
    }
    packet(0x82, &body)
}

/// Each attacker says this, and waits for the SUBACK of all of it, or to be ended:
/// together they take more filters than there are.
fn attack(address: SocketAddr, bytes: &[u8]) {
    let mut attackers: Vec<_> =
        (0..ATTACKERS).map(|n| Client::v3(address, &format!("attacker-{n}"))).collect();
    for client in &mut attackers {
        client.send(bytes);
    }
    for client in &mut attackers {
        while client.next().is_some_and(|packet| packet.first != 0x90) {}
    }
}

#[test]
fn long_lists_of_filters_over_deep_retained_messages() {
    soak("10,000 filters and more over deep retained messages", |address| {
        let mut keeper = Client::v3(address, "keeper");
        for n in 0..scaled(RETAINED) {
            keeper.publish(&format!("{n}{}", "/a".repeat(LEVELS - 1)), b"kept", 1);
        }
        keeper.ping();
        attack(address, &subscribe((0..scaled(10_000)).map(|n| format!("+/{n}/#"))));
        for n in 0..scaled(RETAINED) {
            keeper.publish(&format!("{n}{}", "/a".repeat(LEVELS - 1)), b"", 1);
        }
        keeper.ping();
    });
}

#[test]
fn thousands_of_deep_filters() {
    soak("250 deep filters and more", |address| {
        attack(address, &subscribe((0..scaled(250)).map(|n| format!("{}/{n}", vec!["+"; LEVELS].join("/")))));
    });
}

#[test]
fn sessions_with_much_in_flight_close_at_once() {
    soak("200 sessions with QoS 2 backlogs close", |address| {
        let count = scaled_sockets(200, 400);
        let connect = |n| Client::accepted(address, &Connect::v3(&format!("backlog-{n}")).persistent());
        let mut clients: Vec<_> = (0..count).map(connect).collect();
        for client in &mut clients {
            client.subscribe("backlog", 2);
        }
        let mut publisher = Client::v3(address, "publisher");
        for _ in 0..scaled(100) {
            publisher.publish_acked("backlog", &[7; 500], false);
        }
        drop(clients);
        for n in 0..count {
            Client::v3(address, &format!("backlog-{n}")).disconnect();
        }
    });
}
