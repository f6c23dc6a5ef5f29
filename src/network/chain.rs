//! A two-state Markov chain whose state at any step can be asked for, in any order.
//!
//! A chain that is walked from its start has a memory, and two threads that walk it
//! disturb each other. Here each step has a random number of its own, and the state at a
//! step is found by looking back to the last step whose number decides the state whatever
//! it was before (the coupling of Propp and Wilson, "Exact sampling with coupled Markov
//! chains", 1996). For states that last n steps on average that is a walk of about n.

use super::parameter::ParameterError;
use super::random::{Purpose, Stream};

/// A chain that turns bad with probability `enter` at each step, and good again with probability `leave`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chain {
    enter: f64,
    leave: f64,
}

/// The longest walk back; a chain that [`Chain::new`] accepts practically never needs it.
const WALK_MAX: u64 = 1_000_000;

/// The least that `enter` and `leave` may add up to, which bounds the average walk to 10,000 steps.
const MIXING_MIN: f64 = 1e-4;

impl Chain {
    /// Both are probabilities.
    ///
    /// # Errors
    /// When together they are so small that a state would last for tens of thousands of
    /// steps, or so large that the state does little but alternate.
    pub fn new(enter: f64, leave: f64, parameter: &'static str) -> Result<Self, ParameterError> {
        if (MIXING_MIN..=2.0 - MIXING_MIN).contains(&(enter + leave)) {
            return Ok(Self { enter, leave });
        }
        let problem = format!(
            "found {enter} and {leave} for the ways into the bad state and out of it, expected a sum between {MIXING_MIN} and {}",
            2.0 - MIXING_MIN
        );
        Err(ParameterError::new(parameter, problem))
    }

    /// The share of steps in the bad state, in the long run.
    pub fn bad_share(&self) -> f64 {
        self.enter / (self.enter + self.leave)
    }

    /// Whether the chain is in its bad state at `step`. Before its first step it is in its long run.
    pub fn is_bad(&self, key: u64, purpose: Purpose, step: u64) -> bool {
        let stay = 1.0 - self.leave;
        let (decides_bad, decides_good) = (self.enter.min(stay), self.enter.max(stay));
        let mut flipped = false;
        for back in 0..WALK_MAX {
            let Some(at) = step.checked_sub(back).filter(|at| *at > 0) else { break };
            let number = Stream::new(key, purpose, at).unit();
            if number < decides_bad {
                return !flipped;
            }
            if number >= decides_good {
                return flipped;
            }
            // The state is what it was before, or its opposite where the bad state is likelier
            // to be entered than kept.
            flipped ^= self.enter > stay;
        }
        (Stream::new(key, purpose, 0).unit() < self.bad_share()) != flipped
    }

    /// The state one step on, given the state before it.
    pub fn next(&self, key: u64, purpose: Purpose, step: u64, was_bad: bool) -> bool {
        let number = Stream::new(key, purpose, step).unit();
        number < if was_bad { 1.0 - self.leave } else { self.enter }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    #[test]
    fn looking_back_finds_what_walking_forward_does() {
        for (enter, leave) in [(0.01, 0.2), (0.3, 0.3), (0.9, 0.7), (0.0, 0.5), (1.0, 0.5)] {
            let chain = Chain::new(enter, leave, "enter").unwrap();
            let mut bad = chain.is_bad(3, Purpose::LossState, 0);
            for step in 1..2_000 {
                bad = chain.next(3, Purpose::LossState, step, bad);
                assert_eq!(chain.is_bad(3, Purpose::LossState, step), bad, "{enter} {leave} {step}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, rng_seed: RngSeed::Fixed(6), ..ProptestConfig::default() })]

        #[test]
        fn both_states_have_their_share_and_last_as_long_as_they_should(
            enter in 0.02..0.9, leave in 0.02..0.9, key: u64,
        ) {
            const STEPS: u64 = 40_000;
            let chain = Chain::new(enter, leave, "enter").unwrap();
            let states: Vec<_> = (0..STEPS).map(|step| chain.is_bad(key, Purpose::Outage, step)).collect();
            let share = states.iter().filter(|bad| **bad).count() as f64 / STEPS as f64;
            let correlation = 1.0 - enter - leave;
            let variance = chain.bad_share() * (1.0 - chain.bad_share());
            let error = (variance * (1.0 + correlation) / (1.0 - correlation) / STEPS as f64).sqrt();
            prop_assert!((share - chain.bad_share()).abs() <= 5.0 * error + 1e-3, "{share} {}", chain.bad_share());
            // Spells are geometric: mean 1/p, deviation sqrt(1 - p)/p.
            for (is_bad, ends) in [(true, leave), (false, enter)] {
                let spells = states.split(|bad| *bad != is_bad).map(<[bool]>::len).filter(|length| *length > 0);
                let spells: Vec<_> = spells.map(|length| length as f64).collect();
                let mean = spells.iter().sum::<f64>() / spells.len() as f64;
                let variance = spells.iter().map(|length| (length - mean).powi(2)).sum::<f64>() / spells.len() as f64;
                let (true_mean, true_sd) = (1.0 / ends, (1.0 - ends).sqrt() / ends);
                let error = true_sd / (spells.len() as f64).sqrt();
                prop_assert!((mean - true_mean).abs() <= 5.0 * error, "{is_bad}: {mean} {true_mean}");
                prop_assert!((variance.sqrt() / true_sd - 1.0).abs() < 0.25, "{is_bad}: {} {true_sd}", variance.sqrt());
            }
        }
    }

    #[test]
    fn chains_that_never_change_are_refused() {
        assert_eq!(Chain::new(0.0, 0.0, "enter").unwrap_err().parameter, "enter");
        assert!(Chain::new(1.0, 1.0, "enter").is_err());
    }
}
