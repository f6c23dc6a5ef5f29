//! Mutexes that do not mind a panic elsewhere.
//!
//! The standard library poisons a mutex whose holder panicked. Here no code that can panic runs under a lock:
//! what was guarded is sound whatever became of its last holder, and whoever comes next takes it as it is.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
