//! `ZipMap`: gives the columns of a table names. In ONNX the result is a list of maps; here it stays a table,
//! with its columns in the order of their names, as maps have them.

use std::sync::Arc;

use super::Table;
use super::labels::Labels;
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::operators::Operator;
use crate::model::graph::tensor::{Data, Kind, TensorType};

pub const OPERATORS: &[Operator] = &[Operator::ml("ZipMap", 1, 1..=1, zip_map)];

const INTS: &str = "classlabels_int64s";
const TEXTS: &str = "classlabels_strings";

/// For each column the one that it comes from.
struct ZipMap {
    from: Vec<usize>,
}

fn zip_map(context: &Context<'_>) -> Result<Built, Problem> {
    let labels = Labels::read(context, INTS, TEXTS)?;
    let table = Table::of(context)?;
    let kind = context.kind(0)?;
    if !matches!(kind, Kind::F32 | Kind::F64) {
        return Err(format!("its input is {kind}, expected float32 or float64").into());
    }
    if labels.len() != table.columns {
        return Err(
            format!("it has {} labels, and its input has {} columns", labels.len(), table.columns).into()
        );
    }
    let from = match &labels {
        Labels::Ints(labels) => order(labels),
        Labels::Texts(labels) => order::<Arc<str>>(labels),
    }
    .ok_or("two of its labels are the same, expected a label for each column")?;
    let shape = vec![table.rows, table.columns];
    if from.is_sorted() {
        return Ok(Built::View { of: 0, shape });
    }
    Ok(Built::kernel(TensorType::new(kind, shape), ZipMap { from }))
}

/// The places of `labels` in the order of the labels; `None` where two are the same.
fn order<T: Ord>(labels: &[T]) -> Option<Vec<usize>> {
    let mut places: Vec<_> = (0..labels.len()).collect();
    places.sort_by_key(|&place| &labels[place]);
    let is_doubled = places.windows(2).any(|pair| labels[pair[0]] == labels[pair[1]]);
    (!is_doubled).then_some(places)
}

fn permute<T: Copy>(columns: &[usize], from: &[T], to: &mut [T]) {
    let width = columns.len();
    for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(width)) {
        to.iter_mut().zip(columns).for_each(|(to, &at)| *to = from[at]);
    }
}

impl Kernel for ZipMap {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        match inputs.data(0)? {
            Data::F64(from) => permute(&self.from, from, output::<f64>(outputs, 0)?),
            _ => permute(&self.from, inputs.values::<f32>(0)?, output::<f32>(outputs, 0)?),
        }
        Ok(())
    }
}
