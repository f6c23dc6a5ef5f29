//! stub
pub mod broker;
pub mod inference;
pub mod model;
pub mod mqtt;
