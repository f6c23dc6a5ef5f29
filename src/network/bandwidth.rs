//! Bandwidth, with a drop-tail queue: a link carries so many bits a second, and the queue in front of it
//! holds so many bytes and drops what comes then.

use std::time::Duration;

use super::parameter::ParameterError;

/// How much a link carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bandwidth {
    bits_per_s: u64,
    queue_bytes_max: u64,
    overhead_bytes: u64,
}

/// When the link is free again. Times are since the link began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transmitter {
    free_at: Duration,
}

/// What became of a message at the sending end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Its last bit has left at this time.
    At(Duration),
    /// The queue was full; its last bit would have left at this time.
    Dropped(Duration),
}

impl Bandwidth {
    /// `bits_per_s` at least 1; a message that finds the link idle is always taken, one
    /// that has to wait only when the bytes before it and its own are at most
    /// `queue_bytes_max`. Every message counts `overhead_bytes` more than its topic and
    /// payload: what lies below, such as 40 for the headers of TCP and IPv4.
    ///
    /// # Errors
    /// When nothing would ever get through.
    pub fn new(bits_per_s: u64, queue_bytes_max: u64, overhead_bytes: u64) -> Result<Self, ParameterError> {
        if bits_per_s == 0 {
            return Err(ParameterError::new("bits_per_s", "found 0, expected at least 1"));
        }
        Ok(Self { bits_per_s, queue_bytes_max, overhead_bytes })
    }

    /// How long the link is busy with a message of `bytes`.
    pub fn transmission(&self, bytes: usize) -> Duration {
        let bits = u128::from((bytes as u64).saturating_add(self.overhead_bytes)) * 8;
        // In 128 bits, for 64 overflow from 2.3 GB on; rounded up, so that a link never carries more than it
        // may.
        let nanoseconds = (bits * 1_000_000_000).div_ceil(u128::from(self.bits_per_s));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

impl Bandwidth {
    /// Such as `6 Mbit/s with room for 250 kB before it`.
    pub(crate) fn words(&self) -> String {
        let scaled = |value: u64, unit: &str| match value as f64 {
            value if value >= 1e9 => format!("{} G{unit}", value / 1e9),
            value if value >= 1e6 => format!("{} M{unit}", value / 1e6),
            value if value >= 1e3 => format!("{} k{unit}", value / 1e3),
            value => format!("{value} {unit}"),
        };
        format!(
            "{} with room for {} before it",
            scaled(self.bits_per_s, "bit/s"),
            scaled(self.queue_bytes_max, "B")
        )
    }
}

impl Transmitter {
    /// Sends a message of `bytes` at `at`, behind those that were sent before.
    pub fn send(&mut self, bandwidth: &Bandwidth, bytes: usize, at: Duration) -> Sent {
        let waits = self.free_at.saturating_sub(at);
        let sent = at.max(self.free_at).saturating_add(bandwidth.transmission(bytes));
        let own = (bytes as u64).saturating_add(bandwidth.overhead_bytes);
        // Drop-tail. What finds the link idle does not queue, so that the queue's bound says nothing of it;
        // what is dropped takes no time of the link.
        if !waits.is_zero() && bytes_left(bandwidth, waits).saturating_add(own) > bandwidth.queue_bytes_max {
            return Sent::Dropped(sent);
        }
        self.free_at = sent;
        Sent::At(sent)
    }
}

/// The bytes that a link busy for another `waits` has before it.
fn bytes_left(bandwidth: &Bandwidth, waits: Duration) -> u64 {
    let bits = waits.as_nanos() * u128::from(bandwidth.bits_per_s) / 1_000_000_000;
    u64::try_from(bits.div_ceil(8)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn size_matters_and_a_burst_queues() {
        // 1,000 bytes a second.
        let bandwidth = Bandwidth::new(8_000, 250, 0).unwrap();
        let mut link = Transmitter::default();
        assert_eq!(link.send(&bandwidth, 100, ms(0)), Sent::At(ms(100)));
        assert_eq!(link.send(&bandwidth, 50, ms(20)), Sent::At(ms(150)));
        assert_eq!(link.send(&bandwidth, 121, ms(20)), Sent::Dropped(ms(271)));
        assert_eq!(link.send(&bandwidth, 120, ms(20)), Sent::At(ms(270)));
        // An idle link takes even what its queue could not hold.
        assert_eq!(link.send(&bandwidth, 1_000, ms(300)), Sent::At(ms(1_300)));
        assert_eq!(Bandwidth::new(8_000, 0, 40).unwrap().transmission(60), ms(100));
        assert!(Bandwidth::new(0, 0, 0).is_err());
    }

    proptest! {
        #[test]
        fn the_link_keeps_order_conserves_work_and_never_holds_more_than_it_may(
            messages in prop::collection::vec((0_u64..20, 1_usize..2_000), 1..200),
        ) {
            let bandwidth = Bandwidth::new(1_000_000, 8_000, 10).unwrap();
            let (mut link, mut now, mut before) = (Transmitter::default(), Duration::ZERO, Duration::ZERO);
            let (mut carried, mut idle) = (Duration::ZERO, Duration::ZERO);
            for (pause_ms, bytes) in messages {
                now += ms(pause_ms);
                let waits = before.saturating_sub(now);
                match link.send(&bandwidth, bytes, now) {
                    Sent::At(sent) => {
                        // First come, first served, without a gap while there is something to send.
                        prop_assert_eq!(sent, before.max(now) + bandwidth.transmission(bytes));
                        idle += now.saturating_sub(before);
                        carried += bandwidth.transmission(bytes);
                        before = sent;
                        let held = (before - now).as_secs_f64() * 1_000_000.0 / 8.0;
                        prop_assert!(waits.is_zero() || held <= 8_001.0);
                    }
                    Sent::Dropped(_) => prop_assert!(!waits.is_zero()),
                }
            }
            prop_assert_eq!(idle + carried, before);
        }
    }
}
