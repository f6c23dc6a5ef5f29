//! One run of an experiment: every point of a scenario's sweeps, every repeat and every placement, by the
//! clock or on a simulated one.

mod calibration;
mod choices;
pub(crate) mod cost;
mod cpu;
pub(crate) mod experiment;
mod hybrids;
mod live;
pub(crate) mod models;
mod paths;
pub(crate) mod plan;
pub(crate) mod repeat;
mod results;
mod simulated;
pub mod virtual_time;
