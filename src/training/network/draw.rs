//! Random draws: first weights, and the rows of a step.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A source of draws, the same for the same seed and purpose.
pub struct Draw(ChaCha8Rng);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// From `-bound` to `bound`, uniformly.
    pub fn uniform(&mut self, bound: f32) -> f32 {
        self.0.random_range(-bound..=bound)
    }

    /// Below `count`, which is more than 0.
    pub fn below(&mut self, count: usize) -> usize {
        // A usize is drawn differently where it is half as wide; the product of two u64 is the same anywhere.
        ((u128::from(self.0.next_u64()) * count as u128) >> 64) as usize
    }

    /// The numbers below `count` in any order (R. Durstenfeld, 1964).
    pub fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for at in (1..count).rev() {
            order.swap(at, self.below(at + 1));
        }
        order
    }
}
