//! What goes over all connections, counted: plain numbers while a connection works,
//! added to the totals once a round.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that every connection adds to.
#[derive(Default)]
pub struct Total(AtomicU64);

impl Total {
    pub fn add(&self, amount: u64) {
        // Most rounds go one way only, and nothing is touched for the other.
        if amount > 0 {
            self.0.fetch_add(amount, Ordering::Relaxed);
        }
    }

    pub fn subtract(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    /// Keeps the largest that it is told.
    pub fn raise(&self, to: u64) {
        self.0.fetch_max(to, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Exchanges one part of the sum for another.
    fn exchange(&self, old: u64, new: u64) {
        if old != new {
            self.0.fetch_add(new.wrapping_sub(old), Ordering::Relaxed);
        }
    }
}

/// The totals since the broker started, and of what sessions hold now.
#[derive(Default)]
pub struct Traffic {
    pub received: Way,
    pub sent: Way,
    /// Sockets that were accepted.
    pub sockets: Total,
    /// CONNECT packets, refused ones included.
    pub connects: Total,
    /// The most clients that were online at once.
    pub online_max: Total,
    /// Sessions that ended because their client stayed away too long.
    pub expired: Total,
    /// QoS 1 and 2 messages that clients have been sent and have not acknowledged.
    pub inflight: Total,
    /// Messages that sessions hold, those included, and their bytes.
    pub held: Total,
    pub held_bytes: Total,
}

/// One direction.
#[derive(Default)]
pub struct Way {
    pub bytes: Total,
    /// Packets of every kind, which Mosquitto calls messages.
    pub packets: Total,
    pub publishes: Total,
    /// Payloads of those.
    pub publish_bytes: Total,
}

impl Way {
    /// Adds what one connection has counted, and lets it begin anew.
    pub fn add(&self, tally: &mut Tally) {
        let Tally { bytes, packets, publishes, publish_bytes } = std::mem::take(tally);
        self.bytes.add(bytes);
        self.packets.add(packets);
        self.publishes.add(publishes);
        self.publish_bytes.add(publish_bytes);
    }
}

/// What one connection has counted of one direction since it last told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    pub bytes: u64,
    pub packets: u64,
    pub publishes: u64,
    pub publish_bytes: u64,
}

impl Tally {
    /// A PUBLISH with so large a payload; the packet itself is counted with all others.
    pub fn note_publish(&mut self, payload_bytes: usize) {
        self.publishes += 1;
        self.publish_bytes += payload_bytes as u64;
    }
}

/// One session's part of what all sessions hold; taken back when it is dropped.
pub struct Holding {
    traffic: Arc<Traffic>,
    told: Held,
}

/// What a session holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub inflight: u64,
    pub messages: u64,
    pub bytes: u64,
}

impl Holding {
    pub fn new(traffic: Arc<Traffic>) -> Self {
        Self { traffic, told: Held::default() }
    }

    pub fn tell(&mut self, now: Held) {
        let before = std::mem::replace(&mut self.told, now);
        self.traffic.inflight.exchange(before.inflight, now.inflight);
        self.traffic.held.exchange(before.messages, now.messages);
        self.traffic.held_bytes.exchange(before.bytes, now.bytes);
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.tell(Held::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_connection_counted_is_added_once() {
        let way = Way::default();
        let mut tally = Tally { bytes: 7, packets: 2, ..Tally::default() };
        tally.note_publish(3);
        way.add(&mut tally);
        way.add(&mut tally);
        let totals = [&way.bytes, &way.packets, &way.publishes, &way.publish_bytes].map(Total::get);
        assert_eq!((tally, totals), (Tally::default(), [7, 2, 1, 3]));
    }

    #[test]
    fn what_a_session_holds_goes_with_it() {
        let traffic = Arc::new(Traffic::default());
        let mut one = Holding::new(traffic.clone());
        let mut other = Holding::new(traffic.clone());
        one.tell(Held { inflight: 1, messages: 5, bytes: 50 });
        other.tell(Held { inflight: 2, messages: 2, bytes: 20 });
        one.tell(Held { inflight: 0, messages: 3, bytes: 30 });
        let now = || [&traffic.inflight, &traffic.held, &traffic.held_bytes].map(Total::get);
        assert_eq!(now(), [2, 5, 50]);
        drop(other);
        assert_eq!(now(), [0, 3, 30]);
    }
}
