//! One client that has been let in: a state machine without a socket, a clock or anything to await.
//!
//! Whoever has the socket tells it what happens (`handle_*`, with the time), and asks what to do (`poll_*`,
//! `wants_*`). Bytes are read into `input`, and written from `output`. An error is what the client did wrong,
//! or stands for `ending`; either way its connection ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Session;
use super::awaited::Stall;
use super::catching_up::CatchingUp;
use super::context::Context;
use super::ending::End;
use super::farewell::Farewell;
use super::hello::{Arrived, Hello};
use super::input::Input;
use super::output::{ALIAS_BYTES, Output, Wishes};
use super::owed::Owed;
use super::pace::Pace;
use super::peer::Peer;
use super::registry::Order;
use super::rights::Review;
use super::route::Route;
use super::silence::{Refusing, Silence};
use super::wait::Wait;
use super::will::Will;
use crate::broker::bus::batch::Batch;
use crate::broker::bus::carrier::turnstile::Visit;
use crate::broker::bus::member_queue::MemberQueue;
use crate::broker::codec::Version;
use crate::broker::codec::listing::Listing;
use crate::broker::codec::reason::Reason;
use crate::broker::config::ConnectionLimits;
use crate::broker::limits::charge::Charge;
use crate::broker::limits::ended::Ended;
use crate::broker::limits::memory::MemoryKind;
use crate::broker::limits::reached::Limit;
use crate::broker::limits::refused::Who;
use crate::broker::limits::traffic::Tally;
use crate::broker::work::Slice;

/// Keep-alive, a packet's time and the write timeout are looked at at least this
/// often, and at most that often.
const TICK_MAX: Duration = Duration::from_secs(10);
const TICK_LEAST: Duration = Duration::from_millis(1);

/// What a connection takes of memory beside what it holds: its task and its places in tables.
const CONNECTION_BYTES: usize = 12 * 1024;
/// What an acknowledgement that is owed takes, and a retained message on its way,
/// which is shared with the store.
const OWED_BYTES: usize = 64;
const RETAINED_DELIVERY_BYTES: usize = 256;

/// What the present round has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Round {
    /// Nothing more is to be done until something happens.
    Idle,
    /// There is more to do, and the others have their turn before it.
    GoesOn,
    /// Everything has been written that was to be before the broker stops.
    Left,
}

/// One client that is online.
pub struct Client {
    pub context: Arc<Context>,
    pub client_id: Arc<str>,
    pub peer: Peer,
    pub version: Version,
    pub session: Box<Session>,
    pub output: Output,
    /// Unacknowledged QoS 1 and 2 messages towards the client, at most.
    pub window: usize,
    /// What was received, until it is told.
    pub received: Tally,
    pub input: Input,
    pub batch: Batch,
    pub route: Route,
    pub aliases: HashMap<u16, Bytes>,
    /// What the aliases stand for, in bytes.
    pub alias_bytes: usize,
    /// For what the connection holds of memory beside its session.
    charge: Charge,
    /// Why its packets wait.
    pub wait: Wait,
    /// Where it waits for room, or has its turn.
    pub visit: Visit,
    /// The acknowledgements that it has coming.
    pub owed: Owed,
    /// Changes when they may go on.
    pub progress: watch::Receiver<()>,
    /// What is left of the present slice of long work.
    pub slice: Slice,
    /// What is left to judge by new rules, and to take up of the session.
    pub review: Option<Review>,
    pub to_join: Option<Vec<(usize, String, String)>>,
    /// A SUBSCRIBE or UNSUBSCRIBE that is longer than a slice; it is the first of `frames`.
    pub listing: Option<Box<Listing>>,
    pub retained: CatchingUp,
    /// What its shared groups have for it.
    pub shared_queue: Arc<MemberQueue>,
    /// It is or was in a shared group, so that something may come by `shared_queue`.
    pub is_member: bool,
    pub ending: Option<End>,
    pub farewell: Farewell,
    pub will: Option<Will>,
    keep_alive: Option<Duration>,
    silence: Silence,
    /// Since when it does not take what is written to it.
    refusing: Refusing,
    /// It was read from when that was asked last.
    is_read: bool,
    /// How fast it may publish; `None` for any rate.
    pub pace: Option<Pace>,
    /// It missed something, and the policy is to end its session then.
    pub is_overrun: bool,
    /// It has more unread than it may, which was counted.
    is_unread: bool,
    /// Its publishes wait for another client that is slow.
    pub is_at_gate: bool,
    /// Messages that were taken for it.
    pub given: u64,
    /// Others wait for it, and it takes nothing.
    pub stall: Option<Stall>,
    /// What its mailbox was told last: whether it takes nothing more.
    is_blocked: Option<bool>,
}

impl Client {
    pub fn new(
        context: Arc<Context>,
        client_id: Arc<str>,
        limits: &ConnectionLimits,
        hello: &Hello,
        session: Box<Session>,
        arrived: Arrived,
        now: Instant,
    ) -> Self {
        let progress = context.bus.progress();
        let batch = Batch { holder: session.live.holder.clone(), ..Batch::default() };
        let holder = session.live.holder.as_ref();
        let charge =
            holder.map(|holder| holder.charge(MemoryKind::Connections, CONNECTION_BYTES)).unwrap_or_default();
        let rates = &context.config.limits;
        let pace = Pace::new(rates.publish_messages_per_s_max, rates.publish_burst_messages_max, now);
        let wishes = Wishes {
            version: hello.version,
            packet_bytes_max: hello.packet_bytes_max,
            aliases_max: hello.aliases_max,
        };
        Self {
            context,
            client_id,
            peer: hello.peer.clone(),
            version: hello.version,
            session,
            output: Output::new(wishes),
            window: hello.window.into(),
            received: Tally::default(),
            input: Input::new(arrived, limits.packet_bytes_max),
            batch,
            route: Route::default(),
            aliases: HashMap::new(),
            alias_bytes: 0,
            charge,
            wait: Wait::No,
            visit: Visit::default(),
            owed: Owed::default(),
            progress,
            slice: Slice::new(),
            review: None,
            to_join: None,
            listing: None,
            retained: CatchingUp::default(),
            shared_queue: Arc::default(),
            is_member: false,
            ending: None,
            farewell: Farewell::No,
            will: None,
            // The client has one and a half times its keep-alive (MQTT 3.1.1, 3.1.2.10).
            keep_alive: (hello.keep_alive_s > 0)
                .then(|| Duration::from_millis(u64::from(hello.keep_alive_s) * 1_500)),
            silence: Silence::new(now),
            refusing: Refusing::default(),
            is_read: true,
            pace,
            is_overrun: false,
            is_unread: false,
            is_at_gate: false,
            given: 0,
            stall: None,
            is_blocked: None,
        }
    }

    /// It has been let in, and its session taken up.
    ///
    /// # Errors
    /// What the client did wrong, unless `ending` says how it ends.
    pub fn handle_start(&mut self, now: Instant) -> Result<(), Reason> {
        self.hold_publishers();
        // Packets may have come with the CONNECT.
        self.process(now)?;
        self.note_arrived(now);
        Ok(())
    }

    /// The rules have changed, and the client was judged by them.
    ///
    /// # Errors
    /// What the client did wrong, unless `ending` says how it ends.
    pub fn handle_review(&mut self, now: Instant) -> Result<(), Reason> {
        self.process(now)
    }

    /// So many bytes have been read into `input`.
    ///
    /// # Errors
    /// What the client did wrong, unless `ending` says how it ends.
    pub fn handle_read(&mut self, bytes: usize, now: Instant) -> Result<(), Reason> {
        self.input.note_read(bytes);
        self.received.bytes += bytes as u64;
        if self.input.frames.is_empty() {
            self.process(now)?;
        } else if !self.has_stale_rights() {
            // A publish waits, and this lies behind it. After a review it is looked at with that.
            self.look_ahead()?;
        }
        self.note_arrived(now);
        Ok(())
    }

    /// So many bytes have been written, and the stream has passed them on or holds some back.
    pub fn handle_written(&mut self, bytes: usize, now: Instant) {
        self.output.advance(bytes);
        self.refusing.note_taken(bytes, || now);
    }

    /// Somebody wants something of the client's owner.
    pub fn handle_order(&mut self, order: Option<Order>) -> Option<End> {
        match order {
            // Bounded by the broker's grace, at whose end the task is dropped.
            Some(Order::End(Reason::SHUTTING_DOWN)) => {
                self.begin_farewell();
                None
            }
            order => Some(End::ordered(order)),
        }
    }

    /// Its turn for long work has come.
    ///
    /// # Errors
    /// What the client did wrong, unless `ending` says how it ends.
    pub fn handle_slice(&mut self, slice: Slice, now: Instant) -> Result<(), Reason> {
        self.slice = slice;
        self.refill();
        self.process(now)
    }

    /// What its packets wait for is over, or may be.
    ///
    /// # Errors
    /// What the client did wrong, unless `ending` says how it ends.
    pub fn handle_wait_over(&mut self, now: Instant) -> Result<(), Reason> {
        self.wait = Wait::No;
        self.process(now)
    }

    /// [`poll_timeout`](Self::poll_timeout) has come: looks at everything that may not last for ever.
    ///
    /// # Errors
    /// What the client did wrong, unless `ending` says how it ends.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<Option<End>, Reason> {
        let last_packet = self.silence.since().into_std();
        self.session.live.standing.note_active(self.context.bus.ms_of(last_packet));
        if self.is_read {
            self.check_silence(now)?;
        }
        if self.stalls(now) {
            self.context.bus.reached.note(Limit::WriteTimeout, &self.client_id);
            return Err(Reason::QUOTA_EXCEEDED);
        }
        let is_refusing = self.refusing.lasts(self.context.config.limits.write_timeout, now);
        Ok(is_refusing.then_some(End::Lost(Ended::WriteTimeout)))
    }

    /// Does what can be done without anything happening: takes what is ready for the client.
    ///
    /// # Errors
    /// What the client did wrong, unless `ending` says how it ends.
    pub fn poll_round(&mut self, now: Instant) -> Result<Round, Reason> {
        if self.wait == Wait::Answers && !self.owes_too_much() && !self.context.bus.is_draining() {
            self.handle_wait_over(now)?;
        }
        let goes_on = self.take_ready();
        self.give_owed()?;
        self.note_bytes();
        if self.may_leave() {
            return Ok(Round::Left);
        }
        if self.is_overrun {
            return Err(Reason::QUOTA_EXCEEDED);
        }
        self.tell_traffic();
        let is_blocked = Some(!self.takes_more());
        if self.is_blocked != is_blocked {
            self.is_blocked = is_blocked;
            self.session.live.mailbox.note_blocked(is_blocked == Some(true));
        }
        Ok(if goes_on { Round::GoesOn } else { Round::Idle })
    }

    /// Whether it takes what comes for it, as the last round has found.
    pub fn is_taking(&self) -> bool {
        self.is_blocked == Some(false)
    }

    /// Whether something is to be written, or passed on that the stream holds back.
    pub fn wants_write(&mut self, holds_back: bool, now: Instant) -> bool {
        let wants_write = holds_back || !self.output.unwritten().is_empty();
        self.refusing.note(wants_write, || now);
        wants_write
    }

    /// Whether the client is to be read from. While it is not, its silence does not count.
    pub fn wants_read(&mut self, now: Instant) -> bool {
        let is_read = (self.input.frames.is_empty() || self.reads_ahead())
            && self.wait != Wait::Router
            && self.reads_enough();
        if is_read {
            self.input.reserve();
        }
        if is_read && !self.is_read {
            self.silence.excuse(now);
        }
        self.is_read = is_read;
        is_read
    }

    /// Whether there is something to do that waits for a slice.
    pub fn wants_slice(&self) -> bool {
        self.may_refill() || (self.slice.is_over() && (!self.input.frames.is_empty() || self.may_catch_up()))
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self, now: Instant) -> Instant {
        let limits = &self.context.config.limits;
        let limit = limits.write_timeout.min(limits.packet_timeout).min(TICK_MAX);
        let latest = now + self.keep_alive.map_or(limit, |keep_alive| limit.min(keep_alive));
        if !self.is_read {
            return latest;
        }
        let packet_ends = self.silence.packet_ends(limits.packet_timeout);
        let ends = [self.silence.keep_alive_ends(self.keep_alive), packet_ends];
        ends.into_iter().flatten().fold(latest, Instant::min).max(now + TICK_LEAST)
    }

    /// Adds to the totals what went over the connection since the last time, and what its session holds.
    pub fn tell_traffic(&mut self) {
        let traffic = &self.context.traffic;
        traffic.received.add(&mut self.received);
        traffic.sent.add(&mut self.output.sent);
        self.session.tell_holding(traffic);
    }

    /// Who the client is.
    pub fn who(&self) -> Who<'_> {
        self.peer.who(&self.client_id, self.session.identity.user.as_deref().unwrap_or_default())
    }

    /// Notes what the connection holds.
    fn note_bytes(&mut self) {
        let aliases = self.aliases.len() * ALIAS_BYTES + self.alias_bytes;
        let waiting = self.owed.len() * OWED_BYTES + self.retained.len() * RETAINED_DELIVERY_BYTES;
        let codes = self.listing.as_ref().map_or(0, |listing| listing.codes.capacity());
        let shared = if self.is_member { self.shared_queue.held_bytes() } else { 0 };
        let held = shared + codes + self.input.held_bytes() + self.output.held_bytes() + aliases + waiting;
        self.charge.set(CONNECTION_BYTES + held);
        self.session.note_bytes();
    }

    /// Whether the client reads what it is sent, so that it may be read from.
    fn reads_enough(&mut self) -> bool {
        let was_unread = self.is_unread;
        self.is_unread = self.output.unwritten().len() >= self.context.config.limits.unread_bytes_max;
        if self.is_unread && !was_unread {
            self.context.bus.reached.count(Limit::UnreadBytes);
        }
        !self.is_unread
    }

    /// Notes what the client has sent, be it whole packets or a part of one.
    fn note_arrived(&mut self, now: Instant) {
        if self.input.had_packet() {
            self.silence.end(now);
        }
        self.silence.note_under_way(self.input.bytes_under_way(), now);
    }

    /// Ends the connection of a client that has sent no whole packet for too long.
    fn check_silence(&mut self, now: Instant) -> Result<(), Reason> {
        self.note_arrived(now);
        let is_over = |end: Option<Instant>| end.is_some_and(|end| end <= now);
        if is_over(self.silence.keep_alive_ends(self.keep_alive)) {
            return Err(Reason::KEEP_ALIVE);
        }
        if is_over(self.silence.packet_ends(self.context.config.limits.packet_timeout)) {
            self.ending = Some(End::Overdue);
            return Err(Reason::QUOTA_EXCEEDED);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
