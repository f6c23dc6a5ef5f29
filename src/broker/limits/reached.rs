//! How often each limit was reached: its one name, its counter, and a warning now and then.

use std::borrow::Cow;
use std::fmt::Display;

use super::counted::counted;
use super::shares::Owner;
use super::tally::{Shown, Tally, Told};

counted! {
    /// A bound on what clients can do. What happens at each is in the documentation of
    /// the field of the same name.
    enum Limit {
        /// Clients online.
        Connections "connections_max",
        /// Sockets of one address.
        ConnectionsPerAddress "connections_per_address_max",
        /// Sockets of a listener beyond the clients that may be online.
        Connecting "connecting_max",
        /// The time until CONNECT.
        ConnectTimeout "connect_timeout",
        /// The size of a packet from a client.
        PacketBytes "packet_bytes_max",
        /// The length of a client id.
        ClientIdBytes "client_id_bytes_max",
        /// The length of a topic name or filter.
        TopicBytes "topic_bytes_max",
        /// The levels of a topic name or filter.
        TopicLevels "topic_levels_max",
        /// Subscriptions of one client.
        SubscriptionsPerClient "subscriptions_per_client_max",
        /// Subscriptions of one client that overlap.
        OverlappingSubscriptions "overlapping_subscriptions_max",
        /// Distinct filters.
        Filters "filters_max",
        /// Retained messages.
        RetainedMessages "retained_messages_max",
        /// Bytes of retained messages.
        RetainedBytes "retained_bytes_max",
        /// Sessions of clients that are away.
        ParkedSessions "parked_sessions_max",
        /// Memory for all that the broker holds; counted when something is not taken, or
        /// given up, for want of it.
        Memory "memory_max",
        /// Unacknowledged messages to a client; counted when one has to wait.
        InflightMessages "inflight_messages_max",
        /// Bytes of unacknowledged messages to a client; counted when one has to wait.
        InflightBytes "inflight_bytes_max",
        /// Messages that wait for a client.
        PendingMessages "pending_messages_max",
        /// Bytes that wait for a client.
        PendingBytes "pending_bytes_max",
        /// Unreleased QoS 2 publishes of a client.
        Receive "receive_max",
        /// Topic aliases of a client.
        TopicAliases "topic_aliases_max",
        /// Publishes a second of a client.
        PublishRate "publish_messages_per_s_max",
        /// Bytes that a client has not read yet; counted when it is no longer read from.
        UnreadBytes "unread_bytes_max",
        /// The time in which a client takes nothing that is written to it.
        WriteTimeout "write_timeout",
        /// The time in which a packet that a client has begun does not end.
        PacketTimeout "packet_timeout",
        /// Failed logins of one user, or of all users, of one address.
        FailedLogins "failed_logins_max",
        /// Logins that wait to be checked.
        LoginsWaiting "logins_waiting_max",
    }
    /// How often each limit was reached since the broker started.
    struct LimitsReached;
}

impl Limit {
    /// Those that all clients share, where the one who has most gives way to one who has less.
    pub const SHARED: [Self; 6] = [
        Self::Connections,
        Self::Connecting,
        Self::Filters,
        Self::RetainedMessages,
        Self::RetainedBytes,
        Self::ParkedSessions,
    ];

    /// The key in the broker's file that sets it, with its table; none for what follows from another one, or
    /// is fixed.
    pub fn key(self) -> Option<Cow<'static, str>> {
        let of_limits = |key: &str| Cow::Owned(format!("limits.{key}"));
        Some(match self {
            Self::Connections => Cow::Borrowed("router.max_connections"),
            Self::ConnectTimeout => Cow::Borrowed("connections.connection_timeout_ms"),
            Self::PacketBytes => Cow::Borrowed("connections.max_payload_size"),
            Self::InflightMessages => Cow::Borrowed("connections.max_inflight_count"),
            Self::WriteTimeout | Self::PacketTimeout => of_limits(&format!("{}_ms", self.name())),
            Self::Connecting | Self::LoginsWaiting => return None,
            named_alike => of_limits(named_alike.name()),
        })
    }
}

impl LimitsReached {
    /// Replaces one of them: for limits that count for themselves.
    pub(crate) fn set(&mut self, limit: Limit, count: u64) {
        self.0[limit as usize] = count;
    }

    /// Adds what was counted elsewhere.
    pub(crate) fn add(&mut self, limit: Limit, count: u64) {
        self.0[limit as usize] += count;
    }
}

/// The counters.
pub struct Reached {
    reached: Tally<{ Limit::ALL.len() }>,
    gave_way: Tally<{ Limit::ALL.len() }>,
}

impl Reached {
    pub fn new() -> Self {
        Self { reached: Tally::new(1), gave_way: Tally::new(1) }
    }

    /// Counts a limit that was reached in the course of things: no reason to warn.
    pub fn count(&self, limit: Limit) -> u64 {
        self.reached.count(limit as usize)
    }

    /// Counts a limit that cost somebody something, and warns of it unless that was done a moment ago.
    pub fn note(&self, limit: Limit, who: impl Display) {
        self.tell(limit, self.count(limit), who);
    }

    /// Warns of a limit in the same way that is reached, but has cost nobody anything
    /// yet, or is counted elsewhere.
    pub fn warn(&self, limit: Limit, who: impl Display) {
        self.tell(limit, self.snapshot().of(limit), who);
    }

    fn tell(&self, limit: Limit, total: u64, who: impl Display) {
        if let Some(Told { total, held_back }) = self.reached.tell(limit as usize, total) {
            // Mostly it is a client's own name.
            let who = who.to_string();
            let key = limit.key().map(tracing::field::display);
            tracing::warn!(limit = limit.name(), key, who = ?Shown(&who), total, held_back, "a limit is reached");
        }
    }

    /// Counts what `hog`, who has most of what a limit bounds, gave up for `newcomer`,
    /// and warns of it unless that was done a moment ago.
    pub fn note_gave_way(&self, limit: Limit, hog: &Owner, newcomer: &Owner) {
        let total = self.gave_way.count(limit as usize);
        if let Some(Told { total, held_back }) = self.gave_way.tell(limit as usize, total) {
            // Either may be a user's own name.
            let (hog, newcomer) = (hog.to_string(), newcomer.to_string());
            tracing::warn!(
                limit = limit.name(),
                key = limit.key().map(tracing::field::display),
                hog = ?Shown(&hog),
                newcomer = ?Shown(&newcomer),
                total,
                held_back,
                "a limit is reached, and who has most of it gives way"
            );
        }
    }

    pub fn snapshot(&self) -> LimitsReached {
        LimitsReached(self.reached.snapshot())
    }

    /// How often something was given up.
    pub fn gave_way(&self) -> LimitsReached {
        LimitsReached(self.gave_way.snapshot())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_limit_has_a_name_and_a_counter_of_its_own() {
        let names: HashSet<_> = Limit::ALL.iter().map(|limit| limit.name()).collect();
        assert_eq!(names.len(), Limit::ALL.len());
        let reached = Reached::new();
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index, "{}", limit.name());
            (0..=index).for_each(|_| reached.note(limit, "nobody"));
        }
        let counts: Vec<_> = reached.snapshot().iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=Limit::ALL.len() as u64).collect::<Vec<_>>());
    }
}
