//! Back-pressure: where publishers wait for a receiver that is slow, with
//! `pending_policy = "wait"`: a session, or a shared group.
//!
//! While the receiver's queue is full nobody who publishes to it goes on. When half of
//! what was too much has been taken, those who wait are let in by turns, first come, first
//! served, each for what there is room for. A publisher never waits for a receiver that is
//! away, nor for itself. Two that wait for each other could wait for ever, because what
//! they acknowledge lies behind what they publish: so they are [read ahead](crate::broker::session::ahead),
//! and a receiver that waits itself is waited for only once twice as much lies before it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::carrier::turnstile::Place;
use crate::sync::lock;

/// The gate before one queue. It stands open unless it is [guarded](Self::guard).
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    /// Not everybody may pass, to be seen without the lock.
    is_shut: AtomicBool,
}

#[derive(Default)]
struct State {
    is_guarded: bool,
    /// What lies in the queue, and what it may hold: half of that from publishers that wait.
    bytes: usize,
    bytes_max: usize,
    /// Half of it was reached, and a quarter has not been since.
    is_full: bool,
    /// How many of its receivers wait at other gates themselves.
    held: usize,
    waiting: VecDeque<Arc<Place>>,
    /// Who was let in and has not left yet, and the bytes that it may still send in its turn.
    guest: Option<Arc<Place>>,
    turn_bytes: usize,
}

impl State {
    fn has_room(&self) -> bool {
        !self.is_guarded || !self.is_full || self.held > 0 && self.bytes < self.bytes_max
    }

    fn is_guest(&self, place: &Arc<Place>) -> bool {
        self.guest.as_ref().is_some_and(|guest| Arc::ptr_eq(guest, place))
    }
}

impl Gate {
    /// From now on publishers wait for the queue.
    pub fn guard(&self) {
        self.change(|state| state.is_guarded = true);
    }

    /// From now on nobody does, because the receiver is away or gone.
    pub fn open(&self) {
        self.change(|state| {
            *state = State { waiting: std::mem::take(&mut state.waiting), ..State::default() };
            state.waiting.drain(..).for_each(|place| place.call_in());
        });
    }

    pub fn is_guarded(&self) -> bool {
        lock(&self.state).is_guarded
    }

    /// Whether publishers wait here, or would.
    pub fn is_shut(&self) -> bool {
        self.is_shut.load(Ordering::Relaxed)
    }

    /// What lies in the queue now.
    pub fn note(&self, bytes: usize, bytes_max: usize) {
        let mut state = lock(&self.state);
        if !state.is_guarded {
            return;
        }
        let had_room = state.has_room();
        let threshold = bytes_max / if state.is_full { 4 } else { 2 };
        let is_full = bytes > 0 && bytes >= threshold;
        let has_changed = is_full != state.is_full;
        (state.bytes, state.bytes_max, state.is_full) = (bytes, bytes_max, is_full);
        if has_changed || state.has_room() != had_room {
            self.settle(&mut state);
        }
    }

    /// A receiver waits at a gate itself, or does no more.
    pub fn note_held(&self, is_held: bool) {
        self.change(|state| {
            state.held = if is_held { state.held + 1 } else { state.held.saturating_sub(1) };
        });
    }

    /// Whether a publisher may pass: in its turn, or when nobody waits.
    pub fn admits(&self, place: &Arc<Place>) -> bool {
        if !self.is_shut() {
            return true;
        }
        let state = lock(&self.state);
        let is_crowded = state.guest.is_some() || !state.waiting.is_empty();
        state.has_room() && if state.is_guest(place) { state.turn_bytes > 0 } else { !is_crowded }
    }

    /// Whoever has its turn sends a message. What it has sent takes a while to come to
    /// the queue, so its turn is counted here.
    pub fn pass(&self, place: &Arc<Place>, bytes: usize) {
        let mut state = lock(&self.state);
        if state.is_guest(place) {
            state.turn_bytes = state.turn_bytes.saturating_sub(bytes);
        }
    }

    /// Waits behind the others. One that waits here already keeps its place.
    pub fn join(&self, place: &Arc<Place>) {
        self.change(|state| {
            if !place.is_queued() {
                place.queue_up();
                state.waiting.push_back(place.clone());
            }
            if state.is_guest(place) {
                state.guest = None;
            }
        });
    }

    /// Gives up the place here, or the turn.
    pub fn leave(&self, place: &Arc<Place>) {
        self.change(|state| {
            state.waiting.retain(|other| !Arc::ptr_eq(other, place));
            place.step_out();
            if state.is_guest(place) {
                state.guest = None;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        self.settle(&mut state);
    }

    /// Lets the next one in, if there is room and nobody has a turn.
    fn settle(&self, state: &mut State) {
        if state.guest.is_none() && state.has_room() {
            state.guest = state.waiting.pop_front();
            state.turn_bytes = (state.bytes_max / 2).saturating_sub(state.bytes).max(1);
            state.guest.iter().for_each(|guest| guest.call_in());
        }
        let is_shut =
            state.is_guarded && (state.is_full || state.guest.is_some() || !state.waiting.is_empty());
        self.is_shut.store(is_shut, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
