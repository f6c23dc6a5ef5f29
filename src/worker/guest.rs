//! A guest among the workers: the thread that brings requests calls the model itself
//! while every worker is idle.
//!
//! Waking a worker takes longer than a small model. A guest is only for models that are prompt, because
//! nobody watches it, and while it is at work no worker is, so that each device keeps its order.

use std::sync::Arc;

use super::pool::Shared;
use super::running::{Slot, Worker};
use super::{Done, Job};
use crate::model::Model;

/// A model for a thread that has something else to do as well.
pub struct Guest<C> {
    shared: Arc<Shared<C>>,
    worker: Worker<C>,
}

/// While it lives no worker works.
pub struct Visit<'a, C> {
    guest: &'a mut Guest<C>,
    jobs: usize,
}

impl<C> Guest<C> {
    pub(super) fn new(shared: Arc<Shared<C>>, model: Box<dyn Model>) -> Self {
        let worker = Worker::new(Arc::clone(&shared), Arc::new(Slot::default()), model);
        Self { shared, worker }
    }

    /// Begins a visit for as many of `jobs` as are one batch, if there are any, every worker is idle
    /// and nothing waits. What was done must be on its way to its devices when the visit is dropped.
    pub fn enter(&mut self, jobs: usize) -> Option<Visit<'_, C>> {
        let jobs = jobs.min(self.shared.config.batch_max);
        // Not made before it is let in: a visit that ends lets out.
        (jobs > 0 && self.shared.let_in()).then(|| Visit { guest: self, jobs })
    }
}

impl<C> Visit<'_, C> {
    /// How many jobs it is for.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// Does `jobs`, in order, and empties it; all of them are in `ended`.
    pub fn run(&mut self, jobs: &mut Vec<Job<C>>, ended: &mut Vec<Done<C>>) {
        self.guest.worker.run_once(jobs, ended);
    }
}

impl<C> Drop for Visit<'_, C> {
    fn drop(&mut self) {
        self.guest.shared.let_out();
    }
}
