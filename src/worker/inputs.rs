//! A look at one request now and then (sampling): whether what is asked is what the model was normalised
//! with.

use std::time::{Duration, Instant};

use super::in_force::Owned;
use crate::model::{Deviations, Far};

/// How long after a look a worker takes the next one, at the least: a look costs about as much as a small
/// model's forward pass.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// So many looks make a verdict.
const LOOKS: u64 = 16;

/// When a worker looks next.
#[derive(Default)]
pub struct Looks {
    next_at: Option<Instant>,
}

impl Looks {
    /// Whether a look is due at `now`; if so, it is taken.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.next_at.is_none_or(|next_at| now >= next_at);
        if is_due {
            self.next_at = now.checked_add(LOOK_EVERY);
        }
        is_due
    }
}

/// What all workers of a pool have seen.
#[derive(Default)]
pub struct Inputs {
    /// The model's number for which the rest is.
    revision: Option<u64>,
    /// `None` where the model says nothing of its normalisation.
    seen: Option<Deviations>,
    has_warned: bool,
}

/// What some looks have told.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Nothing is far in every row, or nothing is known of it.
    Usual,
    /// This is; and it has been said before of this model, or not.
    Far { far: Far, is_news: bool },
}

impl Inputs {
    /// Takes one request's features, for the model that `owned` is; a verdict now and then.
    pub fn look(&mut self, owned: &Owned, row: &[f32]) -> Option<Verdict> {
        if self.revision != Some(owned.by.revision) {
            let seen = Deviations::of(&owned.info);
            *self = Self { revision: Some(owned.by.revision), seen, has_warned: false };
            // What was said of the model before is not true of this one.
            return Some(Verdict::Usual);
        }
        let seen = self.seen.as_mut()?;
        seen.see(row);
        if seen.rows() < LOOKS {
            return None;
        }
        let found = seen.found();
        seen.restart();
        Some(found.map_or(Verdict::Usual, |far| {
            let is_news = !std::mem::replace(&mut self.has_warned, true);
            Verdict::Far { far, is_news }
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::inference::Author;
    use crate::model::{Model, ModelError, ModelInfo, Normalisation};

    struct Nothing;

    impl Model for Nothing {
        fn inputs(&self) -> usize {
            1
        }

        fn predict(&mut self, _: &[f32], _: &mut Vec<f32>) -> Result<(), ModelError> {
            Ok(())
        }
    }

    fn owned(revision: u64, normalisation: Option<Normalisation>) -> Owned {
        let mut info = ModelInfo::new("one", 1);
        info.normalisation = normalisation;
        let by = Author {
            placement: "edge".to_owned(),
            model: "one".to_owned(),
            version: None,
            threshold: 0.5,
            revision,
            detects: None,
        };
        Owned { model: Box::new(Nothing), by: Arc::new(by), info: Arc::new(info) }
    }

    fn normalised(revision: u64) -> Owned {
        let (mean, std) = (Some(vec![0.0]), Some(vec![1.0]));
        owned(revision, Some(Normalisation { mean, std, ..Normalisation::default() }))
    }

    /// What as many looks as make a verdict tell of one that all rows are.
    fn verdict(inputs: &mut Inputs, owned: &Owned, feature: f32) -> Option<Verdict> {
        (0..LOOKS).filter_map(|_| inputs.look(owned, &[feature])).last()
    }

    #[test]
    fn what_is_far_is_news_once_for_each_model() {
        let mut inputs = Inputs::default();
        for revision in 0..2 {
            let owned = normalised(revision);
            assert_eq!(inputs.look(&owned, &[1e3]), Some(Verdict::Usual), "a model begins without a fault");
            for expected in [true, false] {
                let said = verdict(&mut inputs, &owned, 1e3);
                assert!(
                    matches!(said, Some(Verdict::Far { is_news, .. }) if is_news == expected),
                    "{said:?}"
                );
            }
            assert_eq!(verdict(&mut inputs, &owned, 2.0), Some(Verdict::Usual));
        }
    }

    #[test]
    fn nothing_is_said_of_a_model_without_a_normalisation_or_before_there_were_looks_enough() {
        let mut inputs = Inputs::default();
        let plain = owned(0, None);
        assert_eq!(inputs.look(&plain, &[1e3]), Some(Verdict::Usual));
        assert_eq!(verdict(&mut inputs, &plain, 1e3), None);
        let owned = normalised(1);
        inputs.look(&owned, &[1e3]);
        assert!((1..LOOKS).all(|_| inputs.look(&owned, &[1e3]).is_none()));
    }

    #[test]
    fn a_look_is_due_at_once_and_then_not_for_a_while() {
        let (mut looks, now) = (Looks::default(), Instant::now());
        assert!(looks.is_due(now) && !looks.is_due(now));
        assert!(!looks.is_due(now + LOOK_EVERY / 2) && looks.is_due(now + LOOK_EVERY));
    }
}
