//! Repeats a row over time: what stands between the two halves of an LSTM autoencoder.

use std::fmt;

use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::LayerType;
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, RowsLayer, Step};
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// Repeats plain features at each of `samples` points in time, which makes a sequence of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "repeat")]
pub struct Repeat {
    /// How many points in time there are.
    pub samples: usize,
}

impl LayerType for Repeat {
    fn types() -> &'static [&'static str] {
        &["repeat"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        Ok(Self { samples: table.size("samples")? })
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        Ok(Shape::Sequence { channels: input.features()?, samples: self.samples })
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        Ok(Box::new(Operation(Loaded { features: loading.input.features()?, samples: self.samples })))
    }
}

impl fmt::Display for Repeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "repeat ({} samples)", self.samples)
    }
}

/// The repetition of rows of one length.
struct Loaded {
    features: usize,
    samples: usize,
}

impl RowsLayer for Loaded {
    const NAME: &'static str = "repeat";

    fn inputs(&self) -> usize {
        self.features
    }

    fn outputs(&self) -> usize {
        self.features * self.samples
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let rows = input.chunks_exact(self.features).zip(output.chunks_exact_mut(self.outputs()));
        for (row, repeated) in rows {
            repeated.chunks_exact_mut(self.features).for_each(|sample| sample.copy_from_slice(row));
        }
    }
}
