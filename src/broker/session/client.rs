//! One client that has been let in, without its socket.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Session;
use super::awaited::Stall;
use super::catching_up::CatchingUp;
use super::context::Context;
use super::ending::End;
use super::farewell::Farewell;
use super::hello::{Arrived, Hello};
use super::output::{ALIAS_BYTES, Output, Wishes};
use super::owed::Owed;
use super::pace::Pace;
use super::peer::{Peer, UnderWay};
use super::route::Route;
use super::silence::Silence;
use super::will::Will;
use crate::broker::bus::batch::Batch;
use crate::broker::bus::carrier::turnstile::Visit;
use crate::broker::bus::member_queue::MemberQueue;
use crate::broker::codec::Version;
use crate::broker::codec::listing::Listing;
use crate::broker::codec::reason::Reason;
use crate::broker::config::ConnectionLimits;
use crate::broker::limits::memory::{Charge, MemoryKind};
use crate::broker::limits::reached::Limit;
use crate::broker::limits::refused::Who;
use crate::broker::limits::traffic::Tally;
use crate::broker::work::Slice;

/// The first read of a connection, and the least that is read at once.
const READ_BYTES_LEAST: usize = 512;
pub const READ_BLOCK_BYTES_FIRST: usize = 2 * 1024;
/// A block has room for this many reads like the last one.
const READS_PER_BLOCK: usize = 4;
/// Blocks are not larger, because what was read into one keeps all of it.
const READ_BLOCK_BYTES_MAX: usize = 64 * 1024;
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

/// One client that is online.
pub struct Client {
    pub context: Arc<Context>,
    pub client_id: Arc<str>,
    pub peer: Peer,
    pub version: Version,
    pub packet_bytes_max: usize,
    pub session: Box<Session>,
    pub output: Output,
    /// Unacknowledged QoS 1 and 2 messages towards the client, at most.
    pub window: usize,
    /// What was received, until it is told.
    pub received: Tally,
    /// Bytes read, and the complete packets taken from them.
    pub unread: BytesMut,
    pub frames: Bytes,
    /// The size of the packet that is not complete yet; 0 when unknown.
    pub needed_bytes: usize,
    /// What the last read brought.
    pub read_bytes: usize,
    /// The size of the block that is read into.
    block_bytes: usize,
    pub batch: Batch,
    pub route: Route,
    pub aliases: HashMap<u16, Bytes>,
    /// What the aliases stand for, in bytes.
    pub alias_bytes: usize,
    /// For what the connection holds of memory beside its session.
    charge: Charge,
    /// The client's publishes wait for the router.
    pub is_held: bool,
    /// They wait for the connections that receive, or for an in-process link; or they have their turn there.
    pub visit: Visit,
    /// They wait for the answers to those before them.
    pub waits_for_answers: bool,
    /// The acknowledgements that it has coming.
    pub owed: Owed,
    /// Changes when they may go on.
    pub progress: watch::Receiver<()>,
    /// What is left of the present slice of long work.
    pub slice: Slice,
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
    pub silence: Silence,
    /// A whole packet was read since the silence was looked at.
    pub has_packet: bool,
    /// What has come beside `unread` and is no bytes of MQTT yet.
    under_way: UnderWay,
    /// How fast it may publish; `None` for any rate.
    pub pace: Option<Pace>,
    /// Its publishes wait until then, because it was too fast.
    pub paused_until: Option<Instant>,
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
}

impl Client {
    pub fn new(
        context: Arc<Context>,
        client_id: Arc<str>,
        limits: &ConnectionLimits,
        hello: &Hello,
        session: Box<Session>,
        arrived: Arrived,
    ) -> Self {
        let progress = context.bus.progress();
        let batch = Batch { holder: session.holder.clone(), ..Batch::default() };
        let holder = session.holder.as_ref();
        let charge =
            holder.map(|holder| holder.charge(MemoryKind::Connections, CONNECTION_BYTES)).unwrap_or_default();
        let rates = &context.config.limits;
        let pace =
            Pace::new(rates.publish_messages_per_s_max, rates.publish_burst_messages_max, Instant::now());
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
            packet_bytes_max: limits.packet_bytes_max,
            session,
            output: Output::new(wishes),
            window: hello.window.into(),
            received: Tally::default(),
            unread: arrived.unread,
            under_way: arrived.under_way,
            frames: Bytes::new(),
            needed_bytes: 0,
            read_bytes: 0,
            block_bytes: READ_BLOCK_BYTES_FIRST,
            batch,
            route: Route::default(),
            aliases: HashMap::new(),
            alias_bytes: 0,
            charge,
            is_held: false,
            visit: Visit::default(),
            waits_for_answers: false,
            owed: Owed::default(),
            progress,
            slice: Slice::new(),
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
            silence: Silence::new(Instant::now()),
            has_packet: false,
            pace,
            paused_until: None,
            is_overrun: false,
            is_unread: false,
            is_at_gate: false,
            given: 0,
            stall: None,
        }
    }

    /// Whether there is something to do that waits for a slice.
    pub fn wants_turn(&self) -> bool {
        self.may_refill() || (self.slice.is_over() && (!self.frames.is_empty() || self.may_catch_up()))
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
    pub fn note_bytes(&mut self) {
        // The whole block, of which unread bytes and frames are parts: a sum that does not move with
        // each read. A larger one, for a packet that is under way, is not in memory before it is filled.
        let filled = if self.frames.is_empty() { READ_BLOCK_BYTES_MAX } else { usize::MAX };
        let block = (self.unread.len() + self.frames.len()).max(self.block_bytes.min(filled));
        let aliases = self.aliases.len() * ALIAS_BYTES + self.alias_bytes;
        let waiting = self.owed.len() * OWED_BYTES + self.retained.len() * RETAINED_DELIVERY_BYTES;
        let codes = self.listing.as_ref().map_or(0, |listing| listing.codes.capacity());
        let shared = if self.is_member { self.shared_queue.held_bytes() } else { 0 };
        let held = shared + codes + block + self.output.held_bytes() + aliases + waiting;
        self.charge.set(CONNECTION_BYTES + held);
        self.session.note_bytes();
    }

    /// Whether the client reads what it is sent, so that it may be read from.
    pub fn reads_enough(&mut self) -> bool {
        let was_unread = self.is_unread;
        self.is_unread = self.output.unwritten().len() >= self.context.config.limits.unread_bytes_max;
        if self.is_unread && !was_unread {
            self.context.bus.reached.count(Limit::UnreadBytes);
        }
        !self.is_unread
    }

    /// Notes what the client has sent, be it whole packets or a part of one.
    pub fn note_arrived(&mut self, now: Instant) {
        if std::mem::take(&mut self.has_packet) {
            self.silence.end(now);
        }
        // No packet has more bytes, however many a WebSocket spends on it.
        let bytes = (self.unread.len() + self.under_way.bytes()).min(self.packet_bytes_max);
        self.silence.note_under_way(bytes, now);
    }

    /// Ends the connection of a client that has sent no whole packet for too long. It is
    /// asked while the client is read from: otherwise its silence does not count.
    pub fn check_silence(&mut self) -> Result<(), Reason> {
        let now = Instant::now();
        self.note_arrived(now);
        let is_over = |end: Option<Instant>| end.is_some_and(|end| end <= now);
        if is_over(self.silence.keep_alive_ends(self.keep_alive)) {
            return Err(Reason::KEEP_ALIVE);
        }
        let limits = &self.context.config.limits;
        if is_over(self.silence.packet_ends(limits.packet_timeout)) {
            self.ending = Some(End::Overdue);
            return Err(Reason::QUOTA_EXCEEDED);
        }
        Ok(())
    }

    pub fn tick(&self) -> Duration {
        let limits = &self.context.config.limits;
        let limit = limits.write_timeout.min(limits.packet_timeout).min(TICK_MAX);
        self.keep_alive.map_or(limit, |keep_alive| limit.min(keep_alive))
    }

    pub fn next_tick(&self, counts_silence: bool) -> Instant {
        let now = Instant::now();
        if !counts_silence {
            return now + self.tick();
        }
        let packet_ends = self.silence.packet_ends(self.context.config.limits.packet_timeout);
        let ends = [self.silence.keep_alive_ends(self.keep_alive), packet_ends];
        let due = ends.into_iter().flatten().fold(now + self.tick(), Instant::min);
        due.max(now + TICK_LEAST)
    }

    /// Makes room for the next read: little at first, more for a client that fills it.
    pub fn reserve_block(&mut self) {
        let missing = self.needed_bytes.saturating_sub(self.unread.len());
        if missing == 0 && self.block_bytes > READ_BLOCK_BYTES_MAX && self.frames.is_empty() {
            // That of a large packet goes with it.
            (self.unread, self.block_bytes) = (BytesMut::from(&self.unread[..]), 0);
        }
        let spare = self.unread.capacity() - self.unread.len();
        // No more than the packet needs, so that a large one is not copied for its last bytes.
        if spare < if missing > 0 { missing } else { READ_BYTES_LEAST } {
            let block =
                (READS_PER_BLOCK * self.read_bytes).clamp(READ_BLOCK_BYTES_FIRST, READ_BLOCK_BYTES_MAX);
            self.block_bytes = missing.max(block);
            if !self.unread.try_reclaim(self.block_bytes) {
                // No `reserve`, which may take twice as much.
                let mut block = BytesMut::with_capacity(self.unread.len() + self.block_bytes);
                block.extend_from_slice(&self.unread);
                self.unread = block;
            }
        }
    }
}
