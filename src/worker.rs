//! The workers of one model: they take whatever arrived while they were busy
//! (natural batching), and answer all of it.
//!
//! ```text
//!  submit ──▶ lanes (one a device, bounded) ──▶ worker (a thread with a model) ──▶ answer
//!                └── watch: what is late, and workers that hang ───────────────────┘
//! ```
//! There is no batching timer: an idle node answers at once, a busy one batches by
//! itself. Devices have turns, so one that floods waits for itself. Whatever becomes of
//! a job, it ends in one [`Done`]: from the model, or from [`Pool::submit`] when there
//! is no room, or at its deadline, or when the model fails, panics or takes too long.
//! The model can be [exchanged](Pool::exchange) between two batches: see `in_force`.

mod guest;
mod health;
mod in_force;
mod inputs;
mod lanes;
mod pool;
mod running;
mod shared;
mod slot;
mod watch;

use std::mem::size_of;
use std::time::{Duration, Instant};

use crate::inference::{DeviceId, ErrorCode, Outcome, Refusal};

pub use self::guest::Guest;
pub use self::health::{FAILURES_MAX, WorkerHealth};
pub use self::in_force::Copies;
pub use self::lanes::{Bounds, Lanes, Ousted, Waits};
pub use self::pool::{Pool, WORKERS_MAX};

/// The bounds of a model's workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerConfig {
    /// The most requests that wait for the model. Default 32,768.
    pub queue_requests_max: usize,
    /// The most bytes that waiting requests take, features and what travels with them. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// What happens when a request comes and there is no room. Default [`QueuePolicy::Refuse`].
    pub queue_policy: QueuePolicy,
    /// The most rows in one forward pass. Default 128, where a small network's cost per row is flat.
    pub batch_max: usize,
    /// How long one forward pass may take. Beyond it its requests are refused as `INTERNAL` and another
    /// worker takes the place of the one that hangs. Default 10 s; `None` for as long as it likes.
    pub inference_timeout: Option<Duration>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            queue_requests_max: 32_768,
            queue_bytes_max: 64 * 1024 * 1024,
            queue_policy: QueuePolicy::Refuse,
            batch_max: 128,
            inference_timeout: Some(Duration::from_secs(10)),
        }
    }
}

/// Who gives way when the queue is full. Whatever the policy, a device that has less than its share of
/// the queue waiting (the bound divided by the devices that wait) loses nothing to one that has more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum QueuePolicy {
    /// The newest request: the sender hears of it at once. What waits is served.
    #[default]
    Refuse,
    /// The oldest request: new readings are worth more than old ones.
    DropOldest,
    /// A device's newer request takes the place of the one that waits, full or not,
    /// which is answered `SUPERSEDED`.
    LatestPerDevice,
}

impl QueuePolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Refuse, Self::DropOldest, Self::LatestPerDevice];
    /// Every policy with its name in settings.
    pub const NAMES: &[(&str, Self)] = &[
        ("refuse", Self::Refuse),
        ("drop_oldest", Self::DropOldest),
        ("latest_per_device", Self::LatestPerDevice),
    ];
}

/// What travels with a job, as far as the workers must know it.
pub trait Context: Send + 'static {
    /// Whose request it is.
    fn device(&self) -> Option<&DeviceId>;

    /// When its features were measured, in microseconds on the device's own clock.
    fn timestamp_us(&self) -> Option<i64> {
        None
    }

    /// Whether nobody waits for the answer any more, so that the model need not be asked.
    fn is_abandoned(&self) -> bool {
        false
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

impl<C> Waits for Job<C> {
    type Time = Instant;

    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<f32>() * self.features.len()
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl<C: Context> Job<C> {
    /// Whether the model need not see it: it is too late, or nobody waits.
    fn is_over(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now) || self.context.is_abandoned()
    }

    /// The end of a job that the model has not seen, at `now`.
    fn refused(self, now: Instant, refusal: Refusal) -> Done<C> {
        Done {
            context: self.context,
            outcome: Err(refusal),
            queue: now.saturating_duration_since(self.queued_at),
            batch: Duration::ZERO,
            inference: Duration::ZERO,
        }
    }

    /// The end of a job whose deadline has passed, or whose caller has left, which ends every deadline.
    fn expired(self, now: Instant) -> Done<C> {
        if self.context.is_abandoned() {
            let left =
                Refusal::new(ErrorCode::DeadlineExceeded, "its caller left before the model began with it");
            return self.refused(now, left);
        }
        let waited = now.saturating_duration_since(self.queued_at);
        let message = format!("its deadline passed while it waited for the model ({waited:.1?} so far)");
        self.refused(now, Refusal::new(ErrorCode::DeadlineExceeded, message))
    }
}

/// A job that has ended.
pub struct Done<C> {
    /// What came with the request.
    pub context: C,
    /// The prediction and who made it, or why there is none.
    pub outcome: Outcome,
    /// Waiting for the worker.
    pub queue: Duration,
    /// From leaving the queue to the forward pass.
    pub batch: Duration,
    /// The forward pass it was part of.
    pub inference: Duration,
}

#[cfg(test)]
mod tests;
