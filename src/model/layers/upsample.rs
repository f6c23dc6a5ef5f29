//! Upsampling over time, as PyTorch's `Upsample` with its mode `nearest`: each sample several times.

use std::fmt;

use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::LayerType;
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, RowsLayer, Step};
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// Each sample of a sequence `factor` times, one beside the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "upsample")]
pub struct Upsample {
    /// How often each sample stands there.
    pub factor: usize,
}

impl LayerType for Upsample {
    fn types() -> &'static [&'static str] {
        &["upsample"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        Ok(Self { factor: table.size("factor")? })
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        let (channels, samples) = input.sequence()?;
        Ok(Shape::Sequence { channels, samples: samples.saturating_mul(self.factor) })
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let (channels, samples) = loading.input.sequence()?;
        Ok(Box::new(Operation(Loaded { channels, samples, factor: self.factor })))
    }
}

impl fmt::Display for Upsample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upsample ({} times)", self.factor)
    }
}

struct Loaded {
    channels: usize,
    samples: usize,
    factor: usize,
}

impl RowsLayer for Loaded {
    const NAME: &'static str = "upsample";

    fn inputs(&self) -> usize {
        self.channels * self.samples
    }

    fn outputs(&self) -> usize {
        self.inputs() * self.factor
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let wide = self.channels * self.factor;
        for (sample, copies) in input.chunks_exact(self.channels).zip(output.chunks_exact_mut(wide)) {
            copies.chunks_exact_mut(self.channels).for_each(|copy| copy.copy_from_slice(sample));
        }
    }
}
