//! How to reach a broker elsewhere, and with whom its requests are shared.

use std::path::PathBuf;
use std::time::Duration;

use super::partition::Partition;

/// How to reach a broker elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Host name or address.
    pub host: String,
    /// TCP port of the broker.
    pub port: u16,
    /// The version of MQTT that is spoken. Default 5.
    pub protocol: Protocol,
    /// MQTT client id; unique among the broker's clients, and the same at the next
    /// start, so that the node finds its session and what waits there for it.
    pub client_id: String,
    /// User name and password, where the broker wants them.
    pub credentials: Option<(String, String)>,
    /// TLS; none for plain TCP.
    pub tls: Option<Tls>,
    /// How long the broker keeps the session of a node that is away; zero for no
    /// session. A 3.1.1 broker decides for itself. Default one hour.
    pub session_expiry: Duration,
    /// The group whose members share the requests: filters are subscribed to as `$share/GROUP/FILTER`.
    pub share_group: Option<String>,
    /// Which part of the devices is this node's. Default all.
    pub partition: Option<Partition>,
    /// How often the broker is asked whether it is there, and how long it may hear
    /// nothing of this node; in whole seconds. Default 30 s.
    pub keep_alive: Duration,
    /// The longest wait between two attempts to connect. Default 30 s.
    pub reconnect_wait_max: Duration,
    /// How long the connection's thread, or the intake of a deployment, may make no
    /// progress until [`Client::stalled`](crate::client::Client::stalled) says so. That
    /// the broker is away is something else. Default 10 s.
    pub stalled_after: Duration,
    /// The largest packet that is accepted, in bytes. Default 1 MiB.
    pub packet_bytes_max: u32,
    /// The most received requests that are not acknowledged, which is until their
    /// answers are. The broker keeps further ones back. Default 4,096.
    pub receive_max: u16,
    /// The most received requests that wait for the intake of each deployment. Default 16,384.
    pub inbox_messages_max: usize,
    /// The most bytes that received requests take while they wait for the intake of a
    /// deployment. Default 64 MiB.
    pub inbox_bytes_max: usize,
    /// The most answers that wait to be sent. Default 65,536.
    pub outbox_messages_max: usize,
    /// The most bytes that answers take which wait to be sent, or are sent and not
    /// acknowledged by the broker. Default 64 MiB.
    pub outbox_bytes_max: usize,
}

/// A version of MQTT that a broker elsewhere is spoken to in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT 5 (OASIS standard, 2019), which tells limits and reasons.
    #[default]
    V5,
    /// MQTT 3.1.1: no response topics, no limits told, no reasons given.
    V311,
}

impl Protocol {
    /// Every one with its name in settings.
    pub const NAMES: &[(&str, Self)] = &[("5", Self::V5), ("3.1.1", Self::V311)];
}

/// TLS towards a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// A PEM file with the authorities of which one must have signed the broker's certificate.
    pub ca_file: PathBuf,
    /// PEM files with this node's certificate chain and private key, where the broker wants to see one.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name that the broker's certificate must have. Default the host.
    pub server_name: Option<String>,
}

impl Config {
    /// The broker at `host:port`, with defaults for everything else.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            protocol: Protocol::V5,
            client_id: client_id.into(),
            credentials: None,
            tls: None,
            session_expiry: Duration::from_secs(3_600),
            share_group: None,
            partition: None,
            keep_alive: Duration::from_secs(30),
            reconnect_wait_max: Duration::from_secs(30),
            stalled_after: Duration::from_secs(10),
            packet_bytes_max: 1024 * 1024,
            receive_max: 4_096,
            inbox_messages_max: 16_384,
            inbox_bytes_max: 64 << 20,
            outbox_messages_max: 65_536,
            outbox_bytes_max: 64 << 20,
        }
    }

    /// Whether the broker is to keep a session.
    pub(crate) fn keeps_session(&self) -> bool {
        !self.session_expiry.is_zero()
    }

    /// Whether what is still at the broker is for others once this node stops, or for
    /// nobody. Otherwise it waits for this node's next start.
    pub(crate) fn leaves_for_good(&self) -> bool {
        self.share_group.is_some() || !self.keeps_session()
    }

    /// The session's expiry in seconds, as MQTT counts; parts of a second are rounded up, for 0 is no
    /// session.
    pub(crate) fn session_expiry_s(&self) -> u32 {
        u32::try_from(self.session_expiry.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
    }

    pub(crate) fn keep_alive_s(&self) -> u16 {
        u16::try_from(self.keep_alive.as_secs()).unwrap_or(u16::MAX)
    }

    /// A filter as it is subscribed to.
    pub(crate) fn subscribed(&self, filter: &str) -> String {
        match &self.share_group {
            Some(group) => format!("$share/{group}/{filter}"),
            None => filter.to_owned(),
        }
    }

    /// The broker's address, for people.
    pub(crate) fn address(&self) -> String {
        // Of IPv6 the address stands in brackets: it has colons of its own.
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the credentials: a Debug output ends up in logs.
        f.debug_struct("Config")
            .field("address", &self.address())
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
