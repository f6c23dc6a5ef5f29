//! An open-loop load generator, the half that asks: every request when it is due, whatever became of those
//! before.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::{Clock, request_id};
use crate::client::ClientError;
use crate::deployment::Topics;
use crate::lab::experiment::Turns;
use crate::requester::Sender;
use crate::trial::repeat::Repeat;
use crate::wire::client::RequestBody;

/// A request that was sent.
pub struct Sent {
    pub input: usize,
    pub placement: usize,
    /// How much later than it was due.
    pub late: Duration,
    /// The payload's.
    pub bytes: usize,
}

/// Sends every input to every placement.
pub struct Generator<'a> {
    pub repeat: &'a Repeat,
    pub clock: Clock,
    pub topics: &'a [Topics],
    pub sender: Sender,
}

impl Generator<'_> {
    /// Ends after the last request, or when the other end of `stopped` is gone. Every
    /// request is told to `sent`.
    pub fn run(self, stopped: &Receiver<()>, sent: &SyncSender<Sent>) -> Result<(), ClientError> {
        let Self { repeat, clock, topics, .. } = &self;
        let mut turns = Turns::new(repeat.scenario.seed, topics.len());
        for (input, due) in repeat.due.iter().enumerate() {
            // By the timetable, not so long after the one before: a generator that waits for a slow answer,
            // or is late once, would ask less just when it matters (coordinated omission).
            let due_at = clock.began + due.at;
            let wait = due_at.saturating_duration_since(Instant::now());
            if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return Ok(());
            }
            let id = request_id(input);
            let request = RequestBody {
                device_id: &repeat.fleet.devices[due.device as usize],
                timestamp_us: Some(clock.timestamp_us(due.at)),
                request_id: Some(&id),
                features: repeat.inputs.features(repeat.inputs.index(due.device, due.row)),
                ..RequestBody::default()
            };
            // In an order drawn anew for each input: whoever always came first would find the processor's
            // caches cold for all.
            for &placement in turns.next_order() {
                let late = due_at.elapsed();
                let bytes = self.sender.send(&topics[placement].request[0], &request)?;
                if sent.send(Sent { input, placement, late, bytes }).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
