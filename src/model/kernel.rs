//! The arithmetic that layers share.

pub mod lstm;
pub mod operation;
pub mod product;
