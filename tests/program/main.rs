//! The program as a user starts it: arguments in, lines, files and an exit status out.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as a test does")]

#[path = "../support/mod.rs"]
mod support;

/// `nearfar bench`.
mod bench;
/// `nearfar compare` on existing measurements.
mod compare;
/// `nearfar demo`.
mod demo;
/// `nearfar train` and `nearfar judge`.
mod detectors;
/// `nearfar compare SCENARIO`.
mod experiments;
/// Every message that a wrong file, variable or flag gets.
mod messages;
/// `nearfar convert`, `inspect` and `infer`.
mod model;
/// `nearfar passwd`.
mod passwd;
/// The plant network that the README shows.
mod plant;
/// `nearfar replay`.
mod replay;
/// `nearfar serve` and `nearfar broker`.
mod serve;
/// `nearfar serve` under systemd and probes, and `nearfar health`.
mod supervised;
/// Traces: the program's own in its log and at a collector, and those that requests bring.
mod traces {
    #[cfg(feature = "opentelemetry")]
    mod collector;
    mod context;
}
