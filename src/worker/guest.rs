//! A guest among the workers: the thread that brings requests calls the model itself
//! while every worker is idle.
//!
//! Waking a worker takes longer than a small model. A guest is only let in to models that are prompt, because
//! nobody watches it, and while it is at work no worker is, so that each device keeps its order.

use std::sync::Arc;

use super::pool::Shared;
use super::running::{Slot, Worker};
use super::{Context, Done, Job};

/// A worker's means for a thread that has something else to do as well.
pub struct Guest<C> {
    shared: Arc<Shared<C>>,
    /// From its first visit on, while the model in force takes guests.
    worker: Option<Worker<C>>,
}

/// While it lives no worker works.
pub struct Visit<'a, C> {
    guest: &'a mut Guest<C>,
    jobs: usize,
}

impl<C: Context> Guest<C> {
    pub(super) fn new(shared: Arc<Shared<C>>) -> Self {
        Self { shared, worker: None }
    }

    /// Begins a visit for as many of `jobs` as are one batch, if there are any, every worker is idle
    /// and nothing waits. What was done must be on its way to its devices when the visit is dropped.
    pub fn enter(&mut self, jobs: usize) -> Option<Visit<'_, C>> {
        if !self.shared.in_force.takes_guests() {
            self.worker = None;
            return None;
        }
        let jobs = jobs.min(self.shared.config.batch_max);
        // Not made before it is let in: a visit that ends lets out.
        let visit = (jobs > 0 && self.shared.let_in()).then(|| Visit { guest: self, jobs })?;
        visit.guest.has_the_model_in_force().then_some(visit)
    }

    fn has_the_model_in_force(&mut self) -> bool {
        if let Some(worker) = &mut self.worker {
            return worker.has_the_model_in_force();
        }
        let owned = self.shared.in_force.take();
        self.worker =
            owned.map(|owned| Worker::new(Arc::clone(&self.shared), Arc::new(Slot::default()), owned));
        self.worker.is_some()
    }
}

impl<C: Context> Visit<'_, C> {
    /// How many jobs it is for.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// Does `jobs`, in order, and empties it; all of them are in `ended`.
    pub fn run(&mut self, jobs: &mut Vec<Job<C>>, ended: &mut Vec<Done<C>>) {
        if let Some(worker) = &mut self.guest.worker {
            worker.run_once(jobs, ended);
        }
    }
}

impl<C> Drop for Visit<'_, C> {
    fn drop(&mut self) {
        self.guest.shared.let_out();
    }
}
