//! A guest among the workers: the thread that brings requests calls the model itself while every worker is idle.
//!
//! Waking a worker takes longer than a small model. A guest is only for models that are prompt, because nobody watches it, and while it
//! is at work no worker is, so that each device keeps its order.

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
pub struct Visit<'a, C>(&'a mut Guest<C>);

impl<C> Guest<C> {
    pub(super) fn new(shared: Arc<Shared<C>>, model: Box<dyn Model>) -> Self {
        let worker = Worker::new(Arc::clone(&shared), Arc::new(Slot::default()), model);
        Self { shared, worker }
    }

    /// Begins, if so many jobs are one batch, every worker is idle and nothing waits. What was done must be on its way to its
    /// devices when the visit is dropped.
    pub fn enter(&mut self, jobs: usize) -> Option<Visit<'_, C>> {
        // Not made before it is let in: a visit that ends lets out.
        self.shared.let_in(jobs).then(|| Visit(self))
    }
}

impl<C> Visit<'_, C> {
    /// Does `jobs`, in order, and empties it; all of them are in `ended`.
    pub fn run(&mut self, jobs: &mut Vec<Job<C>>, ended: &mut Vec<Done<C>>) {
        self.0.worker.run_once(jobs, ended);
    }
}

impl<C> Drop for Visit<'_, C> {
    fn drop(&mut self) {
        self.0.shared.let_out();
    }
}
