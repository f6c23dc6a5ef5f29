//! Work that may be long is counted and cut into slices, so that the others on the
//! same thread have their turn.
//!
//! It is counted, not timed: the same packets are cut at the same places whatever else the machine does.

use std::time::{Duration, Instant};

/// The units of a slice. A unit is some tenths of a microsecond, such as a look into a map. With
/// 1,000 a device beside ten clients that asked for as much as they could waited twice as long.
pub const SLICE_UNITS: usize = 400;
/// Bytes that are copied, hashed or checked for one unit.
pub const BYTES_PER_UNIT: usize = 256;
/// Levels that are compared by their marks for one unit.
const LEVELS_PER_UNIT: usize = 128;
/// Messages that are moved up when one before them goes, for one unit.
const MOVES_PER_UNIT: usize = 16;

/// A slice that has lasted for so long is of somebody who asks for little.
const CALM: Duration = Duration::from_millis(100);

/// What is left of a slice.
#[derive(Debug)]
pub struct Slice {
    left: usize,
    began: Instant,
}

impl Slice {
    /// A whole one.
    pub fn new() -> Self {
        Self::of(SLICE_UNITS)
    }

    /// A smaller one.
    pub fn of(units: usize) -> Self {
        Self { left: units, began: Instant::now() }
    }

    /// Whether it has lasted for so long that whoever has it asks for little.
    pub fn is_calm(&self) -> bool {
        self.began.elapsed() >= CALM
    }

    /// So much was done. The last piece may be larger than what was left.
    pub fn spend(&mut self, units: usize) {
        self.left = self.left.saturating_sub(units);
        #[cfg(test)]
        count(units);
    }

    /// So many bytes were gone through.
    pub fn spend_bytes(&mut self, bytes: usize) {
        self.spend(bytes / BYTES_PER_UNIT);
    }

    /// A place was looked at, and so many levels beside it were compared.
    pub fn spend_levels(&mut self, levels: usize) {
        self.spend(1 + levels / LEVELS_PER_UNIT);
    }

    /// So many messages of a queue were moved.
    pub fn spend_moves(&mut self, messages: usize) {
        self.spend(messages / MOVES_PER_UNIT);
    }

    /// The others have their turn, whatever is left.
    pub fn end(&mut self) {
        self.left = 0;
    }

    /// Whether the others have their turn.
    pub fn is_over(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
thread_local! {
    static SPENT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
fn count(units: usize) {
    SPENT.set(SPENT.get() + units);
}

/// What this thread has spent since it began.
#[cfg(test)]
pub fn spent() -> usize {
    SPENT.get()
}
