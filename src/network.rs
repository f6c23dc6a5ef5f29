//! The simulated network: what happens to each message on its way, and the line that
//! keeps it for as long as that takes.

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
pub mod settings;
mod words;

pub use self::bandwidth::Bandwidth;
pub use self::delay::Delay;
pub use self::delay_line::{DelayLine, DelayLineFull};
pub use self::link::{Letter, Link, Verdict};
pub use self::loss::{GilbertElliott, Loss};
pub use self::outage::{Outages, Policy, WINDOWS_MAX, Window};
pub use self::parameter::{DELAY_MAX, ParameterError};
pub use self::preset::Preset;
pub use self::profile::{Direction, LinkProfile, Lost, Profile, Reorder, Shape};
pub use self::recorded::{RECORDED_LINES_MAX, RecordedError, Samples, TimeSeries};
pub use self::schedule::Schedule;
