//! Runs a placement experiment: every point of a scenario's sweeps, every repeat and
//! every placement, by the clock or on a simulated one.
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//! use std::time::Duration;
//!
//! use nearfar::lab::CostModel;
//! use nearfar::lab::findings::{Findings, Options};
//! use nearfar::trial::{Changes, Given, Plan, Said, Timing, Trial};
//!
//! let scenario = "
//! simulation: {duration_s: 2, seed: 1}
//! placements:
//!   - {name: near, model: models/anomaly_detector}
//!   - {name: far, model: models/anomaly_detector, network: wifi}
//! sensors: [{id: pump, count: 4, rate_hz: 5}]";
//! let plan = Plan::parse("pumps.yaml", scenario, Changes::default())?;
//! let cost = CostModel { per_batch: Duration::from_micros(20), ..CostModel::default() };
//! let given = Given { costs: vec![Said::of_all(cost)], ..Given::default() };
//! let trial = Trial::prepare(plan, Timing::Virtual(given))?;
//! let run = trial.run(&mut (), &mut (), &AtomicBool::new(false)).whole()?;
//! let findings = Findings::of(&run, &Options::default());
//! assert!(findings.answer.sentence.starts_with("far is 8 ms slower than near"), "{}", findings.answer.sentence);
//! # Ok::<(), nearfar::trial::TrialError>(())
//! ```
//! The first two arguments of [`Trial::run`] hear what is measured, [`Results`], and how the trial gets on,
//! [`Progress`]; the third one ends it early. What the figures of a [`Run`](crate::lab::observation::Run) say
//! is told by [`Findings`](crate::lab::findings::Findings), and shown by [`Report`](crate::report::Report).

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

pub use self::error::{NotFound, PlacementFault, SensorFault, TrialError};
pub use self::experiment::{Ended, Timing, Trial};
pub use self::given::{Given, Said};
pub(crate) use self::models::Thresholds;
pub(crate) use self::plan::in_words;
pub use self::plan::{Changes, Plan};
pub use self::progress::{Part, Progress};
pub(crate) use self::repeat::{Preparation, Repeat};
pub use self::results::{Foreign, MessageType, Results, ResultsDirectory};
pub use crate::shipped::ShippedError;
