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
/// A connection that has served so long was no failed attempt.
const STABLE_AFTER: Duration = Duration::from_secs(5);

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

    /// Starts over if the broker had let us in for long enough.
    ///
    /// Not as soon as there is a CONNACK: a broker that lets us in and ends the connection
    /// at once, as where two nodes have one client id, would be asked ten times a second.
    /// And not for how long an attempt took: one that nobody answers takes long too.
    pub fn note_served(&mut self, served: Duration) {
        if served >= STABLE_AFTER {
            self.wait = FIRST_WAIT.min(self.wait_max);
        }
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
    }

    #[test]
    fn only_a_connection_that_held_starts_over() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let mut backoff = Backoff::new(Duration::from_secs(60));
        let mut step_after = |served: Duration| {
            backoff.note_served(served);
            let step = backoff.wait;
            backoff.next_wait(&mut random);
            step
        };
        // Nobody answers; then the broker lets us in, and ends the connection soon.
        let steps = [0, 0, 1, 4_999].map(|served_ms| step_after(Duration::from_millis(served_ms)));
        assert_eq!(steps, [1, 2, 4, 8].map(|times| FIRST_WAIT * times));
        assert_eq!(step_after(STABLE_AFTER), FIRST_WAIT);
        assert_eq!(step_after(Duration::ZERO), FIRST_WAIT * 2);
    }
}
