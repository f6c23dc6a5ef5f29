//! The router behind a narrow door: links that can never make it panic, and one ingress for all that is published.
//!
//! The router only ever knows QoS 0 subscribers, named by recycled slots. It gets at most one event for each batch of packets,
//! and `Disconnect` exactly once from each link, as the last thing.

use super::backlog::Backlog;
use super::batch::Batch;
use super::census::Census;
use super::config::{Config, RouterLimits};
use super::gate::{Gate, Gates, logged_bytes};
use super::poison;
use super::reached::{Limit, Reached};
use super::retained::{RetainedMessage, RetainedStore};
use super::tag::Meta;
use super::topic;
use bytes::Bytes;
use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::protocol::{
    Disconnect, DisconnectReasonCode, Filter, Packet, PingReq, Publish, PublishProperties, QoS,
    RetainForwardRule, Subscribe, SubscribeProperties, Unsubscribe,
};
use rumqttd::{Router, RouterConfig, SegmentConfig, Strategy};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::sync::watch;

/// Links made ahead, so that a connection's first SUBSCRIBE does not wait for the router.
const SPARE_LINKS: usize = 8;
/// Router links beyond one for each online client: parked sessions, shared groups, spares, in-process links, the ingress.
const EXTRA_LINKS: usize = 1_024;
/// The ingress link is replaced after this many messages, because the router keeps a map of all topics for each link.
const INGRESS_MESSAGES_MAX: usize = 1_000_000;

/// The router's thread has ended, or it has no room for another link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker's router has ended")]
pub(super) struct RouterGone;

/// Polls a future once and never suspends.
pub(super) fn poll_now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands packets to the router with at most one event, and none while an earlier one is unprocessed: the router takes
/// the whole buffer for each event.
fn push_all(tx: &mut LinkTx, packets: &mut Vec<Packet>) -> Result<(), RouterGone> {
    let Some(last) = packets.pop() else { return Ok(()) };
    {
        let mut buffer = tx.buffer();
        let announced = !buffer.is_empty();
        buffer.extend(packets.drain(..));
        if announced {
            buffer.push_back(last);
            return Ok(());
        }
    }
    push_with_event(tx, last)
}

/// Hands over one packet with an event of its own.
fn push_with_event(tx: &mut LinkTx, packet: Packet) -> Result<(), RouterGone> {
    // `send` is async in name only: it awaits nothing.
    match poll_now(tx.send(packet)) {
        Some(Ok(_buffered)) => Ok(()),
        _ => Err(RouterGone),
    }
}

fn disconnect_packet() -> Packet {
    Packet::Disconnect(Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection }, None)
}

/// The numbers that name the router's clients. They are used again, so that what the router remembers of them stays bounded.
#[derive(Default)]
struct Slots {
    free: Vec<usize>,
    used: usize,
}

/// The sending half of a subscriber link. Dropping it disconnects the link, exactly once and last.
pub(super) struct LinkControl {
    tx: LinkTx,
    slot: usize,
    slots: Arc<Mutex<Slots>>,
}

impl Drop for LinkControl {
    fn drop(&mut self) {
        // An error means that the router is gone, and the link with it.
        let _gone = push_all(&mut self.tx, &mut vec![disconnect_packet()]);
        lock(&self.slots).free.push(self.slot);
    }
}

impl LinkControl {
    /// Subscribes, always at QoS 0 and with our own ids; each filter is answered by a SUBACK numbered `sequence`.
    pub fn subscribe(&mut self, sequence: u16, filters: Vec<(String, usize)>) -> Result<(), RouterGone> {
        let mut packets =
            filters.into_iter().map(|(path, id)| subscribe_packet(sequence, path, id)).collect();
        push_all(&mut self.tx, &mut packets)
    }

    pub fn unsubscribe(&mut self, filters: Vec<String>) -> Result<(), RouterGone> {
        let packet = Packet::Unsubscribe(Unsubscribe { pkid: 1, filters }, None);
        push_all(&mut self.tx, &mut vec![packet])
    }

    /// Makes the router send something back, so that a waiting receiver looks up.
    pub fn ping(&mut self) -> Result<(), RouterGone> {
        push_all(&mut self.tx, &mut vec![Packet::PingReq(PingReq)])
    }
}

fn subscribe_packet(sequence: u16, path: String, id: usize) -> Packet {
    let filter = Filter {
        path,
        qos: QoS::AtMostOnce,
        nolocal: false,
        preserve_retain: false,
        retain_forward_rule: RetainForwardRule::Never,
    };
    let properties = SubscribeProperties { id: Some(id), user_properties: Vec::new() };
    Packet::Subscribe(Subscribe { pkid: sequence, filters: vec![filter] }, Some(properties))
}

/// A subscriber link: what it was subscribed to arrives at `rx`. Dropped, it leaves the router.
pub(super) struct Link {
    // Declared first, so that it is dropped first.
    pub control: LinkControl,
    pub rx: LinkRx,
}

/// The one link through which everything is published: one order for all, and one event for each batch.
struct Ingress {
    tx: LinkTx,
    /// Whether the router was told to end: it may take a moment, but takes no more messages.
    is_ended: bool,
    messages: usize,
    generation: usize,
    backlog: Backlog,
}

type MakeLink = dyn Fn(&str) -> Result<(LinkTx, LinkRx), RouterGone> + Send + Sync;

/// The router's public face within the broker. Locks are taken in the order ingress, gates or retained.
pub(super) struct Bus {
    make: Box<MakeLink>,
    /// Whether the router has been told to end. Held while a link is made: the router must answer that first, for nobody
    /// would wake the one who waits for it.
    is_ended: Mutex<bool>,
    slots: Arc<Mutex<Slots>>,
    spare: Mutex<Vec<Link>>,
    ingress: Mutex<Ingress>,
    gates: Gates,
    retained: Mutex<RetainedStore>,
    limits: RouterLimits,
    pub filters: Census,
    pub topics: Census,
    pub published: AtomicU64,
    /// Messages that the router skipped on in-process links.
    pub skipped: AtomicU64,
    progress: watch::Sender<()>,
    epoch: Instant,
    pub reached: Reached,
}

impl Bus {
    /// Starts a router. The second value hears from it: an answer to each ping, and an error when it ends.
    pub fn start(config: &Config) -> Result<(Self, LinkRx), RouterGone> {
        // The channel's event type cannot be named outside its crate, but a closure can hold it.
        let router = Router::new(0, router_config(config)).spawn();
        let make: Box<MakeLink> =
            Box::new(move |name| match LinkBuilder::new(name, router.clone()).clean_session(true).build() {
                Ok((tx, rx, _connack)) => Ok((tx, rx)),
                Err(_) => Err(RouterGone),
            });
        let (tx, rx) = make(&ingress_name(0))?;
        let limits = &config.limits;
        let bus = Self {
            make,
            is_ended: Mutex::new(false),
            slots: Arc::default(),
            spare: Mutex::default(),
            ingress: Mutex::new(Ingress {
                tx,
                is_ended: false,
                messages: 0,
                generation: 0,
                backlog: Backlog::default(),
            }),
            gates: Gates::default(),
            retained: Mutex::new(RetainedStore::new(limits.retained_messages_max, limits.retained_bytes_max)),
            limits: config.router.clone(),
            // The names of filters are bounded by their number and `topic_bytes_max`.
            filters: Census::new(limits.filters_max, usize::MAX, [Limit::Filters, Limit::Filters]),
            topics: Census::new(
                limits.topics_max,
                limits.topics_bytes_max,
                [Limit::Topics, Limit::TopicsBytes],
            ),
            published: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            progress: watch::Sender::new(()),
            epoch: Instant::now(),
            reached: Reached::new(),
        };
        bus.refill_spare();
        Ok((bus, rx))
    }

    /// Makes a link. Blocks until the router answers.
    pub fn link(&self) -> Result<Link, RouterGone> {
        let slot = {
            let mut slots = lock(&self.slots);
            slots.free.pop().unwrap_or_else(|| {
                slots.used += 1;
                slots.used
            })
        };
        match self.make_link(&format!("l{slot}")) {
            Ok((tx, rx)) => Ok(Link { control: LinkControl { tx, slot, slots: self.slots.clone() }, rx }),
            Err(error) => {
                lock(&self.slots).free.push(slot);
                Err(error)
            }
        }
    }

    /// A link from the spare ones, or a new one made on a thread that may block.
    pub async fn link_soon(self: &Arc<Self>) -> Result<Link, RouterGone> {
        let spare = lock(&self.spare).pop();
        let bus = self.clone();
        if let Some(link) = spare {
            tokio::task::spawn_blocking(move || bus.refill_spare());
            return Ok(link);
        }
        match tokio::task::spawn_blocking(move || bus.link()).await {
            Ok(Ok(link)) => Ok(link),
            _ => Err(RouterGone),
        }
    }

    fn refill_spare(&self) {
        while lock(&self.spare).len() < SPARE_LINKS {
            let Ok(link) = self.link() else { return };
            lock(&self.spare).push(link);
        }
    }

    /// Publishes a batch and empties it: one lock, at most one event, retained messages in the same order.
    /// Returns whether publishers have to wait for the router.
    pub fn push(&self, batch: &mut Batch) -> Result<bool, RouterGone> {
        if batch.packets.is_empty() {
            return Ok(false);
        }
        let messages = batch.packets.len();
        let mut ingress = lock(&self.ingress);
        if ingress.is_ended {
            batch.packets.clear();
            return Err(RouterGone);
        }
        if !batch.changes.is_empty() {
            let mut retained = lock(&self.retained);
            batch.changes.drain(..).for_each(|change| retained.apply(change));
        }
        self.count_gates(batch);
        if ingress.backlog.publish(messages, std::mem::take(&mut batch.bytes)) {
            batch.packets.push(Packet::PingReq(PingReq));
        }
        push_all(&mut ingress.tx, &mut batch.packets)?;
        ingress.messages += messages;
        self.published.fetch_add(messages as u64, Ordering::Relaxed);
        Ok(ingress.backlog.is_full())
    }

    /// The router has answered a ping of the ingress, so publishers may have room again.
    pub fn note_pong(&self) {
        lock(&self.ingress).backlog.note_pong();
        self.note_progress();
    }

    /// Whether publishers have to wait for the router.
    pub fn is_behind(&self) -> bool {
        lock(&self.ingress).backlog.is_full()
    }

    /// Makes waiting publishers look again.
    pub fn note_progress(&self) {
        self.progress.send_replace(());
    }

    /// Changes whenever a waiting publisher may go on.
    pub fn progress(&self) -> watch::Receiver<()> {
        self.progress.subscribe()
    }

    fn count_gates(&self, batch: &mut Batch) {
        if batch.gates_version.take() == Some(self.gates.version()) {
            batch.gated.drain(..).for_each(|(gate, messages, bytes)| gate.count_sent(messages, bytes));
        } else {
            batch.gated.clear();
            self.gates.count_packets(&batch.packets);
        }
    }

    /// Publishes one message; `topic` in the client's spelling.
    pub fn publish(
        &self,
        topic: &Bytes,
        payload: Bytes,
        meta: Meta,
        properties: Option<PublishProperties>,
    ) -> Result<(), RouterGone> {
        let mut batch = Batch::default();
        batch.add(&topic::escape_bytes(topic), payload, meta, properties);
        self.push(&mut batch).map(drop)
    }

    /// Runs `subscribe` while nothing can be published, and then opens the gates: exactly what the router reads after
    /// the subscription is counted. `subscribe` must wait until the router has answered it.
    pub fn subscribe_gated<E: From<RouterGone>>(
        &self,
        gates: &[Arc<Gate>],
        subscribe: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut ingress = lock(&self.ingress);
        // Its event is ahead of the subscription's, and takes everything that was published before.
        ingress.backlog.note_ping();
        push_with_event(&mut ingress.tx, Packet::PingReq(PingReq))?;
        subscribe()?;
        gates.iter().for_each(|gate| self.gates.open(gate.clone()));
        Ok(())
    }

    /// What is published from now on no longer concerns these gates.
    pub fn close_gates(&self, gates: &[Arc<Gate>]) {
        {
            let _nothing_is_published_meanwhile = lock(&self.ingress);
            self.gates.close(gates);
        }
        self.note_progress();
    }

    /// Sets a gate right after the router has skipped messages of it.
    pub fn settle_gate(&self, gate: &Gate) {
        let _nothing_is_published_meanwhile = lock(&self.ingress);
        gate.settle();
    }

    /// A gate for a filter (in the router's spelling) whose bound is half of what the filter's log surely holds.
    pub fn gate(&self, filter: String) -> Arc<Gate> {
        let log = self.limits.segments(&filter);
        let surely_held = log.segment_bytes_max * (log.segments_max - 1).max(1);
        Arc::new(Gate::new(filter, surely_held as u64 / 2))
    }

    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// The retained messages under a filter (in the router's spelling).
    pub fn retained(&self, filter: &str) -> Vec<(String, RetainedMessage)> {
        lock(&self.retained).matching(filter, self.now_ms())
    }

    pub fn retained_store(&self) -> MutexGuard<'_, RetainedStore> {
        lock(&self.retained)
    }

    /// Milliseconds since the bus started: the clock of every deadline.
    pub fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// Asks the router for a sign of life. It also wakes a router that a vanished client left waiting.
    pub fn ping(&self) -> Result<(), RouterGone> {
        let mut ingress = lock(&self.ingress);
        ingress.backlog.note_ping();
        push_all(&mut ingress.tx, &mut vec![Packet::PingReq(PingReq)])
    }

    /// Replaces the ingress link when it is due. Blocks until the router answers.
    pub fn renew_ingress(&self) -> Result<Option<LinkRx>, RouterGone> {
        let generation = {
            let ingress = lock(&self.ingress);
            if ingress.messages < INGRESS_MESSAGES_MAX {
                return Ok(None);
            }
            ingress.generation + 1
        };
        let (tx, rx) = self.make_link(&ingress_name(generation))?;
        let mut ingress = lock(&self.ingress);
        let renewed =
            Ingress { tx, is_ended: ingress.is_ended, messages: 0, generation, backlog: Backlog::default() };
        let mut old = std::mem::replace(&mut *ingress, renewed);
        push_all(&mut old.tx, &mut vec![disconnect_packet()])?;
        Ok(Some(rx))
    }

    fn make_link(&self, name: &str) -> Result<(LinkTx, LinkRx), RouterGone> {
        let is_ended = lock(&self.is_ended);
        if *is_ended { Err(RouterGone) } else { (self.make)(name) }
    }

    /// Links that somebody holds.
    #[cfg(test)]
    pub fn links_in_use(&self) -> usize {
        let (spare, slots) = (lock(&self.spare), lock(&self.slots));
        slots.used - slots.free.len() - spare.len()
    }

    /// Ends the router's thread; it drops everything it holds.
    pub fn end_router(&self) {
        *lock(&self.is_ended) = true;
        lock(&self.spare).clear();
        let mut ingress = lock(&self.ingress);
        ingress.is_ended = true;
        // An error means that it has ended already.
        let _gone = push_all(&mut ingress.tx, &mut vec![poison::packet()]);
    }
}

fn ingress_name(generation: usize) -> String {
    format!("in{}", generation % 2)
}

fn router_config(config: &Config) -> RouterConfig {
    let router = &config.router;
    let custom = router.custom_segments.iter().map(|(filter, limits)| {
        let segment = SegmentConfig {
            max_segment_size: limits.segment_bytes_max,
            max_segment_count: limits.segments_max,
        };
        (filter.clone(), segment)
    });
    RouterConfig {
        max_connections: router.connections_max + config.limits.parked_sessions_max + EXTRA_LINKS,
        max_outgoing_packet_count: router.outgoing_packets_max,
        max_segment_size: router.segment_bytes_max,
        max_segment_count: router.segments_max,
        custom_segment: Some(custom.collect()),
        initialized_filters: Some(router.initialized_filters.clone()),
        // Shared subscriptions are ours; the router never sees one.
        shared_subscriptions_strategy: Strategy::default(),
    }
}

/// What the log of a filter counts for a message.
pub(super) fn logged(publish: &Publish) -> u64 {
    logged_bytes(&publish.topic, &publish.payload)
}
