//! What the outputs are made of, when the leaves of a row are added up.

use super::forest::Real;
use super::scores::{Aggregate, Scores};
use crate::model::graph::kernel::{Fault, output};
use crate::model::graph::operators::ml::labels::Labels;
use crate::model::graph::operators::ml::linear::regression;
use crate::model::graph::operators::ml::transform::Transform;
use crate::model::graph::tensor::{Data, Kind};

/// How scores become outputs.
pub enum Finish {
    Regressor {
        /// What is added to each target; empty where nothing is.
        base: Vec<f64>,
        transform: Transform,
        /// Room for the scores of a row in single precision.
        singles: Vec<f32>,
    },
    Classifier {
        /// What is added to each class, or for two classes one number.
        base: Vec<f64>,
        transform: Transform,
        labels: Labels,
        /// The class that all weights are for, where there are two classes and it is the same one, and
        /// whether no weight is negative.
        one: Option<(usize, bool)>,
    },
}

impl Finish {
    /// Writes the outputs of a block of rows, the first of which is row `first` of all.
    pub fn write<T: Real>(
        &mut self,
        scores: &mut Scores<T>,
        trees: usize,
        first: usize,
        outputs: &mut [Data],
    ) -> Result<(), Fault> {
        match self {
            Self::Regressor { base, transform, singles } => {
                regressor(base, (*transform, singles), scores, trees, first, outputs)
            }
            Self::Classifier { base, transform, labels, one } => {
                for (at, (scores, named)) in scores.rows().enumerate() {
                    let row = first + at;
                    let to = &mut output::<f32>(outputs, 1)?[row * labels.len()..][..labels.len()];
                    let class = match one {
                        Some(one) => one_weight(base, *transform, *one, scores, to),
                        None => several(base, *transform, scores, named, to),
                    };
                    labels.write(outputs, row, class)?;
                }
                Ok(())
            }
        }
    }
}

fn regressor<T: Real>(
    base: &[f64],
    (transform, singles): (Transform, &mut [f32]),
    scores: &mut Scores<T>,
    trees: usize,
    first: usize,
    outputs: &mut [Data],
) -> Result<(), Fault> {
    let aggregate = scores.aggregate;
    let kind = outputs.first().map(Data::kind);
    for (at, (scores, _)) in scores.rows().enumerate() {
        if aggregate == Aggregate::Average {
            scores.iter_mut().for_each(|score| *score /= T::from_f64(trees as f64));
        }
        scores.iter_mut().zip(base).for_each(|(score, base)| *score += T::from_f64(*base));
        let start = (first + at) * scores.len();
        if kind == Some(Kind::F64) {
            let to = &mut output::<f64>(outputs, 0)?[start..][..scores.len()];
            to.iter_mut().zip(&*scores).for_each(|(to, score)| *to = score.to_f64());
            doubles(transform, to, singles);
        } else {
            let to = &mut output::<f32>(outputs, 0)?[start..][..scores.len()];
            to.iter_mut().zip(&*scores).for_each(|(to, score)| *to = score.to_f64() as f32);
            regression(transform, to);
        }
    }
    Ok(())
}

/// Transforms the scores of a row in `f64`, by way of `f32` as ONNX Runtime does.
fn doubles(transform: Transform, scores: &mut [f64], singles: &mut [f32]) {
    if transform == Transform::None {
        return;
    }
    singles.iter_mut().zip(&*scores).for_each(|(single, score)| *single = *score as f32);
    regression(transform, singles);
    scores.iter_mut().zip(&*singles).for_each(|(score, single)| *score = f64::from(*single));
}

/// The class of a row of two classes whose leaves all have a weight for the same one, and its scores.
///
/// Converters of boosted trees write weights for the first class that speak for the second. Weights for the
/// second are what they seem. Labels are decided as ONNX Runtime does, which takes weights that are never
/// negative for probabilities.
fn one_weight<T: Real>(
    base: &[f64],
    transform: Transform,
    (target, is_positive): (usize, bool),
    scores: &[T],
    to: &mut [f32],
) -> usize {
    let mut score = scores[target];
    let own = match base {
        [base] if target == 0 => Some(base),
        [_] | [] => None,
        all => all.get(target),
    };
    if let Some(own) = own {
        score += T::from_f64(*own);
    }
    let limit = T::from_f64(if is_positive { 0.5 } else { 0.0 });
    let value = score.to_f64() as f32;
    if target == 1 {
        let other = if let [first, _] = base { *first as f32 } else { 0.0 };
        to.copy_from_slice(&[other, value]);
        transform.apply(to);
    } else if transform == Transform::Logistic {
        to.copy_from_slice(&[-value, value]);
        transform.apply(to);
    } else if is_positive {
        to.copy_from_slice(&[1.0 - value, value]);
    } else {
        to.copy_from_slice(&[-value, value]);
    }
    usize::from(score > limit)
}

/// The class of a row whose leaves have weights for several classes, and its scores.
fn several<T: Real>(
    base: &[f64],
    transform: Transform,
    scores: &mut [T],
    named: &[bool],
    to: &mut [f32],
) -> usize {
    // One base value for two classes is the first one's, as in ONNX Runtime.
    scores.iter_mut().zip(base).for_each(|(score, base)| *score += T::from_f64(*base));
    let is_all = base.len() == scores.len() || scores.len() <= 2;
    let mut class = None;
    for (at, score) in scores.iter().enumerate().filter(|(at, _)| is_all || named[*at]) {
        if class.is_none_or(|class: usize| *score > scores[class]) {
            class = Some(at);
        }
    }
    to.iter_mut().zip(&*scores).for_each(|(to, score)| *to = score.to_f64() as f32);
    transform.apply(to);
    class.unwrap_or(0)
}
