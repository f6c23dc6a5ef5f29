//! Seeds, and small damage to valid bytes. Nothing here knows what the bytes mean.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The seeds of one target, in order.
pub struct Seeds {
    next: u64,
    end: u64,
}

/// A seed that says how to repeat its test when that fails.
pub struct Seed {
    number: u64,
    /// The first seed whose traces its test may have met.
    since: u64,
}

impl Seeds {
    /// `NEARFAR_FUZZ_ITERATIONS` seeds from `NEARFAR_FUZZ_SEED` on; by default so many, from 0.
    pub fn new(iterations_default: u64) -> Self {
        let number = |name: &str, default| {
            let stated = std::env::var(name).ok();
            stated.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
        };
        let first = number("NEARFAR_FUZZ_SEED", 0);
        Self { next: first, end: first + number("NEARFAR_FUZZ_ITERATIONS", iterations_default) }
    }
}

impl Iterator for Seeds {
    type Item = Seed;

    fn next(&mut self) -> Option<Seed> {
        let number = (self.next < self.end).then_some(self.next)?;
        self.next += 1;
        Some(Seed { number, since: number })
    }
}

impl Seed {
    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.number)
    }

    /// Notes that what the seeds from `first` on did may matter to this one.
    pub fn note_first(&mut self, first: &mut Option<u64>) {
        self.since = *first.get_or_insert(self.number);
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let count = self.number - self.since + 1;
            eprintln!("failed with NEARFAR_FUZZ_SEED={} NEARFAR_FUZZ_ITERATIONS={count}", self.since);
        }
    }
}

/// Numbers that sit on the edge of something.
const EDGES: [u8; 10] = [0x00, 0x01, 0x02, 0x7f, 0x80, 0x81, 0xc0, 0xe0, 0xfe, 0xff];
const PIECE_BYTES_MAX: usize = 40;

/// Damages `bytes` in one to four places: flips, edges, cuts, insertions, repeats, swaps.
pub fn mutate(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..5) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        let end = (at + rng.random_range(1..PIECE_BYTES_MAX)).min(bytes.len());
        match rng.random_range(0..9) {
            0 | 1 => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => bytes[at] = EDGES[rng.random_range(0..EDGES.len())],
            3 => bytes[at] = bytes[at].wrapping_add(if rng.random() { 1 } else { 0xff }),
            4 => bytes.truncate(at),
            5 => bytes.insert(at, rng.random()),
            6 => drop(bytes.drain(at..end)),
            7 => {
                let piece = bytes[at..end].to_vec();
                let to = rng.random_range(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => {
                let other = rng.random_range(0..bytes.len());
                bytes.swap(at, other);
            }
        }
    }
}

/// Mutates a text, which stays one: bytes that are none any more become the replacement character.
pub fn mutate_text(text: String, rng: &mut ChaCha8Rng) -> String {
    let mut bytes = text.into_bytes();
    mutate(&mut bytes, rng);
    String::from_utf8_lossy(&bytes).into_owned()
}
