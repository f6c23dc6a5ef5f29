//! Detectors that learn while they answer: each device has its own idea of what is normal, and an alarm is
//! raised as often as its owner allowed.
//!
//! ```text
//!  row ─▶ detectors ─▶ tails ─▶ fusion ─▶ budget ─▶ episode ─▶ normal or alarm
//!         (a score     (how rare  (one      (from      (k of n,      │
//!          each)        it is)     number)   where on)  hysteresis)  ▼
//!         └──────────────────── learn, while all is quiet ◀──────────┘
//! ```
//! Everything is causal: what is said of a row follows from it and the rows of its device before it. What is
//! kept of a device is one block of words of a size that is known beforehand, so that many devices are one
//! flat table, and saving one is copying it. Time is an argument, and nothing is drawn at random.
//! Nothing here knows files, MQTT, JSON or candle.

mod baseline;
mod block;
mod budget;
mod calibration;
mod controller;
mod detect;
mod devices;
mod discord;
mod episode;
mod excess;
mod fusion;
mod head;
mod linear;
mod memory;
mod network;
mod pipeline;
mod record;
mod seasonal;
mod seen;
mod settings;
mod smoothed;
mod t2;
mod tail;
mod univariate;

pub use self::baseline::Baseline;
pub use self::budget::{Budget, BudgetError, Per};
pub use self::calibration::Calibration;
pub use self::controller::{Controller, Rule};
pub use self::detect::{Detect, Row};
pub use self::devices::Devices;
pub use self::discord::Discord;
pub use self::episode::{Course, EpisodeRule, Span};
pub use self::excess::Excess;
pub use self::fusion::Fusion;
pub use self::linear::{Linear, ORDER_MAX};
pub use self::memory::{Digest, Memory, Which};
pub use self::network::Network;
pub use self::pipeline::{DETECTORS_MAX, Detection, Parts, Running};
pub use self::record::RecordError;
pub use self::seasonal::{DAY_S, Seasonal, WEEK_S};
pub use self::seen::{Seen, State};
pub use self::settings::{
    DEVIATION_FLOOR, DetectorSettings, Kind, Learnt, Period, Settings, SmoothedSettings, SpanError, T2_ROWS,
    T2_WINDOW, numbers_of,
};
pub use self::smoothed::Smoothed;
pub use self::t2::{T2, fit as fit_t2};
pub use self::tail::{Rarity, Tail};
pub use self::univariate::univariate;

/// How many features an answer names that contributed most.
pub const CONTRIBUTIONS: usize = 3;

#[cfg(test)]
mod tests;
