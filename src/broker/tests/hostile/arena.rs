//! A broker without sockets, and what must be true of it after every run.

use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::broker::bus::Bus;
use crate::broker::config::{Config, ConnectionLimits, Limits};
use crate::broker::front::arrival;
use crate::broker::front::server;
use crate::broker::limits::reached::LimitsReached;
use crate::broker::session::context::Context;
use crate::broker::session::peer::{Peer, UnderWay};

/// Far longer than anything here takes; a broker that needs this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// A client id that no other client here has.
const PROBE_CONNECT: &[u8] = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05probe";
const PROBE_SUBSCRIBE: &[u8] = b"\x82\x0a\x00\x01\x00\x05probe\x01";
const PROBE_PUBLISH: &[u8] = b"\x30\x0b\x00\x05probewell";
/// CONNACK, SUBACK, and the message itself.
const PROBE_ANSWERS: &[u8] = b"\x20\x02\x00\x00\x90\x03\x00\x01\x01\x30\x0b\x00\x05probewell";

static PANICS: AtomicUsize = AtomicUsize::new(0);

pub struct Arena {
    context: Arc<Context>,
    limits: ConnectionLimits,
    connections: JoinSet<()>,
    broker: JoinHandle<()>,
    stop: watch::Sender<Option<Duration>>,
    /// Packets that clients have sent.
    pub packets: u64,
}

/// The broker's own tasks: the server, the watches over its router and its memory,
/// the way out of the router, its beat, and what tells of the broker.
const OWN_TASKS: usize = 6;

/// A client that connects from this machine and proves no name.
pub fn nobody() -> Peer {
    Peer {
        address: Ipv4Addr::LOCALHOST.into(),
        listener: "arena".into(),
        socket: 0,
        identity: None,
        under_way: UnderWay::default(),
    }
}

/// Small bounds, so that all of them are reached.
fn config() -> Config {
    let limits = Limits {
        filters_max: 60,
        subscriptions_per_client_max: 8,
        overlapping_subscriptions_max: 4,
        pending_messages_max: 6,
        pending_bytes_max: 20_000,
        inflight_bytes_max: 10_000,
        parked_sessions_max: 4,
        retained_messages_max: 6,
        retained_bytes_max: 5_000,
        receive_max: 4,
        topic_aliases_max: 8,
        topic_bytes_max: 200,
        topic_levels_max: 20,
        unread_bytes_max: 8_192,
        ..Limits::default()
    };
    let mut config = Config { limits, ..Config::without_listeners() };
    config.router.segment_bytes_max = 16 * 1_024;
    config.router.segments_max = 2;
    config.router.connections_max = 5;
    config.sys_interval = Duration::from_millis(20);
    config
}

impl Arena {
    /// With small bounds.
    pub fn start() -> Self {
        let limits = ConnectionLimits {
            packet_bytes_max: 50_000,
            inflight_messages_max: 3,
            ..ConnectionLimits::default()
        };
        Self::start_with(config(), limits)
    }

    /// With the bounds that a broker has by default.
    pub fn with_default_bounds() -> Self {
        Self::start_with(Config::without_listeners(), ConnectionLimits::default())
    }

    fn start_with(config: Config, limits: ConnectionLimits) -> Self {
        count_panics();
        let (bus, output) = Bus::start(&config).unwrap();
        let context = Arc::new(Context::new(config, bus));
        let (stop, stopping) = watch::channel(None);
        let broker = tokio::spawn(server::run(context.clone(), Vec::new(), output, stopping));
        Self { context, limits, connections: JoinSet::new(), broker, stop, packets: 0 }
    }

    pub fn serve<F>(&mut self, connection: impl FnOnce(Arc<Context>, ConnectionLimits) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.connections.spawn(connection(self.context.clone(), self.limits.clone()));
    }

    /// The largest packet that it takes.
    pub fn packet_bytes_max(&self) -> usize {
        self.limits.packet_bytes_max
    }

    pub fn limits_reached(&self) -> LimitsReached {
        self.context.statistics().limits_reached
    }

    /// All clients have left: nothing of them is left, the router lives, and the next client is served.
    pub async fn assert_well(&mut self) {
        let ended = async {
            while let Some(ended) = self.connections.join_next().await {
                ended.expect("a connection panicked");
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("a connection does not end");
        self.assert_serves().await;
        assert_eq!(self.context.bus.life.cause_of_death(), None);
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "something panicked");
        let now = self.context.statistics();
        assert_eq!(now.connections, 0, "{now:?}");
        assert_eq!(self.context.registry.len(), now.parked_sessions, "an id has no owner, or two: {now:?}");
        let limits = &self.context.config.limits;
        assert!(now.parked_sessions <= limits.parked_sessions_max, "{now:?}");
        assert!(now.retained_messages <= limits.retained_messages_max, "{now:?}");
        assert!(now.retained_bytes <= limits.retained_bytes_max, "{now:?}");
        assert!(now.filters <= limits.filters_max, "{now:?}");
    }

    /// A fresh client connects, subscribes, and gets its own message.
    async fn assert_serves(&self) {
        let (mut client, server_end) = tokio::io::duplex(1_024);
        let (reader, writer) = tokio::io::split(server_end);
        let serving = tokio::spawn(arrival::serve(
            self.context.clone(),
            ConnectionLimits::default(),
            nobody(),
            reader,
            writer,
        ));
        let talk = async {
            client.write_all(&[PROBE_CONNECT, PROBE_SUBSCRIBE, PROBE_PUBLISH].concat()).await.unwrap();
            read_exactly(&mut client, PROBE_ANSWERS.len()).await
        };
        let answers = tokio::time::timeout(PATIENCE, talk).await.expect("a fresh client is not served");
        assert_eq!(answers, PROBE_ANSWERS);
        drop(client);
        tokio::time::timeout(PATIENCE, serving).await.expect("it ends").expect("it does not panic");
    }

    /// Ends every session that is kept, checks that no task and no subscription is left
    /// of any, and stops the broker.
    pub async fn stop(mut self) {
        for id in ["a", "b", "c", "$x/+", "ü"] {
            let mut connect = b"\x10\x00\x00\x04MQTT\x04\x02\x00\x00".to_vec();
            connect.extend((id.len() as u16).to_be_bytes());
            connect.extend(id.as_bytes());
            connect[1] = connect.len() as u8 - 2;
            let (mut client, server_end) = tokio::io::duplex(1_024);
            let (reader, writer) = tokio::io::split(server_end);
            self.serve(|context, limits| arrival::serve(context, limits, nobody(), reader, writer));
            client.write_all(&connect).await.unwrap();
            assert_eq!(read_exactly(&mut client, 4).await, [0x20, 2, 0, 0]);
        }
        self.assert_well().await;
        // Ids that were mutated are kept until they expire.
        let kept = self.context.statistics().parked_sessions;
        let filters_max = self.context.config.limits.subscriptions_per_client_max;
        let is_clean = async {
            while self.tasks() > OWN_TASKS + kept || self.context.statistics().filters > filters_max * kept {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, is_clean).await.is_err() {
            let (tasks, filters) = (self.tasks(), self.context.statistics().filters);
            panic!("with {kept} sessions kept there are {tasks} tasks and {filters} filters");
        }
        self.stop.send_replace(Some(Duration::ZERO));
        self.broker.await.expect("the broker ends");
    }

    /// Tasks of this runtime: the broker's own, and what clients have left.
    fn tasks(&self) -> usize {
        tokio::runtime::Handle::current().metrics().num_alive_tasks()
    }
}

async fn read_exactly(client: &mut DuplexStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    client.read_exact(&mut read).await.expect("the broker answers");
    read
}

/// Counts panics of these tests and of routers: a task that nobody waits for would die unseen.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            if thread.name().is_some_and(|name| name.contains("hostile") || name.starts_with("router")) {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            print(panic);
        }));
    });
}
