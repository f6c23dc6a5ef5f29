//! Layer normalisation, as PyTorch's `LayerNorm` over the last dimension.
//!
//! On a sequence it works on one sample after the other.

use std::fmt;

use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::{Expected, LayerType, NORM_EPS_DEFAULT, Role, is_true};
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, Step};
use crate::model::kernel::standardise::Standardise;
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// The numbers of a row, or of each sample, less their mean, over their standard deviation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "layer_norm")]
pub struct LayerNorm {
    /// The tensors' prefix.
    pub name: String,
    /// Features in and out.
    pub features: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Whether `{name}.weight` exists, and with `bias` `{name}.bias`.
    pub affine: bool,
    /// Whether `{name}.bias` exists beside the weight.
    #[serde(skip_serializing_if = "is_true")]
    pub bias: bool,
}

impl LayerType for LayerNorm {
    fn types() -> &'static [&'static str] {
        &["layer_norm"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        Ok(Self {
            name: table.prefix()?,
            features: table.size("features")?,
            eps: table.positive("eps", NORM_EPS_DEFAULT)?,
            affine: table.flag("affine", true)?,
            bias: table.flag("bias", true)?,
        })
    }

    fn tensors(&self) -> Vec<Expected> {
        let mut tensors = Vec::new();
        let mut part =
            |part| tensors.push(Expected::new(&self.name, part, &[self.features], Role::Parameter));
        if self.affine {
            part("weight");
        }
        if self.affine && self.bias {
            part("bias");
        }
        tensors
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        input.check_width("features", self.features)?;
        Ok(input)
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let (scale, shift) = loading.scale_and_shift(&self.name, self.features, self.affine, self.bias)?;
        let (_, samples) = loading.channels_and_samples();
        Ok(Box::new(Operation(Standardise::of_samples(samples, self.eps, scale, shift))))
    }

    fn products(&self) -> Option<usize> {
        // The mean, the squares, the factor and the scale.
        self.features.checked_mul(4)
    }
}

impl fmt::Display for LayerNorm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, features, eps, .. } = self;
        write!(f, "layer_norm {name} ({features}, eps {eps:e})")
    }
}
