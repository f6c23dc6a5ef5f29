//! The simulated network: what happens to each message on its way, and the line that keeps it for as long as that takes.

mod bandwidth;
mod chain;
mod delay;
mod delay_line;
mod link;
mod loss;
mod outage;
mod parameter;
mod preset;
mod profile;
mod random;
mod recorded;
mod schedule;
mod words;

pub use bandwidth::Bandwidth;
pub use delay::Delay;
pub use delay_line::{DelayLine, DelayLineFull};
pub use link::{Letter, Link, Verdict};
pub use loss::{GilbertElliott, Loss};
pub use outage::{Outages, Policy, WINDOWS_MAX, Window};
pub use parameter::{DELAY_MAX, ParameterError};
pub use preset::Preset;
pub use profile::{Direction, LinkProfile, Lost, Profile, Reorder, Shape};
pub use recorded::{RECORDED_LINES_MAX, RecordedError, Samples, TimeSeries};
pub use schedule::Schedule;
