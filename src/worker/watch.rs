//! The watch over a model's workers: answers what is late when it is late, and
//! replaces a worker whose model does not return.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::error;

use super::pool::{Shared, State};
use super::running::{Running, Slot};
use super::{Done, Job};
use crate::inference::{ErrorCode, Refusal};

/// The most threads that are left behind in a model that does not return; with so
/// many, none is replaced any more.
const ABANDONED_MAX: usize = 8;

/// The watch's thread.
pub struct Watch<C, A> {
    shared: Arc<Shared<C>>,
    name: String,
    answer: A,
    replaced: usize,
}

impl<C, A> Watch<C, A>
where
    C: Send + 'static,
    A: FnMut(&mut Vec<Done<C>>) + Clone + Send + 'static,
{
    pub fn new(shared: Arc<Shared<C>>, name: &str, answer: A) -> Self {
        Self { shared, name: name.to_owned(), answer, replaced: 0 }
    }

    /// Ends when the pool is closed and no worker serves any more.
    pub fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut expired = Vec::new();
        let mut state = shared.lock();
        loop {
            let now = Instant::now();
            state.lanes.expire(now, &mut expired);
            if !expired.is_empty() {
                drop(state);
                self.end(&mut expired, |job| job.expired(now));
                state = shared.lock();
                continue;
            }
            let (hung, next_look) = look(&state, shared.config.inference_timeout, now);
            if let Some((slot, running)) = hung {
                drop(state);
                self.give_up(&slot, running);
                state = shared.lock();
                continue;
            }
            if state.is_closed && state.serving == 0 {
                return;
            }
            let until = [state.lanes.next_deadline(), next_look].into_iter().flatten().min();
            state = shared.watch(state, until);
        }
    }

    fn end(&mut self, jobs: &mut Vec<Job<C>>, end: impl Fn(Job<C>) -> Done<C>) {
        let mut done = jobs.drain(..).map(end).collect();
        (self.answer)(&mut done);
    }

    /// Answers what a hung model has, and puts another worker in its place where that can be done.
    fn give_up(&mut self, slot: &Arc<Slot<C>>, mut running: Running<C>) {
        let inference = running.started_at.elapsed();
        let cause = format!("the model did not return within {inference:.1?} (inference_timeout)");
        error!(deployment = self.name, requests = running.batch.len(), "{cause}");
        let refusal = Refusal::new(ErrorCode::Internal, format!("inference failed: {cause}"));
        let batch = std::mem::take(&mut running.batch);
        let mut done =
            batch.into_iter().map(|job| running.end(job, Err(refusal.clone()), inference)).collect();
        (self.answer)(&mut done);
        let mut state = self.shared.lock();
        state.lanes.release(&mut running.held);
        state.health.inference_timeouts += 1;
        state.serving -= 1;
        let may_replace = state.abandoned < ABANDONED_MAX;
        drop(state);
        self.shared.note_failure(&cause);
        if !(may_replace && self.replace(slot)) {
            self.stand_still();
        }
        self.shared.wake_workers(self.shared.lock());
    }

    /// Whether the place of the worker is taken, if only by itself.
    fn replace(&mut self, slot: &Arc<Slot<C>>) -> bool {
        let Some(model) = self.shared.replacement() else { return false };
        {
            let mut state = self.shared.lock();
            let mut left_behind = slot.lock();
            if !left_behind.is_hung {
                return true;
            }
            left_behind.is_replaced = true;
            state.abandoned += 1;
        }
        self.shared.lock_threads().retain(|(known, _)| !Arc::ptr_eq(known, slot));
        self.replaced += 1;
        let name = format!("model-{}-r{}", self.name, self.replaced);
        let started = self.shared.start_worker(&name, model, self.answer.clone());
        if let Err(cause) = &started {
            error!(deployment = self.name, %cause, "no thread for another worker");
        }
        started.is_ok()
    }

    /// Without any worker, what waits is answered now, and new requests are refused until a model returns.
    fn stand_still(&mut self) {
        let mut state = self.shared.lock();
        let Some(refusal) = state.refuses_all() else { return };
        state.health.failing = Some(refusal.message.clone());
        let mut waiting = Vec::new();
        state.lanes.drain(&mut waiting);
        drop(state);
        let now = Instant::now();
        self.end(&mut waiting, |job| job.refused(now, refusal.clone()));
    }
}

type Hung<C> = (Arc<Slot<C>>, Running<C>);

/// Takes the batch of a worker that has been with it for too long, or says when to look again.
fn look<C>(state: &State<C>, timeout: Option<Duration>, now: Instant) -> (Option<Hung<C>>, Option<Instant>) {
    let Some(timeout) = timeout else { return (None, None) };
    // What starts after this look is due after the next one.
    let mut next_look = now + timeout;
    for slot in &state.slots {
        let mut busy = slot.lock();
        let Some(running) = &busy.running else { continue };
        let due = running.started_at + timeout;
        if due > now {
            next_look = next_look.min(due);
        } else if let Some(running) = busy.running.take() {
            busy.is_hung = true;
            return (Some((Arc::clone(slot), running)), None);
        }
    }
    (None, Some(next_look))
}
