//! A pool against random schedules: every job ends once, whatever becomes of workers and
//! models, each device's answers keep their order, and each is its author's.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::inference::Authored;
use crate::model::{Detector, Model, ModelError, ModelInfo};

/// Longer than any of this takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
const DEVICES: u32 = 4;

/// Whose job it is, and which of the device's.
type Job = super::Job<(DeviceId, u32)>;
type Done = super::Done<(DeviceId, u32)>;

impl Context for (DeviceId, u32) {
    fn device(&self) -> Option<&DeviceId> {
        Some(&self.0)
    }
}

/// What a row makes the model do; any other is its own answer.
const FAILS: f32 = 1.0;
const PANICS: f32 = 2.0;
const IS_NO_NUMBER: f32 = 3.0;
const YIELDS: f32 = 4.0;
const HANGS: f32 = 5.0;

/// Between the answers of two models that follow one another.
const NEXT_MODEL: f32 = 10.0;

/// Does what its rows say; its answers say also which of the models it is.
#[derive(Clone)]
struct Moody {
    revision: u64,
    is_prompt: bool,
    may_be_copied: bool,
    release: Arc<Release>,
}

/// What models that hang wait for.
#[derive(Default)]
struct Release {
    is_given: Mutex<bool>,
    given: Condvar,
}

impl Release {
    fn give(&self) {
        *self.is_given.lock().unwrap() = true;
        self.given.notify_all();
    }

    fn wait(&self) {
        let is_given = self.is_given.lock().unwrap();
        let waited = self.given.wait_timeout_while(is_given, PATIENCE, |is_given| !*is_given).unwrap();
        assert!(!waited.1.timed_out(), "the test never let it go");
    }
}

impl Moody {
    fn copies(&self, workers: usize) -> Copies {
        let detector = Detector::from_parts(ModelInfo::new("moody", 1), Box::new(self.clone()));
        Copies::of(detector, workers).unwrap()
    }
}

impl Model for Moody {
    fn inputs(&self) -> usize {
        1
    }

    fn outputs(&self) -> usize {
        2
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        for &row in rows {
            let said = match row {
                FAILS => return Err(ModelError::Forward("it was told to".to_owned())),
                PANICS => panic!("it was told to"),
                IS_NO_NUMBER => f32::NAN,
                _ => row + NEXT_MODEL * self.revision as f32,
            };
            // The second number makes it no probability, which could not be more than 1.
            predictions.extend([said, 0.0]);
            match row {
                YIELDS => (0..20).for_each(|_| thread::yield_now()),
                HANGS => self.release.wait(),
                _ => {}
            }
        }
        Ok(())
    }

    fn replica(&self) -> Option<Box<dyn Model>> {
        self.may_be_copied.then(|| Box::new(self.clone()) as Box<dyn Model>)
    }

    fn is_prompt(&self) -> bool {
        self.is_prompt
    }
}

/// A pool with its workers, and what has become of its jobs.
struct Field {
    seed: u64,
    rng: ChaCha8Rng,
    pool: Pool<(DeviceId, u32)>,
    model: Moody,
    workers: usize,
    release: Arc<Release>,
    ended: Sender<Done>,
    ends: Receiver<Done>,
    /// How many jobs each device has sent.
    sent: [u32; DEVICES as usize],
}

impl Field {
    fn new(seed: u64, inference_timeout: Option<Duration>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let config = WorkerConfig {
            queue_requests_max: rng.random_range(1..40),
            queue_policy: QueuePolicy::ALL[rng.random_range(0..3)],
            batch_max: rng.random_range(1..6),
            inference_timeout,
            ..WorkerConfig::default()
        };
        let release = Arc::<Release>::default();
        let may_be_copied = rng.random_ratio(3, 4);
        let is_prompt = inference_timeout.is_none() && rng.random();
        let model = Moody { revision: 0, is_prompt, may_be_copied, release: release.clone() };
        let workers = if may_be_copied { rng.random_range(1..4) } else { 1 };
        let pool = Pool::new(config, "edge", model.copies(workers));
        let (ended, ends) = mpsc::channel();
        let answer = ended.clone();
        pool.serve("moody", workers, move |done| done.drain(..).for_each(|done| answer.send(done).unwrap()))
            .unwrap();
        Self { seed, rng, pool, model, workers, release, ended, ends, sent: [0; DEVICES as usize] }
    }

    /// A few jobs of one sender's devices, at once: every second device is each sender's.
    fn jobs(rng: &mut ChaCha8Rng, sent: &mut [u32], sender: u32, feature_max: f32) -> Vec<Job> {
        let mut one = |rng: &mut ChaCha8Rng| {
            let device = 2 * rng.random_range(0..DEVICES / 2) + sender;
            let number = &mut sent[device as usize];
            *number += 1;
            let queued_at = Instant::now();
            let features = vec![rng.random_range(0.0..=feature_max).floor()];
            let deadline =
                rng.random_ratio(1, 8).then(|| queued_at + Duration::from_micros(rng.random_range(0..500)));
            Job {
                features,
                context: (DeviceId::new(device.to_string()).unwrap(), *number),
                queued_at,
                deadline,
            }
        };
        (0..rng.random_range(1..9)).map(|_| one(rng)).collect()
    }

    /// One sender submits, as an intake does, beside another one.
    fn send(&mut self, steps: usize, feature_max: f32) {
        let others = ChaCha8Rng::seed_from_u64(self.seed + 1_000_000);
        let (pool, answer) = (self.pool.clone(), self.ended.clone());
        let second = thread::spawn(move || {
            let (mut rng, mut sent, mut ended) = (others, [0; DEVICES as usize], Vec::new());
            for _ in 0..steps {
                pool.submit(&mut Self::jobs(&mut rng, &mut sent, 1, feature_max), &mut ended);
                ended.drain(..).for_each(|done| answer.send(done).unwrap());
            }
            sent
        });
        let mut guest = self.pool.guest();
        (0..steps).for_each(|_| self.step(&mut guest, feature_max));
        for (sent, second) in self.sent.iter_mut().zip(second.join().unwrap()) {
            *sent += second;
        }
        // Nothing comes after this one that could wake a worker.
        self.step(&mut guest, feature_max);
    }

    /// Puts another model in force, which may be prompt where the one before is not.
    fn exchange(&mut self) {
        self.model.revision += 1;
        self.model.is_prompt = self.pool.shared.config.inference_timeout.is_none() && self.rng.random();
        assert_eq!(self.pool.exchange(self.model.copies(self.workers)), self.model.revision);
    }

    /// Some jobs, of which the guest does what it may, if there is one. The others may
    /// come while it is there or when it has left.
    fn step(&mut self, guest: &mut Guest<(DeviceId, u32)>, feature_max: f32) {
        if self.rng.random_ratio(1, 4) {
            self.exchange();
        }
        let mut jobs = Self::jobs(&mut self.rng, &mut self.sent, 0, feature_max);
        let mut ended = Vec::new();
        let mut visit = guest.enter(jobs.len());
        if let Some(visit) = &mut visit {
            visit.run(&mut jobs.drain(..visit.jobs()).collect(), &mut ended);
            jobs.extend(Self::jobs(&mut self.rng, &mut self.sent, 0, feature_max));
        }
        // What is done is on its way to its devices before others of them are.
        ended.drain(..).for_each(|done| self.ended.send(done).unwrap());
        if self.rng.random() {
            drop(visit.take());
        }
        self.pool.submit(&mut jobs, &mut ended);
        ended.drain(..).for_each(|done| self.ended.send(done).unwrap());
        (0..self.rng.random_range(0..30)).for_each(|_| thread::yield_now());
    }

    /// Waits until every job has ended.
    fn check_ends(&self) {
        let seed = self.seed;
        let mut numbers: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut answered: BTreeMap<String, u32> = BTreeMap::new();
        let sent: u32 = self.sent.iter().sum();
        for count in 0..sent {
            let done = self.ends.recv_timeout(PATIENCE);
            let Done { context: (device, number), outcome, .. } =
                done.unwrap_or_else(|_| panic!("seed {seed}: {count} of {sent} jobs have ended"));
            let device = device.as_str().to_owned();
            if let Ok(Authored { prediction, by }) = outcome {
                let revision = (prediction.score() / NEXT_MODEL) as u64;
                assert_eq!(revision, by.revision, "seed {seed}: the author is another one than says so");
                let before = answered.insert(device.clone(), number).unwrap_or_default();
                assert!(before < number, "seed {seed}: of {device}, {number} is answered after {before}");
            }
            numbers.entry(device).or_default().push(number);
        }
        for (device, mut numbers) in numbers {
            numbers.sort_unstable();
            let device: usize = device.parse().unwrap();
            assert!(numbers.into_iter().eq(1..=self.sent[device]), "seed {seed}: each job ends once");
        }
        assert!(self.pool.is_empty(), "seed {seed}");
    }

    /// A closed pool's threads end.
    fn close(self) {
        self.release.give();
        self.pool.close();
        let (pool, (ended, end)) = (self.pool.clone(), mpsc::channel());
        let waiting = thread::spawn(move || ended.send(pool.join()).unwrap());
        assert_eq!(
            end.recv_timeout(PATIENCE),
            Ok(true),
            "seed {}: all threads end, none by a panic",
            self.seed
        );
        waiting.join().unwrap();
    }
}

#[test]
fn every_job_ends_once_and_in_its_device_s_order() {
    for seed in 0..60 {
        let mut field = Field::new(seed, None);
        field.send(12, YIELDS);
        field.check_ends();
        field.close();
    }
}

#[test]
fn jobs_of_workers_that_hang_end_too_and_so_do_those_behind_them() {
    for seed in 0..30 {
        let mut field = Field::new(seed, Some(Duration::from_millis(1)));
        field.send(3, HANGS);
        field.check_ends();
        field.close();
    }
}

/// A pool of one worker whose models wait for `release` at every row that hangs, and what has ended.
fn alone(model: &Moody) -> (Pool<(DeviceId, u32)>, Receiver<Done>) {
    let config = WorkerConfig {
        inference_timeout: Some(Duration::from_millis(20)),
        batch_max: 1,
        ..WorkerConfig::default()
    };
    let pool = Pool::new(config, "edge", model.copies(1));
    let (ended, ends) = mpsc::channel();
    let answer = move |done: &mut Vec<Done>| done.drain(..).for_each(|done| ended.send(done).unwrap());
    pool.serve("moody", 1, answer).unwrap();
    (pool, ends)
}

/// What becomes of a job, on the way through `pool`.
fn run(pool: &Pool<(DeviceId, u32)>, ends: &Receiver<Done>, feature: f32) -> Outcome {
    let context = (DeviceId::new("a").unwrap(), 0);
    let job = Job { features: vec![feature], context, queued_at: Instant::now(), deadline: None };
    let mut ended = Vec::new();
    pool.submit(&mut vec![job], &mut ended);
    let done = ended.pop().unwrap_or_else(|| ends.recv_timeout(PATIENCE).unwrap());
    done.outcome
}

fn end(pool: &Pool<(DeviceId, u32)>, release: &Release) {
    release.give();
    pool.close();
    assert!(pool.join());
}

#[test]
fn a_worker_for_which_there_was_no_thread_is_replaced_once_there_is_one() {
    let release = Arc::<Release>::default();
    let model = Moody { revision: 0, is_prompt: false, may_be_copied: true, release: release.clone() };
    let (pool, ends) = alone(&model);
    pool.shared.starts_that_fail.store(1, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(run(&pool, &ends, HANGS).unwrap_err().code, ErrorCode::Internal);
    let deadline = Instant::now() + PATIENCE;
    // It waits for a second before it tries again.
    while let Err(refusal) = run(&pool, &ends, 0.0) {
        assert_eq!(refusal.code, ErrorCode::ModelNotReady);
        assert!(Instant::now() < deadline, "the worker is never replaced");
    }
    let health = pool.health();
    assert_eq!((health.workers_replaced, health.inference_timeouts, health.failing), (1, 1, None));
    end(&pool, &release);
}

#[test]
fn a_model_that_hangs_and_cannot_be_copied_makes_room_for_another_one() {
    let release = Arc::<Release>::default();
    let mut model = Moody { revision: 0, is_prompt: false, may_be_copied: false, release: release.clone() };
    let (pool, ends) = alone(&model);
    assert_eq!(run(&pool, &ends, HANGS).unwrap_err().code, ErrorCode::Internal);
    assert_eq!(run(&pool, &ends, 0.0).unwrap_err().code, ErrorCode::ModelNotReady);
    model.revision = pool.exchange(Moody { revision: 1, ..model.clone() }.copies(1));
    let deadline = Instant::now() + PATIENCE;
    let answer = loop {
        match run(&pool, &ends, 0.0) {
            Ok(answer) => break answer,
            Err(refusal) => assert_eq!(refusal.code, ErrorCode::ModelNotReady),
        }
        assert!(Instant::now() < deadline, "the new model never answers");
    };
    assert_eq!((answer.prediction.score(), answer.by.revision), (NEXT_MODEL, 1));
    end(&pool, &release);
}

/// Says two numbers of a row, and counts how many of it there are.
#[derive(Clone)]
struct Pair {
    _alive: Arc<()>,
}

impl Model for Pair {
    fn inputs(&self) -> usize {
        1
    }

    fn outputs(&self) -> usize {
        2
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        rows.iter().for_each(|&row| predictions.extend([row, if row == 1.0 { f32::NAN } else { 1.0 - row }]));
        Ok(())
    }

    fn replica(&self) -> Option<Box<dyn Model>> {
        Some(Box::new(self.clone()))
    }
}

#[test]
fn each_row_has_all_numbers_of_its_own_and_an_idle_worker_lets_go_of_the_model_before() {
    let copies = |alive: &Arc<()>| {
        Copies::of(
            Detector::from_parts(ModelInfo::new("pair", 1), Box::new(Pair { _alive: alive.clone() })),
            2,
        )
        .unwrap()
    };
    let (alive, next) = (Arc::new(()), Arc::new(()));
    let pool = Pool::new(WorkerConfig::default(), "edge", copies(&alive));
    let (ended, ends) = mpsc::channel();
    let answer = move |done: &mut Vec<Done>| done.drain(..).for_each(|done| ended.send(done).unwrap());
    pool.serve("pair", 2, answer).unwrap();
    assert_eq!(run(&pool, &ends, 0.25).unwrap().prediction.values(), [0.25, 0.75]);
    assert_eq!(run(&pool, &ends, 1.0).unwrap_err().code, ErrorCode::NonFinite);
    pool.exchange(copies(&next));
    let deadline = Instant::now() + PATIENCE;
    while Arc::strong_count(&alive) > 1 {
        assert!(Instant::now() < deadline, "somebody keeps the old model");
        thread::yield_now();
    }
    assert_eq!(run(&pool, &ends, 0.5).unwrap().by.revision, 1);
    pool.close();
    assert!(pool.join());
}
