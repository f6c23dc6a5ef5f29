//! The worker: one OS thread owns one model and takes whatever arrived while it was busy (natural batching).
//!
//! There is no batching timer: an idle node answers at once, a busy one batches by itself. The queue in front of it is
//! bounded, and what does not fit is handed back to the caller, who decides. A [`Pool`] is one worker or several, each with
//! a [`Queue`].

mod homes;
mod pool;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::error;

use crate::inference::{ErrorCode, Outcome, Refusal};
use crate::model::Model;

pub use self::pool::{DeviceOf, Pool, WORKERS_MAX};

/// The bounds of a model's workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The most requests that wait for the model; several workers have equal shares of it. Default 32,768.
    pub queue_requests_max: usize,
    /// The most rows in one forward pass. Default 128, where a small network's cost per row is flat.
    pub batch_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { queue_requests_max: 32_768, batch_max: 128 }
    }
}

/// A request for the model, with whatever its sender needs to route the answer.
pub struct Job<C> {
    /// As many values as the model has inputs.
    pub features: Vec<f32>,
    /// Travels with the request, untouched.
    pub context: C,
    /// When it joined the queue.
    pub queued_at: Instant,
    /// When it is too late to start; `None` for never.
    pub deadline: Option<Instant>,
}

/// A request that the model has seen.
pub struct Done<C> {
    /// What came with the request.
    pub context: C,
    /// The prediction, or why there is none.
    pub outcome: Outcome,
    /// Waiting for the worker.
    pub queue: Duration,
    /// From leaving the queue to the forward pass.
    pub batch: Duration,
    /// The forward pass it was part of.
    pub inference: Duration,
}

/// The bounded queue in front of a worker. Clones feed the same worker.
pub struct Queue<C> {
    shared: Arc<Shared<C>>,
}

impl<C> Clone for Queue<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<C> {
    state: Mutex<State<C>>,
    arrived: Condvar,
    requests_max: usize,
}

struct State<C> {
    jobs: VecDeque<Job<C>>,
    closed: bool,
    /// Whether the worker waits, so that a busy one costs its senders no system call.
    idle: bool,
}

impl<C: Send + 'static> Queue<C> {
    /// An empty queue for at most `requests_max` jobs.
    pub fn new(requests_max: usize) -> Self {
        let state = State { jobs: VecDeque::new(), closed: false, idle: false };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), arrived: Condvar::new(), requests_max }) }
    }

    /// Appends jobs until the queue is full; those that did not fit stay in `jobs`.
    pub fn submit(&self, jobs: &mut Vec<Job<C>>) {
        if jobs.is_empty() {
            return;
        }
        let mut state = self.shared.lock();
        let room = if state.closed { 0 } else { self.shared.requests_max - state.jobs.len() };
        state.jobs.extend(jobs.drain(..room.min(jobs.len())));
        if state.idle {
            state.idle = false;
            drop(state);
            self.shared.arrived.notify_one();
        }
    }

    /// The most jobs that may wait.
    pub fn requests_max(&self) -> usize {
        self.shared.requests_max
    }

    /// How many jobs wait.
    pub fn len(&self) -> usize {
        self.shared.lock().jobs.len()
    }

    /// Whether no job waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no more jobs are taken.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// Takes no more jobs; the worker ends when those that wait are done.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_one();
    }

    /// Starts the thread that owns `model` and calls `answer` with each finished batch, in order of arrival.
    ///
    /// # Errors
    /// When the operating system starts no more threads.
    pub fn serve(
        &self,
        name: &str,
        model: Box<dyn Model>,
        batch_max: usize,
        answer: impl FnMut(&mut Vec<Done<C>>) + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let shared = Arc::clone(&self.shared);
        let batch_max = batch_max.max(1);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            Worker { shared, model, batch_max, rows: Vec::new(), scores: Vec::new() }.run(answer)
        })
    }
}

impl<C> Shared<C> {
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // No code that can panic runs under the lock, so a poisoned one still holds a sound queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for jobs and takes up to `batch_max`; false when the queue is closed and empty.
    fn take(&self, batch_max: usize, batch: &mut Vec<Job<C>>) -> bool {
        let mut state = self.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return false;
            }
            state.idle = true;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        let count = state.jobs.len().min(batch_max);
        batch.extend(state.jobs.drain(..count));
        true
    }
}

struct Worker<C> {
    shared: Arc<Shared<C>>,
    model: Box<dyn Model>,
    batch_max: usize,
    rows: Vec<f32>,
    scores: Vec<f32>,
}

impl<C> Worker<C> {
    fn run(mut self, mut answer: impl FnMut(&mut Vec<Done<C>>)) {
        let mut batch = Vec::with_capacity(self.batch_max);
        let mut done = Vec::with_capacity(self.batch_max);
        while self.shared.take(self.batch_max, &mut batch) {
            self.score(&mut batch, &mut done);
            answer(&mut done);
            done.clear();
        }
    }

    fn score(&mut self, batch: &mut Vec<Job<C>>, done: &mut Vec<Done<C>>) {
        let taken = Instant::now();
        refuse_late(batch, taken, done);
        if batch.is_empty() {
            return;
        }
        self.rows.clear();
        for job in batch.iter() {
            self.rows.extend_from_slice(&job.features);
        }
        let started = Instant::now();
        let result = forward(self.model.as_mut(), &self.rows, &mut self.scores, batch.len());
        let inference = started.elapsed();
        if let Err(cause) = &result {
            error!(%cause, requests = batch.len(), "forward pass failed");
        }
        // A batch that failed is tried again row by row, so that only the requests concerned are refused.
        let alone = result.is_err() && batch.len() > 1;
        for (at, job) in batch.drain(..).enumerate() {
            let (outcome, inference) = match &result {
                Ok(()) => (finite(self.scores[at]), inference),
                Err(_) if alone => score_alone(self.model.as_mut(), &job.features, &mut self.scores),
                Err(cause) => (Err(internal(cause)), inference),
            };
            let queue = taken.saturating_duration_since(job.queued_at);
            done.push(Done { context: job.context, outcome, queue, batch: started - taken, inference });
        }
    }
}

/// Takes out of `batch` what may not start any more.
fn refuse_late<C>(batch: &mut Vec<Job<C>>, now: Instant, done: &mut Vec<Done<C>>) {
    for job in batch.extract_if(.., |job| job.deadline.is_some_and(|deadline| deadline <= now)) {
        let queue = now.saturating_duration_since(job.queued_at);
        let message =
            format!("its deadline passed {:?} before its batch started", now - job.deadline.unwrap_or(now));
        let outcome = Err(Refusal::new(ErrorCode::DeadlineExceeded, message));
        done.push(Done {
            context: job.context,
            outcome,
            queue,
            batch: Duration::ZERO,
            inference: Duration::ZERO,
        });
    }
}

fn score_alone(model: &mut dyn Model, row: &[f32], scores: &mut Vec<f32>) -> (Outcome, Duration) {
    let started = Instant::now();
    let outcome = match forward(model, row, scores, 1) {
        Ok(()) => finite(scores[0]),
        Err(cause) => Err(internal(&cause)),
    };
    (outcome, started.elapsed())
}

/// One forward pass whose failure, panics included, is a sentence.
fn forward(
    model: &mut dyn Model,
    rows: &[f32],
    scores: &mut Vec<f32>,
    expected: usize,
) -> Result<(), String> {
    let predict = catch_unwind(AssertUnwindSafe(|| model.predict(rows, scores)));
    match predict {
        Err(_) => Err("the model panicked".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(())) if scores.len() != expected => {
            Err(format!("the model answered {} of {expected} rows", scores.len()))
        }
        Ok(Ok(())) => Ok(()),
    }
}

fn finite(score: f32) -> Outcome {
    if score.is_finite() {
        Ok(score)
    } else {
        Err(Refusal::new(ErrorCode::NonFinite, format!("the model's output is {score}, not a finite number")))
    }
}

fn internal(cause: &str) -> Refusal {
    Refusal::new(ErrorCode::Internal, format!("inference failed: {cause}"))
}
