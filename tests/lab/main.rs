//! The laboratory as a library: what sensors send, what an experiment is, and what is said of it.
//!
//! Nothing here starts a node. An experiment as a user runs it belongs to `program`.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as a test does")]

#[path = "../support/mod.rs"]
mod support;

/// The 32 features of vibration.
mod features;
/// What is said of an experiment: figures against those computed by hand.
mod findings;
/// Recordings in Parquet.
mod parquet_recordings;
/// The page and `summary.json`.
mod report;
/// The scenarios that we ship.
mod scenarios;
/// Simulated bearings and recorded files.
mod sensors;
/// Hybrids on a simulated clock.
mod virtual_hybrids;
