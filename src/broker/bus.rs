//! What is published and who gets it: one ingress for all messages, and the tree of subscriptions.
//!
//! Who gets a message is decided here when it is published; the router carries it there, in order.

pub mod batch;
pub mod carrier;
pub mod fanout;
pub mod filter_shares;
pub mod gate;
pub mod hold;
pub mod life;
pub mod mailbox;
pub mod marks;
pub mod member_queue;
pub mod publication;
pub mod pulse;
pub mod retained;
pub mod retained_shares;
pub mod shared;
pub mod source;
pub mod subscriptions;
pub mod tree;
pub mod walk;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use self::batch::Batch;
use self::carrier::backlog::Backlog;
use self::carrier::lane::{Lane, LaneReceiver, Load};
use self::carrier::lanes::Lanes;
use self::carrier::turnstile::Visit;
use self::carrier::{Answers, CarrierGone, Feed, Parcel, Parcels};
use self::gate::Gate;
use self::hold::{Hold, Registration};
use self::life::Life;
use self::publication::Publication;
use self::pulse::Pulse;
use self::retained::{Applied, Change, GaveWay, NotKept, RetainedMessage, RetainedStore};
use self::source::Source;
use self::subscriptions::{Subscriptions, Targets};
use crate::broker::codec::topic::is_about_the_broker;
use crate::broker::config::{Config, PendingPolicy, RouterLimits, SharedStrategy};
use crate::broker::limits::dropped::{Dropped, Drops};
use crate::broker::limits::ended::{Ended, Endings};
use crate::broker::limits::machine;
use crate::broker::limits::memory::{Holder, Memory, MemoryKind, MemoryUse};
use crate::broker::limits::reached::Reached;
use crate::broker::limits::refused::{Cause, Refused, Who};
use crate::broker::limits::traffic::Total;
use crate::broker::work::Slice;
use crate::sync::lock;

/// Where it is not configured, half of what there is: the rest is for models, the
/// system, and what nobody can count.
fn memory_max() -> usize {
    machine::memory_bytes() / 2
}

/// The one link through which everything is published: one order for all, and one event for each batch.
pub struct Ingress {
    feed: Feed,
    /// Whether the router was told to end: it may take a moment, but takes no more messages.
    is_ended: bool,
    backlog: Backlog,
}

/// The router's public face within the broker. Locks are taken in the order ingress,
/// subscriptions or retained.
pub struct Bus {
    lanes: Lanes,
    /// Whether the router has been told to end. Held while a link is made: the router
    /// must answer that first, for nobody would wake the one who waits for it.
    is_ended: Mutex<bool>,
    ingress: Mutex<Ingress>,
    /// The way to all connections.
    pub connections: Arc<Lane>,
    /// The ways to in-process links.
    links: Mutex<Vec<Weak<Lane>>>,
    subscriptions: Mutex<Subscriptions>,
    /// The version of `subscriptions`, to be read without it.
    version: Arc<AtomicU64>,
    retained: Mutex<RetainedStore>,
    /// What the broker tells of itself: nothing of it is a client's, so no bound of theirs is for it.
    own: Mutex<RetainedStore>,
    limits: RouterLimits,
    /// Publishers wait for receivers that are slow.
    pub waits_for_receivers: bool,
    /// Subscriptions of sessions, and places in shared groups.
    pub plain_subscriptions: Total,
    pub shared_subscriptions: Total,
    pub published: AtomicU64,
    /// Deliveries that were dropped.
    pub dropped: Drops,
    progress: watch::Sender<()>,
    /// What clients publish and want acknowledged is not taken any more.
    is_draining: AtomicBool,
    epoch: Instant,
    pub reached: Reached,
    pub pulse: Pulse,
    pub life: Life,
    pub refused: Refused,
    pub endings: Endings,
    pub memory: Arc<Memory>,
}

/// What a publisher waits at.
pub enum Obstacle {
    Gate(Arc<Gate>),
    Lane(Arc<Lane>),
}

/// What comes out of the router.
pub struct RouterOutput {
    /// An answer to each ping, and an error when the router ends.
    pub answers: Answers,
    /// What the connections get.
    pub connections: LaneReceiver,
}

impl Bus {
    /// Starts a router.
    pub fn start(config: &Config) -> Result<(Self, RouterOutput), CarrierGone> {
        let lanes = Lanes::start(&config.router);
        let (feed, answers) = lanes.feed()?;
        let connections = lanes.connections()?;
        let limits = &config.limits;
        let subscriptions = Subscriptions::new(limits.filters_max);
        let memory = Memory::new(limits.memory_max.unwrap_or_else(memory_max));
        let bus = Self {
            lanes,
            is_ended: Mutex::new(false),
            ingress: Mutex::new(Ingress { feed, is_ended: false, backlog: Backlog::default() }),
            connections: connections.lane.clone(),
            links: Mutex::default(),
            version: subscriptions.version(),
            subscriptions: Mutex::new(subscriptions),
            retained: Mutex::new(RetainedStore::new(
                limits.retained_messages_max,
                limits.retained_bytes_max,
                config.access.clone(),
            )),
            own: Mutex::new(RetainedStore::new(usize::MAX, usize::MAX, config.access.clone())),
            limits: config.router.clone(),
            waits_for_receivers: limits.pending_policy == PendingPolicy::Wait,
            plain_subscriptions: Total::default(),
            shared_subscriptions: Total::default(),
            published: AtomicU64::new(0),
            dropped: Drops::new(),
            progress: watch::Sender::new(()),
            is_draining: AtomicBool::new(false),
            epoch: Instant::now(),
            reached: Reached::new(),
            pulse: Pulse::new(),
            life: Life::default(),
            refused: Refused::new(),
            endings: Endings::new(),
            memory,
        };
        Ok((bus, RouterOutput { answers, connections }))
    }

    /// Makes a lane for an in-process link. Blocks until the router answers.
    pub fn lane(&self, is_answering: bool) -> Result<LaneReceiver, CarrierGone> {
        let is_ended = lock(&self.is_ended);
        if *is_ended {
            return Err(CarrierGone);
        }
        let receiver = self.lanes.link(is_answering)?;
        let mut links = lock(&self.links);
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(&receiver.lane));
        Ok(receiver)
    }

    /// What the router holds on its way, in bytes.
    pub fn log_bytes(&self) -> u64 {
        let links = lock(&self.links);
        let to_links = links.iter().filter_map(Weak::upgrade).map(|lane| lane.log_bytes_used());
        self.connections.log_bytes_used() + to_links.sum::<u64>()
    }

    /// What is held in memory, by kind.
    pub fn memory_use(&self) -> MemoryUse {
        let mut used = self.memory.used();
        used.add(MemoryKind::Router, self.router_bytes());
        used.add(MemoryKind::Sessions, self.subscriptions().remembered_bytes());
        used
    }

    fn router_bytes(&self) -> usize {
        let links: Vec<_> = lock(&self.links).iter().filter_map(Weak::upgrade).collect();
        self.connections.held_bytes() + links.iter().map(|lane| lane.held_bytes()).sum::<usize>()
    }

    /// Leaves what the router's log and the remembered targets take now out of the memory that there
    /// is for clients. Both have bounds of their own, so that it need not be done for each message.
    pub fn set_memory_aside(&self) {
        let remembered = self.subscriptions().remembered_bytes();
        self.memory.set_aside(self.router_bytes() + remembered);
    }

    pub fn subscriptions(&self) -> MutexGuard<'_, Subscriptions> {
        lock(&self.subscriptions)
    }

    /// The subscriptions' version: [`targets`](Self::targets) of another one are out of date.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Who gets what is published to `topic` now.
    pub fn targets(&self, topic: &Bytes, slice: &mut Slice) -> Arc<Targets> {
        lock(&self.subscriptions).targets(topic, slice)
    }

    /// The same for whoever has no more to do than that.
    pub fn targets_now(&self, topic: &Bytes) -> Arc<Targets> {
        self.targets(topic, &mut Slice::new())
    }

    pub fn shared_strategy(&self) -> SharedStrategy {
        self.limits.shared_strategy
    }

    /// How far a subscriber to `filter` may lag, in bytes.
    pub fn lag_bytes(&self, filter: &str) -> usize {
        self.limits.lag_bytes(filter)
    }

    /// What is in the way of a message of `bytes` to these, behind what a connection holds and is
    /// about to send: a receiver that publishers wait for, or the first of the lanes that has no room.
    pub fn refuses(
        &self,
        targets: &Targets,
        held: Load,
        bytes: usize,
        visit: &mut Visit,
        origin: u64,
    ) -> Option<Obstacle> {
        if self.waits_for_receivers
            && let Some(gate) = targets.gates(origin).find(|gate| !visit.may_pass(gate))
        {
            return Some(Obstacle::Gate(gate.clone()));
        }
        let message = Load::of(bytes, targets);
        let clients = targets.has_clients().then_some(&self.connections);
        let mut lanes = targets.links.iter().chain(clients);
        lanes.find(|lane| !lane.admits(held, message, visit)).cloned().map(Obstacle::Lane)
    }

    /// Publishes a batch and empties it: one lock, at most one event, retained messages in the same order.
    /// Returns whether publishers have to wait for the router.
    pub fn push(&self, batch: &mut Batch) -> Result<bool, CarrierGone> {
        if batch.is_empty() {
            return Ok(false);
        }
        let messages = batch.len();
        let mut ingress = lock(&self.ingress);
        if ingress.is_ended {
            *batch = Batch { holder: batch.holder.take(), ..Batch::default() };
            return Err(CarrierGone);
        }
        if !batch.changes.is_empty() {
            let mut retained = lock(&self.retained);
            for change in batch.changes.drain(..) {
                let Applied { gave_way, not_kept } = retained.apply(change);
                batch.not_kept.extend(not_kept);
                if let Some(GaveWay { limit, hog, newcomer }) = gave_way {
                    self.reached.note_gave_way(limit, &hog, &newcomer);
                }
            }
        }
        let version = self.version();
        let Ingress { feed, backlog, .. } = &mut *ingress;
        feed.push(|parcels| {
            let before = parcels.len();
            for (publication, targets) in batch.publications.drain(..) {
                let targets =
                    if targets.version == version { targets } else { self.targets_now(&publication.topic) };
                self.address(publication, targets, parcels);
            }
            batch.began = None;
            if backlog.publish(parcels.len() - before, std::mem::take(&mut batch.load).bytes) {
                parcels.push(Parcel::ping());
            }
        })?;
        self.published.fetch_add(messages as u64, Ordering::Relaxed);
        Ok(ingress.backlog.is_full())
    }

    /// Sends a message on each lane where somebody waits for it.
    fn address(&self, mut publication: Publication, targets: Arc<Targets>, parcels: &mut Parcels<'_>) {
        let receipt = publication.receipt.take();
        // Taken just before whoever would have answered it left, which comes when a node stops: nobody does.
        let is_from_client = publication.origin.is_some();
        let mut is_lost = is_from_client && self.is_draining() && !targets.wait_for_answers();
        let mut send = |lane: &Lane, publication| {
            // Whoever settles it has a part of the receipt.
            let receipt = receipt.as_ref().filter(|_| lane.is_answering).cloned();
            match lane.send(Publication { receipt, ..publication }, targets.clone()) {
                Some(parcel) => parcels.push(parcel),
                None => {
                    is_lost = true;
                    self.dropped.note(Dropped::RouterFull, "", b"", 1);
                }
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
        if let Some(receipt) = receipt
            && !is_lost
        {
            receipt.settle();
        }
    }

    /// Sends a beat to whoever has none under way: through the router and back, and to each watched link.
    pub fn beat(&self) -> Result<(), CarrierGone> {
        let now_ms = self.now_ms();
        self.pulse.come_round(now_ms);
        let mut ingress = lock(&self.ingress);
        if ingress.is_ended {
            return Err(CarrierGone);
        }
        let links: Vec<_> = lock(&self.links).iter().filter_map(Weak::upgrade).collect();
        let Ingress { feed, backlog, .. } = &mut *ingress;
        feed.push(|parcels| {
            links.iter().filter_map(|lane| lane.beat(now_ms)).for_each(|beat| parcels.push(beat));
            if self.pulse.router.begin(now_ms) {
                backlog.note_ping();
                parcels.push(Parcel::ping());
            }
        })
    }

    /// What has made no progress for longer than `late`.
    pub fn stalled(&self, late: Duration) -> Option<String> {
        let now_ms = self.now_ms();
        let link =
            || lock(&self.links).iter().filter_map(Weak::upgrade).find_map(|lane| lane.stalled(now_ms, late));
        self.pulse.stalled(now_ms, late).or_else(link)
    }

    /// The router has answered a ping of the ingress, so publishers may have room again.
    pub fn note_pong(&self) {
        lock(&self.ingress).backlog.note_pong();
        self.pulse.router.arrive();
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

    /// From now on no publish that wants an acknowledgement is taken.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Changes whenever a waiting publisher may go on.
    pub fn progress(&self) -> watch::Receiver<()> {
        self.progress.subscribe()
    }

    /// Publishes one message, and waits for nothing. `source` is kept with it where it
    /// is retained, and it is counted to `holder` then.
    pub fn publish(
        &self,
        publication: Publication,
        source: Option<Arc<Source>>,
        holder: Option<Arc<Holder>>,
    ) -> Result<(), CarrierGone> {
        let mut batch = Batch { holder, ..Batch::default() };
        let targets = self.targets_now(&publication.topic);
        batch.add(publication, targets, source);
        let pushed = self.push(&mut batch).map(drop);
        self.note_not_kept(batch.not_kept, &Who::default());
        pushed
    }

    /// Tells of what was to be retained and is not.
    pub fn note_not_kept(&self, not_kept: Vec<NotKept>, who: &Who<'_>) {
        not_kept.into_iter().for_each(|NotKept { topic, cause }| self.refuse(cause, "", who, &topic));
    }

    /// Publishes what the broker tells of itself, topics and payloads: kept for those
    /// who subscribe later, and counted as nobody's.
    pub fn tell(&self, changes: Vec<(String, String)>) -> Result<(), CarrierGone> {
        let mut ingress = lock(&self.ingress);
        if ingress.is_ended {
            return Err(CarrierGone);
        }
        ingress.feed.push(|parcels| {
            for (topic, payload) in changes {
                let publication = Publication {
                    topic: topic.clone().into(),
                    payload: payload.into(),
                    retain: true,
                    ..Publication::default()
                };
                let message = Some(RetainedMessage::of(&publication, None));
                // The broker's own store has room for all that the broker tells.
                let _kept = lock(&self.own).apply(Change { topic, message });
                let targets = self.targets_now(&publication.topic);
                if targets.has_clients() {
                    self.address(publication, targets, parcels);
                }
            }
        })
    }

    /// Keeps everybody from publishing for as long as the value lives.
    pub fn hold(self: &Arc<Self>) -> Hold<'_> {
        Hold::new(self, lock(&self.ingress))
    }

    /// What is published from now on no longer goes to this link: its subscriptions,
    /// which are dropped here, have ended.
    pub fn close(&self, lane: &Lane, registrations: Vec<Registration>) {
        {
            let mut ingress = lock(&self.ingress);
            drop(registrations);
            // An error means that the router is gone, which the receiver is told too.
            let _gone = ingress.feed.push(|parcels| parcels.push(lane.end()));
        }
        lane.open();
    }

    pub fn retained_store(&self) -> MutexGuard<'_, RetainedStore> {
        lock(&self.retained)
    }

    /// The store that a filter's retained messages are in.
    pub fn store_for(&self, filter: &str) -> MutexGuard<'_, RetainedStore> {
        lock(if is_about_the_broker(filter) { &self.own } else { &self.retained })
    }

    /// Counts and tells that something is refused, also as the limit that was reached.
    /// `why` may be empty, and `topic` too.
    pub fn refuse(&self, cause: Cause, why: &str, who: &Who<'_>, topic: &str) {
        if let Some(limit) = cause.limit() {
            self.reached.count(limit);
        }
        self.refused.note(cause, why, who, topic);
    }

    /// Counts and tells how a connection has ended, also as the limit that was reached.
    pub fn note_end(&self, ended: Ended, who: &Who<'_>) {
        if let Some(limit) = ended.limit() {
            self.reached.count(limit);
        }
        self.endings.note(ended, who);
    }

    /// Milliseconds since the bus started: the clock of every deadline.
    pub fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// The same of a moment that has passed.
    pub fn ms_of(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.epoch).as_millis() as u64
    }

    /// Asks the router for a sign of life. It also wakes a router that a vanished client left waiting.
    pub fn ping(&self) -> Result<(), CarrierGone> {
        let mut ingress = lock(&self.ingress);
        ingress.backlog.note_ping();
        ingress.feed.push(|parcels| parcels.push(Parcel::ping()))
    }

    /// Ends the router's thread; it drops everything it holds.
    pub fn end_router(&self) {
        *lock(&self.is_ended) = true;
        let mut ingress = lock(&self.ingress);
        ingress.is_ended = true;
        // An error means that it has ended already.
        let _gone = ingress.feed.end();
    }
}
