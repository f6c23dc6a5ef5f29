//! Waiting for what nobody tells of.

use std::time::{Duration, Instant};

/// No test waits longer for anything; reaching it is a failure, never a pace.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until something is so; `what` says what is not, where it never is.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}
