//! Backpressure for in-process links: what was sent towards one, less what it has taken.
//!
//! The router keeps a log for each filter and silently skips a subscriber that lags by more than the log holds. A gate counts
//! the copies that will go into a link's log and those that came out, so that publishing connections stop in time.

use crate::mqtt::filter_matches;
use rumqttd::protocol::Packet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the router's log counts for a message, in bytes.
pub(super) fn logged_bytes(topic: &[u8], payload: &[u8]) -> u64 {
    (4 + topic.len() + payload.len()) as u64
}

/// The gate of one filter of one in-process link.
#[derive(Debug)]
pub(super) struct Gate {
    /// In the router's spelling.
    pub filter: String,
    /// Publishers wait above this many outstanding bytes.
    bytes_max: u64,
    sent_messages: AtomicU64,
    sent_bytes: AtomicU64,
    taken_messages: AtomicU64,
    taken_bytes: AtomicU64,
    /// Messages after this many were sent after the link was closed; `u64::MAX` while it is open.
    last_message: AtomicU64,
    /// The router skipped some, whose bytes nobody knows.
    has_skipped: AtomicBool,
    /// A publisher waits for room.
    is_awaited: AtomicBool,
}

impl Gate {
    pub fn new(filter: String, bytes_max: u64) -> Self {
        Self {
            filter,
            bytes_max,
            sent_messages: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            taken_messages: AtomicU64::new(0),
            taken_bytes: AtomicU64::new(0),
            last_message: AtomicU64::new(u64::MAX),
            has_skipped: AtomicBool::new(false),
            is_awaited: AtomicBool::new(false),
        }
    }

    fn outstanding_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::SeqCst).saturating_sub(self.taken_bytes.load(Ordering::SeqCst))
    }

    /// Whether a message of `bytes` may go in behind `held_bytes` that are about to. One always may when there is
    /// nothing before it, however large it is. When it may not, [`frees_a_publisher`](Self::frees_a_publisher) tells later.
    pub fn admits(&self, held_bytes: u64, bytes: u64) -> bool {
        if self.has_room(held_bytes, bytes) {
            return true;
        }
        self.is_awaited.store(true, Ordering::SeqCst);
        // It may have been emptied since, by a thread that saw nobody waiting.
        self.has_room(held_bytes, bytes)
    }

    /// Whether a publisher waits and there is room again: half of the bound, so that it does not wait again at once.
    pub fn frees_a_publisher(&self) -> bool {
        self.is_awaited.load(Ordering::SeqCst)
            && self.outstanding_bytes() <= self.bytes_max / 2
            && self.is_awaited.swap(false, Ordering::SeqCst)
    }

    fn has_room(&self, held_bytes: u64, bytes: u64) -> bool {
        let before = self.outstanding_bytes() + held_bytes;
        before == 0 || before + bytes <= self.bytes_max
    }

    pub fn count_sent(&self, messages: u64, bytes: u64) {
        self.sent_messages.fetch_add(messages, Ordering::AcqRel);
        self.sent_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Counts a copy that the link took; `false` when it was sent after the link was closed.
    pub fn count_taken(&self, bytes: u64) -> bool {
        self.taken_bytes.fetch_add(bytes, Ordering::SeqCst);
        let number = self.taken_messages.fetch_add(1, Ordering::AcqRel) + 1;
        number <= self.last_message.load(Ordering::Acquire)
    }

    /// Counts messages that the router skipped. Only in-process publishers, who wait for nobody, can bring that about.
    pub fn count_skipped(&self, messages: u64) {
        self.taken_messages.fetch_add(messages, Ordering::AcqRel);
        self.has_skipped.store(true, Ordering::Release);
    }

    /// Whether [`settle`](Self::settle) is due.
    pub fn is_unsettled(&self) -> bool {
        self.has_skipped.load(Ordering::Acquire) && self.is_all_taken()
    }

    /// Sets the bytes right after a skip, once every message is accounted for; nothing may be sent meanwhile.
    pub fn settle(&self) {
        if self.is_all_taken() {
            self.taken_bytes.store(self.sent_bytes.load(Ordering::Acquire), Ordering::Release);
            self.has_skipped.store(false, Ordering::Release);
        }
    }

    fn is_all_taken(&self) -> bool {
        self.taken_messages.load(Ordering::Acquire) >= self.sent_messages.load(Ordering::Acquire)
    }

    /// What is sent from now on no longer concerns the link.
    fn close(&self) {
        self.last_message.store(self.sent_messages.load(Ordering::Acquire), Ordering::Release);
    }

    /// Whether everything sent before the close has been taken.
    pub fn is_drained(&self) -> bool {
        self.taken_messages.load(Ordering::Acquire) >= self.last_message.load(Ordering::Acquire)
    }
}

/// Every open gate. Changed only while the bus's ingress is held, so that a change falls between two publishes.
#[derive(Default)]
pub(super) struct Gates {
    open: Mutex<Vec<Arc<Gate>>>,
    /// Starts at 0 and moves with every change; caches of [`Gates::matching`] compare it.
    version: AtomicU64,
}

impl Gates {
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub fn open(&self, gate: Arc<Gate>) {
        self.lock().push(gate);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    pub fn close(&self, gates: &[Arc<Gate>]) {
        self.lock().retain(|open| !gates.iter().any(|closed| Arc::ptr_eq(open, closed)));
        for gate in gates {
            gate.close();
        }
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// The gates that a publish to `topic` (in the router's spelling) goes through.
    pub fn matching(&self, topic: &str) -> Vec<Arc<Gate>> {
        self.lock().iter().filter(|gate| filter_matches(&gate.filter, topic)).cloned().collect()
    }

    /// Counts a batch packet by packet: for publishers without a cache, and for batches begun before a change.
    pub fn count_packets(&self, packets: &[Packet]) {
        let open = self.lock();
        if open.is_empty() {
            return;
        }
        for packet in packets {
            let Packet::Publish(publish, _) = packet else { continue };
            let Ok(topic) = std::str::from_utf8(&publish.topic) else { continue };
            for gate in open.iter().filter(|gate| filter_matches(&gate.filter, topic)) {
                gate.count_sent(1, logged_bytes(&publish.topic, &publish.payload));
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Gate>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_admits_up_to_its_bound_and_always_a_first_message() {
        let gate = Gate::new("a".to_owned(), 100);
        assert!(gate.admits(0, 1_000) && !gate.admits(1, 1_000));
        gate.count_sent(1, 60);
        assert!(gate.admits(0, 40) && !gate.admits(0, 41) && !gate.admits(1, 40));
        gate.count_taken(60);
        assert!(gate.admits(0, 1_000));
    }

    #[test]
    fn a_gate_tells_once_that_a_refused_publisher_has_room() {
        let gate = Gate::new("a".to_owned(), 100);
        gate.count_sent(2, 100);
        gate.count_taken(40);
        assert!(!gate.frees_a_publisher(), "nobody waits");
        assert!(!gate.admits(0, 50) && !gate.frees_a_publisher(), "more than half is outstanding");
        gate.count_taken(10);
        assert!(gate.frees_a_publisher() && !gate.frees_a_publisher());
    }

    #[test]
    fn a_gate_opens_again_after_the_router_skipped_some() {
        let gate = Gate::new("a".to_owned(), 100);
        gate.count_sent(3, 300);
        gate.count_skipped(2);
        assert!(!gate.is_unsettled());
        gate.count_taken(100);
        assert!(gate.is_unsettled() && !gate.admits(0, 1));
        gate.settle();
        assert!(!gate.is_unsettled() && gate.admits(0, 100));
    }

    #[test]
    fn a_closed_gate_is_drained_when_what_was_sent_before_is_taken() {
        let gates = Gates::default();
        let gate = Arc::new(Gate::new("a/#".to_owned(), 100));
        gates.open(gate.clone());
        assert_eq!(gates.matching("a/b").len(), 1);
        gate.count_sent(2, 20);
        assert!(!gate.is_drained());
        gates.close(std::slice::from_ref(&gate));
        assert!(gates.matching("a/b").is_empty() && !gate.is_drained());
        assert!(gate.count_taken(10) && gate.count_taken(10));
        assert!(gate.is_drained() && !gate.count_taken(10), "a third was sent after the close");
    }
}
