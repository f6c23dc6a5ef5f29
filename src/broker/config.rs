//! What a broker is built from: listeners, queues, and a bound for everything a client can make grow.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::access::{Access, AllowAll};
use super::reload::Reload;
use crate::broker::access::attempts::AttemptLimits;
use crate::broker::limits::machine;
use crate::broker::limits::reached::Limit;
use crate::mqtt::filter_matches;

/// MQTT's registered port.
const MQTT_PORT: u16 = 1883;
/// What makes no progress for this long is told: far longer than a busy machine keeps a thread waiting.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// How often the broker tells of itself, as Mosquitto does.
const SYS_INTERVAL: Duration = Duration::from_secs(10);
/// The router panics at the first subscription below this.
pub(crate) const SEGMENT_BYTES_LEAST: usize = 1_024;
/// With one segment alone the router's log forgets everything whenever it is full.
pub(crate) const SEGMENTS_LEAST: usize = 2;
/// Room for a CONNECT with an ordinary client id.
pub(crate) const PACKET_BYTES_LEAST: usize = 64;

/// A broker's configuration. The default is one listener on 127.0.0.1:1883, open to
/// everyone who can reach it.
#[derive(Clone)]
pub struct Config {
    /// Where it listens; each listener speaks MQTT 3.1.1 and 5. None is fine: in-process links need none.
    pub listeners: Vec<Listener>,
    /// The router, and how far subscribers may lag.
    pub router: RouterLimits,
    /// Bounds on clients, sessions and retained messages.
    pub limits: Limits,
    /// Who may do what.
    pub access: Arc<dyn Access>,
    /// What [`Broker::reload`](super::Broker::reload) reads again, beside the listeners' certificates.
    pub reloads: Vec<Arc<dyn Reload>>,
    /// What becomes of a publish that the rules refuse, where the client speaks 3.1.1.
    pub refused_publish: RefusedPublish,
    /// Whether in-process links are told who published a message. It costs a little for each message to them.
    pub tells_senders: bool,
    /// What an MQTT 5 client is told of a subscription that the rules refuse.
    pub refused_subscription: RefusedSubscription,
    /// What becomes of a subscription of which the rules allow a part.
    pub wide_filters: WideFilters,
    /// Whether a retained message is withheld from new subscriptions once whoever
    /// published it may not publish to its topic any more.
    pub check_retain_source: bool,
    /// How often the broker tells of itself below `$SYS/broker/`; zero for never.
    pub sys_interval: Duration,
    /// How long a part of the broker, or the intake of a deployment, may make no
    /// progress until [`Broker::stalled`](super::Broker::stalled) says so.
    pub stalled_after: Duration,
}

/// What an MQTT 5 client is told of a subscription that the rules refuse. In 3.1.1
/// the code is 0x80 either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RefusedSubscription {
    /// That it may not: 0x87.
    #[default]
    NotAuthorized,
    /// Nothing of why: 0x80.
    Unspecified,
}

impl RefusedSubscription {
    /// Every one with its name in settings.
    pub const NAMES: &[(&str, Self)] =
        &[("not_authorized", Self::NotAuthorized), ("unspecified", Self::Unspecified)];
}

/// What becomes of a publish that the rules refuse when its client speaks MQTT
/// 3.1.1, which has no code for it. In MQTT 5 the client is told with reason 0x87.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RefusedPublish {
    /// It is dropped, counted, and acknowledged.
    #[default]
    Drop,
    /// The connection ends.
    Disconnect,
}

impl RefusedPublish {
    /// Every one with its name in settings.
    pub const NAMES: &[(&str, Self)] = &[("drop", Self::Drop), ("disconnect", Self::Disconnect)];
}

impl Config {
    /// One listener on a free port of 127.0.0.1; [`Broker::addresses`](super::Broker::addresses) says which.
    pub fn loopback() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { listeners: vec![Listener::new("loopback", address)], ..Self::without_listeners() }
    }

    /// No listener: only in-process links.
    pub fn without_listeners() -> Self {
        Self {
            listeners: Vec::new(),
            router: RouterLimits::default(),
            limits: Limits::default(),
            access: Arc::new(AllowAll),
            refused_publish: RefusedPublish::default(),
            tells_senders: false,
            reloads: Vec::new(),
            refused_subscription: RefusedSubscription::default(),
            wide_filters: WideFilters::default(),
            check_retain_source: true,
            sys_interval: SYS_INTERVAL,
            stalled_after: STALLED_AFTER,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, MQTT_PORT));
        Self { listeners: vec![Listener::new("mqtt", address)], ..Self::without_listeners() }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listeners", &self.listeners)
            .field("router", &self.router)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// An address to listen on, and what its connections may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// For logs and for [`Broker::addresses`](super::Broker::addresses).
    pub name: String,
    /// Port 0 takes a free one.
    pub address: SocketAddr,
    /// The least time between two accepted connections; zero for none.
    pub next_connection_delay: Duration,
    /// Limits of each connection.
    pub connections: ConnectionLimits,
    /// TLS for every connection; none for plain TCP.
    pub tls: Option<Tls>,
    /// MQTT in WebSocket messages, for browsers; none for MQTT on the stream itself.
    pub websocket: Option<WebSocket>,
}

impl Listener {
    /// A listener with the default limits.
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        Self {
            name: name.into(),
            address,
            next_connection_delay: Duration::ZERO,
            connections: ConnectionLimits::default(),
            tls: None,
            websocket: None,
        }
    }

    /// The scheme of its addresses in a URL: `mqtt`, `mqtts`, `ws` or `wss`.
    pub fn scheme(&self) -> &'static str {
        match (&self.websocket, &self.tls) {
            (None, None) => "mqtt",
            (None, Some(_)) => "mqtts",
            (Some(_), None) => "ws",
            (Some(_), Some(_)) => "wss",
        }
    }
}

/// A listener's TLS: files that are read when the broker starts and at every
/// [`Broker::reload`](super::Broker::reload).
///
/// TLS 1.2 and 1.3 are spoken, nothing older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM: the server's certificate, then those that lead to an authority its clients trust.
    pub certificate_chain: PathBuf,
    /// PEM: the certificate's private key, not encrypted.
    pub key: PathBuf,
    /// PEM: with it every client must show a certificate that one of these authorities has signed.
    pub client_authorities: Option<PathBuf>,
    /// Which name in a client's certificate is its user name, whatever its CONNECT says;
    /// none leaves it to CONNECT.
    pub identity: Option<IdentitySource>,
}

/// Which name in a client's certificate is its user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentitySource {
    /// The subject's common name, of which there must be one.
    CommonName,
    /// The first subject alternative name that is a DNS name, a URI or an e-mail address.
    SubjectAltName,
}

impl IdentitySource {
    /// Every one with its name in settings.
    pub const NAMES: &[(&str, Self)] =
        &[("common_name", Self::CommonName), ("subject_alt_name", Self::SubjectAltName)];
}

/// A WebSocket listener's own rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebSocket {
    /// Pages of these origins may connect, such as `https://plant.example`; empty for those of any.
    ///
    /// A browser lets every page that its user opens connect to every address that it
    /// reaches. Clients that are no browsers name no origin, and are not kept out by this.
    pub allowed_origins: Vec<String>,
}

/// Limits of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// How long a connection may take to say CONNECT, the handshakes before it included.
    pub connect_timeout: Duration,
    /// The largest packet it may send, in bytes.
    pub packet_bytes_max: usize,
    /// How many QoS 1 and 2 messages may be unacknowledged towards it, unless it asks for fewer.
    pub inflight_messages_max: u16,
    /// The longest keep-alive of an MQTT 5 client, in seconds: one that asks for longer is told
    /// this one. By default as long as MQTT can say, so that every client has its own. 3.1.1
    /// clients, which cannot be told, and clients without keep-alive have their own in any case.
    pub keep_alive_max_s: u16,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            packet_bytes_max: 1 << 20,
            inflight_messages_max: 100,
            keep_alive_max_s: u16::MAX,
        }
    }
}

/// What the router and the queues behind it may hold.
///
/// A subscriber may lag by `segments_max` segments of `segment_bytes_max`; beyond that it
/// loses its oldest messages (counted in [`Statistics`](super::Statistics)). In-process
/// links never do, because publishers wait for them at less than half of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterLimits {
    /// Clients online at once.
    pub connections_max: usize,
    /// The most messages that the router hands over in one go.
    pub outgoing_packets_max: u64,
    /// A part of what a subscriber may lag by, in bytes of topics, payloads and properties.
    pub segment_bytes_max: usize,
    /// How many such parts a subscriber may lag by; at least 2.
    pub segments_max: usize,
    /// Other sizes for subscriptions to the filters that match a filter.
    pub custom_segments: Vec<(String, SegmentLimits)>,
    /// How a shared subscription picks the member that gets a message.
    pub shared_strategy: SharedStrategy,
}

impl Default for RouterLimits {
    fn default() -> Self {
        Self {
            connections_max: 1_000,
            outgoing_packets_max: 200,
            segment_bytes_max: 1 << 20,
            segments_max: 4,
            custom_segments: Vec::new(),
            shared_strategy: SharedStrategy::RoundRobin,
        }
    }
}

impl RouterLimits {
    /// The router's log for an in-process link.
    pub(crate) fn log(&self) -> SegmentLimits {
        SegmentLimits { segment_bytes_max: self.segment_bytes_max, segments_max: self.segments_max }
    }

    /// How far a subscriber to `filter` may lag, in bytes.
    pub(crate) fn lag_bytes(&self, filter: &str) -> usize {
        // As rumqttd does, which takes the filter for a topic.
        let is_for = |custom: &str| filter_matches(custom, filter);
        let custom = self.custom_segments.iter().find(|(custom, _)| is_for(custom));
        let (bytes, count) = custom.map_or((self.segment_bytes_max, self.segments_max), |(_, limits)| {
            (limits.segment_bytes_max, limits.segments_max)
        });
        bytes.saturating_mul(count)
    }
}

/// How far subscribers to some filters may lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLimits {
    /// As [`RouterLimits::segment_bytes_max`].
    pub segment_bytes_max: usize,
    /// As [`RouterLimits::segments_max`].
    pub segments_max: usize,
}

/// What becomes of a subscription whose filter matches topics that the rules allow
/// and others that they do not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WideFilters {
    /// It is refused, so that its client knows.
    #[default]
    Refuse,
    /// It is made, and messages to topics that the client may not subscribe to are withheld from it.
    Withhold,
}

impl WideFilters {
    /// Every one with its name in settings.
    pub const NAMES: &[(&str, Self)] = &[("refuse", Self::Refuse), ("withhold", Self::Withhold)];
}

/// How a shared subscription picks the member that gets a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SharedStrategy {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Any, by chance.
    Random,
    /// The same one while it keeps up.
    Sticky,
}

impl SharedStrategy {
    /// Every one with its name in settings.
    pub const NAMES: &[(&str, Self)] =
        &[("roundrobin", Self::RoundRobin), ("random", Self::Random), ("sticky", Self::Sticky)];
}

/// Bounds on what clients can make grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Distinct filters subscribed to, those of each shared group for themselves;
    /// SUBSCRIBE is refused beyond with 0x97 (0x80 in 3.1.1).
    pub filters_max: usize,
    /// Subscriptions of one client.
    pub subscriptions_per_client_max: usize,
    /// Subscriptions of one client, with wildcards or of shared groups, that some topic
    /// under a new one falls under as well: so that one message never means thousands of
    /// copies; SUBSCRIBE is refused beyond with 0x97 (0x80 in 3.1.1).
    pub overlapping_subscriptions_max: usize,
    /// Messages that wait for one client's window; at the bound
    /// [`pending_policy`](Self::pending_policy) says what happens.
    pub pending_messages_max: usize,
    /// Sessions kept for clients that are away.
    pub parked_sessions_max: usize,
    /// The longest that a session is kept, in seconds; `u32::MAX` for ever.
    pub session_expiry_max_s: u32,
    /// Retained messages.
    pub retained_messages_max: usize,
    /// What the retained messages take of memory, in bytes: topics, payloads, properties
    /// and what it takes to keep them.
    pub retained_bytes_max: usize,
    /// What all that clients make the broker hold may take of memory, in bytes; by
    /// default half of the machine's, or of the control group's if that is less. What
    /// happens when it gets scarce: docs/security.md.
    pub memory_max: Option<usize>,
    /// Unacknowledged QoS 1 and 2 publishes of one client (the Receive Maximum it is told).
    pub receive_max: u16,
    /// Topic aliases of one client.
    pub topic_aliases_max: u16,
    /// A client that takes nothing of what is written to it for this long is disconnected.
    /// What it takes more slowly than 500 bytes a second counts for as much less.
    pub write_timeout: Duration,
    /// A client that has begun a packet and not ended it for this long is disconnected
    /// (0x97). Bytes of it buy time, 500 of them a second, so that large packets come
    /// through on slow lines; keep-alive counts the same way.
    pub packet_timeout: Duration,
    /// Sockets of one address (of IPv6, of one /64 network); a further one is closed at once.
    pub connections_per_address_max: usize,
    /// The longest client id; a CONNECT with a longer one is refused with 0x85 (2 in 3.1.1).
    pub client_id_bytes_max: usize,
    /// The longest topic name or filter; a publish with a longer one is acknowledged
    /// with 0x90 and dropped, a subscription is refused with 0x8F (0x80 in 3.1.1).
    pub topic_bytes_max: usize,
    /// The most levels of a topic name or filter; beyond, as with `topic_bytes_max`.
    pub topic_levels_max: usize,
    /// Unacknowledged QoS 1 and 2 messages to one client, in bytes; the message that
    /// exceeds it is the last one sent.
    pub inflight_bytes_max: usize,
    /// The bytes that wait for one client's window; the message that exceeds it is the last one in.
    pub pending_bytes_max: usize,
    /// What happens when the queue of a client that is slow or away is full.
    pub pending_policy: PendingPolicy,
    /// Messages a second that one client may publish; 0 for any number.
    pub publish_messages_per_s_max: u32,
    /// Messages that it may publish at once after a quiet time.
    pub publish_burst_messages_max: u32,
    /// What happens to a client that publishes faster.
    pub publish_over_rate: OverRate,
    /// A client that has not read this many bytes is not read from, until it has or `write_timeout` is over.
    pub unread_bytes_max: usize,
    /// Failed logins of each user of an address, for a [`Guard`](super::Guard); CONNECT is refused
    /// beyond with 0x97 (3 in 3.1.1).
    pub failed_logins: AttemptLimits,
}

/// What happens when the queue of a client that is slow or away is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PendingPolicy {
    /// A client that is online lags: what comes meanwhile waits, and the oldest of it is lost where
    /// that is more than it may lag by. For a client that is away, the newest message is dropped.
    #[default]
    Hold,
    /// The message that has waited longest is dropped.
    DropOldest,
    /// The message that has just come is dropped.
    DropNewest,
    /// Clients that publish wait for a client that is online: they are not read from, and
    /// their acknowledgements come later, until it has taken what it has. One that takes
    /// nothing for `write_timeout` while others wait is disconnected (0x97). For a client that
    /// is away the newest message is dropped, and so it is of what the node itself publishes.
    Wait,
    /// The session ends, so that nothing is missed unnoticed: a client that is online is disconnected
    /// (0x97), also when it lags by more than it may; one that was away finds no session.
    Disconnect,
}

impl PendingPolicy {
    /// Every one with its name in settings.
    pub const NAMES: &[(&str, Self)] = &[
        ("hold", Self::Hold),
        ("wait", Self::Wait),
        ("drop_oldest", Self::DropOldest),
        ("drop_newest", Self::DropNewest),
        ("disconnect", Self::Disconnect),
    ];

    /// Whether a client that is online is given no more than its queue has room for.
    pub(crate) fn holds_back(self) -> bool {
        matches!(self, Self::Hold | Self::Wait)
    }
}

/// What happens to a client that publishes faster than it may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OverRate {
    /// It is not read from until it may publish again, so that TCP slows it down. Its
    /// silence meanwhile does not count.
    #[default]
    SlowDown,
    /// It is disconnected (0x96).
    Disconnect,
}

impl OverRate {
    /// Every one with its name in settings.
    pub const NAMES: &[(&str, Self)] = &[("slow_down", Self::SlowDown), ("disconnect", Self::Disconnect)];
}

impl Limits {
    /// What all that clients make the broker hold may take of memory. Where it is not configured, half of
    /// what there is: the rest is for models, the system, and what nobody can count.
    pub(crate) fn memory_bytes_max(&self) -> usize {
        self.memory_max.unwrap_or_else(|| machine::memory_bytes() / 2)
    }

    /// The limit that a topic name or filter breaks.
    pub(crate) fn broken_by(&self, topic: &str) -> Option<Limit> {
        if topic.len() > self.topic_bytes_max {
            Some(Limit::TopicBytes)
        } else if topic.bytes().filter(|&byte| byte == b'/').count() >= self.topic_levels_max {
            Some(Limit::TopicLevels)
        } else {
            None
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            filters_max: 10_000,
            subscriptions_per_client_max: 1_000,
            overlapping_subscriptions_max: 100,
            pending_messages_max: 1_000,
            parked_sessions_max: 1_000,
            session_expiry_max_s: u32::MAX,
            retained_messages_max: 10_000,
            retained_bytes_max: 16 << 20,
            memory_max: None,
            receive_max: u16::MAX,
            topic_aliases_max: 64,
            write_timeout: Duration::from_secs(30),
            packet_timeout: Duration::from_secs(60),
            connections_per_address_max: 1_000,
            client_id_bytes_max: 256,
            topic_bytes_max: 4_096,
            topic_levels_max: 128,
            inflight_bytes_max: 4 << 20,
            pending_bytes_max: 4 << 20,
            pending_policy: PendingPolicy::Hold,
            publish_messages_per_s_max: 0,
            publish_burst_messages_max: 1_000,
            publish_over_rate: OverRate::SlowDown,
            unread_bytes_max: 1 << 20,
            failed_logins: AttemptLimits::default(),
        }
    }
}
