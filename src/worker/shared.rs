//! What a pool, its workers, guests and watch share: the queue, the model in force, and who is there.

use std::hash::RandomState;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::in_force::{Copies, InForce};
use super::inputs::Inputs;
use super::lanes::{Bounds, Lanes};
use super::slot::Slot;
use super::{Job, WorkerConfig, WorkerHealth};
use crate::inference::{ErrorCode, Refusal};
use crate::sync::{self, lock};

/// Why nothing is taken when no worker is left.
pub const NOBODY_LEFT: &str = "every worker of the model hangs, and none could be replaced";

/// What the pool, its workers and its watch share. Where two are locked, the state is first, a slot second.
pub struct Shared<C> {
    pub config: WorkerConfig,
    pub in_force: InForce,
    /// What its inputs look like.
    pub inputs: Mutex<Inputs>,
    /// Seeded at random, so that no device can choose whose lane it shares.
    pub hasher: RandomState,
    state: Mutex<State<C>>,
    /// Jobs for a worker.
    pub arrived: Condvar,
    /// News for the watch.
    pub watched: Condvar,
    threads: Mutex<Threads<C>>,
    /// Whether the last forward passes failed, to be read without the lock.
    is_troubled: AtomicBool,
    /// How many of the next threads cannot be started.
    #[cfg(test)]
    pub starts_that_fail: std::sync::atomic::AtomicUsize,
}

/// The threads that a pool waits for in the end, each with its slot.
pub type Threads<C> = Vec<(Arc<Slot<C>>, JoinHandle<()>)>;

pub struct State<C> {
    pub lanes: Lanes<Job<C>>,
    pub is_closed: bool,
    /// A guest is at work, and nobody else is until it leaves: that keeps each device's order.
    has_guest: bool,
    /// Workers that wait and that nobody has woken, so that a busy one costs its senders no system call.
    pub idle: usize,
    /// Worker threads that neither hang nor have ended.
    pub serving: usize,
    /// Threads whose place another one has taken, and that still hang.
    pub abandoned: usize,
    /// When the watch looks next; `None` while it is awake.
    pub watch_wakes_at: Option<Instant>,
    pub health: WorkerHealth,
    pub slots: Vec<Arc<Slot<C>>>,
}

impl<C> State<C> {
    /// Why nothing is taken now, if so.
    pub fn refuses_all(&self) -> Option<Refusal> {
        let reason = if self.is_closed {
            "no model serves this deployment any more"
        } else if self.serving == 0 && !self.slots.is_empty() {
            NOBODY_LEFT
        } else {
            return None;
        };
        Some(Refusal::new(ErrorCode::ModelNotReady, reason))
    }
}

impl<C> Shared<C> {
    /// An empty queue, and no worker yet.
    pub fn new(config: WorkerConfig, placement: &str, copies: Copies) -> Self {
        let bounds = Bounds {
            requests_max: config.queue_requests_max,
            bytes_max: config.queue_bytes_max,
            policy: config.queue_policy,
        };
        let state = State {
            lanes: Lanes::new(bounds),
            is_closed: false,
            has_guest: false,
            idle: 0,
            serving: 0,
            abandoned: 0,
            watch_wakes_at: None,
            health: WorkerHealth::default(),
            slots: Vec::new(),
        };
        Self {
            config,
            in_force: InForce::new(placement, copies),
            inputs: Mutex::default(),
            hasher: RandomState::new(),
            state: Mutex::new(state),
            arrived: Condvar::new(),
            watched: Condvar::new(),
            threads: Mutex::default(),
            is_troubled: AtomicBool::new(false),
            #[cfg(test)]
            starts_that_fail: Default::default(),
        }
    }

    /// Starts a thread.
    pub fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        #[cfg(test)]
        if self
            .starts_that_fail
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
        {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        thread::Builder::new().name(name.to_owned()).spawn(work)
    }

    pub fn lock(&self) -> MutexGuard<'_, State<C>> {
        lock(&self.state)
    }

    pub fn lock_threads(&self) -> MutexGuard<'_, Threads<C>> {
        lock(&self.threads)
    }

    /// Gives back the lanes of the last batch, waits for jobs and takes a fair part of them; none
    /// when another model than number `revision` has come into force meanwhile. False when the pool is
    /// closed and nothing is left for this worker.
    pub fn take(&self, revision: u64, held: &mut Vec<usize>, batch: &mut Vec<Job<C>>) -> bool {
        let mut state = self.lock();
        state.lanes.release(held);
        loop {
            // What waits is shared with the workers that have nothing to do.
            let fair_share = state.lanes.len().div_ceil(state.idle + 1);
            let count = if state.has_guest { 0 } else { fair_share.min(self.config.batch_max.max(1)) };
            state.lanes.take(count, batch, held);
            if !batch.is_empty() {
                break;
            }
            if state.is_closed && state.lanes.is_empty() {
                // Others may wait for lanes that this one held.
                self.arrived.notify_all();
                return false;
            }
            if self.in_force.revision() != revision {
                return true;
            }
            state.idle += 1;
            state = sync::wait(&self.arrived, state);
        }
        let wakes_another = state.idle > 0 && state.lanes.has_ready();
        if wakes_another {
            state.idle -= 1;
        }
        drop(state);
        if wakes_another {
            self.arrived.notify_one();
        }
        true
    }

    /// Lets a guest in if nobody has anything else to do.
    pub fn let_in(&self) -> bool {
        let mut state = self.lock();
        // A worker that has been woken is not counted as idle any more, so that what was submitted for it is
        // not overtaken.
        let is_free = !state.has_guest && state.idle > 0 && state.idle == state.serving;
        let may_run = is_free && state.lanes.is_empty() && !state.is_closed;
        state.has_guest |= may_run;
        may_run
    }

    /// The guest leaves. What has come meanwhile is the workers'.
    pub fn let_out(&self) {
        let mut state = self.lock();
        state.has_guest = false;
        let wakes_one = state.idle > 0 && !state.lanes.is_empty();
        if wakes_one {
            state.idle -= 1;
        }
        drop(state);
        if wakes_one {
            self.arrived.notify_one();
        }
    }

    /// Waits, as the watch, until `until` or until there is news.
    pub fn watch<'a>(
        &self,
        mut state: MutexGuard<'a, State<C>>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, State<C>> {
        state.watch_wakes_at = Some(until.unwrap_or_else(|| Instant::now() + WATCH_AT_LEAST_EVERY));
        let wait =
            state.watch_wakes_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        let mut state = sync::wait_timeout(&self.watched, state, wait);
        state.watch_wakes_at = None;
        state
    }

    pub fn wake_watch(&self) {
        self.watched.notify_one();
    }

    /// Makes idle workers look again.
    pub fn wake_workers(&self, mut state: MutexGuard<'_, State<C>>) {
        state.idle = 0;
        drop(state);
        self.arrived.notify_all();
    }

    /// A forward pass failed.
    pub fn note_failure(&self, cause: &str) {
        self.lock().health.failed(cause);
        self.is_troubled.store(true, Ordering::Release);
    }

    /// A forward pass succeeded.
    pub fn note_success(&self) {
        if self.is_troubled.load(Ordering::Acquire) {
            self.is_troubled.store(false, Ordering::Release);
            self.lock().health.recovered();
        }
    }
}

/// Without deadlines and without a bound on inference there is nothing to see.
const WATCH_AT_LEAST_EVERY: Duration = Duration::from_secs(3_600);
