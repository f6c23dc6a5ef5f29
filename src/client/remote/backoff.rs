//! Exponential backoff with jitter: how long to wait before the next attempt. Waits double, up to a bound,
//! and are spread at random, so that a fleet does not come back at once.

use std::time::Duration;

use rand::RngExt;

/// The waits of one series of failed attempts.
pub struct Backoff {
    wait: Duration,
    wait_max: Duration,
}

const FIRST_WAIT: Duration = Duration::from_millis(100);

impl Backoff {
    /// Starts at 100 ms and never exceeds `wait_max`.
    pub fn new(wait_max: Duration) -> Self {
        Self { wait: FIRST_WAIT.min(wait_max), wait_max }
    }

    /// The next wait: between half and the whole of the current step, which doubles each time.
    pub fn next_wait(&mut self, random: &mut impl rand::Rng) -> Duration {
        let step = self.wait;
        self.wait = (step * 2).min(self.wait_max);
        // "Equal jitter" (M. Brooker, "Exponential Backoff And Jitter", 2015). With full jitter, from zero
        // on, some nodes of a fleet would come back at once and others soon after.
        step.mul_f64(random.random_range(0.5..=1.0))
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.wait = FIRST_WAIT.min(self.wait_max);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn waits_grow_with_jitter_up_to_the_bound() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let mut backoff = Backoff::new(Duration::from_secs(1));
        for step_ms in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next_wait(&mut random);
            let step = Duration::from_millis(step_ms);
            assert!(wait >= step / 2 && wait <= step, "{wait:?} of {step:?}");
        }
        backoff.reset();
        assert!(backoff.next_wait(&mut random) <= FIRST_WAIT);
    }
}
