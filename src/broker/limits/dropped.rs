//! Deliveries that were dropped: each reason has a counter, and the first of a while a line in the log.

use super::counted::counted;
use super::reached::Limit;
use super::tally::{Tally, Told, shown};

/// Lines for one reason in a row, before further ones are held back for a while.
const LINES_AT_ONCE: u32 = 1;

counted! {
    /// Why a client did not get a message.
    enum Dropped {
        /// More waited for the client than it may lag by.
        Lagged "lagged",
        /// As much waited for its acknowledgements, or while it was away, as may.
        QueueFull "queue_full",
        /// There was no memory for what waits for its owner.
        Memory "memory_max",
        /// The message had expired.
        Expired "message_expired",
        /// The client takes no packets of that size.
        TooLarge "too_large_for_client",
        /// Its session has ended.
        SessionEnded "session_ended",
        /// Its shared subscription has no members left.
        NoMembers "no_members",
        /// The members of its shared subscription were too slow, all of them.
        SlowMembers "slow_members",
        /// The router had no room, for which the publisher did not wait.
        RouterFull "router_full",
    }
    /// How many deliveries were dropped for each reason since the broker started.
    struct DroppedCounts;
}

impl Dropped {
    /// What it means.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Lagged => "more waited for the client than it may lag by",
            Self::QueueFull => "as much waited for its acknowledgements, or while it was away, as may",
            Self::Memory => "there was no memory for what waits for its owner",
            Self::Expired => "the message had expired",
            Self::TooLarge => "the client takes no packets of that size",
            Self::SessionEnded => "its session has ended",
            Self::NoMembers => "its shared subscription has no members left",
            Self::SlowMembers => "the members of its shared subscription were too slow, all of them",
            Self::RouterFull => "the router had no room, and whoever published did not wait for some",
        }
    }
}

/// What is dropped at a limit of what waits for a client.
impl From<Limit> for Dropped {
    fn from(limit: Limit) -> Self {
        if limit == Limit::Memory { Self::Memory } else { Self::QueueFull }
    }
}

impl DroppedCounts {
    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
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
