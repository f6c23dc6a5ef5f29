//! A guest among the workers (caller-runs execution): the thread that brings requests calls the model itself
//! while every worker is idle.
//!
//! Waking a worker takes longer than a small model. A guest is only let in to models that are prompt, because
//! nobody watches it, and while it is at work no worker is, so that each device keeps its order.

use std::sync::Arc;

use super::running::Worker;
use super::shared::Shared;
use super::slot::Slot;
use super::{Context, Done, Job};

/// A worker's means for a thread that has something else to do as well.
pub struct Guest<C> {
    shared: Arc<Shared<C>>,
    /// From its first visit on, while the model in force takes guests.
    worker: Option<Worker<C>>,
}

/// While it lives no worker works.
pub struct Visit<'a, C> {
    shared: &'a Shared<C>,
    worker: &'a mut Worker<C>,
    jobs: usize,
}

impl<C: Context> Guest<C> {
    pub fn new(shared: Arc<Shared<C>>) -> Self {
        Self { shared, worker: None }
    }

    /// Begins a visit for as many of `jobs` as are one batch, if there are any, every worker is idle
    /// and nothing waits. What was done must be on its way to its devices when the visit is dropped.
    pub fn enter(&mut self, jobs: usize) -> Option<Visit<'_, C>> {
        let Self { shared, worker } = self;
        if !shared.in_force.takes_guests() {
            *worker = None;
            return None;
        }
        let jobs = jobs.min(shared.config.batch_max);
        // Only while every worker is idle: beside one that is busy a request could overtake those of the same
        // device. To wake a worker takes longer than a small model: a single request's p50 is 0.76 times what
        // it was before guests were let in (docs/performance.md).
        if jobs == 0 || !shared.let_in() {
            return None;
        }
        match with_the_model_in_force(shared, worker) {
            Some(worker) => Some(Visit { shared, worker, jobs }),
            None => {
                shared.let_out();
                None
            }
        }
    }
}

/// The guest's worker, with the model in force if that takes guests.
fn with_the_model_in_force<'a, C: Context>(
    shared: &Arc<Shared<C>>,
    worker: &'a mut Option<Worker<C>>,
) -> Option<&'a mut Worker<C>> {
    if worker.is_none() {
        let owned = shared.in_force.take()?;
        *worker = Some(Worker::new(Arc::clone(shared), Arc::new(Slot::default()), owned));
    }
    let has_it = worker.as_mut()?.has_the_model_in_force();
    // Asked again: the model may have been exchanged since, for one that takes its time.
    if has_it && shared.in_force.takes_guests() { worker.as_mut() } else { None }
}

impl<C: Context> Visit<'_, C> {
    /// How many jobs it is for.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// Does `jobs`, in order, and empties it; all of them are in `ended`.
    pub fn run(&mut self, jobs: &mut Vec<Job<C>>, ended: &mut Vec<Done<C>>) {
        self.worker.run_once(jobs, ended);
    }
}

impl<C> Drop for Visit<'_, C> {
    fn drop(&mut self) {
        self.shared.let_out();
    }
}
