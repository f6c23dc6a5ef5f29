//! `SVMClassifier` and `SVMRegressor`: distances to support vectors, then weighed sums of them.
//!
//! Without support vectors both are linear: the coefficients are the weights of the features.

mod classifier;
mod probability;
mod similarity;

use std::sync::Arc;

use self::similarity::Similarity;
use super::transform::Transform;
use super::{Blocks, Table, expect_length};
use crate::model::graph::context::{Context, Problem, size};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::operators::Operator;
use crate::model::graph::tensor::{Data, Kind, TensorType};

pub const OPERATORS: &[Operator] = &[
    Operator::ml("SVMClassifier", 1, 1..=1, classifier::classifier),
    Operator::ml("SVMRegressor", 1, 1..=1, regressor),
];

struct Regressor {
    similarity: Arc<Similarity>,
    /// A weight for each support vector; without any the similarity is the score.
    weights: Vec<f32>,
    /// What is added to the score.
    offset: f32,
    /// Whether the answer is its sign, 1 or -1.
    is_one_class: bool,
    blocks: Blocks,
    /// The similarities of a block of rows.
    similar: Vec<f32>,
}

fn regressor(context: &Context<'_>) -> Result<Built, Problem> {
    let table = Table::of_numbers(context)?;
    let supports = size(context.int_or("n_supports", 0)?, "number of support vectors")?;
    let coefficients = context.floats("coefficients")?.unwrap_or_default();
    let vectors = context.floats("support_vectors")?.unwrap_or_default();
    let rho = context.floats("rho")?.unwrap_or_default();
    expect_length("rho", rho.len(), 1, "the offset of the score")?;
    let is_one_class = context.int_or("one_class", 0)? != 0;
    // It changes nothing in ONNX Runtime, for which such files are made; a word that is none is refused.
    context.choice("post_transform", Transform::NAMES)?;
    let (similarity, weights, offset) = if supports == 0 {
        expect_length("coefficients", coefficients.len(), table.columns, "one for each feature")?;
        (Similarity::linear(context, table, coefficients)?, Vec::new(), rho[0])
    } else {
        expect_length("coefficients", coefficients.len(), supports, "one for each support vector")?;
        (Similarity::of(context, table, supports, vectors)?, coefficients.to_vec(), rho[0])
    };
    let blocks = Blocks::new(table, context.kind(0)?);
    let similar = vec![0.0; table.block() * similarity.vectors()];
    let output = TensorType::new(Kind::F32, [table.rows, 1]);
    let kernel = Regressor { similarity, weights, offset, is_one_class, blocks, similar };
    Ok(Built::kernel(output, kernel))
}

/// The sum of `values` times `weights`, in the order in which they stand.
fn weighed(values: &[f32], weights: &[f32]) -> f64 {
    values.iter().zip(weights).fold(0.0, |sum, (value, weight)| sum + f64::from(value * weight))
}

impl Kernel for Regressor {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let to = output::<f32>(outputs, 0)?;
        let Self { similarity, weights, offset, is_one_class, blocks, similar } = self;
        let (columns, vectors) = (blocks.table.columns, similarity.vectors());
        blocks.each(inputs.data(0)?, |first, rows| {
            let similar = &mut similar[..rows.len() / columns * vectors];
            similarity.compute(rows, similar);
            for (at, similar) in similar.chunks_exact(vectors).enumerate() {
                let score = if weights.is_empty() {
                    similar[0] + *offset
                } else {
                    (weighed(similar, weights) + f64::from(*offset)) as f32
                };
                let score = if !*is_one_class {
                    score
                } else if score > 0.0 {
                    1.0
                } else {
                    -1.0
                };
                to[first + at] = score;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(self.similarity.multiply_adds(self.blocks.table.rows))
    }
}
