//! Events of several kinds: each kind counted, and told of now and then.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::rate_limit::RateLimit;
use crate::sync::lock;

/// A kind of event that comes again and again is told of for a moment, then not until this has passed.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Counters, one for each kind.
pub struct Tally<const KINDS: usize>([Counter; KINDS]);

struct Counter {
    count: AtomicU64,
    told: Mutex<RateLimit>,
}

/// An event that is to be told of.
pub struct Told {
    /// How many of its kind there have been.
    pub total: u64,
    /// How many of them were not told of since the last one that was.
    pub held_back: u64,
}

impl<const KINDS: usize> Tally<KINDS> {
    /// Tells of the first `at_once` events of a kind in a while.
    pub fn new(at_once: u32) -> Self {
        Self(std::array::from_fn(|_| Counter {
            count: AtomicU64::new(0),
            told: Mutex::new(RateLimit::bursts(TELL_EVERY, at_once)),
        }))
    }

    /// Counts an event; returns how many there have been.
    pub fn count(&self, kind: usize) -> u64 {
        self.add(kind, 1)
    }

    /// Counts events; returns how many there have been.
    pub fn add(&self, kind: usize, events: u64) -> u64 {
        self.0[kind].count.fetch_add(events, Ordering::Relaxed) + events
    }

    /// Whether another event of this kind, which has been counted, is to be told of.
    pub fn tell(&self, kind: usize, total: u64) -> Option<Told> {
        lock(&self.0[kind].told).pass().map(|held_back| Told { total, held_back })
    }

    pub fn snapshot(&self) -> [u64; KINDS] {
        std::array::from_fn(|kind| self.0[kind].count.load(Ordering::Relaxed))
    }
}

/// Characters of a client's text that are shown.
const SHOWN_CHARS_MAX: usize = 120;

/// A text that a client chose, as a log line may show it: quoted, without line
/// breaks of its own, and not endless.
pub struct Shown<'a>(pub &'a str);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHOWN_CHARS_MAX) {
            None => fmt::Debug::fmt(self.0, f),
            Some((end, _)) => write!(f, "{:?}... ({} bytes)", &self.0[..end], self.0.len()),
        }
    }
}

/// A text that a client chose, as a log line may show it; nothing where there is none.
pub fn shown(text: &str) -> Option<tracing::field::DebugValue<Shown<'_>>> {
    (!text.is_empty()).then(|| tracing::field::debug(Shown(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_text_makes_no_lines_of_its_own_and_has_an_end() {
        assert_eq!(format!("{:?}", Shown("a\nINFO b\u{1b}[0m")), "\"a\\nINFO b\\u{1b}[0m\"");
        let long = format!("{:?}", Shown(&"ü".repeat(60_000)));
        assert!(long.len() < 300 && long.ends_with("... (120000 bytes)"), "{long}");
    }
}
