//! Everything fails, again and again, while senders keep a ledger: every
//! acknowledged request has one answer, and none is missing.
//!
//! `NEARFAR_CHAOS_ROUNDS` says how many failures there are (3 otherwise), `NEARFAR_CHAOS_SEED` which ones.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as a test does")]

#[path = "../support/mod.rs"]
mod support;

/// Nodes with a broker of their own.
mod embedded;
/// Nodes on a Mosquitto, both of which fail.
mod external;
/// What was asked, acknowledged and answered.
mod ledger;
/// A connection that can be cut.
mod proxy;
/// Asks, and asks again until there is an answer.
mod sender;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// How many failures a test causes.
fn rounds() -> usize {
    std::env::var("NEARFAR_CHAOS_ROUNDS").map_or(3, |rounds| rounds.parse().expect("a number of rounds"))
}

/// What decides which failures those are.
fn random() -> ChaCha8Rng {
    let seed = std::env::var("NEARFAR_CHAOS_SEED").map_or(1, |seed| seed.parse().expect("a seed"));
    ChaCha8Rng::seed_from_u64(seed)
}
