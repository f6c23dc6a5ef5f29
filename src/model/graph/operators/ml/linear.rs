//! `LinearClassifier` and `LinearRegressor`: a product with known weights, then a decision.

use std::sync::Arc;

use super::labels::Labels;
use super::transform::Transform;
use super::{Blocks, TARGETS_MAX, Table, expect_length};
use crate::model::graph::context::{Context, Problem, size};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::operators::Operator;
use crate::model::graph::tensor::{Data, Kind, TensorType};
use crate::model::kernel::product::{Product, Rows, Start};

pub const OPERATORS: &[Operator] = &[
    Operator::ml("LinearClassifier", 1, 1..=1, classifier),
    Operator::ml("LinearRegressor", 1, 1..=1, regressor),
];

/// The product of a table with the attributes `coefficients`, a row for each of `targets`, and `intercepts`.
fn product(context: &Context<'_>, table: Table, targets: usize) -> Result<Arc<Product>, Problem> {
    let coefficients = context.floats("coefficients")?.unwrap_or_default();
    let intercepts = context.floats("intercepts")?.unwrap_or_default();
    let expected =
        targets.checked_mul(table.columns).ok_or("it has more coefficients than can be counted")?;
    let why = format!("{targets} scores of {} features", table.columns);
    expect_length("coefficients", coefficients.len(), expected, &why)?;
    if !intercepts.is_empty() {
        expect_length("intercepts", intercepts.len(), targets, "one for each score")?;
    }
    context.prepared(|| {
        let mut bias = intercepts.to_vec();
        bias.resize(targets, 0.0);
        Ok(Product::new(coefficients, &bias))
    })
}

fn expect_targets(targets: usize, what: &str) -> Result<(), Problem> {
    if (1..=TARGETS_MAX).contains(&targets) {
        return Ok(());
    }
    Err(format!("it has {targets} {what}, expected 1 to {TARGETS_MAX} (targets_max)").into())
}

struct Regressor {
    product: Arc<Product>,
    transform: Transform,
    blocks: Blocks,
}

fn regressor(context: &Context<'_>) -> Result<Built, Problem> {
    let table = Table::of_numbers(context)?;
    let targets = size(context.int_or("targets", 1)?, "number of targets")?;
    expect_targets(targets, "targets")?;
    let product = product(context, table, targets)?;
    let transform = context.choice("post_transform", Transform::NAMES)?;
    let blocks = Blocks::new(table, context.kind(0)?);
    let output = TensorType::new(Kind::F32, [table.rows, targets]);
    Ok(Built::kernel(output, Regressor { product, transform, blocks }))
}

impl Kernel for Regressor {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let to = output::<f32>(outputs, 0)?;
        let Self { product, transform, blocks } = self;
        let (columns, targets) = (blocks.table.columns, product.outputs());
        blocks.each(inputs.data(0)?, |first, rows| {
            let to = &mut to[first * targets..][..rows.len() / columns * targets];
            product.multiply(Rows::packed(rows, columns), Start::Bias, false, to);
            if *transform != Transform::None {
                to.chunks_exact_mut(targets).for_each(|scores| regression(*transform, scores));
            }
            Ok(())
        })
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(
            (self.blocks.table.rows as u64)
                .saturating_mul((self.product.depth() * self.product.outputs()) as u64),
        )
    }
}

/// Applies `transform` to the scores of a regressor's row. A single score knows only `PROBIT`: that is what
/// ONNX Runtime does, and the files that say `LOGISTIC` there were made to be answered by it.
pub fn regression(transform: Transform, scores: &mut [f32]) {
    if scores.len() > 1 || transform == Transform::Probit {
        transform.apply(scores);
    }
}

struct Classifier {
    product: Arc<Product>,
    transform: Transform,
    labels: Labels,
    blocks: Blocks,
    /// The products of a block of rows.
    scores: Vec<f32>,
}

fn classifier(context: &Context<'_>) -> Result<Built, Problem> {
    context.ignore(&["multi_class"]);
    let table = Table::of_numbers(context)?;
    let labels = Labels::read(context, "classlabels_ints", "classlabels_strings")?;
    let intercepts = context.floats("intercepts")?.unwrap_or_default().len();
    let coefficients = context.floats("coefficients")?.unwrap_or_default().len();
    // Two classes may share one score: it speaks for the second.
    let is_shared =
        labels.len() == 2 && (intercepts == 1 || intercepts == 0 && coefficients == table.columns);
    let targets = if is_shared { 1 } else { labels.len() };
    expect_targets(targets, "classes")?;
    let product = product(context, table, targets)?;
    let transform = context.choice("post_transform", Transform::NAMES)?;
    let blocks = Blocks::new(table, context.kind(0)?);
    let outputs = vec![
        TensorType::new(labels.kind(), [table.rows]),
        TensorType::new(Kind::F32, [table.rows, labels.len()]),
    ];
    let scores = vec![0.0; table.block() * targets];
    let kernel = Classifier { product, transform, labels, blocks, scores };
    Ok(Built::Kernel { outputs, kernel: Box::new(kernel) })
}

impl Kernel for Classifier {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let Self { product, transform, labels, blocks, scores } = self;
        let (columns, targets, classes) = (blocks.table.columns, product.outputs(), labels.len());
        blocks.each(inputs.data(0)?, |first, rows| {
            let scores = &mut scores[..rows.len() / columns * targets];
            product.multiply(Rows::packed(rows, columns), Start::Bias, false, scores);
            for (at, scores) in scores.chunks_exact_mut(targets).enumerate() {
                let row = first + at;
                // The decision is about the scores as they are, before they are transformed.
                labels.write(outputs, row, decide(scores).min(classes - 1))?;
                let to = &mut output::<f32>(outputs, 1)?[row * classes..][..classes];
                match (&*scores, &mut *to) {
                    ([score], [no, yes]) => shared(*transform, *score, no, yes),
                    _ => {
                        to.copy_from_slice(scores);
                        transform.apply(to);
                    }
                }
            }
            Ok(())
        })
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(
            (self.blocks.table.rows as u64)
                .saturating_mul((self.product.depth() * self.product.outputs()) as u64),
        )
    }
}

/// The class of the greatest score, the first of equals; of one score, whether it is above zero.
fn decide(scores: &[f32]) -> usize {
    match *scores {
        [score] => usize::from(score > 0.0),
        _ => greatest(scores),
    }
}

/// The place of the greatest number, the first of equals.
pub fn greatest(scores: &[f32]) -> usize {
    let mut most = 0;
    for (at, score) in scores.iter().enumerate().skip(1) {
        if *score > scores[most] {
            most = at;
        }
    }
    most
}

/// The scores of two classes that share one.
fn shared(transform: Transform, score: f32, no: &mut f32, yes: &mut f32) {
    let mut score = [score];
    if transform != Transform::Softmax && transform != Transform::SoftmaxZero {
        transform.apply(&mut score);
    }
    (*no, *yes) = (1.0 - score[0], score[0]);
}
