//! How far the router is behind what was published, so that publishers wait in time.
//!
//! The router answers a ping when it has read what came before it and turns to its subscribers.
//! Left alone it would go on taking publishes, up to 500 batches of them, before it serves anyone.

use std::collections::VecDeque;

/// Publishers wait while the router has this many messages before it.
const BACKLOG_MESSAGES_MAX: u64 = 512;
/// Publishes wait while the router has so much before it, in bytes of topics and payloads.
const BACKLOG_BYTES_MAX: u64 = 1 << 20;
/// A ping follows each such part of the bounds, so that its answer is back before they are reached.
const PING_PARTS: u64 = 4;

/// What was published, and how much of it the router has answered for.
#[derive(Default)]
pub struct Backlog {
    published: Amount,
    answered: Amount,
    /// What had been published at each ping that is not answered yet.
    pings: VecDeque<Amount>,
}

/// Totals since the start.
#[derive(Clone, Copy, Default)]
struct Amount {
    messages: u64,
    bytes: u64,
}

impl Amount {
    /// Whether one of the bounds, divided by `parts`, has been reached since `earlier`.
    fn reaches(self, parts: u64, earlier: Self) -> bool {
        self.messages - earlier.messages >= BACKLOG_MESSAGES_MAX / parts
            || self.bytes - earlier.bytes >= BACKLOG_BYTES_MAX / parts
    }
}

impl Backlog {
    /// Counts what goes to the router. Returns whether a ping must follow it, which is noted already.
    pub fn publish(&mut self, messages: usize, bytes: u64) -> bool {
        self.published.messages += messages as u64;
        self.published.bytes += bytes;
        let last_ping = self.pings.back().copied().unwrap_or(self.answered);
        let is_ping_due = self.published.reaches(PING_PARTS, last_ping);
        if is_ping_due {
            self.note_ping();
        }
        is_ping_due
    }

    /// A ping goes to the router.
    pub fn note_ping(&mut self) {
        self.pings.push_back(self.published);
    }

    /// The router has answered the oldest ping.
    pub fn note_pong(&mut self) {
        if let Some(published) = self.pings.pop_front() {
            self.answered = published;
        }
    }

    /// Whether publishers have to wait.
    pub fn is_full(&self) -> bool {
        self.published.reaches(1, self.answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_go_out_in_time_and_their_answers_make_room() {
        let mut backlog = Backlog::default();
        let quarter = (BACKLOG_MESSAGES_MAX / PING_PARTS) as usize;
        assert!(!backlog.publish(quarter - 1, 0));
        assert!(backlog.publish(1, 0), "a quarter is reached");
        assert!(backlog.publish(0, BACKLOG_BYTES_MAX / PING_PARTS), "bytes count too");
        assert!(!backlog.is_full());
        assert!(backlog.publish(3 * quarter, 0) && backlog.is_full());
        backlog.note_pong();
        assert!(!backlog.is_full(), "the first quarter is behind the router");
        backlog.note_pong();
        backlog.note_pong();
        // An answer too many changes nothing.
        backlog.note_pong();
        assert!(!backlog.is_full() && !backlog.publish(quarter - 1, 0));
    }
}
