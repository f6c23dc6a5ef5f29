//! Where in a sequence a sample stands, added to it: the positional encoding or embedding of a transformer.

use std::fmt;

use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::{Expected, LayerType, Role};
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, RowsLayer, Step};
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// `x * scale` plus the first rows of the tensor `{name}`, `(length, features)`; dimensions of 1 that stand
/// between do not matter.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "position")]
pub struct Position {
    /// The whole name of the tensor, such as `pos_encoder.pe`.
    pub name: String,
    /// For how many samples the tensor has a row.
    pub length: usize,
    /// Channels in and out.
    pub features: usize,
    /// What each number is multiplied by first.
    #[serde(skip_serializing_if = "is_1")]
    pub scale: f64,
}

fn is_1(scale: &f64) -> bool {
    *scale == 1.0
}

impl LayerType for Position {
    fn types() -> &'static [&'static str] {
        &["position"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        let (name, length, features) = (table.prefix()?, table.size("length")?, table.size("features")?);
        Ok(Self { name, length, features, scale: table.number("scale", 1.0)? })
    }

    fn tensors(&self) -> Vec<Expected> {
        let (name, shape) = (self.name.clone(), vec![self.length, self.features]);
        // Saved as (length, 1, features) or (1, length, features), to be added to a batch.
        vec![Expected { name, shape, role: Role::Parameter, squeezed: true }]
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        let (_, samples) = input.sequence()?;
        input.check_width("features", self.features)?;
        if samples > self.length {
            return Err(Misfit::Samples { samples, most: self.length, why: "as length says" });
        }
        Ok(input)
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let mut rows = loading.take_whole(&self.name)?;
        rows.truncate(loading.input.values());
        Ok(Box::new(Operation(Loaded { rows, scale: self.scale as f32 })))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, length, features, .. } = self;
        write!(f, "position {name} ({features}, at most {length} samples)")
    }
}

struct Loaded {
    /// As many numbers as a row has.
    rows: Vec<f32>,
    scale: f32,
}

impl RowsLayer for Loaded {
    const NAME: &'static str = "position";

    fn inputs(&self) -> usize {
        self.rows.len()
    }

    fn outputs(&self) -> usize {
        self.rows.len()
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        for (x, y) in input.chunks_exact(self.rows.len()).zip(output.chunks_exact_mut(self.rows.len())) {
            let parts = x.iter().zip(&self.rows);
            y.iter_mut().zip(parts).for_each(|(y, (x, row))| *y = x * self.scale + row);
        }
    }
}
