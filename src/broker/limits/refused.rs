//! What clients are refused: each cause has a counter, and a line in the log that names the client.

use std::net::IpAddr;

use super::reached::Limit;
use super::tally::{Tally, Told, shown};

/// Lines of one cause in a row, before further ones are held back for a while.
const LINES_AT_ONCE: u32 = 3;

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A connection: the client was not let in.
    Connection,
    /// A publish.
    Publish,
    /// A subscription.
    Subscription,
    /// That a message is kept, which was delivered all the same.
    Retain,
}

impl What {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Publish => "publish",
            Self::Subscription => "subscription",
            Self::Retain => "retain",
        }
    }
}

macro_rules! causes {
    ($($what:ident { $($cause:ident $name:literal $why:literal $($limit:ident)?,)+ })+) => {
        /// Why a client was refused something.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Cause {
            $($(#[doc = concat!("A ", stringify!($what), ": ", $why, ".")] $cause,)+)+
        }

        impl Cause {
            /// Every cause.
            pub const ALL: &[Self] = &[$($(Self::$cause,)+)+];

            /// What it refuses.
            pub fn what(self) -> What {
                match self { $($(Self::$cause)|+ => What::$what,)+ }
            }

            /// Its name in logs and metrics.
            pub fn name(self) -> &'static str {
                match self { $($(Self::$cause => $name,)+)+ }
            }

            /// It in words, of the client.
            pub fn why(self) -> &'static str {
                match self { $($(Self::$cause => $why,)+)+ }
            }

            /// The limit that was reached, if it was for one.
            pub(crate) fn limit(self) -> Option<Limit> {
                match self { $($(Self::$cause => None$(.or(Some(Limit::$limit)))?,)+)+ }
            }
        }
    };
}

causes! {
    Connection {
        Connecting "connecting_max" "as many sockets are open as may be" Connecting,
        ConnectionsPerAddress "connections_per_address_max" "its address has as many sockets as it may" ConnectionsPerAddress,
        Connections "connections_max" "as many clients are online as may be" Connections,
        Memory "memory_max" "there is no memory for what it sends, or for one more client of its owner" Memory,
        NotTls "not_tls" "it spoke without TLS to a listener with TLS",
        Tls "tls_failed" "the TLS handshake failed",
        TlsTimeout "tls_timeout" "the TLS handshake was not over in time" ConnectTimeout,
        Identity "certificate_without_name" "its certificate has no name that can be its user",
        NotWebSocket "not_websocket" "it did not speak HTTP to a WebSocket listener",
        WebSocket "websocket_failed" "its HTTP request was no WebSocket handshake",
        WebSocketProtocol "websocket_protocol" "it did not offer the WebSocket subprotocol mqtt",
        WebSocketOrigin "websocket_origin" "pages of its origin may not connect (allowed_origins)",
        WebSocketTooLarge "websocket_too_large" "its HTTP request was too large",
        WebSocketTimeout "websocket_timeout" "the WebSocket handshake was not over in time" ConnectTimeout,
        ConnectTimeout "connect_timeout" "it did not say CONNECT in time" ConnectTimeout,
        NotMqtt "not_mqtt" "what it said first is no MQTT",
        NoConnect "no_connect" "its first packet was not CONNECT",
        Malformed "malformed_connect" "its CONNECT is against the standard",
        Version "unsupported_version" "it speaks another version of MQTT than 3.1.1 and 5",
        PacketBytes "packet_bytes_max" "its CONNECT is larger than a packet may be" PacketBytes,
        ClientPacketBytes "client_takes_too_little" "it takes no packets of the size of a CONNACK",
        ClientId "client_id_invalid" "it asks for a session and has no client id",
        ClientIdBytes "client_id_bytes_max" "its client id is longer than one may be" ClientIdBytes,
        ClientIdOfOther "client_id_of_other_user" "its client id belongs to another user's client",
        Authentication "authentication_method" "it wants an authentication method, and there is none",
        Anonymous "anonymous" "it did not say who it is, and nobody may be anonymous",
        Credentials "bad_credentials" "no such user, or not its password",
        FailedLogins "failed_logins_max" "too many logins of this user from its address have failed: give the device the right password, or stop it; one is forgiven every failed_login_forgiven_ms" FailedLogins,
        FailedLoginsOfAddress "failed_logins_of_address" "too many logins of different users from its address have failed: find who guesses, or which devices have old passwords; ten are forgiven every failed_login_forgiven_ms" FailedLogins,
        LoginsWaiting "logins_waiting_max" "too many logins wait to be checked" LoginsWaiting,
        LoginTimeout "login_timeout" "its login was not checked in time",
        WillTopic "will_topic" "its will has a topic that nothing can be published to",
        WillTopicBytes "will_topic_bytes_max" "its will's topic is longer than one may be" TopicBytes,
        WillTopicLevels "will_topic_levels_max" "its will's topic has more levels than one may have" TopicLevels,
        WillForbidden "will_forbidden" "the rules do not let it leave this will",
        WillAnswersForbidden "will_response_topic" "the rules do not let it have its will answered there",
        Stopping "stopping" "the broker is stopping, or its router has ended",
    }
    Publish {
        PublishRules "rules" "the rules do not let it publish there",
        PublishReserved "reserved_topic" "topics that begin with $ are the broker's own",
        PublishAnswers "response_topic" "the rules do not let it have answers sent there",
        PublishTopicBytes "topic_bytes_max" "the topic is longer than one may be" TopicBytes,
        PublishTopicLevels "topic_levels_max" "the topic has more levels than one may have" TopicLevels,
        InProcessTopic "in_process_topic" "an in-process link may not publish to it, or it is no topic",
    }
    Subscription {
        SubscribeRules "rules" "the rules do not let it subscribe to all of that",
        SubscribeReserved "reserved_topic" "topics that begin with $ are the broker's own",
        Subscriptions "subscriptions_per_client_max" "it has as many subscriptions as it may" SubscriptionsPerClient,
        Overlapping "overlapping_subscriptions_max" "as many of its subscriptions overlap this one as may" OverlappingSubscriptions,
        Filters "filters_max" "clients have subscribed to as many filters as they may" Filters,
        FilterBytes "topic_bytes_max" "the filter is longer than one may be" TopicBytes,
        FilterLevels "topic_levels_max" "the filter has more levels than one may have" TopicLevels,
        Revoked "rules_changed" "the rules have changed and do not allow it any more",
    }
    Retain {
        RetainMessages "retained_messages_max" "as many messages are retained as may be: it was delivered, and is not kept" RetainedMessages,
        RetainBytes "retained_bytes_max" "retained messages take as much as they may: it was delivered, and is not kept" RetainedBytes,
        RetainMemory "memory_max" "there is no memory to keep more of its owner's: it was delivered, and is not kept" Memory,
    }
}

impl Cause {
    /// Whether whoever runs the node has to do with it: a limit that they set, or their own application.
    fn is_the_nodes_own(self) -> bool {
        self.limit().is_some() || self == Self::InProcessTopic
    }
}

/// How many causes there are.
const CAUSES: usize = Cause::ALL.len();

/// A client, as far as it is known.
#[derive(Clone, Copy, Default)]
pub struct Who<'a> {
    /// Where it connects from; none for an in-process link.
    pub address: Option<IpAddr>,
    /// The listener's name.
    pub listener: &'a str,
    /// What it says its id is; empty where it has not said.
    pub client_id: &'a str,
    /// Its user, which it has only said to be until it is let in; empty where it has not said.
    pub user: &'a str,
}

/// How often each cause refused something since the broker started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCounts([u64; CAUSES]);

impl Default for RefusedCounts {
    fn default() -> Self {
        Self([0; CAUSES])
    }
}

impl RefusedCounts {
    /// How often `cause` did.
    pub fn of(&self, cause: Cause) -> u64 {
        self.0[cause as usize]
    }

    /// All that was refused of one kind.
    pub fn all(&self, what: What) -> u64 {
        Cause::ALL.iter().filter(|cause| cause.what() == what).map(|&cause| self.of(cause)).sum()
    }

    /// What each cause refuses, the cause's name, and how often it did.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        Cause::ALL.iter().map(|&cause| (cause.what().name(), cause.name(), self.of(cause)))
    }
}

/// The counters.
pub struct Refused(Tally<CAUSES>);

impl Refused {
    pub fn new() -> Self {
        Self(Tally::new(LINES_AT_ONCE))
    }

    /// Counts a refusal, and tells of it unless that was done often enough a moment ago. `topic`
    /// is what it was about, if it was about one; `why` may say more than the cause does.
    pub fn note(&self, cause: Cause, why: &str, who: &Who<'_>, topic: &str) {
        let total = self.0.count(cause as usize);
        let Some(Told { total, held_back }) = self.0.tell(cause as usize, total) else { return };
        let why = if why.is_empty() { cause.why() } else { why };
        let (reason, address) = (cause.name(), who.address.map(tracing::field::display));
        let (listener, client_id) = (shown(who.listener), shown(who.client_id));
        let (user, topic) = (shown(who.user), shown(topic));
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    reason,
                    why,
                    address,
                    listener,
                    client_id,
                    user,
                    topic,
                    total,
                    held_back,
                    "{} refused",
                    cause.what().name()
                )
            };
        }
        if cause.is_the_nodes_own() { tell!(warn) } else { tell!(info) }
    }

    pub fn snapshot(&self) -> RefusedCounts {
        RefusedCounts(self.0.snapshot())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_cause_has_a_name_and_a_counter_of_its_own() {
        let names: HashSet<_> = Cause::ALL.iter().map(|cause| (cause.what().name(), cause.name())).collect();
        assert_eq!(names.len(), Cause::ALL.len());
        let refused = Refused::new();
        for (index, &cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(cause as usize, index, "{}", cause.name());
            (0..=index).for_each(|_| refused.note(cause, "", &Who::default(), ""));
        }
        let counts: Vec<_> = refused.snapshot().iter().map(|(.., count)| count).collect();
        assert_eq!(counts, (1..=Cause::ALL.len() as u64).collect::<Vec<_>>());
    }
}
