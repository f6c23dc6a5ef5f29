//! Group normalisation, as PyTorch's `GroupNorm`; with as many groups as channels, and on a sequence, its
//! `InstanceNorm1d`.

use std::fmt;

use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::{Expected, LayerType, NORM_EPS_DEFAULT};
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, Step};
use crate::model::kernel::standardise::Standardise;
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// The numbers of each group of channels over all samples, less their mean, over their standard deviation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "group_norm")]
pub struct GroupNorm {
    /// The tensors' prefix.
    pub name: String,
    /// Into how many groups of neighbours the features are divided.
    pub groups: usize,
    /// Features, or channels, in and out.
    pub features: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Whether `{name}.weight` and `{name}.bias` exist.
    pub affine: bool,
}

impl LayerType for GroupNorm {
    fn types() -> &'static [&'static str] {
        &["group_norm"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        let (name, groups, features) = (table.prefix()?, table.size("groups")?, table.size("features")?);
        if !features.is_multiple_of(groups) {
            let problem = format!("found {groups}, expected a divisor of {features}, as features says");
            return Err(table.invalid("groups", problem));
        }
        let eps = table.positive("eps", NORM_EPS_DEFAULT)?;
        Ok(Self { name, groups, features, eps, affine: table.flag("affine", true)? })
    }

    fn tensors(&self) -> Vec<Expected> {
        if !self.affine {
            return Vec::new();
        }
        Expected::weight_and_bias(&self.name, &[self.features], true)
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        input.check_width("features", self.features)?;
        Ok(input)
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let (scale, shift) = loading.scale_and_shift(&self.name, self.features, self.affine, true)?;
        let (_, samples) = loading.channels_and_samples();
        Ok(Box::new(Operation(Standardise::of_groups(samples, self.groups, self.eps, scale, shift))))
    }

    fn products(&self) -> Option<usize> {
        // The mean, the squares, the factor and the scale.
        self.features.checked_mul(4)
    }
}

impl fmt::Display for GroupNorm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, groups, features, eps, .. } = self;
        write!(f, "group_norm {name} ({features} in {groups} groups, eps {eps:e})")
    }
}
