//! A worker pool: one queue, and the workers of one model behind it.
//!
//! Requests of one device that are with the model are all with one worker, until they are
//! answered: that keeps their order. Requests of different devices may overtake one another.

use std::hash::BuildHasher;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::guest::Guest;
use super::in_force::Copies;
use super::lanes::Ousted;
use super::running;
use super::shared::Shared;
use super::slot::Slot;
use super::watch::Watch;
use super::{Context, Done, Job, WorkerConfig, WorkerHealth};
use crate::detection::Memory;
use crate::inference::{ErrorCode, Refusal};
use crate::model::ModelInfo;

/// The most workers of one model; each is a thread.
pub const WORKERS_MAX: usize = 64;

/// The queue in front of a model's workers, and the workers. Clones are the same pool.
pub struct Pool<C> {
    pub shared: Arc<Shared<C>>,
}

impl<C> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: Context> Pool<C> {
    /// An empty queue within the bounds of `config`, before workers to come with `copies` of a model that
    /// stands at `placement`.
    pub fn new(config: WorkerConfig, placement: &str, copies: Copies) -> Self {
        Self { shared: Arc::new(Shared::new(config, placement, copies)) }
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
            // A hash in place of the name, so that a lane owns no text. Two devices with one hash share a
            // lane: that costs them fairness to each other, and no order.
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
        // Behind the lock, or whoever wakes would wait for it at once.
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
        let WorkerConfig { queue_requests_max, queue_bytes_max, .. } = self.shared.config;
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

    /// Puts another model in force, which takes the same requests, with as many `copies` as there are
    /// workers. Returns its number, which is how often models have been exchanged.
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

    /// What the model in force knows of devices, if it remembers.
    pub fn memory(&self) -> Option<Memory> {
        self.shared.in_force.memory()
    }

    /// How many jobs wait.
    pub fn len(&self) -> usize {
        self.shared.lock().lanes.len()
    }

    /// Whether no job waits.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How the workers are doing.
    pub fn health(&self) -> WorkerHealth {
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
            running::start(&self.shared, &mut self.shared.lock(), &name, answer.clone())?;
        }
        let watch = Watch::new(Arc::clone(&self.shared), name, answer);
        let thread = self.shared.spawn(&format!("watch-{name}"), move || watch.run())?;
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
