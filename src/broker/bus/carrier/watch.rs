//! The watch over the carrier: whether it still answers.

use std::time::Duration;

use tokio::time::timeout;

use super::{Answers, CarrierGone};
use crate::broker::bus::Bus;

/// How often the router is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(1);
/// A router that is silent for this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Pings the router where it says nothing by itself, and returns why it is given up.
pub async fn until_end(bus: &Bus, mut answers: Answers) -> &'static str {
    loop {
        let answer = match timeout(PING_EVERY, answers.next()).await {
            Ok(answer) => answer,
            Err(_quiet) if bus.ping().is_err() => Err(CarrierGone),
            Err(_quiet) => match timeout(SILENCE_MAX, answers.next()).await {
                Ok(answer) => answer,
                Err(_silent) => return "the router does not answer",
            },
        };
        match answer {
            Ok(true) => bus.note_pong(),
            Ok(false) => {}
            Err(_ended) => return "the router's thread has ended",
        }
    }
}
