//! Ensembles of decision trees: `TreeEnsembleRegressor`, `TreeEnsembleClassifier` and `TreeEnsemble`.
//!
//! Attributes become a [`Draft`](draft::Draft), which is checked and laid out as a
//! [`Forest`](forest::Forest); [`walk`] finds the leaves of rows in it, [`scores`] adds them up, [`finish`]
//! makes outputs of the sums.

mod draft;
mod finish;
mod forest;
mod scores;
mod stated;
mod stated5;
#[cfg(test)]
mod tests;
mod walk;

use std::sync::Arc;

use self::finish::Finish;
use self::forest::{Forest, Real};
use self::scores::{Aggregate, Scores};
use super::labels::Labels;
use super::transform::Transform;
use super::{BLOCK_ROWS, TARGETS_MAX, Table};
use crate::model::graph::context::{Context, Problem, size};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel};
use crate::model::graph::operators::Operator;
use crate::model::graph::tensor::{Data, Element, Kind, TensorType};

pub const OPERATORS: &[Operator] = &[
    Operator::ml("TreeEnsemble", 5, 1..=1, ensemble),
    Operator::ml("TreeEnsembleClassifier", 1, 1..=1, classifier),
    Operator::ml("TreeEnsembleRegressor", 1, 1..=1, regressor),
];

/// The targets that `stated` says, within the bound.
fn targets(stated: i64) -> Result<usize, Problem> {
    let targets = size(stated, "number of targets")?;
    if (1..=TARGETS_MAX).contains(&targets) {
        return Ok(targets);
    }
    Err(format!("it has {targets} targets, expected 1 to {TARGETS_MAX} (targets_max)").into())
}

fn regressor(context: &Context<'_>) -> Result<Built, Problem> {
    let table = Table::of_numbers(context)?;
    let targets = targets(context.int_or("n_targets", 0)?)?;
    let aggregate = context.choice("aggregate_function", Aggregate::NAMES)?;
    let transform = context.choice("post_transform", Transform::NAMES)?;
    let stated = stated::Stated::read(context, &stated::REGRESSOR)?;
    let base = stated.base(&[0, targets])?;
    let plan = Planned {
        table,
        targets,
        aggregate,
        finish: Finish::Regressor { base, transform, singles: Vec::new() },
        outputs: vec![TensorType::new(Kind::F32, [table.rows, targets])],
    };
    plan.build(context, stated.is_double || context.kind(0)? == Kind::F64, || stated.draft(targets))
}

fn classifier(context: &Context<'_>) -> Result<Built, Problem> {
    let table = Table::of_numbers(context)?;
    let labels = Labels::read(context, "classlabels_int64s", "classlabels_strings")?;
    let classes = labels.len();
    targets(classes as i64)?;
    let transform = context.choice("post_transform", Transform::NAMES)?;
    let stated = stated::Stated::read(context, &stated::CLASSIFIER)?;
    // What one number means for two classes, or two for one, is told in `finish`.
    let several = [0, classes];
    let base = stated.base(if classes <= 2 { &[0, 1, 2] } else { &several })?;
    let one = stated.only_target().filter(|_| classes == 2).map(|target| (target, stated.is_positive()));
    let outputs =
        vec![TensorType::new(labels.kind(), [table.rows]), TensorType::new(Kind::F32, [table.rows, classes])];
    let plan = Planned {
        table,
        targets: classes,
        aggregate: Aggregate::Sum,
        finish: Finish::Classifier { base, transform, labels, one },
        outputs,
    };
    plan.build(context, stated.is_double || context.kind(0)? == Kind::F64, || stated.draft(classes))
}

fn ensemble(context: &Context<'_>) -> Result<Built, Problem> {
    let table = Table::of_numbers(context)?;
    let kind = context.kind(0)?;
    if kind != Kind::F32 && kind != Kind::F64 {
        return Err(format!("its input is {kind}, expected float32 or float64").into());
    }
    let targets = targets(context.int_or("n_targets", 0)?)?;
    let aggregate = stated5::aggregate(context)?;
    let transform = stated5::transform(context)?;
    let stated = stated5::Stated::read(context, kind)?;
    let plan = Planned {
        table,
        targets,
        aggregate,
        finish: Finish::Regressor { base: Vec::new(), transform, singles: vec![0.0; targets] },
        outputs: vec![TensorType::new(kind, [table.rows, targets])],
    };
    plan.build(context, kind == Kind::F64, || stated.draft(targets))
}

/// What is known of an ensemble beside its trees.
struct Planned {
    table: Table,
    targets: usize,
    aggregate: Aggregate,
    finish: Finish,
    outputs: Vec<TensorType>,
}

impl Planned {
    /// Builds it in the precision in which thresholds are compared, which is that of ONNX Runtime: a row at a
    /// threshold must take the same branch.
    fn build(
        self,
        context: &Context<'_>,
        is_double: bool,
        draft: impl FnOnce() -> Result<draft::Draft, Problem>,
    ) -> Result<Built, Problem> {
        if is_double {
            let forest = context.prepared(|| Forest::<f64>::new(draft()?))?;
            self.kernel(context, forest)
        } else {
            let forest = context.prepared(|| Forest::<f32>::new(draft()?))?;
            self.kernel(context, forest)
        }
    }

    fn kernel<T: Real>(self, context: &Context<'_>, forest: Arc<Forest<T>>) -> Result<Built, Problem> {
        let Self { table, targets, aggregate, finish, outputs } = self;
        if forest.columns() > table.columns {
            return Err(format!(
                "its trees look at feature {}, and its input has {} features, counted from 0",
                forest.columns() - 1,
                table.columns
            )
            .into());
        }
        let block = scores::block_rows(targets).min(table.rows);
        let is_converted = context.kind(0)? != T::KIND;
        let kernel = Trees {
            converted: vec![T::from_f64(0.0); if is_converted { block * table.columns } else { 0 }],
            scores: Scores::new(block, targets, aggregate),
            finish,
            forest,
            table,
        };
        Ok(Built::Kernel { outputs, kernel: Box::new(kernel) })
    }
}

struct Trees<T> {
    forest: Arc<Forest<T>>,
    table: Table,
    scores: Scores<T>,
    finish: Finish,
    /// A block of rows in the precision of the forest, where the input has another.
    converted: Vec<T>,
}

impl<T: Real> Kernel for Trees<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let Self { forest, table, scores, finish, converted } = self;
        let data = inputs.data(0)?;
        let columns = table.columns;
        for first in (0..table.rows).step_by(scores.block().max(1)) {
            let count = (table.rows - first).min(scores.block());
            let range = first * columns..(first + count) * columns;
            let rows = match <T as Element>::of(data) {
                Some(values) => &values[range],
                None => {
                    let converted = &mut converted[..range.len()];
                    convert(data, range.start, converted)?;
                    converted
                }
            };
            scores.add_up(forest, rows, columns);
            finish.write(scores, forest.trees(), first, outputs)?;
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some((self.table.rows as u64).saturating_mul(self.forest.steps()))
    }
}

/// Copies numbers of `data` from `start` on. Integers are compared as `f32`, which rounds those above 2^24.
fn convert<T: Real>(data: &Data, start: usize, to: &mut [T]) -> Result<(), Fault> {
    let end = start + to.len();
    let pairs = to.iter_mut();
    match data {
        Data::F32(from) => {
            pairs.zip(&from[start..end]).for_each(|(to, &from)| *to = T::from_f64(from.into()))
        }
        Data::F64(from) => pairs.zip(&from[start..end]).for_each(|(to, &from)| *to = T::from_f64(from)),
        Data::I64(from) => {
            pairs.zip(&from[start..end]).for_each(|(to, &from)| *to = T::from_f64(f64::from(from as f32)));
        }
        Data::I32(from) => {
            pairs.zip(&from[start..end]).for_each(|(to, &from)| *to = T::from_f64(f64::from(from as f32)));
        }
        other => return Err(Fault(format!("its input is {}, expected numbers", other.kind()))),
    }
    Ok(())
}

const _: () = assert!(BLOCK_ROWS.is_multiple_of(walk::LANES), "blocks are made of whole groups of rows");
