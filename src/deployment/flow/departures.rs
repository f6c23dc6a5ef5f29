//! Answers that leave the delay line, without head-of-line blocking: a few are published by the line's own
//! thread, for another one is slower to wake; many by another, because encoding and publishing thousands
//! takes milliseconds, and others become due meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use crate::deployment::destination::Destination;
use crate::deployment::outbox::PUBLISH_WAIT_MAX;
use crate::deployment::ticket::Answer;

/// The most batches of answers that wait to be published.
const DEPARTURES_BATCHES_MAX: usize = 1_024;
/// The most answers that the line's thread publishes itself, which takes it a tenth of a millisecond.
const PUBLISHED_AT_ONCE_MAX: usize = 64;

/// The line's end.
pub struct Departures {
    batches: SyncSender<Vec<Answer>>,
    under_way: Arc<AtomicUsize>,
}

/// The publishing thread's end.
pub struct Departing {
    batches: Receiver<Vec<Answer>>,
    /// Batches that were sent, and are not published yet.
    under_way: Arc<AtomicUsize>,
}

/// The two ends of the way from the delay line to the thread that publishes.
pub fn departures() -> (Departures, Departing) {
    let (sender, receiver) = sync_channel(DEPARTURES_BATCHES_MAX);
    let under_way = Arc::new(AtomicUsize::new(0));
    let line = Departures { batches: sender, under_way: Arc::clone(&under_way) };
    (line, Departing { batches: receiver, under_way })
}

impl Departures {
    /// Publishes `answers` through `end`, now or on the other thread, behind all that came before.
    pub fn send(&self, mut answers: Vec<Answer>, end: &mut Destination) {
        if answers.is_empty() {
            return;
        }
        // A few must not overtake many that the other thread still has: it counts down only after it has
        // published them, with Release.
        let is_first = self.under_way.load(Ordering::Acquire) == 0;
        if is_first && answers.len() <= PUBLISHED_AT_ONCE_MAX && end.has_room_for(answers.len()) {
            return end.send(&mut answers, Duration::ZERO);
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        if let Err(unsent) = self.batches.send(answers) {
            // Only a panic ends the thread at the other end; its answers are still owed.
            end.send(&mut { unsent.0 }, PUBLISH_WAIT_MAX);
        }
    }
}

impl Departing {
    /// Publishes what departs through `end`, until the delay line's thread has ended.
    pub fn run(self, mut end: Destination) {
        while let Ok(mut answers) = self.batches.recv() {
            end.send(&mut answers, PUBLISH_WAIT_MAX);
            self.under_way.fetch_sub(1, Ordering::Release);
        }
    }
}
