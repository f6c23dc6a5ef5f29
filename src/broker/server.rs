//! What all connections share, the accept loops, and the watch over the router.

use super::bus::{Bus, lock};
use super::config::Config;
use rumqttd::local::LinkRx;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How often the router is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(1);
/// A router that is silent for this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
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
    /// Deliveries that were dropped: the subscriber lagged, was away with a full queue, or could not take their size.
    pub dropped_messages: u64,
    /// Retained messages kept.
    pub retained_messages: usize,
    /// Bytes of their topics and payloads.
    pub retained_bytes: usize,
    /// Retained messages that found the store full.
    pub retained_refused: u64,
    /// Distinct filters ever subscribed to.
    pub filters: usize,
    /// Distinct topics ever published to.
    pub topics: usize,
}

type DeathNotice = Box<dyn FnOnce(String) + Send>;

#[derive(Default)]
struct Life {
    cause_of_death: Option<String>,
    notices: Vec<DeathNotice>,
}

/// What all connections share.
pub(super) struct Server {
    pub config: Config,
    pub bus: Arc<Bus>,
    pub online: AtomicUsize,
    pub dropped: AtomicU64,
    stopping: AtomicBool,
    life: Mutex<Life>,
}

impl Server {
    pub fn new(config: Config, bus: Bus) -> Self {
        Self {
            config,
            bus: Arc::new(bus),
            online: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            life: Mutex::default(),
        }
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
        tracing::error!(cause, "the broker's router has ended; nothing is delivered any more");
        notices.into_iter().for_each(|tell| tell(cause.to_owned()));
    }

    pub fn statistics(&self) -> Statistics {
        let (retained_messages, retained_bytes, retained_refused) = {
            let store = self.bus.retained_store();
            let (messages, bytes) = store.size();
            (messages, bytes, store.refused())
        };
        Statistics {
            connections: self.online.load(Ordering::Relaxed),
            parked_sessions: 0,
            published_messages: self.bus.published.load(Ordering::Relaxed),
            dropped_messages: self.dropped.load(Ordering::Relaxed),
            retained_messages,
            retained_bytes,
            retained_refused,
            filters: self.bus.filters.len(),
            topics: self.bus.topics.len(),
        }
    }
}

/// Serves until it is told to stop, then ends the router.
pub(super) async fn run(
    server: Arc<Server>,
    listeners: Vec<TcpListener>,
    router_rx: LinkRx,
    mut stopping: watch::Receiver<Option<Duration>>,
) {
    let watch = tokio::spawn(watch_router(server.clone(), router_rx));
    // An error means that the broker was dropped, which is an order to stop too.
    let _order = stopping.wait_for(Option::is_some).await;
    server.stopping.store(true, Ordering::Release);
    drop(listeners);
    server.bus.end_router();
    if tokio::time::timeout(ROUTER_END_TIMEOUT, watch).await.is_err() {
        tracing::error!("the broker's router does not end; its thread is left behind");
    }
}

/// Pings the router, renews its ingress link, and returns when it has ended.
async fn watch_router(server: Arc<Server>, mut rx: LinkRx) {
    let cause = loop {
        match tokio::time::timeout(PING_EVERY, rx.next()).await {
            Ok(Ok(_answer)) => {}
            Ok(Err(_ended)) => break "the router's thread has ended",
            Err(_quiet) => {
                if server.bus.ping().is_err() {
                    break "the router's thread has ended";
                }
                match tokio::time::timeout(SILENCE_MAX, rx.next()).await {
                    Ok(Ok(_answer)) => {}
                    Ok(Err(_ended)) => break "the router's thread has ended",
                    Err(_silent) => break "the router does not answer",
                }
                let bus = server.bus.clone();
                match tokio::task::spawn_blocking(move || bus.renew_ingress()).await {
                    Ok(Ok(Some(renewed))) => rx = renewed,
                    Ok(Ok(None)) => {}
                    _ => break "the router takes no more links",
                }
            }
        }
    };
    server.died(cause);
}
