//! Nodes and a broker elsewhere that is a program of its own, which is a Mosquitto where one is installed.
//!
//! What fails at random, again and again, belongs to `chaos`.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as a test does")]

#[path = "../support/mod.rs"]
mod support;

/// The broker is stopped and started while requests are under way.
mod broker_restart;
/// The connection is cut in the middle of packets.
mod cut_connections;
/// Many nodes on one broker.
mod nodes;
