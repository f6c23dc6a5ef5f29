//! `ZipMap`: gives the columns of a table names. In ONNX the result is a list of maps; here it stays a table,
//! with its columns in the order of their names, as maps have them, and [`columns`] tells the names.

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
    if context.kind(0)? != Kind::F32 {
        return Err(format!("its input is {}, expected float32", context.kind(0)?).into());
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
    Ok(Built::kernel(TensorType::new(Kind::F32, shape), ZipMap { from }))
}

/// The places of `labels` in the order of the labels; `None` where two are the same.
fn order<T: Ord>(labels: &[T]) -> Option<Vec<usize>> {
    let mut places: Vec<_> = (0..labels.len()).collect();
    places.sort_by_key(|&place| &labels[place]);
    let is_doubled = places.windows(2).any(|pair| labels[pair[0]] == labels[pair[1]]);
    (!is_doubled).then_some(places)
}

impl Kernel for ZipMap {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<f32>(0)?, output::<f32>(outputs, 0)?);
        let width = self.from.len();
        for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(width)) {
            to.iter_mut().zip(&self.from).for_each(|(to, &at)| *to = from[at]);
        }
        Ok(())
    }
}
