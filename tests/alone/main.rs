//! What is measured of the whole process, memory and threads: one test at a time, and nothing beside it.
//!
//! Every test here begins with [`alone`]. Only what cannot be told from other tests' doings belongs here.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as a test does")]

#[path = "../support/mod.rs"]
mod support;

/// The threads that brokers leave behind: none.
mod broker_threads;
/// What the broker says that it holds, beside what an allocator counts.
mod counted_memory;
/// What a forward pass allocates: nothing.
mod forward_pass;
/// A search for what takes more memory than is counted.
mod memory_search;

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cap::Cap;

/// Counts what the process has allocated.
#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The other tests of this process wait until the guard is dropped.
fn alone() -> MutexGuard<'static, ()> {
    // A test that failed has left nothing in the lock that could be wrong.
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}
