//! Where requests come from when no machine is at hand: simulated bearings and recorded files.
//!
//! Both end in rows of features; how a row reaches a node is the caller's business.

pub mod bearing;
pub mod recorded;

pub use self::bearing::Bearing;
pub use self::recorded::Recording;
