//! An embedding, as PyTorch's: a small whole number becomes the row of a table that it counts to.

use std::fmt;

use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::{Expected, LayerType, Role};
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, RowsLayer, Step};
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// Puts rows of `{name}.weight`, `(count, features)`, in the place of numbers from 0 to `count - 1`. A number
/// that is no such one has no row: what is made of it is no number, and the row of features is refused.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "embedding")]
pub struct Embedding {
    /// The tensor's prefix.
    pub name: String,
    /// How many numbers there are.
    pub count: usize,
    /// The numbers that stand for each.
    pub features: usize,
    /// The place, from 0, of the only number of a row, or of each sample, that is replaced. Without it each
    /// number of a row is one, and becomes a sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl LayerType for Embedding {
    fn types() -> &'static [&'static str] {
        &["embedding"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        Ok(Self {
            name: table.prefix()?,
            count: table.size("count")?,
            features: table.size("features")?,
            column: table.find_place("column")?,
        })
    }

    fn tensors(&self) -> Vec<Expected> {
        vec![Expected::new(&self.name, "weight", &[self.count, self.features], Role::Parameter)]
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        let features = self.features;
        let Some(column) = self.column else {
            return match input {
                Shape::Flat(samples) | Shape::Sequence { channels: 1, samples } => {
                    Ok(Shape::Sequence { channels: features, samples })
                }
                Shape::Sequence { .. } => Err(Misfit::Sequence),
            };
        };
        let width = input.width();
        if column >= width {
            let why = "the last that comes";
            return Err(Misfit::Beyond {
                member: "column",
                stated: column,
                most: width.saturating_sub(1),
                why,
            });
        }
        Ok(input.with_width((width - 1).saturating_add(features)))
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let weight = loading.take(&self.name, "weight")?;
        let (width, samples) = match (self.column, loading.input) {
            (None, input) => (1, input.values()),
            (Some(_), _) => loading.channels_and_samples(),
        };
        let (features, column) = (self.features, self.column.unwrap_or(0));
        Ok(Box::new(Operation(Loaded { weight, features, column, width, samples })))
    }

    fn products(&self) -> Option<usize> {
        Some(self.features)
    }
}

impl fmt::Display for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, count, features, column } = self;
        write!(f, "embedding {name} ({count} to {features}")?;
        match column {
            Some(column) => write!(f, ", column {column})"),
            None => f.write_str(")"),
        }
    }
}

struct Loaded {
    /// `(count, features)`.
    weight: Vec<f32>,
    features: usize,
    column: usize,
    /// The numbers of a sample that come.
    width: usize,
    samples: usize,
}

impl Loaded {
    /// The row that `number` counts to.
    fn row(&self, number: f32) -> Option<&[f32]> {
        // Compared as numbers: a whole number below 2^24 is exact in f32, and tables are smaller.
        let is_whole = number >= 0.0 && number.fract() == 0.0;
        let at = is_whole.then_some(number as usize)?;
        self.weight.chunks_exact(self.features).nth(at)
    }
}

impl RowsLayer for Loaded {
    const NAME: &'static str = "embedding";

    fn inputs(&self) -> usize {
        self.samples * self.width
    }

    fn outputs(&self) -> usize {
        self.samples * (self.width - 1 + self.features)
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let wide = self.width - 1 + self.features;
        for (x, y) in input.chunks_exact(self.width).zip(output.chunks_exact_mut(wide)) {
            let (before, rest) = x.split_at(self.column);
            let Some((number, after)) = rest.split_first() else { continue };
            y[..self.column].copy_from_slice(before);
            let (place, y_after) = y[self.column..].split_at_mut(self.features);
            y_after.copy_from_slice(after);
            match self.row(*number) {
                Some(row) => place.copy_from_slice(row),
                None => place.fill(f32::NAN),
            }
        }
    }
}
