//! Fair scheduling on one thread: turns for work that nobody waits for, such as the end of a connection, and
//! for work that is long: when a thousand clients leave at once, or ten ask for much, the others are served
//! in between.

use std::future::poll_fn;
use std::pin::Pin;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::broker::work::{SLICE_UNITS, Slice};

/// How many pieces of such work are done each time all tasks that are ready have run.
pub const PER_ROUND: usize = 8;

/// The places of one round.
pub struct Turns {
    places: Semaphore,
    /// The place of whoever has more to do than a piece.
    long: Semaphore,
    /// The place of those whose last slice has lasted long: they do not wait behind
    /// those who use up one after the other.
    calm: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { places: Semaphore::new(PER_ROUND), long: Semaphore::new(1), calm: Semaphore::new(1) }
    }
}

impl Turns {
    /// Waits for a place, and then until every other task that is ready has run. First
    /// come, first served. All pieces of a round are a slice together.
    pub async fn take(&self) -> Slice {
        // It is never closed, so it always gives.
        let _place = self.places.acquire().await;
        tokio::task::yield_now().await;
        Slice::of(SLICE_UNITS / PER_ROUND)
    }

    /// Waits for a place before each slice of work that is long, behind `last`. There is one
    /// place, and one for those who ask for little, so that however many have such work,
    /// those who have none wait for two slices a round.
    pub async fn slice(&self, last: &Slice) -> Slice {
        self.place(last.is_calm()).await.begin().await
    }

    async fn place(&self, is_calm: bool) -> Place<'_> {
        let places = if is_calm { &self.calm } else { &self.long };
        Place { _permit: places.acquire().await.ok() }
    }

    /// So much has been done of a slice; the next one begins where that was all of it.
    pub async fn go_on(&self, slice: &mut Slice, units: usize) {
        slice.spend(units);
        if slice.is_over() {
            *slice = self.slice(slice).await;
        }
    }
}

/// The next slice is its owner's.
pub struct Place<'a> {
    /// The semaphore is never closed, so it always gives one.
    _permit: Option<SemaphorePermit<'a>>,
}

impl Place<'_> {
    /// Lets every other task that is ready run first.
    pub async fn begin(self) -> Slice {
        tokio::task::yield_now().await;
        Slice::new()
    }
}

/// Waiting for a slice beside other things: the place among those who wait is kept from one time to the next.
pub struct Queue<'a> {
    turns: &'a Turns,
    /// Once it has begun.
    waiting: Option<Pin<Box<dyn Future<Output = Place<'a>> + Send + 'a>>>,
}

impl<'a> Queue<'a> {
    pub fn new(turns: &'a Turns) -> Self {
        Self { turns, waiting: None }
    }

    /// Waits for the place that comes behind `last`. May be dropped and asked for again; a slice
    /// begins outside of that, where nothing that is ready keeps the task from letting others run.
    pub async fn place(&mut self, last: &Slice) -> Place<'a> {
        let turns = self.turns;
        let is_calm = last.is_calm();
        poll_fn(|context| {
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(turns.place(is_calm)));
            let polled = waiting.as_mut().poll(context);
            if polled.is_ready() {
                self.waiting = None;
            }
            polled
        })
        .await
    }

    /// Gives the place up: whoever has it and does not ask keeps everybody behind waiting.
    pub fn leave(&mut self) {
        self.waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn others_run_between_the_rounds() {
        let turns = Arc::new(Turns::default());
        let done = Arc::new(AtomicUsize::new(0));
        let leaving: Vec<_> = (0..10 * PER_ROUND)
            .map(|_| {
                let (turns, done) = (turns.clone(), done.clone());
                tokio::spawn(async move {
                    turns.take().await;
                    done.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        let mut rounds = 0;
        let mut before = 0;
        while before < leaving.len() {
            tokio::task::yield_now().await;
            let now = done.load(Ordering::Relaxed);
            assert!(now - before <= PER_ROUND, "{} in one round", now - before);
            before = now;
            rounds += 1;
        }
        assert!(rounds >= 10, "{rounds} rounds");
    }

    /// Somebody who wants one slice after the other, and beside that gets letters that are dealt with first.
    async fn work(turns: &Turns, mut letters: mpsc::Receiver<bool>, wanted: usize) {
        let (mut queue, mut slice, mut had) = (Queue::new(turns), Slice::of(0), 0);
        while had < wanted {
            tokio::select! {
                biased;
                letter = letters.recv(), if !letters.is_closed() => if letter == Some(true) { queue.leave() },
                place = queue.place(&slice) => {
                    slice = place.begin().await;
                    slice.end();
                    had += 1;
                }
            }
        }
    }

    #[tokio::test]
    async fn whoever_waits_has_a_slice_in_the_end_whatever_comes_between_and_a_place_that_is_left_is_free() {
        for seed in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let turns = Arc::new(Turns::default());
            let (mut workers, mut letters) = (Vec::new(), Vec::new());
            for _ in 0..rng.random_range(2..6) {
                let (send, receive) = mpsc::channel(64);
                let (turns, wanted) = (turns.clone(), rng.random_range(1..8));
                workers.push(tokio::spawn(async move { work(&turns, receive, wanted).await }));
                letters.push(send);
            }
            for _ in 0..rng.random_range(0..40) {
                let to = rng.random_range(0..letters.len());
                // Full or gone: then it gets none.
                let _lost = letters[to].try_send(rng.random_bool(0.3));
                if rng.random_bool(0.5) {
                    tokio::task::yield_now().await;
                }
            }
            // Some never get another one, and the others are not kept waiting by that.
            let kept: Vec<_> = letters.into_iter().filter(|_| rng.random_bool(0.5)).collect();
            for worker in workers {
                tokio::time::timeout(std::time::Duration::from_secs(20), worker).await.unwrap().unwrap();
            }
            drop(kept);
        }
    }

    #[tokio::test]
    async fn a_place_is_kept_while_something_else_comes_first() {
        let turns = Turns::default();
        let (over, mut first, mut second) = (Slice::new(), Queue::new(&turns), Queue::new(&turns));
        let order = std::cell::RefCell::new(Vec::new());
        let ahead = turns.long.acquire().await;
        // Both ask, the first one before the second, and both have something else to do.
        for queue in [&mut first, &mut second] {
            tokio::select! { biased; _ = queue.place(&over) => unreachable!(), () = std::future::ready(()) => {} }
        }
        drop(ahead);
        let has_one = async |queue: &mut Queue<'_>, number| {
            queue.place(&over).await.begin().await;
            order.borrow_mut().push(number);
        };
        tokio::join!(has_one(&mut second, 2), has_one(&mut first, 1));
        assert_eq!(order.into_inner(), [1, 2]);
    }
}
