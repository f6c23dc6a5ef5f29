//! The bounds of a model's workers: keys of `[deployments.NAME]`, and of its cloud.

use crate::settings::{SettingError, Table};
use crate::worker::{QueuePolicy, WORKERS_MAX, WorkerConfig};

/// Reads the bounds; what a table does not say is as in `worker`.
pub fn worker(table: &mut Table<'_>, mut worker: WorkerConfig) -> Result<WorkerConfig, SettingError> {
    table.number("queue_requests_max", 1.., &mut worker.queue_requests_max)?;
    table.number("queue_bytes_max", 1.., &mut worker.queue_bytes_max)?;
    table.choice("queue_policy", QueuePolicy::NAMES, &mut worker.queue_policy)?;
    table.number("batch_max", 1.., &mut worker.batch_max)?;
    table.milliseconds_or_none("inference_timeout_ms", &mut worker.inference_timeout)?;
    Ok(worker)
}

/// Reads how many workers there are.
pub fn workers(table: &mut Table<'_>, workers: &mut usize) -> Result<(), SettingError> {
    table.number("workers", 1..=WORKERS_MAX, workers)
}
