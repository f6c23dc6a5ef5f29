//! Makes a detector of rows that people have: what is normal, how rare a score is, and where an alarm begins.
//!
//! ```text
//!  fleet ─▶ normalising ─▶ network, if there are labels ─▶ detectors ─▶ calibration ─▶ a model's directory
//!  (rows,   (robust centre  (held-back devices decide      (settings)   (scores of
//!   labels)  and spread)     when it stops)                              sound rows)
//! ```
//! The same rows and the same seed give the same bytes. Nothing here knows MQTT, or reads or writes a file.

mod calibrating;
mod choosing;
mod faults;
pub mod network;
mod networked;
mod normalise;
mod plan;
mod rows;
mod trained;

pub use self::choosing::{Candidate, Tried};
pub use self::faults::Fault;
pub use self::normalise::Normalisation;
pub use self::plan::{Choice, Plan};
pub use self::trained::{Progress, Trained, TrainingError, train};
