//! The embedded MQTT broker: 3.1.1 and 5 on every listener, and in-process links beside them.
//!
//! rumqttd's router carries messages; everything that a client can send meets our own front
//! door first, which owns subscriptions, quality of service, sessions, retained messages, wills
//! and every limit. Whatever a client sends is handled, refused by the standard's means, or
//! ends that one connection. It runs on two threads of its own, and ends with [`Broker::stop`].
//!
//! ```no_run
//! use nearfar::broker::{Broker, Config};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::start(Config::loopback())?;
//! let (publisher, mut subscriber) = broker.link("sensor")?;
//! subscriber.subscribe(&["greetings/#".to_owned()])?;
//! publisher.publish(&mut vec![nearfar::mqtt::Message::new("greetings/world", "hello")])?;
//! let mut batch = Vec::new();
//! subscriber.receive(&mut batch, 100)?;
//! assert_eq!(batch[0].payload, "hello");
//! broker.stop(std::time::Duration::from_secs(1));
//! # Ok(())
//! # }
//! ```

mod access;
mod bus;
mod codec;
mod config;
mod front;
mod limits;
mod link;
mod reload;
mod rules_file;
mod session;
mod sys;
#[cfg(test)]
mod tests;
mod work;

pub use self::access::attempts::AttemptLimits;
pub use self::access::guard::Guard;
pub use self::access::password::PASSWORD_BYTES_MAX;
pub(crate) use self::access::remarks::remarks;
pub use self::access::rules::AccessRules;
pub(crate) use self::access::users::listed;
pub use self::access::users::{
    USER_BYTES_MAX, USERS_FILE_BYTES_MAX, USERS_MAX, Users, UsersError, check_user_name, user_name_remark,
};
pub use self::access::{
    Access, Action, AllowAll, Authentication, Credentials, Denied, Grant, Identity, Login,
};
pub use self::config::{
    Config, ConnectionLimits, IdentitySource, Limits, Listener, OverRate, PendingPolicy, RefusedPublish,
    RefusedSubscription, RouterLimits, SegmentLimits, SharedStrategy, Tls, WebSocket, WideFilters,
};
pub(crate) use self::config::{PACKET_BYTES_LEAST, SEGMENT_BYTES_LEAST, SEGMENTS_LEAST};
pub use self::front::certificates::CertificateError;
pub use self::limits::dropped::{Dropped, DroppedCounts};
pub use self::limits::ended::{Ended, EndedCounts};
pub use self::limits::machine::memory_bytes;
pub use self::limits::memory::{MemoryKind, MemoryUse};
pub use self::limits::open_files::{open_files_max, raise_open_files_max};
pub use self::limits::reached::{Limit, LimitsReached};
pub use self::limits::refused::{Cause, RefusedCounts, What};
pub use self::link::{LinkClosed, LinkPublisher, LinkSubscriber, SubscribeError};
pub use self::reload::Reload;
pub use self::rules_file::{RULE_PATTERNS_MAX, RULES_FILE_BYTES_MAX, RULES_MAX};
pub use self::session::statistics::Statistics;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use self::bus::Bus;
use self::front::tls::TlsEntrance;
use self::front::transport::Entrance;
use self::session::context::Context;

/// Connections that the system queues for a listener until they are accepted.
const ACCEPT_BACKLOG: u32 = 1_024;

/// Why a broker did not start, or a link could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// A listener's address cannot be had.
    #[error("cannot listen on {address} ({name}): {}", bind_advice(source))]
    Bind {
        /// The listener's name.
        name: String,
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or its runtime could not be had.
    #[error("cannot start the broker's thread: {0}")]
    Thread(#[source] io::Error),
    /// A limit makes no sense.
    #[error("`{limit}` is {found}, but must be at least {least}")]
    Limit {
        /// The limit's name.
        limit: &'static str,
        /// What it was set to.
        found: usize,
        /// What it must be at least.
        least: usize,
    },
    /// The router does not answer, or has no room for another link.
    #[error("the broker's router takes no more links, or has ended")]
    Router,
    /// A listener's certificates cannot be used.
    #[error("listener {listener}: {source}")]
    Certificates {
        /// The listener's name.
        listener: String,
        /// Which file, and what is wrong with it.
        source: CertificateError,
    },
}

fn bind_advice(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "the address is in use; stop the program that holds it, or choose another port (0 takes a free one)"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has that address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "not permitted; choose a port of 1024 or above, or run with the right to bind it".to_owned()
        }
        _ => source.to_string(),
    }
}

/// Where a broker can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub name: String,
    /// `mqtt`, `mqtts`, `ws` or `wss`.
    pub scheme: &'static str,
    /// The address it is bound to.
    pub address: SocketAddr,
}

/// A running broker. Dropped without [`stop`](Self::stop), it stops at once.
pub struct Broker {
    context: Arc<Context>,
    endpoints: Vec<Endpoint>,
    stop: watch::Sender<Option<Duration>>,
    io_thread: Option<JoinHandle<()>>,
    runtime: Handle,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl Broker {
    /// Binds every listener, starts the router and the I/O thread, and returns when clients can connect.
    ///
    /// # Errors
    /// [`BrokerError`] when an address cannot be had, a limit makes no sense, or the
    /// system has no thread left.
    pub fn start(config: Config) -> Result<Self, BrokerError> {
        let broker = Self::bind(config)?;
        broker.open();
        Ok(broker)
    }

    /// Binds every listener and starts the threads; clients that connect wait until [`open`](Self::open):
    /// in-process links can subscribe before the first message.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn bind(mut config: Config) -> Result<Self, BrokerError> {
        check(&config)?;
        let entrances = entrances(&mut config)?;
        let runtime = runtime().map_err(BrokerError::Thread)?;
        let listeners = bind_all(&runtime, &config)?;
        let endpoints = listeners
            .iter()
            .zip(&config.listeners)
            .map(|(bound, asked)| Endpoint {
                name: asked.name.clone(),
                scheme: asked.scheme(),
                address: bound.local_addr().unwrap_or(asked.address),
            })
            .collect();
        let listeners = listeners.into_iter().zip(entrances).collect();
        let (bus, output) = Bus::start(&config).map_err(|_| BrokerError::Router)?;
        let context = Arc::new(Context::new(config, bus));
        let (stop, stopping) = watch::channel(None);
        let serving = context.clone();
        let handle = runtime.handle().clone();
        let io_thread = std::thread::Builder::new().name("mqtt-io".to_owned()).spawn(move || {
            runtime.block_on(self::front::server::run(serving, listeners, output, stopping));
        });
        match io_thread {
            Ok(io_thread) => {
                Ok(Self { context, endpoints, stop, io_thread: Some(io_thread), runtime: handle })
            }
            Err(source) => {
                context.bus.end_router();
                Err(BrokerError::Thread(source))
            }
        }
    }

    /// Lets clients in, those that have been waiting first.
    pub fn open(&self) {
        self.context.open();
    }

    /// Each listener's name and the address it is bound to, in the order of the configuration.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.endpoints.iter().map(|endpoint| (endpoint.name.clone(), endpoint.address)).collect()
    }

    /// Where it can be reached: every listener, in the order of the configuration.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// An in-process client, without a socket. Its messages are never lost to lag:
    /// publishing connections wait for it.
    ///
    /// # Errors
    /// [`BrokerError::Router`] when the router has ended or takes no more links.
    pub fn link(&self, client_id: &str) -> Result<(LinkPublisher, LinkSubscriber), BrokerError> {
        tracing::debug!(client_id, "in-process link");
        link::link(&self.context.bus, false).map_err(|_| BrokerError::Router)
    }

    /// An in-process client that answers: each QoS 1 or 2 message that it receives has a receipt,
    /// and its publisher is acknowledged when that is settled; if it is dropped instead, the
    /// publisher is refused (3.1.1: disconnected), so that it may send the message again.
    ///
    /// # Errors
    /// As [`link`](Self::link).
    pub fn answering_link(&self, client_id: &str) -> Result<(LinkPublisher, LinkSubscriber), BrokerError> {
        tracing::debug!(client_id, "answering in-process link");
        link::link(&self.context.bus, true).map_err(|_| BrokerError::Router)
    }

    /// Takes no more publishes that want an acknowledgement: their clients send them
    /// again, elsewhere or later. Before a node stops.
    pub fn drain(&self) {
        self.context.bus.drain();
    }

    /// Whether the router still runs.
    pub fn is_alive(&self) -> bool {
        self.context.bus.life.cause_of_death().is_none()
    }

    /// What all that clients make it hold may take of memory: [`Limits::memory_max`], or
    /// what stands for it where none is configured.
    pub fn memory_max(&self) -> usize {
        self.context.bus.memory.max()
    }

    /// What makes no progress, in words, where something has not for [`Config::stalled_after`]: the
    /// I/O thread, the router, or whoever receives at a link that is [watched](LinkSubscriber::watch).
    pub fn stalled(&self) -> Option<String> {
        self.context.bus.stalled(self.context.config.stalled_after)
    }

    /// Calls `tell` with the cause when the router ends although nobody stopped the broker; at once when
    /// it has. From then on nothing is delivered, and clients are told that the server is unavailable.
    pub fn on_death(&self, tell: impl FnOnce(String) + Send + 'static) {
        self.context.bus.life.on_death(Box::new(tell));
    }

    /// What goes on in the broker, counted.
    pub fn statistics(&self) -> Statistics {
        self.context.statistics()
    }

    /// Reads the listeners' certificates and everything in [`Config::reloads`] again;
    /// connections that exist go on. What cannot be used stays as it was.
    ///
    /// # Errors
    /// What is wrong, a line for each. The rest was read again all the same.
    pub fn reload(&self) -> Result<(), String> {
        let reloads = &self.context.config.reloads;
        let faults: Vec<_> = reloads.iter().filter_map(|reload| reload.reload().err()).collect();
        // Clients that have nothing to do would not notice for seconds that they have lost a right.
        self.context.registry.review_all();
        for fault in &faults {
            tracing::error!("{fault}");
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    }

    /// How many things there are that [`reload`](Self::reload) reads again.
    pub(crate) fn reloads(&self) -> usize {
        self.context.config.reloads.len()
    }

    /// Delivers what was published before, says goodbye to every client (reason 0x8B to those of MQTT
    /// 5), waits for them at most `grace`, and ends the broker's threads. In-process links end too.
    pub fn stop(mut self, grace: Duration) {
        self.end(grace);
    }

    /// Blocks the I/O thread until the other end of `until` is dropped.
    pub(crate) fn block_io_thread(&self, until: std::sync::mpsc::Receiver<()>) {
        self.runtime.spawn(async move { until.recv().ok() });
    }

    /// Ends the router as a fault would.
    pub(crate) fn kill_router(&self) {
        self.context.bus.end_router();
    }

    fn end(&mut self, grace: Duration) {
        let Some(io_thread) = self.io_thread.take() else { return };
        self.stop.send_replace(Some(grace));
        if io_thread.join().is_err() {
            tracing::error!("the broker's I/O thread panicked");
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

fn runtime() -> io::Result<Runtime> {
    // One thread: it keeps each client's packets in order without locks, and was
    // measured faster than several.
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Reads every listener's certificates, and remembers to read them again when told to.
fn entrances(config: &mut Config) -> Result<Vec<Entrance>, BrokerError> {
    let mut entrances = Vec::with_capacity(config.listeners.len());
    for listener in config.listeners.clone() {
        let tls =
            listener.tls.as_ref().map(|tls| TlsEntrance::new(&listener.name, tls).map(Arc::new)).transpose();
        let tls =
            tls.map_err(|source| BrokerError::Certificates { listener: listener.name.clone(), source })?;
        if let Some(tls) = &tls {
            config.reloads.push(tls.clone());
        }
        entrances.push(Entrance { name: listener.name.as_str().into(), listener, tls });
    }
    Ok(entrances)
}

fn bind_all(runtime: &Runtime, config: &Config) -> Result<Vec<TcpListener>, BrokerError> {
    let _context = runtime.enter();
    let bind = |listener: &Listener| {
        bind(listener.address).map_err(|source| BrokerError::Bind {
            name: listener.name.clone(),
            address: listener.address,
            source,
        })
    };
    config.listeners.iter().map(bind).collect()
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A port is ours again right after a stop, although old connections linger in the system.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_BACKLOG)
}

/// Refuses what would make the router panic.
fn check(config: &Config) -> Result<(), BrokerError> {
    let router = &config.router;
    let segments = router.custom_segments.iter().map(|(_, limits)| *limits);
    let default =
        SegmentLimits { segment_bytes_max: router.segment_bytes_max, segments_max: router.segments_max };
    for limits in segments.chain([default]) {
        at_least("segment_bytes_max", limits.segment_bytes_max, config::SEGMENT_BYTES_LEAST)?;
        at_least("segments_max", limits.segments_max, config::SEGMENTS_LEAST)?;
    }
    at_least("connections_max", router.connections_max, 1)?;
    at_least("outgoing_packets_max", usize::try_from(router.outgoing_packets_max).unwrap_or(usize::MAX), 1)?;
    at_least("receive_max", config.limits.receive_max.into(), 1)?;
    at_least("connections_per_address_max", config.limits.connections_per_address_max, 1)?;
    at_least("pending_messages_max", config.limits.pending_messages_max, 1)?;
    at_least("pending_bytes_max", config.limits.pending_bytes_max, 1)?;
    at_least("inflight_bytes_max", config.limits.inflight_bytes_max, 1)?;
    for listener in &config.listeners {
        at_least("inflight_messages_max", listener.connections.inflight_messages_max.into(), 1)?;
        at_least("packet_bytes_max", listener.connections.packet_bytes_max, config::PACKET_BYTES_LEAST)?;
    }
    Ok(())
}

fn at_least(limit: &'static str, found: usize, least: usize) -> Result<(), BrokerError> {
    if found < least { Err(BrokerError::Limit { limit, found, least }) } else { Ok(()) }
}
