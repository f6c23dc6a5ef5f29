//! What a model says of a request, and who said it.

use std::slice;
use std::sync::Arc;

use super::Refusal;

/// A model's output for one row: as many numbers as the model has outputs, of which most have one.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction(Values);

/// One number needs no memory of its own.
#[derive(Debug, Clone, PartialEq)]
enum Values {
    One(f32),
    Several(Box<[f32]>),
}

impl Prediction {
    /// The number that is compared with a threshold: the first one. NaN where there is none at all.
    pub fn score(&self) -> f32 {
        self.values().first().copied().unwrap_or(f32::NAN)
    }

    /// All numbers, in the order of the model's outputs.
    pub fn values(&self) -> &[f32] {
        match &self.0 {
            Values::One(value) => slice::from_ref(value),
            Values::Several(values) => values,
        }
    }

    /// Whether there are numbers, and all of them are finite.
    pub fn is_finite(&self) -> bool {
        let values = self.values();
        !values.is_empty() && values.iter().all(|value| value.is_finite())
    }
}

impl From<f32> for Prediction {
    fn from(value: f32) -> Self {
        Self(Values::One(value))
    }
}

impl From<&[f32]> for Prediction {
    fn from(values: &[f32]) -> Self {
        match *values {
            [value] => value.into(),
            _ => Self(Values::Several(values.into())),
        }
    }
}

/// Who makes predictions: a model at the place where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Author {
    /// Where it stands: a site of a hybrid, or what a deployment calls its placement.
    pub placement: String,
    /// The model's name.
    pub model: String,
    /// The model's version, in its author's own scheme.
    pub version: Option<String>,
    /// A score at or above it is an anomaly.
    pub threshold: f32,
    /// How often the model there had been exchanged before this one came; 0 for the one from the start.
    pub revision: u64,
    /// The names of the features of a model that detects, whose predictions say more than a score (see
    /// [`Seen`](crate::detection::Seen)); `None` for every other model.
    pub detects: Option<Arc<[String]>>,
}

/// A prediction, and who made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Authored {
    /// What was said.
    pub prediction: Prediction,
    /// By whom.
    pub by: Arc<Author>,
}

/// How a request ended: a prediction with its author, or a refusal, which may have come before any model.
pub type Outcome = Result<Authored, Refusal>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_takes_no_more_than_a_pointer_to_several() {
        assert_eq!(size_of::<Prediction>(), size_of::<Box<[f32]>>());
        assert_eq!((Prediction::from(0.5).score(), Prediction::from(0.5).values()), (0.5, &[0.5][..]));
        assert_eq!(Prediction::from(&[0.5][..]), Prediction::from(0.5));
    }

    #[test]
    fn of_several_numbers_the_first_is_the_score() {
        let several = Prediction::from(&[0.1, 0.9][..]);
        assert_eq!((several.score(), several.values()), (0.1, &[0.1, 0.9][..]));
        assert!(several.is_finite() && !Prediction::from(&[0.1, f32::NAN][..]).is_finite());
        assert!(!Prediction::from(&[][..]).is_finite());
    }
}
