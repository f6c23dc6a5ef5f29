//! stub
pub mod features;
pub mod inference;
pub mod model;
pub mod mqtt;
