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
//! use nearfar::{Node, deployment};
//!
//! let node = Node::builder().deployment(deployment::Config::edge(), "models/anomaly_detector").start()?;
//! let address = node.mqtt_address().expect("an embedded broker has an address");
//! // ... any MQTT client can now publish on ml/inference/request at `address` ...
//! # assert_ne!(address.port(), 0);
//! let statistics = node.stop();
//! # Ok::<(), nearfar::node::NodeError>(())
//! ```
//! A detector without any MQTT:
//! ```
//! use nearfar::Detector;
//!
//! let mut detector = Detector::load("models/anomaly_detector")?;
//! let probability = detector.predict(&[0.5; 32])?.score();
//! assert!((0.0..=1.0).contains(&probability));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! The modules, in reading order: [`inference`] (the vocabulary), [`wire`] (JSON), [`mqtt`]
//! (messages and topics), [`model`], [`network`] (delays), [`worker`] (batching), [`placement`]
//! (which site answers), [`broker`], [`client`], [`deployment`] (joins them), [`node`] (composes
//! deployments), [`http`] (health and metrics), [`config`], [`features`] and [`sensors`] (where
//! requests come from), [`lab`] (what experiments say), [`report`] (the same as a page and as JSON).

pub mod alarm;
pub mod broker;
mod cli;
pub mod client;
pub mod config;
pub mod deployment;
pub mod features;
mod growing_file;
pub mod http;
pub mod inference;
pub mod lab;
pub mod ledger;
pub mod model;
pub mod mqtt;
pub mod network;
pub mod node;
pub mod placement;
mod rate_limit;
pub mod report;
mod requester;
pub mod sensors;
pub mod settings;
mod shipped;
pub mod statistics;
pub mod strict_toml;
mod suggestion;
mod sync;
pub mod telemetry;
pub mod text;
pub mod tls;
pub mod trial;
pub mod wire;
pub mod worker;

pub use self::cli::main;
pub use self::model::Detector;
pub use self::node::Node;
