//! A pool against random schedules: every job ends once, whatever becomes of
//! workers, and each device's answers keep their order.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
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

/// Does what its rows say.
#[derive(Clone)]
struct Moody {
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

impl Model for Moody {
    fn inputs(&self) -> usize {
        1
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        predictions.clear();
        for &row in rows {
            predictions.push(match row {
                FAILS => return Err(ModelError::Forward("it was told to".to_owned())),
                PANICS => panic!("it was told to"),
                IS_NO_NUMBER => f32::NAN,
                _ => row,
            });
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
    release: Arc<Release>,
    ended: Sender<Done>,
    ends: Receiver<Done>,
    /// How many jobs each device has sent.
    sent: [u32; DEVICES as usize],
}

impl Field {
    fn new(seed: u64, inference_timeout: Option<Duration>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let config = Config {
            queue_requests_max: rng.random_range(1..40),
            queue_policy: QueuePolicy::ALL[rng.random_range(0..3)],
            batch_max: rng.random_range(1..6),
            inference_timeout,
            ..Config::default()
        };
        let release = Arc::<Release>::default();
        let may_be_copied = rng.random_ratio(3, 4);
        let is_prompt = inference_timeout.is_none() && rng.random();
        let model = Moody { is_prompt, may_be_copied, release: release.clone() };
        let workers = if may_be_copied { rng.random_range(1..4) } else { 1 };
        let detector = Detector::from_parts(ModelInfo::new("moody", 1), Box::new(model));
        let pool = Pool::new(config, "edge", Copies::of(detector, workers).unwrap());
        let (ended, ends) = mpsc::channel();
        let answer = ended.clone();
        pool.serve("moody", workers, move |done| done.drain(..).for_each(|done| answer.send(done).unwrap()))
            .unwrap();
        Self { seed, rng, pool, release, ended, ends, sent: [0; DEVICES as usize] }
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

    /// Some jobs, of which the guest does what it may, if there is one. The others may
    /// come while it is there or when it has left.
    fn step(&mut self, guest: &mut Guest<(DeviceId, u32)>, feature_max: f32) {
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
            if outcome.is_ok() {
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
