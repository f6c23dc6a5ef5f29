//! Turns, a randomised order (as in a crossover design): at which placement each input is sent first.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The order of the placements for one input after the other: shuffled, so that none
/// is always first and whatever comes with being first or last is shared by all.
pub struct Turns {
    rng: ChaCha8Rng,
    order: Vec<usize>,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turns").field("order", &self.order).finish_non_exhaustive()
    }
}

/// Which stream of the seed's numbers orders are drawn from; arrivals have another.
const STREAM: u64 = 1;

impl Turns {
    /// Orders of `placements`.
    pub fn new(seed: u64, placements: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAM);
        Self { rng, order: (0..placements).collect() }
    }

    /// The order for the next input.
    pub fn next_order(&mut self) -> &[usize] {
        self.order.shuffle(&mut self.rng);
        &self.order
    }
}
