//! Turns for work that nobody waits for, such as the end of a connection, and for work that is long: when a thousand clients leave
//! at once, or ten ask for much, the others are served in between.

use super::work::Slice;
use tokio::sync::Semaphore;

/// How many pieces of such work are done each time all tasks that are ready have run.
pub(super) const PER_ROUND: usize = 8;

/// The places of one round.
pub(super) struct Turns {
    places: Semaphore,
    /// The place of whoever has more to do than a piece.
    long: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { places: Semaphore::new(PER_ROUND), long: Semaphore::new(1) }
    }
}

impl Turns {
    /// Waits for a place, and then until every other task that is ready has run. First come, first served.
    pub async fn take(&self) {
        // It is never closed, so it always gives.
        let _place = self.places.acquire().await;
        tokio::task::yield_now().await;
    }

    /// The same before each slice of work that is long. There is one place, so that however many have such work, those who have
    /// none wait for one slice a round.
    pub async fn slice(&self) -> Slice {
        let _place = self.long.acquire().await;
        tokio::task::yield_now().await;
        Slice::new()
    }

    /// So much has been done of a slice; the next one begins where that was all of it.
    pub async fn go_on(&self, slice: &mut Slice, units: usize) {
        slice.spend(units);
        if slice.is_over() {
            *slice = self.slice().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

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
}
