//! An MQTT broker and an ML inference node in one: put a model next to your sensors, and measure what distance costs.

pub mod broker;
pub mod features;
pub mod inference;
pub mod metrics;
pub mod model;
pub mod mqtt;
pub mod network;
pub mod strict_toml;
pub mod wire;
pub mod worker;
