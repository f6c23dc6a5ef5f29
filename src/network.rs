//! The simulated network: how long each message is on its way, and the line that keeps it for that long.

mod delay_line;
mod profile;
mod schedule;

pub use delay_line::{DelayLine, DelayLineFull};
pub use profile::{Direction, Profile};
pub use schedule::Schedule;
