//! The placement laboratory: what an experiment is, what its figures say, and how sure they are.

pub mod statistics;
