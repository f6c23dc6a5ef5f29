//! Deliveries that were dropped: each reason has a counter, and the first of a while a line in the log.

use super::reached::Limit;
use super::tally::{Tally, Told, shown};

/// Lines for one reason in a row, before further ones are held back for a while.
const LINES_AT_ONCE: u32 = 1;

/// Why a client did not get a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// More waited for the client than it may lag by.
    Lagged,
    /// As much waited for its acknowledgements, or while it was away, as may.
    QueueFull,
    /// There was no memory for what waits for its owner.
    Memory,
    /// The message had expired.
    Expired,
    /// The client takes no packets of that size.
    TooLarge,
    /// Its session has ended.
    SessionEnded,
    /// Its shared subscription has no members left.
    NoMembers,
    /// The members of its shared subscription were too slow, all of them.
    SlowMembers,
    /// The router had no room, for which the publisher did not wait.
    RouterFull,
}

impl Dropped {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Lagged,
        Self::QueueFull,
        Self::Memory,
        Self::Expired,
        Self::TooLarge,
        Self::SessionEnded,
        Self::NoMembers,
        Self::SlowMembers,
        Self::RouterFull,
    ];

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// What it means.
    pub fn meaning(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Lagged => ("lagged", "more waited for the client than it may lag by"),
            Self::QueueFull => {
                ("queue_full", "as much waited for its acknowledgements, or while it was away, as may")
            }
            Self::Memory => ("memory_max", "there was no memory for what waits for its owner"),
            Self::Expired => ("message_expired", "the message had expired"),
            Self::TooLarge => ("too_large_for_client", "the client takes no packets of that size"),
            Self::SessionEnded => ("session_ended", "its session has ended"),
            Self::NoMembers => ("no_members", "its shared subscription has no members left"),
            Self::SlowMembers => {
                ("slow_members", "the members of its shared subscription were too slow, all of them")
            }
            Self::RouterFull => {
                ("router_full", "the router had no room, and whoever published did not wait for some")
            }
        }
    }
}

/// What is dropped at a limit of what waits for a client.
impl From<Limit> for Dropped {
    fn from(limit: Limit) -> Self {
        if limit == Limit::Memory { Self::Memory } else { Self::QueueFull }
    }
}

/// How many deliveries were dropped for each reason since the broker started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DroppedCounts([u64; Dropped::ALL.len()]);

impl DroppedCounts {
    /// How many for this reason.
    pub fn of(&self, reason: Dropped) -> u64 {
        self.0[reason as usize]
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Each reason's name, and how many for it.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Dropped::ALL.into_iter().map(|reason| (reason.name(), self.of(reason)))
    }
}

/// The counters.
pub struct Drops(Tally<{ Dropped::ALL.len() }>);

impl Drops {
    pub fn new() -> Self {
        Self(Tally::new(LINES_AT_ONCE))
    }

    /// Counts deliveries to a client, of which the first had this topic; either may be
    /// empty where it is not known. Tells of them, unless that was done a moment ago.
    pub fn note(&self, reason: Dropped, client_id: &str, topic: &[u8], count: u64) {
        if count == 0 {
            return;
        }
        let total = self.0.add(reason as usize, count);
        let Some(Told { total, held_back }) = self.0.tell(reason as usize, total) else { return };
        let topic = String::from_utf8_lossy(topic);
        let (client_id, topic) = (shown(client_id), shown(&topic));
        tracing::warn!(
            reason = reason.name(),
            client_id,
            topic,
            count,
            total,
            held_back,
            "deliveries dropped"
        );
    }

    pub fn snapshot(&self) -> DroppedCounts {
        DroppedCounts(self.0.snapshot())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_name_and_a_counter_of_its_own() {
        let names: HashSet<_> = Dropped::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Dropped::ALL.len());
        let drops = Drops::new();
        for (index, reason) in Dropped::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.name());
            drops.note(reason, "c", b"t", 1 + index as u64);
        }
        let counts: Vec<_> = drops.snapshot().iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=Dropped::ALL.len() as u64).collect::<Vec<_>>());
    }
}
