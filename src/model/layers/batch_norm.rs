//! Batch normalisation in evaluation mode, as PyTorch's `BatchNorm1d` after `eval()`.
//!
//! On a sequence it works on one sample after the other.

use std::fmt;

use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::{Expected, LayerType, NORM_EPS_DEFAULT, Role};
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, RowsLayer, Step};
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// Batch norm as in evaluation: running statistics, never the batch's own.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "batch_norm")]
pub struct BatchNorm {
    /// The tensors' prefix.
    pub name: String,
    /// Features in and out.
    pub features: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Whether `{name}.weight` and `{name}.bias` exist.
    pub affine: bool,
}

impl LayerType for BatchNorm {
    fn types() -> &'static [&'static str] {
        &["batch_norm"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        Ok(Self {
            name: table.prefix()?,
            features: table.size("features")?,
            eps: table.positive("eps", NORM_EPS_DEFAULT)?,
            affine: table.flag("affine", true)?,
        })
    }

    fn tensors(&self) -> Vec<Expected> {
        let Self { name, features, affine, .. } = self;
        let mut tensors =
            if *affine { Expected::weight_and_bias(name, &[*features], true) } else { Vec::new() };
        for part in ["running_mean", "running_var"] {
            tensors.push(Expected::new(name, part, &[*features], Role::Statistic));
        }
        // PyTorch counts batches for the average without a momentum, which is a matter of training.
        tensors.push(Expected::new(name, "num_batches_tracked", &[], Role::Unused));
        tensors
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        input.check_width("features", self.features)?;
        Ok(input)
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let Self { name, features, eps, affine } = self;
        let (gamma, beta) = if *affine {
            loading.weight_and_bias(name, *features, true)?
        } else {
            (vec![1.0; *features], vec![0.0; *features])
        };
        let (mean, variance) = (loading.take(name, "running_mean")?, loading.take(name, "running_var")?);
        let (_, samples) = loading.channels_and_samples();
        Ok(Box::new(Operation(Affine::new([&gamma, &beta, &mean, &variance], *eps, samples))))
    }

    fn products(&self) -> Option<usize> {
        Some(self.features)
    }
}

impl fmt::Display for BatchNorm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, features, eps, .. } = self;
        write!(f, "batch_norm {name} ({features}, eps {eps:e})")
    }
}

/// `x * scale + shift`: what batch norm is once its statistics stand still.
struct Affine {
    scale: Vec<f32>,
    shift: Vec<f32>,
    samples: usize,
}

impl Affine {
    /// The batch norm of each of `samples` samples; each part has a number for each feature.
    fn new([gamma, beta, mean, variance]: [&[f32]; 4], eps: f64, samples: usize) -> Self {
        // In double precision, because both roundings are made once here and then met by every row.
        // PyTorch adds `eps` to the variance, under the root, and its `running_var` is the unbiased one
        // already.
        let scale: Vec<f64> = gamma
            .iter()
            .zip(variance)
            .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance) + eps).sqrt())
            .collect();
        let shift = beta.iter().zip(mean).zip(&scale);
        let shift = shift.map(|((&beta, &mean), scale)| (f64::from(beta) - f64::from(mean) * scale) as f32);
        Self { shift: shift.collect(), scale: scale.iter().map(|&scale| scale as f32).collect(), samples }
    }
}

impl RowsLayer for Affine {
    const NAME: &'static str = "affine";

    fn inputs(&self) -> usize {
        self.samples * self.scale.len()
    }

    fn outputs(&self) -> usize {
        self.inputs()
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let features = self.scale.len();
        for (x, y) in input.chunks_exact(features).zip(output.chunks_exact_mut(features)) {
            let parts = x.iter().zip(&self.scale).zip(&self.shift);
            y.iter_mut().zip(parts).for_each(|(y, ((x, scale), shift))| *y = x * scale + shift);
        }
    }
}
