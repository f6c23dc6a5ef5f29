//! The plan of an experiment: who asks when, with what, and at which placement first. Seeded,
//! and without a clock: whoever runs it, by the clock or on a simulated one, asks the same.

mod fleet;
mod inputs;
mod recording;
mod timetable;
mod turns;

pub use self::fleet::{Fleet, FleetError, with_devices};
pub use self::inputs::{Inputs, WINDOWS_MAX};
pub use self::recording::{ROWS_MAX, RecordedRow, RecordedRows, RecordingFault, read_recording};
pub use self::timetable::{Due, Group, Pace, Timetable, requests_expected};
pub use self::turns::Turns;

#[cfg(test)]
mod tests;
