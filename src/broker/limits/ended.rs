//! How connections of clients that were let in end: each way has a counter, and what
//! was not the client's wish a line in the log.

use super::counted::counted;
use super::reached::Limit;
use super::refused::Who;
use super::tally::{Tally, Told, shown};
use crate::broker::codec::reason::Reason;

/// Lines of one way in a row, before further ones are held back for a while.
const LINES_AT_ONCE: u32 = 3;

counted! {
    /// Why a connection ended.
    enum Ended {
        /// The client said DISCONNECT.
        Disconnect "disconnect",
        /// The client is gone without a word.
        Lost "lost",
        /// The client broke WebSocket's rules.
        WebSocket "websocket_error",
        /// The client took nothing of what was sent to it for `write_timeout`.
        WriteTimeout "write_timeout",
        /// A packet of the client was not whole within `packet_timeout`.
        PacketTimeout "packet_timeout",
        /// The client was silent for too long.
        KeepAlive "keep_alive_timeout",
        /// Another connection has its client id now.
        TakenOver "taken_over",
        /// The client sent what cannot be read.
        Malformed "malformed_packet",
        /// The client sent what may not come there.
        Protocol "protocol_error",
        /// The client may not do what it did, or its user is not let in any more.
        NotAuthorized "not_authorized",
        /// The client subscribed to what is no filter.
        TopicFilter "topic_filter_invalid",
        /// The client published to what is no topic.
        TopicName "topic_name_invalid",
        /// The client published more at QoS 2 than it may without releasing it.
        ReceiveMaximum "receive_maximum_exceeded",
        /// The client used a topic alias that is not its own.
        TopicAlias "topic_alias_invalid",
        /// The client sent a larger packet than it may.
        PacketTooLarge "packet_too_large",
        /// The client published faster than it may.
        MessageRate "message_rate_too_high",
        /// The client missed messages, and the policy is to end its session then.
        Quota "quota_exceeded",
        /// The client's owner had most of what all share, and gave way to one who had less.
        GaveWay "gave_way",
        /// The broker is stopping, or its router has ended.
        Stopping "stopping",
        /// Something else.
        Other "other",
    }
    /// How many connections ended in each way since the broker started.
    struct EndedCounts;
}

impl Ended {
    /// The way in words, as docs/metrics.md says it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Disconnect => "the client said DISCONNECT",
            Self::Lost => "the client is gone without a word",
            Self::WebSocket => "the client broke WebSocket's rules",
            Self::WriteTimeout => "the client took nothing of what was sent to it for write_timeout_ms",
            Self::PacketTimeout => "a packet of the client was not whole within packet_timeout_ms",
            Self::KeepAlive => "the client was silent for one and a half times its keep-alive",
            Self::TakenOver => "another connection has its client id now",
            Self::Malformed => "the client sent what cannot be read",
            Self::Protocol => "the client sent what may not come there",
            Self::NotAuthorized => "the client may not do what it did, or its user is not let in any more",
            Self::TopicFilter => "the client subscribed to what is no filter",
            Self::TopicName => "the client published to what is no topic",
            Self::ReceiveMaximum => "the client published more at QoS 2 than it may without releasing it",
            Self::TopicAlias => "the client used a topic alias that is not its own",
            Self::PacketTooLarge => "the client sent a larger packet than it may",
            Self::MessageRate => "the client published faster than it may",
            Self::Quota => {
                "the client missed messages or took none while others waited, and the policy is to end it then"
            }
            Self::GaveWay => "its owner had most of what all share, and gave way to one who had less",
            Self::Stopping => "the broker is stopping, or its router has ended",
            Self::Other => "something else",
        }
    }

    /// The way of a connection that the broker ends for `reason`.
    pub(crate) fn by(reason: Reason) -> Self {
        match reason {
            Reason::KEEP_ALIVE => Self::KeepAlive,
            Reason::TAKEN_OVER => Self::TakenOver,
            Reason::MALFORMED => Self::Malformed,
            Reason::PROTOCOL_ERROR => Self::Protocol,
            Reason::NOT_AUTHORIZED => Self::NotAuthorized,
            Reason::FILTER_INVALID => Self::TopicFilter,
            Reason::TOPIC_INVALID => Self::TopicName,
            Reason::RECEIVE_MAXIMUM => Self::ReceiveMaximum,
            Reason::TOPIC_ALIAS_INVALID => Self::TopicAlias,
            Reason::PACKET_TOO_LARGE => Self::PacketTooLarge,
            Reason::MESSAGE_RATE_TOO_HIGH => Self::MessageRate,
            Reason::QUOTA_EXCEEDED => Self::Quota,
            Reason::SHUTTING_DOWN | Reason::SERVER_UNAVAILABLE => Self::Stopping,
            _ => Self::Other,
        }
    }

    /// The limit that was reached, if that ended it and nobody else counts it.
    pub(crate) fn limit(self) -> Option<Limit> {
        match self {
            Self::PacketTooLarge => Some(Limit::PacketBytes),
            Self::WriteTimeout => Some(Limit::WriteTimeout),
            Self::PacketTimeout => Some(Limit::PacketTimeout),
            _ => None,
        }
    }

    /// Whether it is of no interest who it was.
    fn is_ordinary(self) -> bool {
        matches!(self, Self::Disconnect | Self::Lost | Self::Stopping)
    }
}

/// The counters.
pub struct Endings(Tally<{ Ended::ALL.len() }>);

impl Endings {
    pub fn new() -> Self {
        Self(Tally::new(LINES_AT_ONCE))
    }

    /// Counts a connection that has ended, and tells of it if that was not the client's
    /// wish, unless it was done often enough a moment ago.
    pub fn note(&self, ended: Ended, who: &Who<'_>) {
        let total = self.0.count(ended as usize);
        let (reason, address) = (ended.name(), who.address.map(tracing::field::display));
        let (listener, client_id, user) = (shown(who.listener), shown(who.client_id), shown(who.user));
        if ended.is_ordinary() {
            return tracing::debug!(reason, address, listener, client_id, user, "connection ended");
        }
        let Some(Told { total, held_back }) = self.0.tell(ended as usize, total) else { return };
        if ended.limit().is_some() {
            tracing::warn!(reason, address, listener, client_id, user, total, held_back, "connection ended");
        } else {
            tracing::info!(reason, address, listener, client_id, user, total, held_back, "connection ended");
        }
    }

    pub fn snapshot(&self) -> EndedCounts {
        EndedCounts(self.0.snapshot())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_way_has_a_name_and_a_counter_of_its_own() {
        let names: HashSet<_> = Ended::ALL.iter().map(|ended| ended.name()).collect();
        assert_eq!(names.len(), Ended::ALL.len());
        let endings = Endings::new();
        for (index, ended) in Ended::ALL.into_iter().enumerate() {
            assert_eq!(ended as usize, index, "{}", ended.name());
            (0..=index).for_each(|_| endings.note(ended, &Who::default()));
        }
        let counts: Vec<_> = endings.snapshot().iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=Ended::ALL.len() as u64).collect::<Vec<_>>());
    }
}
