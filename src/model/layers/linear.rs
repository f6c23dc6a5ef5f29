//! A linear (fully connected) layer, as PyTorch's `Linear`: `y = x W^T + b`.
//!
//! On a sequence it works on one sample after the other, as PyTorch's does.

use std::fmt;

use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::{Expected, LayerType};
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, RowsLayer, Step};
use crate::model::kernel::product::{Product, Rows, Start};
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// `y = x W^T + b`, with `W` of shape `(outputs, inputs)` in `{name}.weight` and `b` in `{name}.bias`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "linear")]
pub struct Linear {
    /// The tensors' prefix.
    pub name: String,
    /// Features that come into the layer.
    #[serde(rename = "in")]
    pub inputs: usize,
    /// Features that the layer gives.
    #[serde(rename = "out")]
    pub outputs: usize,
    /// Whether `{name}.bias` exists.
    pub bias: bool,
}

impl LayerType for Linear {
    fn types() -> &'static [&'static str] {
        &["linear"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        Ok(Self {
            name: table.prefix()?,
            inputs: table.size("in")?,
            outputs: table.size("out")?,
            bias: table.flag("bias", true)?,
        })
    }

    fn tensors(&self) -> Vec<Expected> {
        Expected::weight_and_bias(&self.name, &[self.outputs, self.inputs], self.bias)
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        input.check_width("in", self.inputs)?;
        Ok(input.with_width(self.outputs))
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let (weight, bias) = loading.weight_and_bias(&self.name, self.outputs, self.bias)?;
        let (_, samples) = loading.channels_and_samples();
        let product = Product::new(&weight, &bias);
        Ok(Box::new(Operation(Loaded { product, samples, rectify: false })))
    }

    fn products(&self) -> Option<usize> {
        self.inputs.checked_mul(self.outputs)
    }
}

impl fmt::Display for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, inputs, outputs, bias } = self;
        let bias = if *bias { "" } else { ", no bias" };
        write!(f, "linear {name} ({inputs} to {outputs}{bias})")
    }
}

/// The layer with its weights, for rows of `samples` samples.
struct Loaded {
    product: Product,
    samples: usize,
    rectify: bool,
}

impl RowsLayer for Loaded {
    const NAME: &'static str = "linear";

    fn inputs(&self) -> usize {
        self.samples * self.product.depth()
    }

    fn outputs(&self) -> usize {
        self.samples * self.product.outputs()
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let rows = Rows::packed(input, self.product.depth());
        self.product.multiply(rows, Start::Bias, self.rectify, output);
    }

    fn rectify(&mut self) -> bool {
        self.rectify = true;
        true
    }
}
