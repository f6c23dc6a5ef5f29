//! The health of a model's workers: how they are doing, and what has become of some.

/// The state of a model's workers, and what has become of some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerHealth {
    /// Why the model cannot be relied on now: it failed [`FAILURES_MAX`] times in a row,
    /// or hangs. It is tried all the same, and one success clears this.
    pub failing: Option<String>,
    /// Workers that were replaced, because their model panicked or hung.
    pub workers_replaced: u64,
    /// Forward passes that took longer than they may.
    pub inference_timeouts: u64,
    /// Features that were far from what the model was normalised with, in each of the last requests that were
    /// looked at.
    pub features_far: u64,
    /// Forward passes in a row that failed, up to now.
    pub failures_in_row: u32,
}

/// After this many forward passes in a row that failed, a model counts as failing.
pub const FAILURES_MAX: u32 = 5;

impl WorkerHealth {
    /// A forward pass succeeded, or another model has come into force, of which nothing bad is known.
    pub fn recovered(&mut self) {
        self.failures_in_row = 0;
        self.failing = None;
    }

    /// A forward pass failed because of `cause`.
    pub fn failed(&mut self, cause: &str) {
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        if self.failures_in_row >= FAILURES_MAX {
            self.failing =
                Some(format!("the model failed {} times in a row, last: {cause}", self.failures_in_row));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_failures_make_it_failing_and_one_success_clears_that() {
        let mut health = WorkerHealth::default();
        for _ in 1..FAILURES_MAX {
            health.failed("broken");
        }
        assert_eq!(health.failing, None);
        health.failed("broken");
        assert!(health.failing.as_ref().is_some_and(|reason| reason.contains("broken")));
        health.recovered();
        assert_eq!(health, WorkerHealth::default());
    }
}
