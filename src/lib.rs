//! stub
pub mod inference;
pub mod model;
pub mod mqtt;
