//! An MQTT broker and an ML inference node in one: put a model next to your sensors,
//! and measure what distance costs.
//!
//! Requests flow in one direction:
//! ```text
//!  sensors ── TCP ──▶ front door ──▶ rumqttd router ──▶ intake ──▶ uplink ──▶ queue ──▶ worker ──▶ downlink ──▶ publish ─┐
//!  sensors ◀── TCP ── front door ◀── rumqttd router ◀────────────────────────────────────────────────────────────────────┘
//!                      (or: a broker elsewhere, in place of the first three)
//! ```
//! A node inside a test, in five lines:
//! ```
//! use std::time::Duration;
//!
//! use nearfar::{Detector, Node, deployment};
//!
//! let node = Node::builder().deployment(deployment::Config::edge(), Detector::shipped()?).start()?;
//! let address = node.mqtt_address().expect("an embedded broker has an address");
//! // ... any MQTT client can now publish on ml/inference/request at `address` ...
//! # assert_ne!(address.port(), 0);
//! let answered = node.ask([0.5; 32], Duration::from_secs(10))?; // ... or ask in the process
//! # assert!((0.0..=1.0).contains(&answered.prediction.score()));
//! let totals = node.stop();
//! assert_eq!(totals["edge"].answered, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! A detector without any MQTT:
//! ```
//! use nearfar::Detector;
//!
//! let mut detector = Detector::shipped()?; // or Detector::load("models/mine")
//! let probability = detector.predict(&[0.5; 32])?.score();
//! assert!((0.0..=1.0).contains(&probability));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! Whoever depends on the crate leaves the feature `cli` out, which is the program's command line
//! (`default-features = false`). In debug builds the arithmetic of models is slow unless the dependant's own
//! `Cargo.toml` sets `opt-level = 2` for the packages `nearfar` and `pulp` (`[profile.dev.package]`).
//!
//! The modules that are public, in reading order:
//!
//! - [`inference`], the vocabulary: sites, reasons, error codes;
//! - [`model`], from `config.json` and weights to scores, by a [`Detector`];
//! - [`features`], 32 numbers from raw vibration, and [`sensors`], where vibration comes from without a
//!   machine;
//! - [`wire`], requests and answers as JSON, and [`requester`], a client that speaks it;
//! - [`mqtt`], messages and topics, [`broker`], the embedded one, and [`client`], the way to one elsewhere;
//! - [`network`], what a simulated network does to a message, and [`placement`], which of two sites answers;
//! - [`deployment`], how a model is served, [`node`], which serves any number of them, [`ledger`],
//!   what it has counted, and [`http`], its health and metrics on a port of their own;
//! - [`statistics`], what measurements mean, and [`alarm`], when scores become an alarm;
//! - [`detection`], detectors that learn while they answer, and [`judgement`], how good one is;
//! - [`lab`], what an experiment is and says, [`trial`], which runs one, and [`report`], a page of what it
//!   said.
//!
//! Everything else is behind them, and may change at any time. Configurations and options gain fields:
//! whoever makes one with `..Config::edge()`, `..Options::default()` and the like is not bothered by that.
//! Errors and their codes gain variants, and are `non_exhaustive`.

#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports, reason = "the command line uses it"))]

pub mod alarm;
pub mod broker;
#[cfg(feature = "cli")]
#[allow(rustdoc::broken_intra_doc_links, reason = "its comments are the help that the program prints")]
mod cli;
pub mod client;
mod config;
pub mod deployment;
pub mod detection;
pub mod features;
mod file_access;
mod growing_file;
pub mod http;
pub mod inference;
pub mod judgement;
pub mod lab;
pub mod ledger;
pub mod model;
pub mod mqtt;
pub mod network;
pub mod node;
pub mod placement;
mod rate_limit;
pub mod report;
pub mod requester;
pub mod sensors;
mod settings;
mod shipped;
pub mod statistics;
mod suggestion;
mod sync;
mod tcp;
mod telemetry;
mod text;
mod tls;
pub mod training;
pub mod trial;
pub mod wire;
mod worker;

#[cfg(feature = "cli")]
pub use self::cli::main;
pub use self::model::Detector;
pub use self::node::Node;
pub use self::text::TextError;

/// What only our own integration tests need of what is behind the public modules.
#[doc(hidden)]
pub mod testing {
    use std::sync::mpsc::Receiver;

    use crate::broker::Broker;
    pub use crate::config::{
        BUILT_IN_BROKER, ConfigError, ServeConfig, parse_broker, read_broker_file, read_node_file,
        refuse_open_listeners,
    };
    pub use crate::worker::WORKERS_MAX;

    /// Ends a broker's router as a fault would.
    pub fn kill_router(broker: &Broker) {
        broker.kill_router();
    }

    /// Blocks a broker's I/O thread until the other end of `until` is dropped.
    pub fn block_io_thread(broker: &Broker, until: Receiver<()>) {
        broker.block_io_thread(until);
    }
}
