//! What a simulated network does to a message: a pure function of the profile and the message's number.

use std::time::Duration;

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the sensor to the model.
    Uplink,
    /// From the model to the sensor.
    Downlink,
}

/// A simulated network between sensors and a model: a constant one-way latency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Profile {
    one_way: Duration,
}

impl Profile {
    /// No network at all: the edge.
    pub const NONE: Self = Self { one_way: Duration::ZERO };
    /// The cloud's default: 50 ms each way.
    pub const CLOUD: Self = Self { one_way: Duration::from_millis(50) };

    /// The same latency for every message, each way.
    pub const fn constant(one_way: Duration) -> Self {
        Self { one_way }
    }

    /// How long message number `sequence` is under way in `direction`.
    pub fn delay(&self, _direction: Direction, _sequence: u64) -> Duration {
        self.one_way
    }

    /// Whether no message is ever delayed, so that no delay line is needed.
    pub fn is_instant(&self) -> bool {
        self.one_way.is_zero()
    }
}
