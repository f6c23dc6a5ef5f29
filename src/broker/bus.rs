//! What is published and who gets it: one ingress for all messages, and the tree of subscriptions.
//!
//! Who gets a message is decided here when it is published; the router carries it there, in order.

pub mod batch;
pub mod carrier;
pub mod fanout;
pub mod filter_shares;
pub mod gate;
pub mod hold;
pub mod ingress;
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

use self::carrier::lane::{Lane, LaneReceiver, Load};
use self::carrier::lanes::Lanes;
use self::carrier::turnstile::Visit;
use self::carrier::{Answers, CarrierGone};
use self::gate::Gate;
use self::ingress::Ingress;
use self::life::Life;
use self::pulse::Pulse;
use self::retained::{NotKept, RetainedStore};
use self::subscriptions::{Subscriptions, Targets};
use crate::broker::codec::topic::is_about_the_broker;
use crate::broker::config::{Config, PendingPolicy, RouterLimits, SharedStrategy};
use crate::broker::limits::dropped::Drops;
use crate::broker::limits::ended::{Ended, Endings};
use crate::broker::limits::memory::{Memory, MemoryKind, MemoryUse};
use crate::broker::limits::reached::Reached;
use crate::broker::limits::refused::{Cause, Refused, Who};
use crate::broker::limits::traffic::Total;
use crate::broker::work::Slice;
use crate::sync::lock;

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
        let memory = Memory::new(limits.memory_bytes_max());
        let bus = Self {
            lanes,
            is_ended: Mutex::new(false),
            ingress: Mutex::new(Ingress::new(feed)),
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

    /// Who gets what is published to `topic` now, for whoever has no more to do than that.
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

    /// What has made no progress for longer than `late`.
    pub fn stalled(&self, late: Duration) -> Option<String> {
        let now_ms = self.now_ms();
        let link =
            || lock(&self.links).iter().filter_map(Weak::upgrade).find_map(|lane| lane.stalled(now_ms, late));
        self.pulse.stalled(now_ms, late).or_else(link)
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

    /// Tells of what was to be retained and is not.
    pub fn note_not_kept(&self, not_kept: Vec<NotKept>, who: &Who<'_>) {
        not_kept.into_iter().for_each(|NotKept { topic, cause }| self.refuse(cause, "", who, &topic));
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

    /// A moment that has passed, in milliseconds of the bus's clock.
    pub fn ms_of(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.epoch).as_millis() as u64
    }
}
