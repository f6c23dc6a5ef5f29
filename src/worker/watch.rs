//! The watch, a watchdog over a model's workers: answers what is late when it is late, and replaces a worker
//! whose model does not return.

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use tracing::error;

use super::shared::{NOBODY_LEFT, Shared, State};
use super::slot::{Running, Slot};
use super::{Context, Done, Job, running};
use crate::inference::{ErrorCode, Refusal};
use crate::sync::after;

/// The most threads that are left behind in a model that does not return; with so
/// many, none is replaced any more.
const ABANDONED_MAX: usize = 8;
/// How long after a thread could not be started it is tried again.
const START_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The watch's thread.
pub struct Watch<C, A> {
    shared: Arc<Shared<C>>,
    name: String,
    answer: A,
    replaced: usize,
    /// When to try again what could not be started.
    start_again_at: Option<Instant>,
}

impl<C, A> Watch<C, A>
where
    C: Context,
    A: FnMut(&mut Vec<Done<C>>) + Clone + Send + 'static,
{
    pub fn new(shared: Arc<Shared<C>>, name: &str, answer: A) -> Self {
        Self { shared, name: name.to_owned(), answer, replaced: 0, start_again_at: None }
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
            if let Some(running) = hung {
                drop(state);
                self.give_up(running);
                state = shared.lock();
                continue;
            }
            // Also a place that could not be filled before: threads and models may have come.
            let vacant = self.vacant(&state);
            if let Some(slot) = vacant.as_ref().filter(|_| self.may_start(now)) {
                self.fill(slot, state, now);
                state = shared.lock();
                continue;
            }
            if state.is_closed && state.serving == 0 {
                return;
            }
            let start_again_at = self.start_again_at.filter(|_| vacant.is_some());
            let until = [state.lanes.next_deadline(), next_look, start_again_at].into_iter().flatten().min();
            state = shared.watch(state, until);
        }
    }

    fn end(&mut self, jobs: &mut Vec<Job<C>>, end: impl Fn(Job<C>) -> Done<C>) {
        let mut done = jobs.drain(..).map(end).collect();
        (self.answer)(&mut done);
    }

    /// Answers what a hung model has. Its worker's place is vacant then.
    fn give_up(&mut self, mut running: Running<C>) {
        let inference = running.started_at.elapsed();
        let cause = format!("the model did not return within {inference:.1?} (inference_timeout)");
        error!(deployment = self.name, requests = running.batch.len(), "{cause}");
        let refusal = Refusal::new(ErrorCode::Internal, format!("inference failed: {cause}"));
        let batch = std::mem::take(&mut running.batch);
        let mut done =
            batch.into_iter().map(|job| running.end(job, Err(refusal.clone()), inference)).collect();
        let mut state = self.shared.lock();
        state.health.inference_timeouts += 1;
        drop(state);
        self.shared.note_failure(&cause);
        let mut state = self.shared.lock();
        let is_filled_next = self.vacant(&state).is_some() && self.may_start(Instant::now());
        if !is_filled_next && state.serving <= 1 {
            // Before the answer: whoever has it may look at once whether the node is ready.
            state.health.failing = Some(NOBODY_LEFT.to_owned());
        }
        drop(state);
        // The thread stays behind in the model, for no thread can be ended from outside: it may hold any
        // lock.
        (self.answer)(&mut done);
        let mut state = self.shared.lock();
        state.lanes.release(&mut running.held);
        state.serving -= 1;
        drop(state);
        if !is_filled_next {
            self.stand_still();
        }
        self.shared.wake_workers(self.shared.lock());
    }

    /// Starts another worker in the place of one that hangs, and cannot come back while `state` is locked.
    fn fill(&mut self, slot: &Arc<Slot<C>>, mut state: MutexGuard<'_, State<C>>, now: Instant) {
        let name = format!("model-{}-r{}", self.name, self.replaced + 1);
        if let Err(cause) = running::start(&self.shared, &mut state, &name, self.answer.clone()) {
            drop(state);
            error!(deployment = self.name, %cause, "no thread for another worker; it is tried again");
            self.start_again_at = Some(now + START_AGAIN_AFTER);
            return self.stand_still();
        }
        slot.lock().is_replaced = true;
        state.abandoned += 1;
        state.health.workers_replaced += 1;
        self.shared.lock_threads().retain(|(known, _)| !Arc::ptr_eq(known, slot));
        self.shared.wake_workers(state);
        self.replaced += 1;
        self.start_again_at = None;
    }

    fn may_start(&self, now: Instant) -> bool {
        self.start_again_at.is_none_or(|at| at <= now)
    }

    /// A worker that hangs, and whose place another one could take.
    fn vacant(&self, state: &State<C>) -> Option<Arc<Slot<C>>> {
        let is_vacant = |slot: &&Arc<Slot<C>>| {
            let left_behind = slot.lock();
            left_behind.is_hung && !left_behind.is_replaced
        };
        let slot = state.slots.iter().find(is_vacant)?;
        (state.abandoned < ABANDONED_MAX && self.shared.in_force.has_one()).then(|| Arc::clone(slot))
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

/// Takes the batch of a worker that has been with it for too long, or says when to look again.
fn look<C>(
    state: &State<C>,
    timeout: Option<Duration>,
    now: Instant,
) -> (Option<Running<C>>, Option<Instant>) {
    let Some(timeout) = timeout else { return (None, None) };
    // What starts after this look is due after the next one.
    let mut next_look = after(now, timeout);
    for slot in &state.slots {
        let mut busy = slot.lock();
        let Some(running) = &busy.running else { continue };
        let due = after(running.started_at, timeout);
        if due > now {
            next_look = next_look.min(due);
        } else if let Some(running) = busy.running.take() {
            busy.is_hung = true;
            return (Some(running), None);
        }
    }
    (None, Some(next_look))
}
