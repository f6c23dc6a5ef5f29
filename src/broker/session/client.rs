//! One client that has been let in: a state machine without a socket, a clock or anything to await.
//!
//! Whoever has the socket tells it what happens (`handle_*`, with the time), and asks what to do (`poll_*`,
//! `wants_*`). Bytes are read into `input`, and written from `output`. An error is what the client did wrong,
//! or stands for `ending`; either way its connection ends.

use std::sync::Arc;

use tokio::time::Instant;

use super::Session;
use super::awaited::Stall;
use super::catching_up::CatchingUp;
use super::context::Context;
use super::ending::End;
use super::farewell::Farewell;
use super::hello::{Arrived, Hello};
use super::input::Input;
use super::liveness::{Liveness, Overdue};
use super::output::{Output, Wishes};
use super::owed::Owed;
use super::peer::Peer;
use super::publisher::Publisher;
use super::registry::Order;
use super::rights::Review;
use super::waiting::{Wait, Waiting};
use super::will::Will;
use crate::broker::bus::batch::Batch;
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

/// Long work that goes on in the next slice.
#[derive(Default)]
pub struct Unfinished {
    /// What is left to judge by new rules.
    pub review: Option<Review>,
    /// Places in shared groups that are left to take up: the subscription, the group, the filter.
    pub to_join: Option<Vec<(usize, String, String)>>,
    /// A SUBSCRIBE or UNSUBSCRIBE that is longer than a slice; it is the first of the frames.
    pub listing: Option<Box<Listing>>,
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
    pub publisher: Publisher,
    /// For what the connection holds of memory beside its session.
    charge: Charge,
    pub waiting: Waiting,
    /// The acknowledgements that it has coming.
    pub owed: Owed,
    /// What is left of the present slice of long work.
    pub slice: Slice,
    pub unfinished: Unfinished,
    pub retained: CatchingUp,
    /// What its shared groups have for it.
    pub shared_queue: Arc<MemberQueue>,
    /// It is or was in a shared group, so that something may come by `shared_queue`.
    pub is_member: bool,
    pub ending: Option<End>,
    pub farewell: Farewell,
    pub will: Option<Will>,
    liveness: Liveness,
    /// It missed something, and the policy is to end its session then.
    pub is_overrun: bool,
    /// It has more unread than it may, which was counted.
    is_unread: bool,
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
        let batch = Batch { holder: session.live.holder.clone(), ..Batch::default() };
        let holder = session.live.holder.as_ref();
        let charge =
            holder.map(|holder| holder.charge(MemoryKind::Connections, CONNECTION_BYTES)).unwrap_or_default();
        let publisher = Publisher::new(batch, &context.config.limits, now);
        let waiting = Waiting::new(&context.bus);
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
            publisher,
            charge,
            waiting,
            owed: Owed::default(),
            slice: Slice::new(),
            unfinished: Unfinished::default(),
            retained: CatchingUp::default(),
            shared_queue: Arc::default(),
            is_member: false,
            ending: None,
            farewell: Farewell::No,
            will: None,
            liveness: Liveness::new(hello.keep_alive_s, now),
            is_overrun: false,
            is_unread: false,
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
        self.liveness.note_arrived(&mut self.input, now);
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
        self.liveness.note_arrived(&mut self.input, now);
        Ok(())
    }

    /// So many bytes have been written, and the stream has passed them on or holds some back.
    pub fn handle_written(&mut self, bytes: usize, now: Instant) {
        self.output.advance(bytes);
        self.liveness.note_written(bytes, now);
    }

    /// Somebody wants something of the client's owner.
    pub fn handle_order(&mut self, order: Option<Order>) -> Option<End> {
        match order {
            // Bounded by the broker's grace, at whose end the task is dropped.
            Some(Order::End(Reason::SHUTTING_DOWN)) => {
                self.begin_farewell();
                None
            }
            order => End::ordered(order),
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
        self.waiting.why = Wait::No;
        self.process(now)
    }

    /// [`poll_timeout`](Self::poll_timeout) has come: looks at everything that may not last for ever.
    ///
    /// # Errors
    /// What the client did wrong, unless `ending` says how it ends.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<Option<End>, Reason> {
        let last_packet = self.liveness.last_packet();
        self.session.live.standing.note_active(self.context.bus.ms_of(last_packet));
        match self.liveness.overdue(&mut self.input, &self.context.config.limits, now) {
            Some(Overdue::KeepAlive) => return Err(Reason::KEEP_ALIVE),
            Some(Overdue::Packet) => return Ok(Some(End::Overdue)),
            None => {}
        }
        if self.stalls(now) {
            self.context.bus.reached.note(Limit::WriteTimeout, &self.client_id);
            return Err(Reason::QUOTA_EXCEEDED);
        }
        let is_refusing = self.liveness.refuses(&self.context.config.limits, now);
        Ok(is_refusing.then_some(End::Lost(Ended::WriteTimeout)))
    }

    /// Does what can be done without anything happening: takes what is ready for the client.
    ///
    /// # Errors
    /// What the client did wrong, unless `ending` says how it ends.
    pub fn poll_round(&mut self, now: Instant) -> Result<Round, Reason> {
        if self.waiting.why == Wait::Answers && !self.owes_too_much() && !self.context.bus.is_draining() {
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
        self.liveness.note_unwritten(wants_write, now);
        wants_write
    }

    /// Whether the client is to be read from. While it is not, its silence does not count.
    pub fn wants_read(&mut self, now: Instant) -> bool {
        let is_read = (self.input.frames.is_empty() || self.reads_ahead())
            && self.waiting.why != Wait::Router
            && self.reads_enough();
        if is_read {
            self.input.reserve();
        }
        self.liveness.note_read(is_read, now);
        is_read
    }

    /// Whether there is something to do that waits for a slice.
    pub fn wants_slice(&self) -> bool {
        self.may_refill() || (self.slice.is_over() && (!self.input.frames.is_empty() || self.may_catch_up()))
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self, now: Instant) -> Instant {
        self.liveness.next_look(&self.context.config.limits, now)
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
        let waiting = self.owed.len() * OWED_BYTES + self.retained.len() * RETAINED_DELIVERY_BYTES;
        let codes = self.unfinished.listing.as_ref().map_or(0, |listing| listing.codes.capacity());
        let shared = if self.is_member { self.shared_queue.held_bytes() } else { 0 };
        let held = shared
            + codes
            + self.input.held_bytes()
            + self.output.held_bytes()
            + self.publisher.aliases.held_bytes()
            + waiting;
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
}

#[cfg(test)]
mod tests;
