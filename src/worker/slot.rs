//! What a worker is busy with, where the watch can see it and take it away.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::{Done, Job};
use crate::inference::Outcome;
use crate::sync::lock;

/// What a worker is busy with, for the watch to see.
pub struct Slot<C> {
    state: Mutex<SlotState<C>>,
}

pub struct SlotState<C> {
    /// The batch that is with the model.
    pub running: Option<Running<C>>,
    /// The watch has taken the batch away, because the model did not return in time.
    pub is_hung: bool,
    /// Another worker has its place.
    pub is_replaced: bool,
}

/// A batch that is with the model.
pub struct Running<C> {
    pub batch: Vec<Job<C>>,
    /// The lanes that it came from.
    pub held: Vec<usize>,
    pub taken_at: Instant,
    pub started_at: Instant,
}

impl<C> Default for Slot<C> {
    fn default() -> Self {
        Self { state: Mutex::new(SlotState { running: None, is_hung: false, is_replaced: false }) }
    }
}

impl<C> Slot<C> {
    pub fn lock(&self) -> MutexGuard<'_, SlotState<C>> {
        lock(&self.state)
    }

    pub fn is_hung(&self) -> bool {
        self.lock().is_hung
    }
}

impl<C> Running<C> {
    /// Ends one of its jobs.
    pub fn end(&self, job: Job<C>, outcome: Outcome, inference: Duration) -> Done<C> {
        let queue = self.taken_at.saturating_duration_since(job.queued_at);
        let batch = self.started_at.saturating_duration_since(self.taken_at);
        Done { context: job.context, outcome, queue, batch, inference }
    }
}
