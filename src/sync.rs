//! Locks and condition variables that do not mind a panic elsewhere, and deadlines that do not mind a wait
//! beyond all time.
//!
//! The standard library poisons a lock whose holder panicked. Here no code that can panic runs under a lock:
//! what was guarded is sound whatever became of its last holder, and whoever comes next takes it as it is.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// What is further away than this is never: a century, which every clock can say.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// `wait` after `start`. Whoever says that he waits [`Duration::MAX`] waits for ever, and is no reason to
/// panic, which adding it is.
pub fn after(start: Instant, wait: Duration) -> Instant {
    start + wait.min(NEVER)
}

/// Locks `mutex`.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `mutex` holds, which nobody else has any more.
pub fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Locks `value` beside other readers.
pub fn read<T: ?Sized>(value: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    value.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks `value` alone.
pub fn write<T: ?Sized>(value: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    value.write().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for `changed` with the lock given up.
pub fn wait<'a, T>(changed: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits for `changed` with the lock given up, at most so long.
pub fn wait_timeout<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
    at_most: Duration,
) -> MutexGuard<'a, T> {
    changed.wait_timeout(guard, at_most).unwrap_or_else(PoisonError::into_inner).0
}

/// Waits for `changed` with the lock given up for as long as `holds`, at most so long.
pub fn wait_while<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
    at_most: Duration,
    holds: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    changed.wait_timeout_while(guard, at_most, holds).unwrap_or_else(PoisonError::into_inner).0
}
