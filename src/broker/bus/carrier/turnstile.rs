//! Back-pressure: connections that wait for room on a lane, let in by turns: first come, first
//! served, each for its part of the room.
//!
//! Who has more to send than that waits again, behind the others. So nobody is before another by more than
//! a turn, however much it sends, and a thousand connections are not all woken for the room of a few.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::lane::Lane;
use crate::broker::bus::gate::Gate;
use crate::sync::lock;

/// Those who wait before one lane. There are at most as many as there are connections.
#[derive(Default)]
pub struct Turnstile {
    waiting: Mutex<VecDeque<Arc<Place>>>,
    /// How many of them wait for room, to be seen without the lock. The others wait for
    /// messages of their own.
    ready: AtomicUsize,
    /// Messages that those who were let in may still send.
    granted: AtomicU64,
}

/// Where one connection waits.
#[derive(Default)]
pub struct Place {
    called: Notify,
    /// Messages that it may send in its turn.
    turn: AtomicU64,
    /// The size of the message that it waits with.
    bytes: AtomicU64,
    /// How many messages it has, roughly; at least that one.
    messages: AtomicU64,
    /// The lane's message that has to be taken first.
    after: AtomicU64,
    /// It is in a queue. Changed by whoever has the queue's lock.
    is_queued: AtomicBool,
}

impl Place {
    fn is_ready(&self, taken: u64) -> bool {
        self.after.load(Ordering::Relaxed) <= taken
    }

    pub fn is_queued(&self) -> bool {
        self.is_queued.load(Ordering::SeqCst)
    }

    /// It waits at a gate.
    pub fn queue_up(&self) {
        self.is_queued.store(true, Ordering::SeqCst);
    }

    pub fn step_out(&self) {
        self.is_queued.store(false, Ordering::SeqCst);
    }

    /// Its turn at a gate has come.
    pub fn call_in(&self) {
        self.step_out();
        self.called.notify_one();
    }

    fn call(&self, turn: u64) {
        self.turn.store(turn, Ordering::SeqCst);
        self.is_queued.store(false, Ordering::SeqCst);
        self.called.notify_one();
    }
}

impl Turnstile {
    /// Whether somebody waits for room, so that whoever comes now has to wait behind.
    pub fn is_crowded(&self) -> bool {
        self.ready.load(Ordering::SeqCst) > 0
    }

    /// Messages that may come from those who were let in.
    pub fn granted(&self) -> u64 {
        self.granted.load(Ordering::SeqCst)
    }

    /// Lets in as many as there is room for, in messages, of those whose own messages are behind message
    /// number `taken`. Each has an equal part of the room, but at least `turn_least`, and no more than
    /// it has messages; `fits` says whether there is room for so many bytes beside those of everyone let
    /// in before. Returns the message that the next of those who still wait is waiting for.
    pub fn let_in(
        &self,
        mut room: u64,
        turn_least: u64,
        taken: u64,
        fits: impl Fn(u64) -> bool,
    ) -> Option<u64> {
        let mut waiting = lock(&self.waiting);
        let part = room.checked_div(ready(&waiting, taken) as u64).unwrap_or_default().max(turn_least);
        let (mut bytes, mut next) = (0, None::<u64>);
        waiting.retain(|place| {
            let turn = place.messages.load(Ordering::Relaxed).min(part).min(room);
            let is_called = turn > 0 && place.is_ready(taken) && {
                bytes += place.bytes.load(Ordering::Relaxed);
                fits(bytes)
            };
            if is_called {
                room -= turn;
                self.granted.fetch_add(turn, Ordering::SeqCst);
                place.call(turn);
            } else {
                let after = place.after.load(Ordering::Relaxed);
                next = Some(next.map_or(after, |next| next.min(after)));
                if place.is_ready(taken) {
                    // Whoever is behind it must not be let in before it.
                    room = 0;
                }
            }
            !is_called
        });
        self.ready.store(ready(&waiting, taken), Ordering::SeqCst);
        next
    }

    /// Calls everybody, because there is nothing left to wait for.
    pub fn open(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.drain(..).for_each(|place| place.call(0));
        self.ready.store(0, Ordering::SeqCst);
    }

    fn join(&self, place: &Arc<Place>, is_first: bool, taken: u64) {
        let mut waiting = lock(&self.waiting);
        place.is_queued.store(true, Ordering::SeqCst);
        if is_first {
            waiting.push_front(place.clone())
        } else {
            waiting.push_back(place.clone())
        }
        self.ready.fetch_add(usize::from(place.is_ready(taken)), Ordering::SeqCst);
    }

    /// Takes a place out of the queue, or back what is left of its turn. Returns how much that was.
    fn leave(&self, place: &Arc<Place>, taken: u64) -> u64 {
        let mut waiting = lock(&self.waiting);
        if place.is_queued.swap(false, Ordering::SeqCst) {
            waiting.retain(|other| !Arc::ptr_eq(other, place));
            self.ready.store(ready(&waiting, taken), Ordering::SeqCst);
        }
        let left = place.turn.swap(0, Ordering::SeqCst);
        self.granted.fetch_sub(left, Ordering::SeqCst);
        left
    }
}

fn ready(waiting: &VecDeque<Arc<Place>>, taken: u64) -> usize {
    waiting.iter().filter(|place| place.is_ready(taken)).count()
}

/// One connection before the lanes. It waits at one at a time, or has its turn there.
#[derive(Default)]
pub struct Visit {
    place: Arc<Place>,
    lane: Option<Arc<Lane>>,
    gate: Option<Arc<Gate>>,
    is_waiting: bool,
    own: Own,
}

/// What a connection has on its way on the lane that it used last.
#[derive(Default)]
struct Own {
    lane: Weak<Lane>,
    /// Bursts: the lane's message that each ended with, and how many it had.
    bursts: VecDeque<(u64, u64)>,
    messages: u64,
}

impl Own {
    /// Forgets what has been taken.
    fn settle(&mut self, taken: u64) {
        while let Some((end, messages)) = self.bursts.front().copied()
            && end <= taken
        {
            self.bursts.pop_front();
            self.messages -= messages;
        }
    }

    /// The message that must be taken so that at most `left` are on their way.
    fn end_of_all_but(&self, left: u64) -> u64 {
        let mut messages = self.messages;
        let is_enough = |(_, burst): &&(u64, u64)| {
            messages -= burst;
            messages <= left
        };
        self.bursts.iter().find(is_enough).map_or(0, |(end, _)| *end)
    }
}

impl Visit {
    /// Whether it has been let in to this lane, and may still send.
    pub fn has_turn(&self, lane: &Lane) -> bool {
        self.is_at(lane) && self.place.turn.load(Ordering::SeqCst) > 0
    }

    fn is_at(&self, lane: &Lane) -> bool {
        self.lane.as_deref().is_some_and(|at| std::ptr::eq(at, lane))
    }

    /// Whether it waits to be called.
    pub fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// How many of its messages are on their way on a lane.
    pub fn own_messages(&mut self, lane: &Lane) -> u64 {
        if !std::ptr::eq(self.own.lane.as_ptr(), lane) {
            return 0;
        }
        self.own.settle(lane.taken_messages());
        self.own.messages
    }

    /// A message of so many bytes goes out.
    pub fn send_one(&mut self, bytes: usize) {
        if let Some(gate) = &self.gate {
            gate.pass(&self.place, bytes);
        }
        let Some(lane) = &self.lane else { return };
        let take = |left: u64| left.checked_sub(1);
        if self.place.turn.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            lane.turnstile.granted.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// So many have been sent on a lane.
    pub fn note_burst(&mut self, lane: &Arc<Lane>, messages: u64) {
        if !std::ptr::eq(self.own.lane.as_ptr(), Arc::as_ptr(lane)) {
            self.own = Own { lane: Arc::downgrade(lane), ..Own::default() };
        }
        self.own.settle(lane.taken_messages());
        self.own.bursts.push_back((lane.sent_messages(), messages));
        self.own.messages += messages;
    }

    /// Waits at a lane that has no room for a message of so many bytes, one of so many `messages`. One
    /// that waits there already keeps its place, and one whose turn is not over is the first again.
    pub fn wait_at(&mut self, lane: &Arc<Lane>, bytes: u64, messages: u64) {
        let keeps_its_place = self.is_at(lane) && self.place.is_queued.load(Ordering::SeqCst);
        if !keeps_its_place {
            let is_first = self.has_turn(lane);
            self.leave();
            self.lane = Some(lane.clone());
            self.place.bytes.store(bytes, Ordering::Relaxed);
            self.place.messages.store(messages.max(1), Ordering::Relaxed);
            let is_over = self.own_messages(lane) >= lane.limits.share_max;
            let after = if is_over { self.own.end_of_all_but(lane.limits.share_max / 2) } else { 0 };
            self.place.after.store(after, Ordering::Relaxed);
            lane.turnstile.join(&self.place, is_first, lane.taken_messages());
        }
        self.is_waiting = true;
        // There may be room since.
        lane.await_message(self.place.after.load(Ordering::Relaxed));
    }

    /// Whether it may pass a receiver's gate.
    pub fn may_pass(&self, gate: &Gate) -> bool {
        gate.admits(&self.place)
    }

    /// Whether a gate is what it waits at.
    pub fn is_at_gate(&self) -> bool {
        self.is_waiting && self.gate.is_some()
    }

    /// Waits at a gate. One that waits there already keeps its place.
    pub fn wait_at_gate(&mut self, gate: &Arc<Gate>) {
        if !self.gate.as_ref().is_some_and(|at| Arc::ptr_eq(at, gate)) {
            self.leave();
            self.gate = Some(gate.clone());
        }
        self.is_waiting = true;
        gate.join(&self.place);
    }

    /// Waits until it is called. Nothing is lost when the future is dropped.
    pub async fn called(&self) {
        self.place.called.notified().await;
    }

    /// It looks whether it may send.
    pub fn enter(&mut self) {
        self.is_waiting = false;
    }

    /// Whatever it had to send is sent, so that what is left of its turn is the others'.
    pub fn leave(&mut self) {
        self.is_waiting = false;
        if let Some(gate) = self.gate.take() {
            gate.leave(&self.place);
        }
        let Some(lane) = self.lane.take() else { return };
        if lane.turnstile.leave(&self.place, lane.taken_messages()) > 0 || lane.turnstile.is_crowded() {
            lane.await_message(0);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.leave();
    }
}
