//! Runs a placement experiment: every point of a scenario's sweeps, every repeat and
//! every placement, by the clock or on a simulated one.
//!
//! ```
//! use std::time::Duration;
//!
//! use nearfar::lab::CostModel;
//! use nearfar::lab::findings::{Findings, Options};
//! use nearfar::trial::{self, Changes, Given, Plan, Said, Timing};
//!
//! let scenario = "
//! simulation: {duration_s: 2, seed: 1}
//! placements:
//!   - {name: near, model: shipped}
//!   - {name: far, model: shipped, network: wifi}
//! sensors: [{id: pump, count: 4, rate_hz: 5}]";
//! let plan = Plan::parse("pumps.yaml", scenario, Changes::default())?;
//! let cost = CostModel { per_batch: Duration::from_micros(20), ..CostModel::default() };
//! let given = Given { costs: vec![Said::of_all(cost)], ..Given::default() };
//! let run = trial::run(plan, Timing::Virtual(given))?;
//! let findings = Findings::of(&run, &Options::default());
//! assert!(findings.answer.sentence.starts_with("far is 8 ms slower than near"), "{}", findings.answer.sentence);
//! # Ok::<(), nearfar::trial::TrialError>(())
//! ```
//! Whoever wants to hear what is measured, [`Results`], and how the trial gets on, [`Progress`], or to
//! end it early, calls [`Trial::run`]. What the figures of a [`Run`] say is
//! told by [`Findings`](crate::lab::findings::Findings), and shown by [`Report`](crate::report::Report).

mod calibration;
mod choices;
mod cost;
mod cpu;
mod error;
mod experiment;
mod given;
mod hybrids;
mod live;
mod models;
mod paths;
mod plan;
mod progress;
mod repeat;
mod results;
mod simulated;
#[cfg(test)]
mod tests;
pub mod virtual_time;

use std::sync::atomic::AtomicBool;

pub use self::error::{NotFound, PlacementFault, SensorFault, TrialError};
pub use self::experiment::{Ended, Timing, Trial};
pub use self::given::{Given, Said};
pub(crate) use self::models::Thresholds;
pub(crate) use self::plan::in_words;
pub use self::plan::{Changes, Plan};
pub use self::progress::{Part, Progress};
pub(crate) use self::repeat::{Preparation, Repeat};
pub use self::results::{Foreign, MessageType, Results, ResultsDirectory};
use crate::lab::observation::Run;

/// Runs a plan to its end.
///
/// # Errors
/// [`TrialError`]: what of the scenario cannot be used, or what went wrong.
pub fn run(plan: Plan, timing: Timing) -> Result<Run, TrialError> {
    Trial::prepare(plan, timing)?.run(&mut (), &mut (), &AtomicBool::new(false)).whole()
}
