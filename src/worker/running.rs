//! A worker: one thread, one model, and the batch that it is busy with.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::in_force::Owned;
use super::inputs::{Looks, Verdict};
use super::shared::{Shared, State};
use super::slot::{Running, Slot};
use super::{Context, Done, Job};
use crate::inference::{Authored, ErrorCode, Outcome, Provenance, Refusal};
use crate::model::{self, Model};
use crate::sync::lock;

/// The thread that owns a model.
pub struct Worker<C> {
    shared: Arc<Shared<C>>,
    slot: Arc<Slot<C>>,
    /// The model, and whose predictions it makes.
    owned: Owned,
    looks: Looks,
    rows: Vec<f32>,
    /// Whose the rows are, where the model remembers.
    provenance: Vec<Provenance>,
    predictions: Vec<f32>,
}

/// Starts a worker's thread, which takes a copy of the model in force.
pub fn start<C: Context>(
    shared: &Arc<Shared<C>>,
    state: &mut State<C>,
    name: &str,
    answer: impl FnMut(&mut Vec<Done<C>>) + Send + 'static,
) -> io::Result<()> {
    let slot = Arc::new(Slot::default());
    let (own, its_slot) = (Arc::clone(shared), Arc::clone(&slot));
    let thread = shared.spawn(name, move || work(own, its_slot, answer))?;
    // Counted before it can take jobs, which is under the same lock: nobody may find that no worker serves.
    state.serving += 1;
    state.slots.push(Arc::clone(&slot));
    shared.lock_threads().push((slot, thread));
    Ok(())
}

/// A worker's whole life: it takes a copy of the model in force, and then batches.
fn work<C: Context>(shared: Arc<Shared<C>>, slot: Arc<Slot<C>>, answer: impl FnMut(&mut Vec<Done<C>>)) {
    let _leaving = Leaving { shared: Arc::clone(&shared), slot: Arc::clone(&slot) };
    // Whoever started it has seen that there is one.
    if let Some(owned) = shared.in_force.take() {
        Worker::new(shared, slot, owned).run(answer);
    }
}

/// The watch has answered the batch, and given its lanes back.
struct Abandoned;

/// A batch that the model has returned from, how, and after how long.
type Returned<C> = (Running<C>, Result<(), Failure>, Duration);

/// A forward pass that failed, in words.
struct Failure {
    cause: String,
    panicked: bool,
}

impl<C: Context> Worker<C> {
    pub fn new(shared: Arc<Shared<C>>, slot: Arc<Slot<C>>, owned: Owned) -> Self {
        let looks = Looks::default();
        let (rows, provenance, predictions) = (Vec::new(), Vec::new(), Vec::new());
        Self { shared, slot, owned, looks, rows, provenance, predictions }
    }

    fn run(mut self, mut answer: impl FnMut(&mut Vec<Done<C>>)) {
        let (mut batch, mut held, mut done) = (Vec::new(), Vec::new(), Vec::new());
        let mut revision = self.owned.by.revision;
        while self.shared.take(revision, &mut held, &mut batch) {
            // What was seen, whether it could be had or not: a worker does not wake for it again.
            revision = self.shared.in_force.revision();
            let taken_at = Instant::now();
            // Only here, between two batches: what a batch is answered by is one model.
            if !self.has_the_model_in_force() {
                done.extend(batch.drain(..).map(|job| job.refused(taken_at, not_copied())));
            }
            refuse_late(&mut batch, taken_at, &mut done);
            if !done.is_empty() {
                answer(&mut done);
                done.clear();
            }
            if batch.is_empty() {
                continue;
            }
            let running = Running { batch, held, taken_at, started_at: taken_at };
            let Ok(ended) = self.score(running, &mut done, &mut answer) else {
                // Its buffers went with the batch.
                (batch, held) = (Vec::new(), Vec::new());
                done.clear();
                if self.comes_back() {
                    continue;
                }
                return;
            };
            answer(&mut done);
            done.clear();
            (batch, held) = (ended.batch, ended.held);
        }
    }

    /// Whether its model is the one in force, after it has taken that in place of another one.
    pub fn has_the_model_in_force(&mut self) -> bool {
        if self.owned.by.revision == self.shared.in_force.revision() {
            return true;
        }
        match self.shared.in_force.take() {
            Some(owned) => {
                self.owned = owned;
                true
            }
            None => false,
        }
    }

    /// Ends `jobs`, and empties it: what a worker does again and again, on a thread that
    /// is no worker's and out of sight of the watch.
    pub fn run_once(&mut self, jobs: &mut Vec<Job<C>>, ended: &mut Vec<Done<C>>) {
        let taken_at = Instant::now();
        refuse_late(jobs, taken_at, ended);
        if jobs.is_empty() {
            return;
        }
        let batch = std::mem::take(jobs);
        let running = Running { batch, held: Vec::new(), taken_at, started_at: taken_at };
        let mut last = Vec::new();
        let mut collect = |done: &mut Vec<Done<C>>| ended.append(done);
        // Only the watch takes a batch away.
        if let Ok(running) = self.score(running, &mut last, &mut collect) {
            *jobs = running.batch;
        }
        ended.append(&mut last);
    }

    /// Ends every job of the batch, in order.
    fn score(
        &mut self,
        running: Running<C>,
        done: &mut Vec<Done<C>>,
        answer: &mut impl FnMut(&mut Vec<Done<C>>),
    ) -> Result<Running<C>, Abandoned> {
        let rows = running.batch.len();
        let (mut running, result, inference) = self.forward(running, rows)?;
        match result {
            Ok(()) => {
                let mut batch = std::mem::take(&mut running.batch);
                let outputs = self.predictions.len() / rows;
                let predictions = self.predictions.chunks_exact(outputs);
                for (row, (job, prediction)) in batch.drain(..).zip(predictions).enumerate() {
                    done.push(running.end(job, judged(prediction, row, &self.owned), inference));
                }
                running.batch = batch;
                Ok(running)
            }
            // A batch that failed is tried again row by row, so that only the requests concerned are refused.
            Err(failure) if rows > 1 => {
                error!(
                    cause = failure.cause,
                    requests = rows,
                    "forward pass failed; each row is tried alone"
                );
                self.score_alone(running, done, answer)
            }
            Err(failure) => {
                error!(cause = failure.cause, "forward pass failed");
                let job = running.batch.remove(0);
                done.push(running.end(job, Err(failed(&failure.cause)), inference));
                Ok(running)
            }
        }
    }

    fn score_alone(
        &mut self,
        mut running: Running<C>,
        done: &mut Vec<Done<C>>,
        answer: &mut impl FnMut(&mut Vec<Done<C>>),
    ) -> Result<Running<C>, Abandoned> {
        while !running.batch.is_empty() {
            let (result, inference);
            (running, result, inference) = self.forward(running, 1)?;
            let outcome = match result {
                Ok(()) => judged(&self.predictions, 0, &self.owned),
                Err(failure) => Err(failed(&failure.cause)),
            };
            let job = running.batch.remove(0);
            done.push(running.end(job, outcome, inference));
            // The next row may hang: what is done does not wait for it.
            answer(done);
            done.clear();
        }
        Ok(running)
    }

    /// One forward pass of the first `rows` jobs, in sight of the watch.
    fn forward(&mut self, mut running: Running<C>, rows: usize) -> Result<Returned<C>, Abandoned> {
        self.rows.clear();
        for job in &running.batch[..rows] {
            self.rows.extend_from_slice(&job.features);
        }
        self.provenance.clear();
        if self.owned.model.memory().is_some() {
            let of = |Job { context, .. }: &Job<C>| Provenance {
                device: context.device().cloned(),
                timestamp_us: context.timestamp_us(),
            };
            self.provenance.extend(running.batch[..rows].iter().map(of));
        }
        let started_at = Instant::now();
        running.started_at = started_at;
        // The whole batch, also where one row of it is tried: if the model hangs, the watch answers all of
        // it.
        self.slot.lock().running = Some(running);
        let asked = (self.rows.as_slice(), self.provenance.as_slice());
        let result = predict(self.owned.model.as_mut(), asked, &mut self.predictions, rows);
        let inference = started_at.elapsed();
        let running = self.slot.lock().running.take().ok_or(Abandoned)?;
        if self.looks.is_due(started_at) {
            self.look();
        }
        match &result {
            Err(failure) => self.note_failure(failure, rows),
            Ok(()) => self.shared.note_success(),
        }
        Ok((running, result, inference))
    }

    /// Looks at the first row of the batch, and says once of a model that it is asked what it does not know.
    fn look(&self) {
        let row = &self.rows[..self.owned.info.inputs.min(self.rows.len())];
        // Not while the state is locked: whoever waits for that waits for requests.
        let Some(verdict) = lock(&self.shared.inputs).look(&self.owned, row) else { return };
        let features_far = match &verdict {
            Verdict::Usual => 0,
            Verdict::Far { far, is_news } => {
                if *is_news {
                    warn!(placement = self.owned.by.placement, "{far}");
                }
                far.names.len() as u64
            }
        };
        self.shared.lock().health.features_far = features_far;
    }

    /// Counts a failure, unless its rows are tried again. A model that panicked may be
    /// in any state, so a copy of the one in force takes its place.
    fn note_failure(&mut self, failure: &Failure, rows: usize) {
        if rows == 1 {
            self.shared.note_failure(&failure.cause);
        }
        if failure.panicked
            && let Some(fresh) = self.shared.in_force.take()
        {
            warn!("the model has panicked, a fresh copy takes its place");
            self.owned = fresh;
            self.shared.lock().health.workers_replaced += 1;
        }
    }

    /// Whether the worker goes on after it hung: nobody could take its place.
    fn comes_back(&self) -> bool {
        let mut state = self.shared.lock();
        let mut slot = self.slot.lock();
        if slot.is_replaced {
            state.abandoned -= 1;
            return false;
        }
        slot.is_hung = false;
        state.serving += 1;
        warn!("a model that hung has returned, its worker goes on");
        true
    }
}

/// Counts the worker out when its thread ends, however that happens.
struct Leaving<C> {
    shared: Arc<Shared<C>>,
    slot: Arc<Slot<C>>,
}

impl<C> Drop for Leaving<C> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if !self.slot.is_hung() {
            state.serving -= 1;
        }
        state.slots.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
        drop(state);
        self.shared.wake_watch();
    }
}

/// Takes out of `batch` what may not start any more, or need not.
fn refuse_late<C: Context>(batch: &mut Vec<Job<C>>, now: Instant, done: &mut Vec<Done<C>>) {
    done.extend(batch.extract_if(.., |job| job.is_over(now)).map(|job| job.expired(now)));
}

/// One forward pass whose failure, panics included, is a sentence.
fn predict(
    model: &mut dyn Model,
    (rows, provenance): (&[f32], &[Provenance]),
    predictions: &mut Vec<f32>,
    batch: usize,
) -> Result<(), Failure> {
    let said = |cause| Err(Failure { cause, panicked: false });
    predictions.clear();
    let forward = || model.predict_of(rows, provenance, predictions).map(|()| model.outputs());
    // A panic that went on would end the thread, and the batch without a word. What it may leave in any state
    // is the model alone, which `note_failure` exchanges.
    match catch_unwind(AssertUnwindSafe(forward)) {
        Err(_) => Err(Failure { cause: "the model panicked".to_owned(), panicked: true }),
        Ok(Err(error)) => said(error.to_string()),
        Ok(Ok(outputs)) => {
            model::check_rows(predictions.len(), batch, outputs).or_else(|error| said(error.to_string()))
        }
    }
}

/// The prediction for a row of the last batch, if it is one.
fn judged(values: &[f32], row: usize, owned: &Owned) -> Outcome {
    // JSON has no word for what is not finite (RFC 8259, section 6), and no threshold is above or below NaN.
    match model::prediction(values, || model::why(owned.model.as_ref(), row)) {
        Ok(prediction) => Ok(Authored { prediction, by: Arc::clone(&owned.by) }),
        Err(error) => Err(Refusal::new(ErrorCode::NonFinite, error.to_string())),
    }
}

fn not_copied() -> Refusal {
    Refusal::new(ErrorCode::ModelNotReady, "the model in force could not be copied for this worker")
}

/// What its model does not survive once, it does not survive the next time: whoever
/// sent the request again for ever would take the time of others.
fn failed(cause: &str) -> Refusal {
    Refusal::permanent(ErrorCode::Internal, format!("inference failed: {cause}"))
}
