//! A node as those meet it who send it requests, operate it, or build it into a program of their own.
//!
//! What its broker alone does belongs to `broker`, what the program says about it to `program`.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as a test does")]

#[path = "../support/mod.rs"]
mod support;

/// An acknowledged request is an answered request.
mod acknowledgements;
/// An answer for every request: bad ones, many at once, too many.
mod answers;
/// When a request arrived is the broker's word.
mod arrival;
/// Asking a deployment from within its process.
mod asking;
/// What holds alike for the in-process link and a connection to a broker elsewhere.
mod both_clients;
/// A model that learns of each device.
mod detection;
/// Another model in force, between two batches.
mod exchange;
/// Health and metrics over HTTP.
mod http {
    mod health;
    mod metrics;
}
/// Hybrid placements under way: policies, failures, one answer a request.
mod hybrid;
/// Hybrid placements in a node's file.
mod hybrid_config;
/// What a program that depends on the library may say and do wrong, and what it is told.
mod library;
/// Nodes come and go, and so do their brokers.
mod lifecycle;
/// Another simulated network while requests are under way.
mod network_changes;
/// Simulated networks that lose, duplicate and delay.
mod networks;
/// Too much, too late, and models that misbehave.
mod overload;
/// A broker elsewhere, which is one that a test writes by hand.
mod remote {
    mod protocol;
    mod security;
}
/// The replaced system's own tests, by name.
mod replaced_system;
/// Device ids that are taken from who sent a message.
mod sender_identity;
/// The wire contract, without a node: payloads in, JSON out.
mod wire;
/// Several workers for one model.
mod workers;
