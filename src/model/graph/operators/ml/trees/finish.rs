//! What the outputs are made of, when the leaves of a row are added up.

use super::forest::Real;
use super::scores::{Aggregate, Scores};
use crate::model::graph::kernel::{Fault, output};
use crate::model::graph::operators::ml::labels::Labels;
use crate::model::graph::operators::ml::linear::{greatest, regression};
use crate::model::graph::operators::ml::transform::Transform;
use crate::model::graph::tensor::{Data, Kind};

/// How scores become outputs.
pub enum Finish {
    Regressor {
        /// What is added to each target; empty where nothing is.
        base: Vec<f64>,
        transform: Transform,
    },
    Classifier {
        /// What is added to each class, or for two classes one number.
        base: Vec<f64>,
        transform: Transform,
        labels: Labels,
        /// Two classes whose leaves have one weight, which speaks for the second.
        is_shared: bool,
        /// Whether no weight is negative.
        is_positive: bool,
    },
}

impl Finish {
    /// Writes the outputs of a block of rows, the first of which is row `first` of all.
    pub fn write<T: Real>(
        &self,
        scores: &mut Scores<T>,
        trees: usize,
        first: usize,
        outputs: &mut [Data],
    ) -> Result<(), Fault> {
        match self {
            Self::Regressor { base, transform } => regressor(base, *transform, scores, trees, first, outputs),
            Self::Classifier { base, transform, labels, is_shared, is_positive } => {
                for (at, (scores, named)) in scores.rows().enumerate() {
                    let row = first + at;
                    let to = &mut output::<f32>(outputs, 1)?[row * labels.len()..][..labels.len()];
                    let class = if *is_shared {
                        shared(base, *transform, *is_positive, scores, named, to)
                    } else {
                        several(base, *transform, scores, named, to)
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
    transform: Transform,
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
            doubles(transform, to);
        } else {
            let to = &mut output::<f32>(outputs, 0)?[start..][..scores.len()];
            to.iter_mut().zip(&*scores).for_each(|(to, score)| *to = score.to_f64() as f32);
            regression(transform, to);
        }
    }
    Ok(())
}

/// Transforms scores in `f64`, by way of `f32` as ONNX Runtime does.
fn doubles(transform: Transform, scores: &mut [f64]) {
    if transform == Transform::None {
        return;
    }
    /// Rows are transformed in pieces only where each score is by itself.
    const PIECE: usize = 64;
    let mut piece = [0.0_f32; PIECE];
    let _ = &mut piece;
    for score in scores {
        let mut one = [*score as f32];
        regression(transform, &mut one);
        *score = f64::from(one[0]);
    }
}

/// The class of a row whose leaves speak for the second of two classes, and its scores.
fn shared<T: Real>(
    base: &[f64],
    transform: Transform,
    is_positive: bool,
    scores: &[T],
    named: &[bool],
    to: &mut [f32],
) -> usize {
    let mut score = if named[1] { scores[1] } else { scores[0] };
    if let Some(base) = base.last() {
        score += T::from_f64(*base);
    }
    let class = if is_positive { score > T::from_f64(0.5) } else { score > T::from_f64(0.0) };
    let value = score.to_f64() as f32;
    match (transform, is_positive) {
        (Transform::Logistic, false) => {
            to.copy_from_slice(&[-value, value]);
            transform.apply(to);
        }
        (_, false) => to.copy_from_slice(&[-value, value]),
        (_, true) => to.copy_from_slice(&[1.0 - value, value]),
    }
    usize::from(class)
}

/// The class of a row whose leaves have weights for several classes, and its scores.
fn several<T: Real>(
    base: &[f64],
    transform: Transform,
    scores: &mut [T],
    _named: &[bool],
    to: &mut [f32],
) -> usize {
    if base.len() == scores.len() {
        scores.iter_mut().zip(base).for_each(|(score, base)| *score += T::from_f64(*base));
    }
    to.iter_mut().zip(&*scores).for_each(|(to, score)| *to = score.to_f64() as f32);
    let class = greatest(to);
    transform.apply(to);
    class
}
