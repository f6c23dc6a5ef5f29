//! The workers of one model: each has a queue and a copy of the model of its own, and a device's requests keep their order.
//!
//! Requests of one device that are under way are all with one worker, so they are answered in the order in which they came;
//! requests of different devices may overtake one another. One worker needs none of this, and pays nothing for it.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::homes::Homes;
use super::{Done, Job, Queue};
use crate::inference::DeviceId;
use crate::model::Model;

/// The most workers of one model; each is a thread.
pub const WORKERS_MAX: usize = 64;

/// The queues in front of a model's workers. Clones feed the same workers.
pub struct Pool<C> {
    /// At least one.
    queues: Vec<Queue<C>>,
    /// `None` for one worker, where there is nothing to decide.
    dispatch: Option<Arc<Dispatch<C>>>,
}

impl<C> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self { queues: self.queues.clone(), dispatch: self.dispatch.clone() }
    }
}

struct Dispatch<C> {
    device: DeviceOf<C>,
    /// Seeded at random, so that no device can choose whose worker it shares.
    hasher: RandomState,
    state: Mutex<State<C>>,
}

/// Whose request a context belongs to.
pub type DeviceOf<C> = fn(&C) -> Option<&DeviceId>;

struct State<C> {
    homes: Homes,
    /// Jobs sorted by worker while they are submitted; empty otherwise.
    sorted: Vec<Vec<Job<C>>>,
}

impl<C: Send + 'static> Pool<C> {
    /// Empty queues for `workers` workers, at least one, that hold at most `requests_max` jobs together. Each has an equal
    /// share, rounded down, so that a device which floods fills the share of its own worker alone.
    pub fn new(workers: usize, requests_max: usize, device: DeviceOf<C>) -> Self {
        let workers = workers.max(1);
        let queues = (0..workers).map(|_| Queue::new(requests_max / workers)).collect();
        let dispatch = (workers > 1).then(|| {
            let sorted = (0..workers).map(|_| Vec::new()).collect();
            let state = Mutex::new(State { homes: Homes::new(workers), sorted });
            Arc::new(Dispatch { device, hasher: RandomState::new(), state })
        });
        Self { queues, dispatch }
    }

    /// Appends each job to its worker's queue unless that is full; those that did not fit stay in `jobs`.
    pub fn submit(&self, jobs: &mut Vec<Job<C>>) {
        let Some(dispatch) = &self.dispatch else {
            return self.queues[0].submit(jobs);
        };
        let mut state = dispatch.lock();
        let State { homes, sorted } = &mut *state;
        for job in jobs.drain(..) {
            let worker = homes.enter(dispatch.key(&job.context));
            sorted[worker].push(job);
        }
        for (queue, share) in self.queues.iter().zip(sorted) {
            queue.submit(share);
            share.iter().for_each(|refused| homes.leave(dispatch.key(&refused.context)));
            jobs.append(share);
        }
    }

    /// The most jobs that may wait for one worker.
    pub fn requests_max_each(&self) -> usize {
        self.queues[0].requests_max()
    }

    /// How many jobs wait.
    pub fn len(&self) -> usize {
        self.queues.iter().map(Queue::len).sum()
    }

    /// Whether no job waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no more jobs are taken.
    pub fn is_closed(&self) -> bool {
        self.queues[0].is_closed()
    }

    /// Takes no more jobs; each worker ends when those that wait for it are done.
    pub fn close(&self) {
        self.queues.iter().for_each(Queue::close);
    }

    /// Starts a thread for each of `models`, of which there are as many as workers, as [`Queue::serve`] does. The thread of
    /// one worker is called `name`, those of several `name-1`, `name-2` and so on.
    ///
    /// # Errors
    /// When the operating system starts no more threads; those that were started end when the pool is closed.
    pub fn serve(
        &self,
        name: &str,
        models: Vec<Box<dyn Model>>,
        batch_max: usize,
        answer: impl FnMut(&mut Vec<Done<C>>) + Clone + Send + 'static,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let workers = self.queues.iter().zip(models).enumerate();
        let start = |(at, (queue, model)): (usize, (&Queue<C>, _))| match &self.dispatch {
            None => queue.serve(name, model, batch_max, answer.clone()),
            Some(dispatch) => {
                let answer = releasing(Arc::clone(dispatch), answer.clone());
                queue.serve(&format!("{name}-{}", at + 1), model, batch_max, answer)
            }
        };
        workers.map(start).collect()
    }
}

impl<C> Dispatch<C> {
    /// Stands for the device of a request. Devices that share a key share a worker: that costs time, never order.
    fn key(&self, context: &C) -> u64 {
        self.hasher.hash_one((self.device)(context))
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // No code that can panic runs under the lock, so a poisoned one still holds a sound state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `answer`, after which the batch's devices may go to another worker: not before, or a later answer could overtake.
fn releasing<C, A>(dispatch: Arc<Dispatch<C>>, mut answer: A) -> impl FnMut(&mut Vec<Done<C>>)
where
    A: FnMut(&mut Vec<Done<C>>),
{
    let mut keys = Vec::new();
    move |done| {
        keys.extend(done.iter().map(|done| dispatch.key(&done.context)));
        answer(done);
        let mut state = dispatch.lock();
        keys.drain(..).for_each(|key| state.homes.leave(key));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::model::ModelError;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A device, and which of its requests it is.
    type Context = (DeviceId, u32);

    fn jobs(contexts: &[(&str, u32)]) -> Vec<Job<Context>> {
        let job = |&(device, number): &(&str, u32)| Job {
            features: vec![0.5],
            context: (DeviceId::new(device).unwrap(), number),
            queued_at: Instant::now(),
            deadline: None,
        };
        contexts.iter().map(job).collect()
    }

    fn pool(workers: usize, requests_max: usize) -> Pool<Context> {
        Pool::new(workers, requests_max, |context| Some(&context.0))
    }

    struct Echo;

    impl Model for Echo {
        fn inputs(&self) -> usize {
            1
        }

        fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
            predictions.clear();
            predictions.extend_from_slice(rows);
            Ok(())
        }
    }

    #[test]
    fn a_device_stays_with_its_worker_until_its_answer_has_been_handed_on() {
        let pool = pool(2, 10);
        let (began, begun) = sync_channel(10);
        let (ended, answered) = sync_channel(10);
        let (permit, permits) = sync_channel(1);
        let permits = Arc::new(Mutex::new(permits));
        let answer = move |done: &mut Vec<Done<Context>>| {
            for Done { context: (device, number), .. } in done.drain(..) {
                began.send(()).unwrap();
                if (device.as_str(), number) == ("a", 1) {
                    permits.lock().unwrap().recv_timeout(PATIENCE).unwrap();
                }
                ended.send((device.to_string(), number)).unwrap();
            }
        };
        let threads = pool.serve("model", vec![Box::new(Echo), Box::new(Echo)], 1, answer).unwrap();
        let names: Vec<_> = threads.iter().map(|thread| thread.thread().name().unwrap()).collect();
        assert_eq!(names, ["model-1", "model-2"]);
        pool.submit(&mut jobs(&[("a", 1)]));
        begun.recv_timeout(PATIENCE).unwrap();
        pool.submit(&mut jobs(&[("b", 1), ("a", 2)]));
        let next = || answered.recv_timeout(PATIENCE).unwrap();
        assert_eq!(next(), ("b".to_owned(), 1));
        permit.send(()).unwrap();
        assert_eq!([next(), next()], [("a".to_owned(), 1), ("a".to_owned(), 2)]);
        pool.close();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(pool.dispatch.unwrap().lock().homes.remembered(), 0);
    }

    #[test]
    fn jobs_beyond_a_worker_s_share_are_handed_back_and_forgotten() {
        let pool = pool(2, 5);
        assert_eq!(pool.requests_max_each(), 2);
        let mut flood = jobs(&[("a", 1), ("a", 2), ("b", 1), ("a", 3), ("a", 4)]);
        pool.submit(&mut flood);
        assert_eq!(flood.iter().map(|job| job.context.1).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(pool.len(), 3);
        pool.close();
        let mut late = jobs(&[("c", 1)]);
        pool.submit(&mut late);
        assert_eq!((late.len(), pool.len(), pool.is_closed()), (1, 3, true));
        assert_eq!(pool.dispatch.unwrap().lock().homes.remembered(), 2);
    }
}
