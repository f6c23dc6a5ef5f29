//! One queue and the workers of one model behind it.
//!
//! Requests of one device that are with the model are all with one worker, until they are
//! answered: that keeps their order. Requests of different devices may overtake one another.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::guest::Guest;
use super::in_force::{Copies, InForce};
use super::lanes::{Bounds, Lanes, Ousted};
use super::running::{self, Slot};
use super::watch::Watch;
use super::{Config, Context, Done, Health, Job};
use crate::inference::{ErrorCode, Refusal};
use crate::model::ModelInfo;

/// The most workers of one model; each is a thread.
pub const WORKERS_MAX: usize = 64;

/// The queue in front of a model's workers, and the workers. Clones are the same pool.
pub struct Pool<C> {
    pub(super) shared: Arc<Shared<C>>,
}

impl<C> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// What the pool, its workers and its watch share. Where two are locked, the state is first, a slot second.
pub(super) struct Shared<C> {
    pub config: Config,
    pub in_force: InForce,
    /// Seeded at random, so that no device can choose whose lane it shares.
    hasher: RandomState,
    state: Mutex<State<C>>,
    /// Jobs for a worker.
    arrived: Condvar,
    /// News for the watch.
    watched: Condvar,
    threads: Mutex<Threads<C>>,
    /// Whether the last forward passes failed, to be read without the lock.
    is_troubled: AtomicBool,
    /// How many of the next threads cannot be started.
    #[cfg(test)]
    pub starts_that_fail: std::sync::atomic::AtomicUsize,
}

/// The threads that a pool waits for in the end, each with its slot.
type Threads<C> = Vec<(Arc<Slot<C>>, JoinHandle<()>)>;

pub(super) struct State<C> {
    pub lanes: Lanes<Job<C>>,
    pub is_closed: bool,
    /// A [`Guest`] is at work, and nobody else is until it leaves: that keeps each device's order.
    has_guest: bool,
    /// Workers that wait and that nobody has woken, so that a busy one costs its senders no system call.
    idle: usize,
    /// Worker threads that neither hang nor have ended.
    pub serving: usize,
    /// Threads whose place another one has taken, and that still hang.
    pub abandoned: usize,
    /// When the watch looks next; `None` while it is awake.
    pub watch_wakes_at: Option<Instant>,
    pub health: Health,
    pub slots: Vec<Arc<Slot<C>>>,
}

impl<C: Context> Pool<C> {
    /// An empty queue within the bounds of `config`, before workers to come with `copies` of a model that
    /// stands at `placement`.
    pub fn new(config: Config, placement: &str, copies: Copies) -> Self {
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
            health: Health::default(),
            slots: Vec::new(),
        };
        let shared = Shared {
            config,
            in_force: InForce::new(placement, copies),
            hasher: RandomState::new(),
            state: Mutex::new(state),
            arrived: Condvar::new(),
            watched: Condvar::new(),
            threads: Mutex::default(),
            is_troubled: AtomicBool::new(false),
            #[cfg(test)]
            starts_that_fail: Default::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Appends `jobs`, and empties it. Those that there is no room for, or that had to
    /// make room, are in `ended`.
    pub fn submit(&self, jobs: &mut Vec<Job<C>>, ended: &mut Vec<Done<C>>) {
        if jobs.is_empty() {
            return;
        }
        let shared = &*self.shared;
        let mut ousted = Vec::new();
        let mut state = shared.lock();
        if let Some(refusal) = state.refuses_all() {
            drop(state);
            let now = Instant::now();
            return ended.extend(jobs.drain(..).map(|job| job.refused(now, refusal.clone())));
        }
        let workers_wanted = state.idle.min(jobs.len());
        for job in jobs.drain(..) {
            let device = shared.hasher.hash_one(job.context.device());
            state.lanes.push(device, job, &mut ousted);
        }
        state.idle -= workers_wanted;
        let is_due_sooner = match (state.lanes.next_deadline(), state.watch_wakes_at) {
            (Some(due), Some(wakes_at)) => due < wakes_at,
            _ => false,
        };
        if is_due_sooner {
            state.watch_wakes_at = None;
        }
        drop(state);
        (0..workers_wanted).for_each(|_| shared.arrived.notify_one());
        if is_due_sooner {
            shared.watched.notify_one();
        }
        if !ousted.is_empty() {
            let now = Instant::now();
            ended.extend(ousted.into_iter().map(|(job, why)| job.refused(now, self.refusal(why))));
        }
    }

    fn refusal(&self, why: Ousted) -> Refusal {
        let Config { queue_requests_max, queue_bytes_max, .. } = self.shared.config;
        match why {
            Ousted::Full => Refusal::new(
                ErrorCode::Overloaded,
                format!(
                    "the queue is full: it has room for {queue_requests_max} requests and {queue_bytes_max} bytes, shared fairly between devices"
                ),
            ),
            Ousted::Superseded => Refusal::new(
                ErrorCode::Superseded,
                "a newer request of this device took its place in the queue",
            ),
        }
    }

    /// A guest for a thread that submits. It is let in only where the model is prompt, and can be copied.
    pub fn guest(&self) -> Guest<C> {
        Guest::new(Arc::clone(&self.shared))
    }

    /// Puts another model in force, which takes the same requests, with as many `copies` as
    /// there are workers. Returns its number, which is how often models have been exchanged.
    ///
    /// What is with a model stays with it, and what is submitted after this is not answered by the one
    /// before. Nothing stops, and a worker whose model hangs has its place taken by one with the new one.
    pub fn exchange(&self, copies: Copies) -> u64 {
        let revision = self.shared.in_force.exchange(copies);
        let mut state = self.shared.lock();
        if state.serving > 0 {
            // What is said of the one before is no word about this one.
            state.health.recovered();
        }
        // Workers without work let go of what they have; the watch may have a place to fill.
        self.shared.wake_workers(state);
        self.shared.wake_watch();
        revision
    }

    /// What is known about the model in force.
    pub fn model(&self) -> Arc<ModelInfo> {
        self.shared.in_force.info()
    }

    /// How many jobs wait.
    pub fn len(&self) -> usize {
        self.shared.lock().lanes.len()
    }

    /// Whether no job waits.
    pub fn is_empty(&self) -> bool {
        self.shared.lock().lanes.is_empty()
    }

    /// How the workers are doing.
    pub fn health(&self) -> Health {
        self.shared.lock().health.clone()
    }

    /// Whether every thread that was started and was not replaced still runs.
    pub fn is_alive(&self) -> bool {
        !self.shared.lock_threads().iter().any(|(_, thread)| thread.is_finished())
    }

    /// Takes no more jobs; the workers end when those that wait are done.
    pub fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.arrived.notify_all();
        self.shared.watched.notify_one();
    }

    /// Starts so many workers, each a thread, and one that watches them. `answer` is called
    /// with jobs that have ended, those of one device in order of arrival. The thread of
    /// one worker is called `model-NAME`, those of several `model-NAME-1` and so on.
    ///
    /// # Errors
    /// When the operating system starts no more threads; those that were started end when the pool is closed.
    pub fn serve(
        &self,
        name: &str,
        workers: usize,
        answer: impl FnMut(&mut Vec<Done<C>>) + Clone + Send + 'static,
    ) -> io::Result<()> {
        for number in 1..=workers {
            let name = if workers == 1 { format!("model-{name}") } else { format!("model-{name}-{number}") };
            self.shared.start_worker(&mut self.shared.lock(), &name, answer.clone())?;
        }
        let watch = Watch::new(Arc::clone(&self.shared), name, answer);
        let thread = thread::Builder::new().name(format!("watch-{name}")).spawn(move || watch.run())?;
        self.shared.lock_threads().push((Arc::new(Slot::default()), thread));
        Ok(())
    }

    /// Waits for the threads of a closed pool to end, but not for a model that hangs.
    /// False when one of them has panicked.
    pub fn join(&self) -> bool {
        let threads = std::mem::take(&mut *self.shared.lock_threads());
        let ending = threads.into_iter().filter(|(slot, _)| !slot.is_hung());
        // All of them, whatever the first ones say.
        ending.map(|(_, thread)| thread.join().is_ok()).fold(true, |all, one| all & one)
    }
}

impl<C> State<C> {
    /// Why nothing is taken now, if so.
    pub fn refuses_all(&self) -> Option<Refusal> {
        let reason = if self.is_closed {
            "no model serves this deployment any more"
        } else if self.serving == 0 && !self.slots.is_empty() {
            "every worker of the model hangs, and none could be replaced"
        } else {
            return None;
        };
        Some(Refusal::new(ErrorCode::ModelNotReady, reason))
    }
}

impl<C: Context> Shared<C> {
    /// Starts a worker's thread, which takes a copy of the model in force.
    pub fn start_worker(
        self: &Arc<Self>,
        state: &mut State<C>,
        name: &str,
        answer: impl FnMut(&mut Vec<Done<C>>) + Send + 'static,
    ) -> io::Result<()> {
        let slot = Arc::new(Slot::default());
        let (shared, own) = (Arc::clone(self), Arc::clone(&slot));
        let thread = self.spawn(name, move || running::work(shared, own, answer))?;
        // Counted before it can take jobs, which is under the same lock: nobody may find
        // that no worker serves.
        state.serving += 1;
        state.slots.push(Arc::clone(&slot));
        self.lock_threads().push((slot, thread));
        Ok(())
    }

    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
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
}

impl<C> Shared<C> {
    pub fn lock(&self) -> MutexGuard<'_, State<C>> {
        // No code that can panic runs under the lock, so a poisoned one still holds a sound state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn lock_threads(&self) -> MutexGuard<'_, Threads<C>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
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
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
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
        let mut state = self.watched.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
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
