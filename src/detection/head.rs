//! What is kept of a device whatever its detectors are: how many rows it has learnt from, how many in a row
//! taught nothing, and how late it is on its own clock.

use std::time::Duration;

use super::block::Word;

/// The two words.
pub struct Head<'a>(pub &'a mut [Word]);

const HAS_TIME: u64 = 1 << 31;
const LEARNT_MAX: u64 = HAS_TIME - 1;

impl Head<'_> {
    pub const WORDS: usize = 2;

    /// From how many rows it has learnt.
    pub fn learnt(&self) -> u64 {
        self.0[0] & LEARNT_MAX
    }

    pub fn learns(&mut self) {
        self.0[0] += u64::from(self.learnt() < LEARNT_MAX);
    }

    /// How many rows up to the one before this taught nothing.
    pub fn untaught(&self) -> u32 {
        (self.0[0] >> 32) as u32
    }

    /// Whether the row was one to learn from.
    pub fn was_taught(&mut self, was_taught: bool) {
        let untaught = if was_taught { 0 } else { self.untaught().saturating_add(1) };
        self.0[0] = self.0[0] & u64::from(u32::MAX) | u64::from(untaught) << 32;
    }

    /// How long after all rows before it a row was measured. One that is not later, because it is late on its
    /// way or the clock was put back, has no time of its own: else a clock that goes to and fro would make
    /// time, and with it alarms. A clock put back for good stands until it is where it was.
    pub fn advance(&mut self, timestamp_us: Option<i64>) -> Option<Duration> {
        let at = timestamp_us?;
        let before = (self.0[0] & HAS_TIME != 0).then_some(self.0[1] as i64);
        if before.is_none_or(|before| at > before) {
            self.0[0] |= HAS_TIME;
            self.0[1] = at as u64;
        }
        before.map(|before| Duration::from_micros(u64::try_from(at.saturating_sub(before)).unwrap_or(0)))
    }
}
