//! Admission control: the bounds on all requests under way, whoever brings them, in number and memory.

use std::sync::atomic::{AtomicU64, Ordering};

use super::config::Config;
use super::crowd::Crowd;
use super::in_flight_bytes::InFlightBytes;
use super::ticket::Ticket;
use crate::inference::{ErrorCode, Refusal};

/// What a deployment's requests may take together. Until it is crowded no thread waits here for another.
pub struct Admission {
    in_flight_max: usize,
    bytes: InFlightBytes,
    /// How devices share the last requests that may be in flight, and what those may take of memory.
    crowd: Crowd,
    bytes_crowd: Crowd,
    /// The number of the last request.
    last_number: AtomicU64,
}

impl Admission {
    /// Without requests yet.
    pub fn new(config: &Config) -> Self {
        Self {
            in_flight_max: config.in_flight_max,
            bytes: InFlightBytes::new(config.in_flight_bytes_max, config.in_flight_max),
            crowd: Crowd::new(config.in_flight_max),
            bytes_crowd: Crowd::new(config.in_flight_bytes_max),
            last_number: AtomicU64::new(0),
        }
    }

    /// Sets so many numbers aside for requests that have come, and returns the one before the first of them.
    pub fn numbers(&self, requests: usize) -> u64 {
        self.last_number.fetch_add(requests as u64, Ordering::Relaxed)
    }

    /// Counts what a request takes while it is under way beside `in_flight` others, or refuses it. What is
    /// wrong with it stays wrong.
    pub fn hold(
        &self,
        ticket: &mut Ticket,
        request: &Result<Vec<f32>, Refusal>,
        in_flight: usize,
    ) -> Result<(), Refusal> {
        let refusal = |problem| {
            request.as_ref().err().cloned().unwrap_or_else(|| Refusal::new(ErrorCode::Overloaded, problem))
        };
        let features = request.as_ref().map_or(0, Vec::capacity) * size_of::<f32>();
        let bytes = size_of::<Ticket>() + ticket.reply.bytes() + features;
        let device = ticket.caller.device_id.as_ref();
        let max = self.in_flight_max;
        if in_flight >= max {
            return Err(refusal(format!("{max} requests are in flight already (in_flight_max)")));
        }
        let Ok(place) = self.crowd.admit(device, 1, in_flight) else {
            return Err(refusal(format!(
                "nearly {max} requests are in flight (in_flight_max), and the device has its share of them"
            )));
        };
        let Ok(held) = self.bytes.hold(bytes, device, &self.bytes_crowd) else {
            let max = self.bytes.max();
            return Err(refusal(format!(
                "the requests in flight take nearly {max} bytes (IN_FLIGHT_BYTES_MAX), and the device has its share of them"
            )));
        };
        (ticket.place, ticket.held) = (place, held);
        Ok(())
    }
}
