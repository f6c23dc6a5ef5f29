//! The placement laboratory: what an experiment is, what its figures say, and how sure they are.

pub mod comparison;
mod cost_model;
pub mod experiment;
pub mod findings;
pub mod metrics_file;
pub mod observation;
pub(crate) mod observations_file;
pub mod scenario;
pub(crate) mod words;

pub use self::cost_model::CostModel;
