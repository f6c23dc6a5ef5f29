//! `Imputer`: puts a number in the place of those that mean that something is missing.

use super::{Table, expect_numbers};
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::operators::Operator;
use crate::model::graph::tensor::{Data, Element, Kind};

pub const OPERATORS: &[Operator] = &[Operator::ml("Imputer", 1, 1..=1, imputer)];

struct Imputer<T> {
    columns: usize,
    /// What means that a number is missing.
    replaced: T,
    /// What is put there: one for each column, or one for all.
    imputed: Vec<T>,
}

fn imputer(context: &Context<'_>) -> Result<Built, Problem> {
    let floats = context.floats("imputed_value_floats")?.unwrap_or_default();
    let ints = context.ints("imputed_value_int64s")?.unwrap_or_default();
    let float = context.float_or("replaced_value_float", 0.0)?;
    let int = context.int_or("replaced_value_int64", 0)?;
    let (table, kind) = (Table::of(context)?, context.kind(0)?);
    expect_numbers(kind)?;
    let (name, count) = match kind {
        Kind::F32 | Kind::F64 => ("imputed_value_floats", floats.len()),
        _ => ("imputed_value_int64s", ints.len()),
    };
    if count == 0 || count != 1 && count != table.columns {
        return Err(format!(
            "its attribute {name} has {count} values, expected 1 or {}, one for each feature",
            table.columns
        )
        .into());
    }
    let columns = table.columns;
    let output = context.tensor_type(0)?.clone();
    Ok(match kind {
        Kind::F32 => Built::kernel(output, Imputer { columns, replaced: float, imputed: floats.to_vec() }),
        Kind::F64 => {
            let imputed = floats.iter().map(|&value| f64::from(value)).collect();
            Built::kernel(output, Imputer { columns, replaced: f64::from(float), imputed })
        }
        Kind::I64 => Built::kernel(output, Imputer { columns, replaced: int, imputed: ints.to_vec() }),
        _ => {
            let narrow = |value: i64| {
                i32::try_from(value)
                    .map_err(|_| Problem(format!("it has the value {value}, expected an int32")))
            };
            let imputed = ints.iter().map(|&value| narrow(value)).collect::<Result<_, _>>()?;
            Built::kernel(output, Imputer { columns, replaced: narrow(int)?, imputed })
        }
    })
}

impl<T: Element + Copy + PartialEq> Kernel for Imputer<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<T>(0)?, output::<T>(outputs, 0)?);
        let replaced = self.replaced;
        // Only NaN is unlike itself.
        #[allow(clippy::eq_op, reason = "a number that is unlike itself is NaN, in each kind that has one")]
        let is_nan = |value: T| value != value;
        let by_nan = is_nan(replaced);
        let is_missing = |value: T| value == replaced || by_nan && is_nan(value);
        if let [imputed] = self.imputed[..] {
            to.iter_mut()
                .zip(from)
                .for_each(|(to, &from)| *to = if is_missing(from) { imputed } else { from });
            return Ok(());
        }
        for (to, from) in to.chunks_exact_mut(self.columns).zip(from.chunks_exact(self.columns)) {
            for ((to, &from), &imputed) in to.iter_mut().zip(from).zip(&self.imputed) {
                *to = if is_missing(from) { imputed } else { from };
            }
        }
        Ok(())
    }
}
