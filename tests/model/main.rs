//! Models: read from files, good and hostile, and equal to PyTorch's answers that `tests/fixtures` records.
//!
//! The commands around them belong to `program`.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as a test does")]

#[path = "../support/mod.rs"]
mod support;

/// PyTorch checkpoints, of which nothing is executed.
mod checkpoint;
/// `config.json`, and how it is refused.
mod config;
/// Files that hold more than one network's weights.
mod convert;
/// Dense networks.
mod dense;
/// Every layer beyond the plain ones, and published networks.
mod layers;
/// ONNX files.
mod onnx;
/// Convolutional and LSTM networks.
mod sequences;
/// The model that we ship.
mod shipped;
