//! The placement laboratory: what an experiment is, what its figures say, and how sure they are.

pub mod scenario;
pub mod statistics;
mod yaml;
