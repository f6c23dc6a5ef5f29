//! What all clients share: whose is how much of it, who gives way, and what is counted.

pub mod acquaintances;
pub mod addresses;
pub mod charge;
mod counted;
pub mod dropped;
pub mod ended;
pub mod machine;
pub mod memory;
pub mod network;
pub mod open_files;
pub mod reached;
pub mod refused;
pub mod shares;
pub mod standing;
pub mod tally;
pub mod traffic;
