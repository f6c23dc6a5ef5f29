//! What the broker tells of itself below `$SYS/broker/`: the names and meanings that
//! Mosquitto has made usual, so that what watches Mosquitto watches this broker too.
//!
//! The values are retained messages of the broker's own, in a store of their own: no
//! client's bound and no client's count knows of them. Each is published when it has
//! changed, at QoS 0: a client that is away must not find its queue full of old figures.

mod load;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use self::load::Load;
use crate::broker::codec::topic::SYS;
use crate::broker::limits::traffic::Way;
use crate::broker::session::context::Context;

/// One moment.
#[derive(Debug, Default, Clone, Copy)]
struct Moment {
    connected: u64,
    disconnected: u64,
    online_max: u64,
    expired: u64,
    received: Totals,
    sent: Totals,
    dropped: u64,
    inflight: u64,
    stored: u64,
    stored_bytes: u64,
    retained: u64,
    subscriptions: u64,
    shared_subscriptions: u64,
    sockets: u64,
    connects: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    bytes: u64,
    packets: u64,
    publishes: u64,
    publish_bytes: u64,
}

type Figure = fn(&Moment) -> u64;

/// Each figure's name below `$SYS/broker/`. Some have two: Mosquitto's of today, and that of before.
const FIGURES: [(&str, Figure); 23] = [
    ("clients/connected", |now| now.connected),
    ("clients/active", |now| now.connected),
    ("clients/disconnected", |now| now.disconnected),
    ("clients/inactive", |now| now.disconnected),
    ("clients/total", |now| now.connected + now.disconnected),
    ("clients/maximum", |now| now.online_max),
    ("clients/expired", |now| now.expired),
    ("messages/received", |now| now.received.packets),
    ("messages/sent", |now| now.sent.packets),
    ("messages/stored", |now| now.stored),
    ("messages/inflight", |now| now.inflight),
    ("store/messages/count", |now| now.stored),
    ("store/messages/bytes", |now| now.stored_bytes),
    ("publish/messages/received", |now| now.received.publishes),
    ("publish/messages/sent", |now| now.sent.publishes),
    ("publish/messages/dropped", |now| now.dropped),
    ("publish/bytes/received", |now| now.received.publish_bytes),
    ("publish/bytes/sent", |now| now.sent.publish_bytes),
    ("bytes/received", |now| now.received.bytes),
    ("bytes/sent", |now| now.sent.bytes),
    ("retained messages/count", |now| now.retained),
    ("subscriptions/count", |now| now.subscriptions),
    ("shared_subscriptions/count", |now| now.shared_subscriptions),
];

/// The name of each figure that is told as averages, for a minute.
const LOADS: [(&str, Figure); 9] = [
    ("messages/received", |now| now.received.packets),
    ("messages/sent", |now| now.sent.packets),
    ("publish/received", |now| now.received.publishes),
    ("publish/sent", |now| now.sent.publishes),
    ("publish/dropped", |now| now.dropped),
    ("bytes/received", |now| now.received.bytes),
    ("bytes/sent", |now| now.sent.bytes),
    ("sockets", |now| now.sockets),
    ("connections", |now| now.connects),
];

impl Moment {
    fn of(context: &Context) -> Self {
        let traffic = &*context.traffic;
        let statistics = context.statistics();
        let retained = statistics.retained_messages as u64;
        Self {
            connected: statistics.connections as u64,
            disconnected: statistics.parked_sessions as u64,
            online_max: traffic.online_max.get(),
            expired: traffic.expired.get(),
            received: Totals::of(&traffic.received),
            sent: Totals::of(&traffic.sent),
            dropped: statistics.dropped_messages,
            inflight: traffic.inflight.get(),
            stored: retained + traffic.held.get(),
            stored_bytes: statistics.retained_bytes as u64 + traffic.held_bytes.get(),
            retained,
            subscriptions: context.bus.plain_subscriptions.get(),
            shared_subscriptions: context.bus.shared_subscriptions.get(),
            sockets: traffic.sockets.get(),
            connects: traffic.connects.get(),
        }
    }
}

impl Totals {
    fn of(way: &Way) -> Self {
        Self {
            bytes: way.bytes.get(),
            packets: way.packets.get(),
            publishes: way.publishes.get(),
            publish_bytes: way.publish_bytes.get(),
        }
    }
}

/// What was told last, and the averages.
#[derive(Default)]
struct Told {
    values: HashMap<String, String>,
    loads: [Load; LOADS.len()],
}

impl Told {
    /// What is to be told at this moment, `elapsed` after the last one: topics and
    /// payloads of what has changed.
    fn changes(&mut self, now: &Moment, uptime: Duration, elapsed: Duration) -> Vec<(String, String)> {
        let mut changes = Vec::new();
        self.note(&mut changes, "version", concat!("nearfar version ", env!("CARGO_PKG_VERSION")).to_owned());
        self.note(&mut changes, "uptime", format!("{} seconds", uptime.as_secs()));
        for (name, figure) in FIGURES {
            self.note(&mut changes, name, figure(now).to_string());
        }
        for (index, (name, figure)) in LOADS.into_iter().enumerate() {
            self.loads[index].update(figure(now), elapsed);
            let averages: Vec<_> = self.loads[index].averages().collect();
            for (span, average) in averages {
                self.note(&mut changes, &format!("load/{name}/{span}"), format!("{average:.2}"));
            }
        }
        changes
    }

    fn note(&mut self, changes: &mut Vec<(String, String)>, name: &str, value: String) {
        let topic = format!("{SYS}/broker/{name}");
        if self.values.get(&topic) != Some(&value) {
            self.values.insert(topic.clone(), value.clone());
            changes.push((topic, value));
        }
    }
}

/// Tells the first values before anybody can connect, and the others as they change, until it is dropped.
pub struct Teller {
    context: Arc<Context>,
    told: Told,
    began: Instant,
    last: Instant,
}

impl Teller {
    /// `None` where the broker is to tell nothing.
    pub fn begin(context: &Arc<Context>) -> Option<Self> {
        let now = Instant::now();
        let mut teller = Self { context: context.clone(), told: Told::default(), began: now, last: now };
        (!context.config.sys_interval.is_zero()).then(|| {
            teller.tell(now);
            teller
        })
    }

    pub async fn run(mut self) {
        let interval = self.context.config.sys_interval;
        let mut due = tokio::time::interval_at(self.began + interval, interval);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.tell(due.tick().await);
        }
    }

    fn tell(&mut self, now: Instant) {
        let moment = Moment::of(&self.context);
        let elapsed = now - std::mem::replace(&mut self.last, now);
        let changes = self.told.changes(&moment, now - self.began, elapsed);
        // An error means that the router is gone, which its watch reports.
        let _gone = self.context.bus.tell(changes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn told(changes: &[(String, String)], name: &str) -> Option<String> {
        let topic = format!("$SYS/broker/{name}");
        changes.iter().find(|(known, _)| *known == topic).map(|(_, value)| value.clone())
    }

    #[test]
    fn everything_is_told_at_first_and_afterwards_what_has_changed() {
        let mut tree = Told::default();
        let mut now = Moment { connected: 2, disconnected: 1, ..Moment::default() };
        let first = tree.changes(&now, Duration::ZERO, Duration::ZERO);
        assert_eq!(first.len(), 2 + FIGURES.len() + 3 * LOADS.len());
        assert_eq!(told(&first, "clients/total").as_deref(), Some("3"));
        assert_eq!(told(&first, "uptime").as_deref(), Some("0 seconds"));
        now.received.packets = 10;
        let second = tree.changes(&now, INTERVAL, INTERVAL);
        let mut names: Vec<_> = second.iter().map(|(topic, _)| topic.as_str()).collect();
        names.sort_unstable();
        let expected = [
            "$SYS/broker/load/messages/received/15min",
            "$SYS/broker/load/messages/received/1min",
            "$SYS/broker/load/messages/received/5min",
            "$SYS/broker/messages/received",
            "$SYS/broker/uptime",
        ];
        assert_eq!(names, expected);
        assert_eq!(told(&second, "load/messages/received/1min").as_deref(), Some("9.21"));
    }
}
