//! The operators of classical machine learning, `ai.onnx.ml`: trees, support vectors, scalers, encoders.
//!
//! Most take a table, a row of features for each sample, of any kind of number, and give `float32`. Maps
//! (`CastMap`, `DictVectorizer`) do not exist here: a `ZipMap` is a table whose columns have names.

pub mod encode;
pub mod impute;
mod labels;
pub mod linear;
pub mod scale;
pub mod select;
pub mod svm;
mod transform;
pub mod trees;
pub mod zip_map;

use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::Fault;
use crate::model::graph::tensor::{Data, Kind};

/// The most targets or classes of a node: each row needs room for as many scores.
pub const TARGETS_MAX: usize = 1 << 16;

/// How many rows are converted or scored at a time, so that they stay in the cache.
pub const BLOCK_ROWS: usize = 128;

/// Rows of features; an input with one axis is one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    pub rows: usize,
    pub columns: usize,
}

impl Table {
    /// Input 0 of `context` as a table.
    pub fn of(context: &Context<'_>) -> Result<Self, Problem> {
        match *context.shape(0)? {
            [columns] => Ok(Self { rows: 1, columns }),
            [rows, columns] => Ok(Self { rows, columns }),
            ref shape => {
                Err(format!("its input has the shape {shape:?}, expected rows of features: 1 or 2 axes")
                    .into())
            }
        }
    }

    /// Input 0 of `context` as a table of numbers.
    pub fn of_numbers(context: &Context<'_>) -> Result<Self, Problem> {
        let table = Self::of(context)?;
        expect_numbers(context.kind(0)?)?;
        if table.columns == 0 {
            return Err("its input has rows without features, expected one or more".into());
        }
        Ok(table)
    }

    /// How many rows a block has room for: never more than there are.
    pub fn block(&self) -> usize {
        self.rows.min(BLOCK_ROWS)
    }
}

/// The kinds of numbers that this domain's operators take.
pub fn expect_numbers(kind: Kind) -> Result<(), Problem> {
    match kind {
        Kind::F32 | Kind::F64 | Kind::I64 | Kind::I32 => Ok(()),
        other => Err(format!("its input is {other}, expected float32, float64, int64 or int32").into()),
    }
}

/// The numbers of `data` from `start` on as many as `to` has, each rounded to `f32` where it is none.
pub fn copy_f32(data: &Data, start: usize, to: &mut [f32]) -> Result<(), Fault> {
    let end = start + to.len();
    match data {
        Data::F32(values) => to.copy_from_slice(&values[start..end]),
        Data::F64(values) => {
            to.iter_mut().zip(&values[start..end]).for_each(|(to, &value)| *to = value as f32)
        }
        Data::I64(values) => {
            to.iter_mut().zip(&values[start..end]).for_each(|(to, &value)| *to = value as f32)
        }
        Data::I32(values) => {
            to.iter_mut().zip(&values[start..end]).for_each(|(to, &value)| *to = value as f32)
        }
        other => return Err(Fault(format!("its input is {}, expected numbers", other.kind()))),
    }
    Ok(())
}

/// Rows of `f32` of an input of any kind of number, a block at a time.
pub struct Blocks {
    pub table: Table,
    /// Room for a block of rows that are not `f32` already.
    converted: Vec<f32>,
}

impl Blocks {
    pub fn new(table: Table, kind: Kind) -> Self {
        let room = if kind == Kind::F32 { 0 } else { table.block() * table.columns };
        Self { table, converted: vec![0.0; room] }
    }

    /// Of no rows, which allocates nothing.
    pub fn empty() -> Self {
        Self { table: Table { rows: 0, columns: 1 }, converted: Vec::new() }
    }

    /// Calls `each` with the number of the first row of each block and its rows.
    pub fn each(
        &mut self,
        data: &Data,
        mut each: impl FnMut(usize, &[f32]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Table { rows, columns } = self.table;
        for first in (0..rows).step_by(BLOCK_ROWS) {
            let count = (rows - first).min(BLOCK_ROWS);
            let range = first * columns..(first + count) * columns;
            if let Data::F32(values) = data {
                each(first, &values[range])?;
            } else {
                let converted = &mut self.converted[..range.len()];
                copy_f32(data, range.start, converted)?;
                each(first, converted)?;
            }
        }
        Ok(())
    }
}

/// Checks that `found` values are there of `what`, as `expected` says.
pub fn expect_length(what: &str, found: usize, expected: usize, why: &str) -> Result<(), Problem> {
    if found == expected {
        return Ok(());
    }
    Err(format!("its attribute {what} has {found} values, expected {expected}: {why}").into())
}
