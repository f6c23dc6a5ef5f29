//! A way through the carrier: to the connections together, or to one in-process link.
//!
//! The carrier takes a stand-in for each message, in order; the message itself waits beside
//! the router, in the same order, and takes its place where it comes out. For the router's log
//! keeps what it carried until it is full of newer, and would keep with each small payload the
//! whole block of memory that its connection read it in. A lane counts what went in and what
//! came out, so that publishers stop before the router's log, which forgets silently, is full.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::lanes::Slot;
use super::turnstile::{Turnstile, Visit};
use super::{Arrival, CarrierGone, Outlet, Parcel};
use crate::broker::bus::publication::Publication;
use crate::broker::bus::pulse::Beat;
use crate::broker::bus::subscriptions::Targets;
use crate::broker::config::SegmentLimits;
use crate::sync::{lock, wait_timeout};

/// A message on its way, and who gets it.
pub struct Envelope {
    pub publication: Publication,
    pub targets: Arc<Targets>,
    pub kind: Kind,
    load: Load,
}

/// What is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Message,
    /// A sign of progress, which is no message.
    Beat,
    /// Nothing comes after it, and it is no message.
    End,
}

/// What messages on their way count for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    pub bytes: u64,
    /// How many connections and groups receive each, at least one, added up.
    pub copies: u64,
}

impl Load {
    /// What a message to `targets` that takes `bytes` counts for.
    pub fn of(bytes: usize, targets: &Targets) -> Self {
        let copies = (targets.sessions.len() + targets.groups.len()).max(1);
        Self { bytes: bytes as u64, copies: copies as u64 }
    }
}

impl std::ops::AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.copies += other.copies;
    }
}

/// What the router keeps of a message in its log beside the bytes that it counts.
const LOGGED_BYTES: usize = 245;

/// Totals since the start. In cache lines of their own (two, for processors fetch the
/// neighbour too): one thread adds to what was sent while another adds to what was taken.
#[derive(Default)]
#[repr(align(128))]
struct Total {
    /// Ever sent to this topic, or taken: a message's number is its place in the router's log.
    messages: AtomicU64,
    bytes: AtomicU64,
    copies: AtomicU64,
}

impl Total {
    fn after(messages: u64) -> Self {
        Self { messages: messages.into(), ..Self::default() }
    }

    fn add(&self, load: Load) {
        self.bytes.fetch_add(load.bytes, Ordering::SeqCst);
        self.copies.fetch_add(load.copies, Ordering::SeqCst);
    }
}

/// How much a lane carries at once.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// The router's log.
    pub log: SegmentLimits,
    /// Connections that publish wait while this many copies are on their way.
    pub copies_max: u64,
    /// And one of them while this many of its own messages are.
    pub share_max: u64,
    /// Whoever waited is let in for at least so many messages, if it has them: to be
    /// woken costs more than one.
    pub turn_least: u64,
}

/// The sending side of a lane.
pub struct Lane {
    /// What the router knows it by.
    topic: Bytes,
    /// Its receiver settles the receipts of what it gets: when it has answered, or put it into every mailbox.
    pub is_answering: bool,
    /// What the router's log surely holds, in bytes; publishers wait while half of it is on its way.
    log_bytes: u64,
    pub limits: LaneLimits,
    /// What is on its way. Filled while the bus's ingress is held, before the router gets the stand-in.
    on_the_way: Mutex<VecDeque<Envelope>>,
    room: Condvar,
    sent: Total,
    taken: Total,
    /// A publisher within the process waits for room.
    is_awaited: AtomicBool,
    /// Connections that wait for it.
    pub turnstile: Turnstile,
    /// They are looked at once this message has been taken; [`NOBODY`] while none waits.
    awaited_message: AtomicU64,
    /// The receiver lives.
    is_received: AtomicBool,
    /// What its receiver is called, where its progress is watched.
    pub watched: OnceLock<String>,
    pub beat: Beat,
}

impl Lane {
    /// `sent_messages` is how many its topic has carried before.
    pub fn new(topic: &'static str, limits: LaneLimits, sent_messages: u64, is_answering: bool) -> Self {
        let log = limits.log;
        // Of the last segment nothing is sure: it may have just been begun.
        let log_bytes = log.segment_bytes_max.saturating_mul((log.segments_max - 1).max(1));
        Self {
            topic: Bytes::from_static(topic.as_bytes()),
            is_answering,
            log_bytes: log_bytes as u64,
            limits,
            on_the_way: Mutex::default(),
            room: Condvar::new(),
            sent: Total::after(sent_messages),
            taken: Total::after(sent_messages),
            is_awaited: AtomicBool::new(false),
            turnstile: Turnstile::default(),
            awaited_message: AtomicU64::new(NOBODY),
            is_received: AtomicBool::new(true),
            watched: OnceLock::new(),
            beat: Beat::default(),
        }
    }

    pub fn sent_messages(&self) -> u64 {
        self.sent.messages.load(Ordering::Acquire)
    }

    fn outstanding(&self) -> Load {
        let left = |sent: &AtomicU64, taken: &AtomicU64| {
            sent.load(Ordering::SeqCst).saturating_sub(taken.load(Ordering::SeqCst))
        };
        let (sent, taken) = (&self.sent, &self.taken);
        Load { bytes: left(&sent.bytes, &taken.bytes), copies: left(&sent.copies, &taken.copies) }
    }

    /// What is on its way, in bytes.
    pub fn log_bytes_used(&self) -> u64 {
        self.outstanding().bytes
    }

    /// What its messages take of memory, about: those on their way, and those that the
    /// router's log still holds.
    pub fn held_bytes(&self) -> usize {
        let (messages, bytes) = (self.sent_messages(), self.sent.bytes.load(Ordering::Relaxed));
        // As many of the last ones as fit into the log.
        let logged = bytes.min(self.log_bytes);
        let share = |all: u64| {
            if bytes == 0 { 0 } else { (u128::from(all) * u128::from(logged) / u128::from(bytes)) as usize }
        };
        logged as usize + share(messages) * LOGGED_BYTES
    }

    /// Whether a connection may send a message behind what it `holds` and is about to send: in its
    /// turn, or when nobody waits. One always may when there is nothing before it, however large it is.
    pub fn admits(&self, held: Load, message: Load, visit: &mut Visit) -> bool {
        let has_turn = visit.has_turn(self);
        let mut before = self.outstanding();
        before += held;
        if !has_turn {
            before.copies += self.turnstile.granted();
        }
        let has_room = self.has_bytes(before.bytes, message.bytes)
            && before.copies < self.limits.copies_max
            && visit.own_messages(self) + held.copies < self.limits.share_max;
        has_room && (has_turn || !self.turnstile.is_crowded()) || !self.is_received.load(Ordering::Acquire)
    }

    /// Lets in those who wait when there is room and message number `message` has been
    /// taken, now or as soon as that is so.
    pub fn await_message(&self, message: u64) {
        self.awaited_message.fetch_min(message, Ordering::SeqCst);
        // There may be room since, made by a thread that saw nobody waiting.
        self.let_in();
        if !self.is_received.load(Ordering::Acquire) {
            self.turnstile.open();
        }
    }

    /// Whether there is room for whoever publishes within the process: it is bounded in bytes alone,
    /// so that it gets through where connections press.
    fn has_room(&self) -> bool {
        if self.has_room_now() {
            return true;
        }
        self.is_awaited.store(true, Ordering::SeqCst);
        // It may have been emptied since, by a thread that saw nobody waiting.
        self.has_room_now()
    }

    /// Whether there is room for whoever publishes within the process and will not wait.
    pub fn has_room_now(&self) -> bool {
        self.has_bytes(self.outstanding().bytes, 0)
    }

    fn has_bytes(&self, before: u64, bytes: u64) -> bool {
        before == 0 || before + bytes <= self.log_bytes / 2
    }

    /// Waits at most `wait` for room, or until nobody receives any more.
    pub fn wait_for_room(&self, wait: Duration) {
        if self.has_room() || wait.is_zero() {
            return;
        }
        let started = Instant::now();
        let mut on_the_way = lock(&self.on_the_way);
        // Looked at while what a waker takes is held, so that it is not missed.
        while !self.has_room() && self.is_received.load(Ordering::Acquire) {
            let left = wait.saturating_sub(started.elapsed());
            if left.is_zero() {
                return;
            }
            on_the_way = wait_timeout(&self.room, on_the_way, left);
        }
    }

    /// Sends a message: returns what the router has to carry, or nothing where its log would forget
    /// something for it, which only publishers that do not wait can bring about. The bus's ingress is held.
    pub fn send(&self, publication: Publication, targets: Arc<Targets>) -> Option<Parcel> {
        let load = Load::of(publication.bytes(), &targets);
        let before = self.outstanding().bytes;
        if before > 0 && before + load.bytes > self.log_bytes {
            return None;
        }
        Some(self.carry(Envelope { publication, targets, kind: Kind::Message, load }))
    }

    /// The last thing that is sent: the receiver is told that nothing comes any more.
    /// The bus's ingress is held.
    pub fn end(&self) -> Parcel {
        self.carry_no_message(Kind::End)
    }

    /// A beat, where the lane is watched and none is under way. The bus's ingress is held.
    pub fn beat(&self, now_ms: u64) -> Option<Parcel> {
        let is_due = self.watched.get().is_some() && self.beat.begin(now_ms);
        is_due.then(|| self.carry_no_message(Kind::Beat))
    }

    fn carry_no_message(&self, kind: Kind) -> Parcel {
        let (publication, targets) = (Publication::default(), Arc::default());
        self.carry(Envelope { publication, targets, kind, load: Load::default() })
    }

    /// What its receiver is called, if that is watched and has not taken a beat for longer than `late`.
    pub fn stalled(&self, now_ms: u64, late: Duration) -> Option<String> {
        let who = self.watched.get()?;
        let under_way = self.beat.under_way(now_ms);
        (under_way > late && self.is_received.load(Ordering::Acquire))
            .then(|| format!("{who} has taken nothing from the broker for {} s", under_way.as_secs()))
    }

    fn carry(&self, envelope: Envelope) -> Parcel {
        let parcel = Parcel::of(self.topic.clone(), envelope.load.bytes);
        self.sent.messages.fetch_add(1, Ordering::AcqRel);
        self.sent.add(envelope.load);
        lock(&self.on_the_way).push_back(envelope);
        parcel
    }

    fn count_taken(&self, load: Load) {
        self.taken.add(load);
        self.taken.messages.fetch_add(1, Ordering::AcqRel);
    }

    /// Lets publishers go on that wait, when there is room again: half of it, so that
    /// they do not wait again at once.
    pub fn frees_publishers(&self) {
        let is_free = || self.outstanding().bytes <= self.log_bytes / 4;
        if self.is_awaited.load(Ordering::SeqCst)
            && is_free()
            && self.is_awaited.swap(false, Ordering::SeqCst)
        {
            self.wake();
        }
        self.let_in();
    }

    fn let_in(&self) {
        while self.may_let_in() {
            self.awaited_message.store(NOBODY, Ordering::SeqCst);
            let (before, taken) = (self.outstanding(), self.taken_messages());
            let room = self.limits.copies_max.saturating_sub(before.copies + self.turnstile.granted());
            let fits = |bytes| self.has_bytes(before.bytes, bytes);
            if let Some(message) = self.turnstile.let_in(room, self.limits.turn_least, taken, fits) {
                self.awaited_message.fetch_min(message, Ordering::SeqCst);
            }
            // What was taken in between was taken by a thread that saw nobody waiting.
            if self.taken_messages() == taken {
                return;
            }
        }
    }

    fn may_let_in(&self) -> bool {
        let awaited = self.awaited_message.load(Ordering::SeqCst);
        if awaited == NOBODY || !self.has_passed(awaited) {
            return false;
        }
        // Those who were let in have as good as sent: nobody is called for the room that
        // one message after the other leaves.
        let left = self.outstanding();
        let copies = left.copies + self.turnstile.granted();
        left.bytes <= self.log_bytes / 4 && copies <= self.limits.copies_max / 2
    }

    pub fn taken_messages(&self) -> u64 {
        self.taken.messages.load(Ordering::Acquire)
    }

    /// Nobody need wait any more.
    pub fn open(&self) {
        self.wake();
        self.turnstile.open();
    }

    fn wake(&self) {
        // Whoever is about to wait has looked already, or will wait when this is had.
        drop(lock(&self.on_the_way));
        self.room.notify_all();
    }

    /// Whether everything up to message number `until` has been taken.
    pub fn has_passed(&self, until: u64) -> bool {
        self.taken.messages.load(Ordering::Acquire) >= until
    }
}

/// No message has this number.
const NOBODY: u64 = u64::MAX;

/// The receiving side of a lane. Dropped, it leaves the carrier.
pub struct LaneReceiver {
    /// Declared first, so that it is dropped first: the lane's number is free once its link has ended.
    outlet: Outlet,
    _slot: Slot,
    pub lane: Arc<Lane>,
    /// Taken from `lane.on_the_way` together; their stand-ins are still to come.
    expected: VecDeque<Envelope>,
}

impl Drop for LaneReceiver {
    fn drop(&mut self) {
        self.lane.is_received.store(false, Ordering::Release);
        self.lane.open();
    }
}

impl LaneReceiver {
    pub fn new(lane: Arc<Lane>, outlet: Outlet, slot: Slot) -> Self {
        Self { outlet, _slot: slot, lane, expected: VecDeque::new() }
    }

    /// Waits for the next thing that the carrier has; `None` when that was no message.
    pub async fn next(&mut self) -> Result<Option<Envelope>, CarrierGone> {
        let arrival = self.outlet.next().await?;
        Ok(arrival.and_then(|arrival| self.join(&arrival)))
    }

    /// Takes what the carrier has without waiting; the outer `None` when there is nothing.
    pub fn ready(&mut self) -> Result<Option<Option<Envelope>>, CarrierGone> {
        let arrival = self.outlet.ready()?;
        Ok(arrival.map(|arrival| arrival.and_then(|arrival| self.join(&arrival))))
    }

    /// Does what [`next`](Self::next) does, on a thread that may block.
    pub fn recv(&mut self) -> Result<Option<Envelope>, CarrierGone> {
        let arrival = self.outlet.recv()?;
        Ok(arrival.and_then(|arrival| self.join(&arrival)))
    }

    /// The message of a stand-in. Whatever the router's log has forgotten before it is passed over.
    fn join(&mut self, arrival: &Arrival) -> Option<Envelope> {
        loop {
            if self.expected.is_empty() {
                std::mem::swap(&mut self.expected, &mut lock(&self.lane.on_the_way));
            }
            let envelope = self.expected.pop_front()?;
            let next = self.lane.taken.messages.load(Ordering::Acquire);
            self.lane.count_taken(envelope.load);
            if arrival.number.is_none_or(|number| number <= next) {
                return Some(envelope);
            }
        }
    }
}

#[cfg(test)]
mod tests;
