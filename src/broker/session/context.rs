//! What all connections share.

use std::sync::Arc;

use tokio::sync::watch;

use super::registry::Registry;
use super::turns::Turns;
use crate::broker::bus::Bus;
use crate::broker::codec::reason::Reason;
use crate::broker::config::Config;
use crate::broker::limits::acquaintances::Acquaintances;
use crate::broker::limits::addresses::Addresses;
use crate::broker::limits::machine;
use crate::broker::limits::open_files::{Capacity, open_files_max};
use crate::broker::limits::shares::Bound;
use crate::broker::limits::standing::Roster;
use crate::broker::limits::traffic::Traffic;

/// What all connections share.
pub struct Context {
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
    /// Whether clients are let in yet.
    open: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    pub addresses: Arc<Addresses>,
}

impl Context {
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
        }
    }

    /// Lets clients in.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until clients are let in.
    pub async fn opened(&self) {
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

    /// Ends what waits for clients to come, and tells every owner of a client id that the broker is ending.
    pub fn stop(&self) {
        self.bus.life.stop();
        self.stop.send_replace(true);
        self.registry.end_all(Reason::SHUTTING_DOWN);
    }

    /// A client id for a client that wants one from us.
    pub fn assign_client_id(&self) -> String {
        format!("auto-{:08x}-{}", rand::random::<u32>(), self.registry.next_number())
    }

    /// The router has ended: says so to whoever asked, unless it was us who ended it.
    pub fn died(&self, cause: &str) {
        let notices = self.bus.life.end(cause);
        if self.bus.life.is_stopping() {
            return;
        }
        self.registry.end_all(Reason::SHUTTING_DOWN);
        tracing::error!(cause, "the broker's router has ended; nothing is delivered any more");
        notices.into_iter().for_each(|tell| tell(cause.to_owned()));
    }
}
