//! Packet loss, independent or in bursts (Gilbert-Elliott): whether a message is lost.

use super::chain::Chain;
use super::parameter::{ParameterError, share};
use super::random::{Purpose, Stream};

/// Which messages a link loses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Loss {
    /// No message is lost.
    #[default]
    None,
    /// Each with the same probability, whatever happened to the others.
    Independent(f64),
    /// Messages are lost in bursts.
    GilbertElliott(GilbertElliott),
}

/// A link that is good or bad, and loses messages with a probability of its own in each state.
///
/// E. N. Gilbert, "Capacity of a burst-noise channel", 1960 (a good state that loses
/// nothing); E. O. Elliott, "Estimates of error rates for codes on burst-noise
/// channels", 1963. The state may change with every message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GilbertElliott {
    states: Chain,
    loss_in_good: f64,
    loss_in_bad: f64,
}

impl Loss {
    /// Each message with `probability`.
    ///
    /// # Errors
    /// When it is no probability.
    pub fn independent(probability: f64) -> Result<Self, ParameterError> {
        share("probability", probability).map(Self::Independent)
    }

    /// Bursts: a good link turns bad with `good_to_bad` before each message and good again
    /// with `bad_to_good`, so that a bad spell lasts `1 / bad_to_good` messages on average.
    ///
    /// # Errors
    /// When one of the four is no probability, or the states practically never change.
    pub fn gilbert_elliott(
        good_to_bad: f64,
        bad_to_good: f64,
        loss_in_good: f64,
        loss_in_bad: f64,
    ) -> Result<Self, ParameterError> {
        let (enter, leave) = (share("good_to_bad", good_to_bad)?, share("bad_to_good", bad_to_good)?);
        Ok(Self::GilbertElliott(GilbertElliott {
            states: Chain::new(enter, leave, "bad_to_good")?,
            loss_in_good: share("loss_in_good", loss_in_good)?,
            loss_in_bad: share("loss_in_bad", loss_in_bad)?,
        }))
    }

    /// Whether message `number` is lost.
    pub fn loses(&self, key: u64, number: u64) -> bool {
        let probability = match self {
            Self::None => return false,
            Self::Independent(probability) => *probability,
            Self::GilbertElliott(model) if model.states.is_bad(key, Purpose::LossState, number) => {
                model.loss_in_bad
            }
            Self::GilbertElliott(model) => model.loss_in_good,
        };
        // A number of its own, not the one that decided the state: those numbers are small or large wherever
        // the state changes, and losses would lean towards a spell's first message.
        Stream::new(key, Purpose::Loss, number).unit() < probability
    }

    /// The share of messages that are lost, in the long run.
    pub fn mean(&self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Independent(probability) => *probability,
            Self::GilbertElliott(model) => {
                let bad = model.states.bad_share();
                bad * model.loss_in_bad + (1.0 - bad) * model.loss_in_good
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    const MESSAGES: u64 = 40_000;

    fn lost(loss: Loss, key: u64) -> Vec<bool> {
        (0..MESSAGES).map(|number| loss.loses(key, number)).collect()
    }

    fn rate(lost: &[bool]) -> f64 {
        lost.iter().filter(|lost| **lost).count() as f64 / lost.len() as f64
    }

    /// The lengths of the runs of lost messages.
    fn bursts(lost: &[bool]) -> Vec<usize> {
        lost.split(|lost| !lost).map(<[bool]>::len).filter(|length| *length > 0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, rng_seed: RngSeed::Fixed(6), ..ProptestConfig::default() })]

        #[test]
        fn independent_losses_come_at_their_rate(probability in 0.0..1.0, key: u64) {
            let loss = Loss::independent(probability).unwrap();
            let error = (probability * (1.0 - probability) / MESSAGES as f64).sqrt();
            prop_assert!((rate(&lost(loss, key)) - probability).abs() <= 5.0 * error + 1e-9);
        }

        #[test]
        fn bursts_come_at_their_rate_and_last_as_long_as_they_should(
            enter in 0.01..0.2, leave in 0.1..0.9, key: u64,
        ) {
            let loss = Loss::gilbert_elliott(enter, leave, 0.0, 1.0).unwrap();
            let lost = lost(loss, key);
            let mean = loss.mean();
            // The variance of a Markov chain's share is (1+r)/(1-r) times that of independent
            // draws, r its correlation.
            let correlation = 1.0 - enter - leave;
            let inflation = (1.0 + correlation) / (1.0 - correlation);
            let error = (mean * (1.0 - mean) * inflation / MESSAGES as f64).sqrt();
            prop_assert!((rate(&lost) - mean).abs() <= 5.0 * error, "{} {}", rate(&lost), mean);
            // Bursts are geometric with mean 1/leave.
            let bursts = bursts(&lost);
            let length = bursts.iter().sum::<usize>() as f64 / bursts.len() as f64;
            let error = (1.0 - leave).sqrt() / leave / (bursts.len() as f64).sqrt();
            prop_assert!((length - 1.0 / leave).abs() <= 5.0 * error, "{length} {}", 1.0 / leave);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

        #[test]
        fn losses_in_both_states_come_at_their_rate_and_are_as_alike_as_the_states(
            enter in 0.05..0.3_f64, leave in 0.05..0.3_f64, in_good in 0.0..0.2_f64, more_in_bad in 0.3..0.8_f64, key: u64,
        ) {
            let loss = Loss::gilbert_elliott(enter, leave, in_good, in_good + more_in_bad).unwrap();
            let lost: Vec<_> = lost(loss, key).into_iter().map(|lost| f64::from(u8::from(lost))).collect();
            let mean = lost.iter().sum::<f64>() / lost.len() as f64;
            let covariance =
                lost.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum::<f64>() / lost.len() as f64;
            // States that stay alike with correlation r from one message to the next; losses
            // within them are independent.
            let (bad, correlation) = (enter / (enter + leave), 1.0 - enter - leave);
            let of_states = bad * (1.0 - bad) * more_in_bad * more_in_bad;
            let of_losses = loss.mean() * (1.0 - loss.mean()) - of_states;
            let inflation = (1.0 + correlation) / (1.0 - correlation);
            let error = ((of_states * inflation + of_losses) / MESSAGES as f64).sqrt();
            prop_assert!((mean - loss.mean()).abs() <= 5.0 * error, "{mean} {}", loss.mean());
            // Products of two indicators less their means, alike as long as the states are.
            let error = (0.25 * inflation / MESSAGES as f64).sqrt();
            prop_assert!((covariance - of_states * correlation).abs() <= 2.0 * error, "{covariance}");
        }
    }

    #[test]
    fn both_states_lose_at_their_own_rate() {
        let loss = Loss::gilbert_elliott(0.05, 0.05, 0.1, 0.5).unwrap();
        assert!((loss.mean() - 0.3).abs() < 1e-12);
        assert!((rate(&lost(loss, 1)) - 0.3).abs() < 0.03);
        assert_eq!(Loss::independent(1.5).unwrap_err().parameter, "probability");
        assert_eq!(Loss::gilbert_elliott(0.1, 0.1, 0.0, -1.0).unwrap_err().parameter, "loss_in_bad");
    }
}
