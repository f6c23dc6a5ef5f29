//! The router behind a narrow door: one ingress for all that is published, and lanes by which it comes out again.
//!
//! Who gets a message is decided here when it is published, from our own tree of subscriptions; the router carries it there, in
//! order. It only ever knows a lane for all connections together and one for each in-process link, so that neither its memory
//! nor its work grows with clients, filters and topics. It gets at most one event for each batch of packets, and `Disconnect`
//! exactly once from each link, as the last thing.

use super::backlog::Backlog;
use super::batch::Batch;
use super::config::{Config, RouterLimits, SegmentLimits};
use super::lane::{Lane, LaneReceiver, Load};
use super::poison;
use super::publication::Publication;
use super::reached::Reached;
use super::retained::{RetainedMessage, RetainedStore};
use super::shared::{Group, Member, Membership};
use super::subscriptions::{Subscriber, Subscriptions, Targets};
use bytes::Bytes;
use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::protocol::{
    Disconnect, DisconnectReasonCode, Filter, Packet, PingReq, QoS, RetainForwardRule, Subscribe,
};
use rumqttd::{Notification, Router, RouterConfig, SegmentConfig, Strategy};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Links of the router: one for each in-process link, the ingress, and the connections' own.
const LINKS_MAX: usize = 1_024;
/// How long the router may take to answer a subscription.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// The router's log for the connections' lane, which is always drained at once.
const CONNECTIONS_LOG: SegmentLimits = SegmentLimits { segment_bytes_max: 512 * 1024, segments_max: 4 };
/// Connections that publish wait while there are this many copies before the connections that receive.
const CONNECTIONS_COPIES_MAX: u64 = 256;
/// Connections that publish wait while there are this many messages before an in-process link: about what it takes at once, so
/// that what others publish is not long behind one that floods.
const LINK_COPIES_MAX: u64 = 512;
/// The lane of the connections is the first one.
const CONNECTIONS_SLOT: usize = 1;
/// Number of the one subscription of a lane's link.
const SUBSCRIBE_ID: u16 = 1;

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

/// Lets `push` hand packets to the router, with at most one event, and none while an earlier one is unprocessed: the router takes
/// the whole buffer for each event.
fn push_with(tx: &mut LinkTx, push: impl FnOnce(&mut VecDeque<Packet>)) -> Result<(), RouterGone> {
    let last = {
        let mut buffer = tx.buffer();
        let before = buffer.len();
        push(&mut buffer);
        if before == 0 { buffer.pop_back() } else { None }
    };
    let Some(last) = last else { return Ok(()) };
    // Its event. `send` is async in name only: it awaits nothing.
    match poll_now(tx.send(last)) {
        Some(Ok(_buffered)) => Ok(()),
        _ => Err(RouterGone),
    }
}

fn push_one(tx: &mut LinkTx, packet: Packet) -> Result<(), RouterGone> {
    push_with(tx, |buffer| buffer.push_back(packet))
}

fn disconnect_packet() -> Packet {
    Packet::Disconnect(Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection }, None)
}

/// The numbers that name the router's lanes, with how many messages each has carried. They are used again, because the router
/// frees none.
#[derive(Default)]
struct Slots {
    free: Vec<(usize, u64)>,
    used: usize,
}

/// The sending half of a lane's link. Dropping it disconnects the link, exactly once and last.
pub(super) struct LinkControl {
    tx: LinkTx,
    slot: usize,
    lane: Arc<Lane>,
    slots: Arc<Mutex<Slots>>,
}

impl Drop for LinkControl {
    fn drop(&mut self) {
        // An error means that the router is gone, and the link with it.
        let _gone = push_one(&mut self.tx, disconnect_packet());
        lock(&self.slots).free.push((self.slot, self.lane.sent_messages()));
    }
}

impl LinkControl {
    fn subscribe(&mut self, topic: &str) -> Result<(), RouterGone> {
        push_one(&mut self.tx, subscribe_packet(topic))
    }
}

fn subscribe_packet(topic: &str) -> Packet {
    let filter = Filter {
        path: topic.to_owned(),
        qos: QoS::AtMostOnce,
        nolocal: false,
        preserve_retain: false,
        retain_forward_rule: RetainForwardRule::Never,
    };
    Packet::Subscribe(Subscribe { pkid: SUBSCRIBE_ID, filters: vec![filter] }, None)
}

/// The one link through which everything is published: one order for all, and one event for each batch.
struct Ingress {
    tx: LinkTx,
    /// Whether the router was told to end: it may take a moment, but takes no more messages.
    is_ended: bool,
    backlog: Backlog,
}

type MakeLink = dyn Fn(&str) -> Result<(LinkTx, LinkRx), RouterGone> + Send + Sync;

/// The router's public face within the broker. Locks are taken in the order ingress, subscriptions or retained.
pub(super) struct Bus {
    make: Box<MakeLink>,
    /// Whether the router has been told to end. Held while a link is made: the router must answer that first, for nobody
    /// would wake the one who waits for it.
    is_ended: Mutex<bool>,
    slots: Arc<Mutex<Slots>>,
    ingress: Mutex<Ingress>,
    /// The way to all connections.
    pub connections: Arc<Lane>,
    subscriptions: Mutex<Subscriptions>,
    /// The version of `subscriptions`, to be read without it.
    version: AtomicU64,
    retained: Mutex<RetainedStore>,
    limits: RouterLimits,
    filters_max: usize,
    pub published: AtomicU64,
    /// Messages for which a lane had no room.
    pub skipped: AtomicU64,
    progress: watch::Sender<()>,
    epoch: Instant,
    pub reached: Reached,
}

/// What comes out of the router.
pub(super) struct RouterOutput {
    /// An answer to each ping, and an error when the router ends.
    pub answers: LinkRx,
    /// What the connections get.
    pub connections: LaneReceiver,
}

/// Access to the subscriptions; a change is noted when it is dropped.
pub(super) struct SubscriptionsGuard<'a> {
    subscriptions: MutexGuard<'a, Subscriptions>,
    version: &'a AtomicU64,
}

impl std::ops::Deref for SubscriptionsGuard<'_> {
    type Target = Subscriptions;

    fn deref(&self) -> &Subscriptions {
        &self.subscriptions
    }
}

impl std::ops::DerefMut for SubscriptionsGuard<'_> {
    fn deref_mut(&mut self) -> &mut Subscriptions {
        &mut self.subscriptions
    }
}

impl Drop for SubscriptionsGuard<'_> {
    fn drop(&mut self) {
        self.version.store(self.subscriptions.version(), Ordering::Release);
    }
}

/// While it lives nothing can be published: what is subscribed to comes between two publishes, together with the retained
/// messages of that moment.
pub(super) struct Hold<'a> {
    bus: &'a Arc<Bus>,
    _ingress: MutexGuard<'a, Ingress>,
}

impl Hold<'_> {
    /// Adds a subscription. Dropped, the registration ends it.
    pub fn subscribe(&self, filter: &str, subscriber: Subscriber) -> Registration {
        self.bus.subscriptions().insert(filter, subscriber.clone());
        Registration { bus: self.bus.clone(), filter: filter.to_owned(), subscriber }
    }

    /// Takes a place in a shared group.
    pub fn join(&self, filter: &str, name: &str, member: Member) -> Membership {
        let bus = self.bus;
        let session = member.session;
        let make = || Group::new(name, bus.limits.shared_strategy, bus.limits.lag_bytes(filter));
        let group = bus.subscriptions().join(filter, name, member, make);
        group.hand_out();
        Membership::new(bus.clone(), filter.to_owned(), group, session)
    }

    /// The retained messages under a filter.
    pub fn retained(&self, filter: &str) -> Vec<(String, RetainedMessage)> {
        lock(&self.bus.retained).matching(filter, self.bus.now_ms())
    }
}

/// A subscription; dropped, it ends.
pub(super) struct Registration {
    bus: Arc<Bus>,
    filter: String,
    subscriber: Subscriber,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.bus.subscriptions().remove(&self.filter, &self.subscriber);
    }
}

impl Bus {
    /// Starts a router.
    pub fn start(config: &Config) -> Result<(Self, RouterOutput), RouterGone> {
        // The channel's event type cannot be named outside its crate, but a closure can hold it.
        let router = Router::new(0, router_config(config)).spawn();
        let make: Box<MakeLink> =
            Box::new(move |name| match LinkBuilder::new(name, router.clone()).clean_session(true).build() {
                Ok((tx, rx, _connack)) => Ok((tx, rx)),
                Err(_) => Err(RouterGone),
            });
        let (tx, answers) = make("ingress")?;
        let limits = &config.limits;
        let slots = Arc::default();
        let connections = receiver(&make, &slots, CONNECTIONS_LOG, CONNECTIONS_COPIES_MAX)?;
        let bus = Self {
            make,
            is_ended: Mutex::new(false),
            slots,
            ingress: Mutex::new(Ingress { tx, is_ended: false, backlog: Backlog::default() }),
            connections: connections.lane.clone(),
            subscriptions: Mutex::default(),
            version: AtomicU64::new(0),
            retained: Mutex::new(RetainedStore::new(limits.retained_messages_max, limits.retained_bytes_max)),
            limits: config.router.clone(),
            filters_max: limits.filters_max,
            published: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            progress: watch::Sender::new(()),
            epoch: Instant::now(),
            reached: Reached::new(),
        };
        Ok((bus, RouterOutput { answers, connections }))
    }

    /// Makes a lane for an in-process link. Blocks until the router answers.
    pub fn lane(&self) -> Result<LaneReceiver, RouterGone> {
        let is_ended = lock(&self.is_ended);
        if *is_ended {
            Err(RouterGone)
        } else {
            receiver(&self.make, &self.slots, self.limits.log(), LINK_COPIES_MAX)
        }
    }

    pub fn subscriptions(&self) -> SubscriptionsGuard<'_> {
        SubscriptionsGuard { subscriptions: lock(&self.subscriptions), version: &self.version }
    }

    /// The subscriptions' version: [`targets`](Self::targets) of another one are out of date.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Who gets what is published to `topic` now.
    pub fn targets(&self, topic: &Bytes) -> Arc<Targets> {
        lock(&self.subscriptions).targets(topic)
    }

    /// Whether `filter` may be subscribed to: it has subscribers already, or there is room for one more filter.
    pub fn has_room_for(&self, filter: &str) -> bool {
        let subscriptions = self.subscriptions();
        subscriptions.filters() < self.filters_max || subscriptions.knows(filter)
    }

    /// How far a subscriber to `filter` may lag, in bytes.
    pub fn lag_bytes(&self, filter: &str) -> usize {
        self.limits.lag_bytes(filter)
    }

    /// Whether a connection may send a message of `bytes` to all of these, behind what it holds and is about to send.
    pub fn admits(&self, targets: &Targets, held: Load, bytes: usize) -> bool {
        let message = Load::of(bytes, targets);
        targets.links.iter().all(|lane| lane.admits(held, message))
            && (!targets.has_clients() || self.connections.admits(held, message))
    }

    /// Publishes a batch and empties it: one lock, at most one event, retained messages in the same order.
    /// Returns whether publishers have to wait for the router.
    pub fn push(&self, batch: &mut Batch) -> Result<bool, RouterGone> {
        if batch.is_empty() {
            return Ok(false);
        }
        let messages = batch.len();
        let mut ingress = lock(&self.ingress);
        if ingress.is_ended {
            *batch = Batch::default();
            return Err(RouterGone);
        }
        if !batch.changes.is_empty() {
            let mut retained = lock(&self.retained);
            batch.changes.drain(..).for_each(|change| retained.apply(change));
        }
        let version = self.version();
        let Ingress { tx, backlog, .. } = &mut *ingress;
        push_with(tx, |buffer| {
            let before = buffer.len();
            for (publication, targets) in batch.publications.drain(..) {
                let targets =
                    if targets.version == version { targets } else { self.targets(&publication.topic) };
                self.address(publication, targets, buffer);
            }
            if backlog.publish(buffer.len() - before, std::mem::take(&mut batch.load).bytes) {
                buffer.push_back(Packet::PingReq(PingReq));
            }
        })?;
        self.published.fetch_add(messages as u64, Ordering::Relaxed);
        Ok(ingress.backlog.is_full())
    }

    /// Sends a message on each lane where somebody waits for it.
    fn address(&self, publication: Publication, targets: Arc<Targets>, packets: &mut VecDeque<Packet>) {
        let mut send = |lane: &Lane, publication| match lane.send(publication, targets.clone()) {
            Some(packet) => packets.push_back(packet),
            None => {
                self.skipped.fetch_add(1, Ordering::Relaxed);
            }
        };
        match (targets.has_clients(), targets.links.as_slice()) {
            (false, [lane]) => send(lane, publication),
            (has_clients, links) => {
                links.iter().for_each(|lane| send(lane, publication.clone()));
                if has_clients {
                    send(&self.connections, publication);
                }
            }
        }
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

    /// Publishes one message, and waits for nothing.
    pub fn publish(&self, publication: Publication) -> Result<(), RouterGone> {
        let mut batch = Batch::default();
        let targets = self.targets(&publication.topic);
        batch.add(publication, targets);
        self.push(&mut batch).map(drop)
    }

    /// Keeps everybody from publishing for as long as the value lives.
    pub fn hold(self: &Arc<Self>) -> Hold<'_> {
        Hold { bus: self, _ingress: lock(&self.ingress) }
    }

    /// What is published from now on no longer goes to this link: its subscriptions, which are dropped here, have ended.
    pub fn close(&self, lane: &Lane, registrations: Vec<Registration>) {
        {
            let mut ingress = lock(&self.ingress);
            drop(registrations);
            // An error means that the router is gone, which the receiver is told too.
            let _gone = push_one(&mut ingress.tx, lane.end());
        }
        self.note_progress();
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
        push_one(&mut ingress.tx, Packet::PingReq(PingReq))
    }

    /// Ends the router's thread; it drops everything it holds.
    pub fn end_router(&self) {
        *lock(&self.is_ended) = true;
        let mut ingress = lock(&self.ingress);
        ingress.is_ended = true;
        // An error means that it has ended already.
        let _gone = push_one(&mut ingress.tx, poison::packet());
    }
}

/// Makes a lane, which is one link with one subscription. Blocks until the router answers.
fn receiver(
    make: &MakeLink,
    slots: &Arc<Mutex<Slots>>,
    log: SegmentLimits,
    copies_max: u64,
) -> Result<LaneReceiver, RouterGone> {
    let (slot, sent_messages) = {
        let mut known = lock(slots);
        known.free.pop().unwrap_or_else(|| {
            known.used += 1;
            (known.used, 0)
        })
    };
    let topic = lane_topic(slot);
    match make(&topic) {
        Ok((tx, mut rx)) => {
            let lane = Arc::new(Lane::new(topic.clone(), log, copies_max, sent_messages));
            let mut control = LinkControl { tx, slot, lane: lane.clone(), slots: slots.clone() };
            control.subscribe(&topic)?;
            await_suback(&mut rx)?;
            Ok(LaneReceiver::new(lane, control, rx))
        }
        Err(error) => {
            lock(slots).free.push((slot, sent_messages));
            Err(error)
        }
    }
}

fn lane_topic(slot: usize) -> String {
    format!("lane-{slot}")
}

fn await_suback(rx: &mut LinkRx) -> Result<(), RouterGone> {
    let deadline = Instant::now() + SUBSCRIBE_TIMEOUT;
    loop {
        if let Some(Notification::DeviceAck(ack)) = rx.recv_deadline(deadline).map_err(|_| RouterGone)?
            && matches!(Packet::from(ack), Packet::SubAck(..))
        {
            return Ok(());
        }
    }
}

fn router_config(config: &Config) -> RouterConfig {
    let log = config.router.log();
    let connections_log = SegmentConfig {
        max_segment_size: CONNECTIONS_LOG.segment_bytes_max,
        max_segment_count: CONNECTIONS_LOG.segments_max,
    };
    RouterConfig {
        max_connections: LINKS_MAX,
        max_outgoing_packet_count: config.router.outgoing_packets_max,
        max_segment_size: log.segment_bytes_max,
        max_segment_count: log.segments_max,
        custom_segment: Some([(lane_topic(CONNECTIONS_SLOT), connections_log)].into()),
        initialized_filters: None,
        // Shared subscriptions are ours; the router never sees one.
        shared_subscriptions_strategy: Strategy::default(),
    }
}
