//! What was published for one session and not taken by it yet, bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::Notify;

use super::gate::Gate;
use super::publication::Publication;
use crate::broker::limits::charge::{Charge, Waiting};
#[cfg(test)]
use crate::broker::limits::shares::Owner;
use crate::broker::limits::standing::Standing;
use crate::sync::lock;

/// A message whose receiver has this many others before it gives up the block of
/// memory that it was read in, which is larger.
const LAGGING_MESSAGES: usize = 16;

/// A queue that was longer gives its memory back when it is empty.
const KEEP_COPIES: usize = 1_024;

/// What waits is worth being given up where memory is scarce if it is so much.
const MUCH_BYTES: usize = 64 * 1024;

/// One session's copy of a message.
pub struct Copy {
    pub publication: Arc<Publication>,
    /// The session's subscriptions that it came for.
    pub subscriptions: Arc<[usize]>,
}

/// The queue between the fan-out and one session.
pub struct Mailbox {
    /// The session.
    pub standing: Arc<Standing>,
    /// Its number.
    pub session: u64,
    state: Mutex<State>,
    arrival: Notify,
    /// Where publishers wait for the session, if that is the policy.
    pub gate: Arc<Gate>,
}

struct State {
    /// Publishers wait for the session while its client is online, so that nothing of theirs is dropped.
    is_waited_for: bool,
    copies: VecDeque<Copy>,
    bytes: usize,
    charge: Charge,
    bytes_max: usize,
    /// Dropped since the session last asked.
    skipped: Skipped,
    /// Ever put in.
    put: u64,
    /// The client takes nothing more at present.
    is_blocked: bool,
    /// The session has ended.
    is_closed: bool,
}

/// Copies that were dropped.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Because the session lagged.
    pub lagged: u64,
    /// For want of memory.
    pub for_memory: u64,
    /// The first one's topic.
    pub topic: Bytes,
}

impl Skipped {
    pub fn total(&self) -> u64 {
        self.lagged + self.for_memory
    }
}

impl Mailbox {
    pub fn new(standing: Arc<Standing>) -> Arc<Self> {
        let state = State {
            is_waited_for: false,
            copies: VecDeque::new(),
            bytes: 0,
            charge: Charge::default(),
            bytes_max: 0,
            skipped: Skipped::default(),
            put: 0,
            is_blocked: false,
            is_closed: false,
        };
        Arc::new(Self {
            session: standing.session,
            standing,
            state: Mutex::new(state),
            arrival: Notify::new(),
            gate: Arc::default(),
        })
    }

    /// That of a session of nobody's.
    #[cfg(test)]
    pub fn of(session: u64) -> Arc<Self> {
        Self::new(Standing::new(session, Owner::Node))
    }

    /// Counts what waits here to `charge` from here on.
    pub fn count_to(&self, charge: Charge) {
        let mut state = lock(&self.state);
        state.charge = charge;
        state.note_bytes();
    }

    /// Lets the session lag by this many bytes, if it may not lag by more already.
    pub fn widen(&self, bytes_max: usize) {
        let mut state = lock(&self.state);
        state.bytes_max = state.bytes_max.max(bytes_max);
    }

    /// The client is online, and from now on publishers wait for it.
    pub fn hold_publishers(&self) {
        let mut state = lock(&self.state);
        state.is_waited_for = true;
        self.gate.guard();
        self.gate.note(state.bytes, state.bytes_max);
    }

    /// Puts a copy in. Where there is no room the oldest ones go; if publishers wait for the
    /// session, what nobody waited with is not taken instead: messages of the node, of the
    /// session's own client, and for a client that is away. Returns whether it was taken.
    pub fn put(&self, copy: Copy) -> bool {
        let mut state = lock(&self.state);
        if state.is_closed {
            // Published before the session ended, and for nobody since.
            return true;
        }
        let is_first = state.copies.is_empty();
        if state.is_waited_for {
            let origin = copy.publication.origin;
            let has_waited = self.gate.is_guarded() && origin.is_some_and(|origin| origin != self.session);
            if state.bytes >= state.bytes_max && !is_first && !has_waited {
                return false;
            }
        }
        state.bytes += copy.publication.waiting_bytes();
        state.copies.push_back(copy);
        state.put += 1;
        let has_memory = state.charge.may_be(state.bytes);
        let before = state.skipped.total();
        while state.has_too_much(has_memory) && state.copies.len() > 1 {
            state.skip(has_memory);
        }
        if !has_memory {
            state.charge.note_refused(state.skipped.total() - before);
        }
        state.note_bytes();
        self.tell_gate(&state);
        drop(state);
        if is_first {
            self.arrival.notify_one();
        }
        true
    }

    /// The oldest copy.
    pub fn take(&self) -> Option<Copy> {
        let mut state = lock(&self.state);
        let copy = state.pop();
        state.note_bytes();
        self.tell_gate(&state);
        copy
    }

    /// The session has ended: what is left goes, and nothing more is taken, whoever still knows the mailbox.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        (state.copies, state.bytes) = Default::default();
        state.note_bytes();
    }

    fn tell_gate(&self, state: &State) {
        if state.is_waited_for {
            self.gate.note(state.bytes, state.bytes_max);
        }
    }

    /// How many copies were ever put in, and how many of those have left.
    pub fn counts(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (state.put, state.put - state.copies.len() as u64)
    }

    /// The copies that were dropped since the last call.
    pub fn take_skipped(&self) -> Skipped {
        std::mem::take(&mut lock(&self.state).skipped)
    }

    /// Whether what comes now may wait for long: the client takes nothing, or much waits already.
    pub fn is_lagging(&self) -> bool {
        let state = lock(&self.state);
        state.is_blocked || state.copies.len() >= LAGGING_MESSAGES
    }

    /// The client takes nothing more, or goes on. What waits for the former may wait for
    /// long, and what came before much did is no copy.
    pub fn note_blocked(&self, is_blocked: bool) {
        let mut state = lock(&self.state);
        if is_blocked && !state.is_blocked {
            for copy in state.copies.iter_mut().take(LAGGING_MESSAGES) {
                let mut own = Publication::clone(&copy.publication);
                own.detach();
                copy.publication = Arc::new(own);
            }
        }
        state.is_blocked = is_blocked;
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.state).copies.is_empty()
    }

    /// Waits until there may be something to take.
    pub async fn arrival(&self) {
        if self.is_empty() {
            self.arrival.notified().await;
        }
    }
}

impl Waiting for Mailbox {
    fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    fn give_up_half(&self) -> u64 {
        let mut state = lock(&self.state);
        if state.bytes < MUCH_BYTES {
            return 0;
        }
        let (half, mut given_up) = (state.bytes / 2, 0);
        while state.bytes > half && state.skip(false) {
            given_up += 1;
        }
        state.copies.shrink_to_fit();
        state.note_bytes();
        self.tell_gate(&state);
        given_up
    }
}

impl State {
    /// Whether the oldest must go. Where publishers wait, only the bound over all memory can want that.
    fn has_too_much(&self, has_memory: bool) -> bool {
        let is_over = !self.is_waited_for && self.bytes > self.bytes_max;
        is_over || !has_memory && !self.charge.covers(self.bytes)
    }

    /// Drops the oldest copy, if there is one, for want of memory or although there is some.
    fn skip(&mut self, has_memory: bool) -> bool {
        let Some(copy) = self.pop() else { return false };
        if self.skipped.total() == 0 {
            self.skipped.topic = copy.publication.topic.clone();
        }
        self.skipped.lagged += u64::from(has_memory);
        self.skipped.for_memory += u64::from(!has_memory);
        true
    }

    fn note_bytes(&mut self) {
        if self.copies.is_empty() && self.copies.capacity() > KEEP_COPIES {
            self.copies = VecDeque::new();
        }
        self.charge.set(self.bytes);
    }

    /// Noted once it is known how much goes: before, the charge would take for granted
    /// what there may be no memory for.
    fn pop(&mut self) -> Option<Copy> {
        let copy = self.copies.pop_front()?;
        self.bytes -= copy.publication.waiting_bytes();
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::broker::bus::carrier::poll_now;
    use crate::broker::limits::memory::{Memory, MemoryKind};

    fn copy(payload: &'static [u8]) -> Copy {
        let publication = Publication { payload: Bytes::from_static(payload), ..Publication::default() };
        Copy { publication: Arc::new(publication), subscriptions: Arc::from([1]) }
    }

    #[test]
    fn the_oldest_go_where_there_is_no_room_and_are_counted_once() {
        let mailbox = Mailbox::of(1);
        mailbox.widen(2 * copy(b"1").publication.waiting_bytes());
        for payload in [b"1", b"2", b"3", b"4"] {
            mailbox.put(copy(payload));
        }
        let two = Skipped { lagged: 2, ..Skipped::default() };
        assert_eq!((mailbox.take_skipped(), mailbox.take_skipped()), (two, Skipped::default()));
        let left: Vec<_> =
            std::iter::from_fn(|| mailbox.take()).map(|copy| copy.publication.payload.clone()).collect();
        assert_eq!(left, [&b"3"[..], b"4"]);
        assert_eq!(lock(&mailbox.state).bytes, 0);
    }

    #[test]
    fn without_memory_it_grows_by_no_message_and_what_goes_for_another_is_counted() {
        let memory = Memory::new(1 << 20);
        let holder = memory.holder(Owner::Node, None);
        let _all = holder.charge(MemoryKind::Retained, 1 << 20);
        let mailbox = Mailbox::of(1);
        mailbox.count_to(holder.charge(MemoryKind::Queues, 0));
        mailbox.widen(usize::MAX);
        mailbox.put(copy(b"small"));
        mailbox.put(copy(b"small"));
        for _ in 0..10 {
            mailbox.put(copy(&[7; 100_000]));
            assert_eq!(lock(&mailbox.state).copies.len(), 1);
        }
        assert_eq!((mailbox.take_skipped().for_memory, memory.refused()), (11, 11));
    }

    #[test]
    fn what_waits_for_a_client_that_takes_nothing_keeps_no_block() {
        let block = Bytes::from(vec![7; 64 * 1024]);
        let mailbox = Mailbox::of(1);
        mailbox.widen(usize::MAX);
        let publication = Publication { payload: block.slice(10..20), ..Publication::default() };
        mailbox.put(Copy { publication: Arc::new(publication), subscriptions: Arc::from([1]) });
        assert!(!block.is_unique() && !mailbox.is_lagging());
        mailbox.note_blocked(true);
        assert!(block.is_unique() && mailbox.is_lagging());
        mailbox.note_blocked(false);
        assert!(!mailbox.is_lagging());
        assert_eq!(mailbox.take().unwrap().publication.payload, [7; 10][..]);
    }

    #[test]
    fn one_that_is_closed_holds_nothing_and_takes_nothing() {
        let mailbox = Mailbox::of(1);
        mailbox.widen(usize::MAX);
        mailbox.put(copy(b"1"));
        mailbox.close();
        assert!(mailbox.put(copy(b"2")), "it is for nobody, rather than dropped");
        assert_eq!((mailbox.is_empty(), lock(&mailbox.state).bytes), (true, 0));
    }

    #[test]
    fn one_message_fits_however_large_it_is() {
        let mailbox = Mailbox::of(1);
        mailbox.put(copy(b"larger than nothing"));
        assert!(mailbox.take().is_some() && mailbox.take_skipped().total() == 0);
    }

    /// A connection takes as much as it likes at a time, then waits for an arrival, or
    /// for something else while it takes nothing.
    #[test]
    fn whatever_is_left_lying_is_found_when_more_is_taken() {
        for seed in 0..300u64 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (mailbox, mut taken, mut put) = (Mailbox::of(1), 0, 0);
            mailbox.widen(usize::MAX);
            let mut waiting = None;
            for _ in 0..rng.random_range(1..60) {
                match rng.random_range(0..4) {
                    0 | 1 => {
                        mailbox.put(copy(b"x"));
                        put += 1;
                    }
                    2 => waiting = None,
                    _ => {
                        let mut arrival = waiting.take().unwrap_or_else(|| Box::pin(mailbox.arrival()));
                        match poll_now(&mut arrival) {
                            None => waiting = Some(arrival),
                            Some(()) => {
                                taken += (0..rng.random_range(0..4)).filter_map(|_| mailbox.take()).count();
                            }
                        }
                    }
                }
            }
            let mut arrival = waiting.take().unwrap_or_else(|| Box::pin(mailbox.arrival()));
            while taken < put {
                assert!(poll_now(&mut arrival).is_some(), "seed {seed}: {put} were put in, {taken} taken");
                taken += mailbox.take().iter().count();
                arrival = Box::pin(mailbox.arrival());
            }
        }
    }
}
