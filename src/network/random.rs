//! A counter-based generator, where chance comes from: a stream of numbers for every message and purpose,
//! each a function of the link's key alone.
//!
//! Nothing is drawn in sequence from one message to the next, so that what happens to a message
//! depends neither on which others were asked about nor on the order in which threads ask.

use std::convert::Infallible;

use rand::TryRng;

use super::profile::Direction;

/// What a number decides; each purpose has streams of its own, so that a change of
/// one model leaves the others' decisions alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// How long a message is under way.
    Delay = 1,
    /// Whether it is lost, given the state of the link.
    Loss = 2,
    /// In which state a Gilbert-Elliott link is.
    LossState = 3,
    /// Whether, and for how long, it is held back.
    Reorder = 4,
    /// Whether there is a second copy.
    Duplicate = 5,
    /// Whether the link is down.
    Outage = 6,
    /// How long a second copy is under way.
    DuplicateDelay = 7,
}

/// A key that names one direction of one link under one seed.
pub fn key(seed: u64, link: &str, direction: Direction) -> u64 {
    // FNV-1a (Fowler, Noll, Vo) turns the name into a number; the mixing function makes neighbours unlike.
    let name = link.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let direction = match direction {
        Direction::Uplink => 1,
        Direction::Downlink => 2,
    };
    mix(mix(seed ^ mix(name)).wrapping_add(direction))
}

/// SplitMix64: a counter and a mixing function (Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct Stream {
    state: u64,
}

impl Stream {
    /// The stream of message or step `number` for one purpose.
    pub fn new(key: u64, purpose: Purpose, number: u64) -> Self {
        Self { state: mix(mix(key.wrapping_add(purpose as u64)) ^ mix(number)) }
    }

    /// A number in `[0, 1)`, of 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        finish(self.state)
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// The odd integer next to 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(value: u64) -> u64 {
    finish(value.wrapping_add(GOLDEN))
}

/// Stafford's thirteenth variant of MurmurHash3's finaliser, as SplitMix64 uses it.
fn finish(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first numbers that the reference implementation in C gives for the seed 1234567.
        let mut stream = Stream { state: 1_234_567 };
        let numbers: Vec<_> = (0..3).map(|_| stream.next()).collect();
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn streams_differ_by_seed_link_direction_purpose_and_number() {
        let first = |seed, link, direction, purpose, number| {
            Stream::new(key(seed, link, direction), purpose, number).next()
        };
        let (up, down) = (Direction::Uplink, Direction::Downlink);
        let mut numbers = vec![
            first(1, "a", up, Purpose::Delay, 0),
            first(2, "a", up, Purpose::Delay, 0),
            first(1, "b", up, Purpose::Delay, 0),
            first(1, "a", down, Purpose::Delay, 0),
            first(1, "a", up, Purpose::Loss, 0),
            first(1, "a", up, Purpose::Delay, 1),
        ];
        assert_eq!(numbers[0], first(1, "a", up, Purpose::Delay, 0));
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 6);
    }

    #[test]
    fn first_numbers_of_neighbouring_streams_are_uniform_and_uncorrelated() {
        let draws: Vec<_> = (0..20_000).map(|number| Stream::new(7, Purpose::Delay, number).unit()).collect();
        let mean = draws.iter().sum::<f64>() / 2e4;
        let lagged = draws.windows(2).map(|pair| (pair[0] - 0.5) * (pair[1] - 0.5)).sum::<f64>() / 2e4;
        // Five standard errors: 1/sqrt(12 n), and (1/12)/sqrt(n).
        assert!((mean - 0.5).abs() < 0.0103, "{mean}");
        assert!(lagged.abs() < 0.003, "{lagged}");
    }
}
