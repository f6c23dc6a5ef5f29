//! What all connections share, the accept loops, and the watch over the router.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttd::Notification;
use rumqttd::local::LinkRx;
use rumqttd::protocol::Packet;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::transport::{self, Entrance};
use crate::broker::bus::fanout;
use crate::broker::bus::pulse::BEAT_EVERY;
use crate::broker::bus::{Bus, RouterOutput};
use crate::broker::codec::reason::Reason;
use crate::broker::config::Config;
use crate::broker::limits::acquaintances::Acquaintances;
use crate::broker::limits::addresses::{Addresses, Entered, Place};
use crate::broker::limits::dropped::DroppedCounts;
use crate::broker::limits::ended::EndedCounts;
use crate::broker::limits::machine;
use crate::broker::limits::memory::MemoryUse;
use crate::broker::limits::open_files::{Capacity, open_files_max};
use crate::broker::limits::reached::{Limit, LimitsReached};
use crate::broker::limits::refused::{Cause, RefusedCounts, What, Who};
use crate::broker::limits::shares::{Bound, Owner};
use crate::broker::limits::standing::Roster;
use crate::broker::limits::traffic::Traffic;
use crate::broker::session::pressure;
use crate::broker::session::registry::Registry;
use crate::broker::session::turns::{self, Turns};
use crate::broker::sys::Teller;
use crate::rate_limit::RateLimit;
use crate::sync::lock;

/// How often the router is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(1);
/// A router that is silent for this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long the accept loop rests when the system has no socket for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A warning that could repeat itself comes at most this often.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// How long the router's thread may take to end.
const ROUTER_END_TIMEOUT: Duration = Duration::from_secs(5);

/// What goes on in a broker, counted since it started or as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Clients online.
    pub connections: usize,
    /// Sessions kept for clients that are away.
    pub parked_sessions: usize,
    /// Messages published, by clients and links.
    pub published_messages: u64,
    /// Deliveries that were dropped: the subscriber lagged, was away with a full queue,
    /// or could not take their size.
    pub dropped_messages: u64,
    /// The same by the reason.
    pub dropped: DroppedCounts,
    /// Bytes of messages on their way through the router's log.
    pub log_bytes: u64,
    /// Retained messages kept.
    pub retained_messages: usize,
    /// What they take of memory in bytes: topics, payloads, properties and what it takes to keep them.
    pub retained_bytes: usize,
    /// Retained messages that found the store full.
    pub retained_refused: u64,
    /// Distinct filters subscribed to.
    pub filters: usize,
    /// What all that it holds takes of memory, and what it may.
    pub memory: MemoryUse,
    /// The bound on that, in bytes.
    pub memory_max: usize,
    /// How often each limit was reached.
    pub limits_reached: LimitsReached,
    /// How often the one who had most of what a limit bounds gave something up for another who had less.
    pub gave_way: LimitsReached,
    /// Publishes that the access rules refused.
    pub refused_publishes: u64,
    /// Connections that were not let in, whatever the cause.
    pub refused_connections: u64,
    /// What was refused, by its cause.
    pub refused: RefusedCounts,
    /// How connections of clients that were let in have ended.
    pub ended: EndedCounts,
}

type DeathNotice = Box<dyn FnOnce(String) + Send>;

#[derive(Default)]
struct Life {
    cause_of_death: Option<String>,
    notices: Vec<DeathNotice>,
}

/// What all connections share.
pub struct Server {
    pub config: Config,
    pub bus: Arc<Bus>,
    /// The clients that are online.
    pub online: Arc<Bound>,
    /// Those of them that are in a session, by who connects.
    pub connected: Arc<Roster>,
    /// The sessions kept for clients that are away.
    pub parked: Arc<Bound>,
    /// All sessions, by whom they are counted to.
    pub sessions: Arc<Roster>,
    pub acquaintances: Acquaintances,
    pub traffic: Arc<Traffic>,
    pub registry: Registry,
    /// For the ends of connections.
    pub turns: Turns,
    stopping: AtomicBool,
    /// Whether clients are let in yet.
    open: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    life: Mutex<Life>,
    pub addresses: Arc<Addresses>,
}

impl Server {
    pub fn new(config: Config, bus: Bus) -> Self {
        let (capacity, too_few_files) = Capacity::within(config.router.connections_max, open_files_max());
        if let Some(too_few_files) = too_few_files {
            tracing::warn!("{too_few_files}");
        }
        if let Some(too_little_memory) = config.limits.memory_max.and_then(machine::too_little_for) {
            tracing::warn!("{too_little_memory}");
        }
        let online = Bound::new(capacity.connections_max);
        let parked = Bound::new(config.limits.parked_sessions_max);
        Self {
            registry: Registry::default(),
            turns: Turns::default(),
            open: watch::Sender::new(false),
            stop: watch::Sender::new(false),
            addresses: Addresses::new(config.limits.connections_per_address_max, capacity.sockets_max),
            config,
            bus: Arc::new(bus),
            online,
            connected: Arc::default(),
            parked,
            sessions: Arc::default(),
            acquaintances: Acquaintances::default(),
            traffic: Arc::default(),
            stopping: AtomicBool::new(false),
            life: Mutex::default(),
        }
    }

    /// Whether clients are welcome: the router lives and nobody has stopped the broker.
    pub fn is_serving(&self) -> bool {
        !self.stopping.load(Ordering::Acquire) && lock(&self.life).cause_of_death.is_none()
    }

    /// Lets clients in.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until clients are let in.
    async fn opened(&self) {
        let mut open = self.open.subscribe();
        // An error means that the server is gone, and so are we.
        let _gone = open.wait_for(|&is_open| is_open).await;
    }

    /// Waits until the broker is stopped.
    pub async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // An error means that the server is gone, and so are we.
        let _gone = stop.wait_for(|&stopped| stopped).await;
    }

    /// A place for another socket of `peer`.
    fn place_for(&self, entrance: &Entrance, peer: IpAddr) -> Option<Place> {
        match self.addresses.enter(peer) {
            Ok(Entered { place, gave_way }) => {
                let newcomer = Owner::of(None, peer);
                let reached = &self.bus.reached;
                gave_way.iter().for_each(|hog| reached.note_gave_way(Limit::Connecting, hog, &newcomer));
                Some(place)
            }
            Err(cause) => {
                let who = Who { address: Some(peer), listener: &entrance.name, ..Who::default() };
                self.bus.refuse(cause, "", &who, "");
                None
            }
        }
    }

    /// A client id for a client that wants one from us.
    pub fn assign_client_id(&self) -> String {
        format!("auto-{:08x}-{}", rand::random::<u32>(), self.registry.next_number())
    }

    pub fn cause_of_death(&self) -> Option<String> {
        lock(&self.life).cause_of_death.clone()
    }

    pub fn on_death(&self, tell: DeathNotice) {
        let cause = {
            let mut life = lock(&self.life);
            match &life.cause_of_death {
                Some(cause) => cause.clone(),
                None => return life.notices.push(tell),
            }
        };
        tell(cause);
    }

    /// The router has ended: says so to whoever asked, unless it was us who ended it.
    fn died(&self, cause: &str) {
        let notices = {
            let mut life = lock(&self.life);
            life.cause_of_death.get_or_insert_with(|| cause.to_owned());
            std::mem::take(&mut life.notices)
        };
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        self.registry.end_all(Reason::SHUTTING_DOWN);
        tracing::error!(cause, "the broker's router has ended; nothing is delivered any more");
        notices.into_iter().for_each(|tell| tell(cause.to_owned()));
    }

    pub fn statistics(&self) -> Statistics {
        let mut limits_reached = self.bus.reached.snapshot();
        let (retained_messages, retained_bytes, retained_refused) = {
            let store = self.bus.retained_store();
            let (messages, bytes) = store.size();
            limits_reached.set(Limit::RetainedMessages, store.refused_messages);
            limits_reached.set(Limit::RetainedBytes, store.refused_bytes);
            (messages, bytes, store.refused())
        };
        let refused = self.bus.refused.snapshot();
        let dropped = self.bus.dropped.snapshot();
        let by_rules = [Cause::PublishRules, Cause::PublishReserved, Cause::PublishAnswers];
        limits_reached.add(Limit::Memory, self.bus.memory.refused());
        let memory = self.bus.memory_use();
        Statistics {
            connections: self.online.taken(),
            parked_sessions: self.parked.taken(),
            published_messages: self.bus.published.load(Ordering::Relaxed),
            dropped_messages: dropped.total(),
            dropped,
            log_bytes: self.bus.log_bytes(),
            retained_messages,
            retained_bytes,
            retained_refused,
            filters: self.bus.subscriptions().filters(),
            memory,
            memory_max: self.bus.memory.max(),
            limits_reached,
            gave_way: self.bus.reached.gave_way(),
            refused_publishes: by_rules.into_iter().map(|cause| refused.of(cause)).sum(),
            refused_connections: refused.all(What::Connection),
            refused,
            ended: self.bus.endings.snapshot(),
        }
    }
}

/// Serves until it is told to stop, then says goodbye to every client and ends the router.
pub async fn run(
    server: Arc<Server>,
    listeners: Vec<(TcpListener, Entrance)>,
    output: RouterOutput,
    mut stopping: watch::Receiver<Option<Duration>>,
) {
    let watch = tokio::spawn(watch_router(server.clone(), output.answers));
    let pressure = tokio::spawn(pressure::run(server.clone()));
    let beating = tokio::spawn(beat(server.clone()));
    let fanout = tokio::spawn(fanout::run(server.clone(), output.connections));
    let teller = Teller::begin(&server).map(|teller| tokio::spawn(teller.run()));
    let mut accepting = JoinSet::new();
    for (listener, entrance) in listeners {
        accepting.spawn(accept(server.clone(), entrance, listener));
    }
    // An error means that the broker was dropped, which is an order to stop too.
    let grace = stopping.wait_for(Option::is_some).await.ok().and_then(|order| *order).unwrap_or_default();
    server.stopping.store(true, Ordering::Release);
    server.stop.send_replace(true);
    server.registry.end_all(Reason::SHUTTING_DOWN);
    let all_left = async { while accepting.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all_left).await.is_err() {
        tracing::debug!(clients = server.online.taken(), "clients cut off at the end of the grace");
    }
    drop(accepting);
    if let Some(teller) = teller {
        teller.abort();
    }
    beating.abort();
    server.bus.end_router();
    if tokio::time::timeout(ROUTER_END_TIMEOUT, watch).await.is_err() {
        tracing::error!("the broker's router does not end; its thread is left behind");
    }
    fanout.abort();
    pressure.abort();
}

/// Accepts connections from when the broker is open until it is stopped, then waits
/// for them to end. What comes earlier waits in the system's queue.
async fn accept(server: Arc<Server>, entrance: Entrance, listener: TcpListener) {
    let entrance = Arc::new(entrance);
    let settings = &entrance.listener;
    let mut warnings = RateLimit::new(WARN_EVERY);
    let mut connections = JoinSet::new();
    let mut accepted_in_a_row = 0;
    tokio::select! {
        () = server.opened() => {}
        () = server.stopped() => return,
    }
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = server.stopped() => break,
        };
        while connections.try_join_next().is_some() {}
        server.traffic.sockets.add(u64::from(accepted.is_ok()));
        match accepted {
            Ok((stream, peer)) => {
                // Without a place it is closed at once.
                if let Some(place) = server.place_for(&entrance, peer.ip()) {
                    // Without it small packets wait for the client's acknowledgement; a client that is
                    // gone needs none.
                    let _gone = stream.set_nodelay(true);
                    tracing::trace!(listener = %settings.name, %peer, "accepted");
                    transport::spawn(
                        &mut connections,
                        server.clone(),
                        entrance.clone(),
                        stream,
                        peer.ip(),
                        place,
                    );
                }
            }
            Err(error) => {
                // Mostly out of file descriptors. The connection stays in the system's queue, so
                // trying again at once would spin.
                if warnings.is_due() {
                    tracing::warn!(listener = %settings.name, %error, "cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        accepted_in_a_row += 1;
        if accepted_in_a_row == turns::PER_ROUND {
            // A flood: those who are in have their turn.
            accepted_in_a_row = 0;
            tokio::task::yield_now().await;
        }
        if !settings.next_connection_delay.is_zero() {
            tokio::time::sleep(settings.next_connection_delay).await;
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Shows that the I/O thread comes round, and asks the others to.
async fn beat(server: Arc<Server>) {
    // An error means that the router has ended, which its watch reports.
    while server.bus.beat().is_ok() {
        server.bus.set_memory_aside();
        tokio::time::sleep(BEAT_EVERY).await;
    }
}

/// Pings the router, and returns when it has ended.
async fn watch_router(server: Arc<Server>, mut rx: LinkRx) {
    let cause = loop {
        match tokio::time::timeout(PING_EVERY, rx.next()).await {
            Ok(Ok(answer)) => note_answer(&server, answer),
            Ok(Err(_ended)) => break "the router's thread has ended",
            Err(_quiet) => {
                if server.bus.ping().is_err() {
                    break "the router's thread has ended";
                }
                match tokio::time::timeout(SILENCE_MAX, rx.next()).await {
                    Ok(Ok(answer)) => note_answer(&server, answer),
                    Ok(Err(_ended)) => break "the router's thread has ended",
                    Err(_silent) => break "the router does not answer",
                }
            }
        }
    };
    server.died(cause);
}

fn note_answer(server: &Server, answer: Option<Notification>) {
    if let Some(Notification::DeviceAck(ack)) = answer
        && matches!(Packet::from(ack), Packet::PingResp(_))
    {
        server.bus.note_pong();
    }
}
