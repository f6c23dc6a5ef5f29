//! What a layer is loaded from: the values of its tensors, and what it will meet.

use std::collections::HashMap;

use crate::model::ModelError;
use crate::model::shape::{Order, Shape};

/// The values of all tensors that the layers need, by name. The check of tensors has seen to it that each is
/// there, finite, and of the shape that its layer states.
pub type Values = HashMap<String, Vec<f32>>;

/// What one layer is loaded from.
pub struct Loading<'a> {
    /// Each is taken out by the layer that it belongs to.
    pub values: &'a mut Values,
    /// What one row is when it comes to the layer.
    pub input: Shape,
    /// The order in which a row's numbers came to the model, where they form a sequence.
    pub order: Option<Order>,
}

impl Loading<'_> {
    /// The values of the tensor `prefix.part`.
    pub fn take(&mut self, prefix: &str, part: &str) -> Result<Vec<f32>, ModelError> {
        self.take_whole(&format!("{prefix}.{part}"))
    }

    /// The values of the tensor `name`.
    pub fn take_whole(&mut self, name: &str) -> Result<Vec<f32>, ModelError> {
        self.values.remove(name).ok_or_else(|| ModelError::Forward(format!("tensor {name} is missing")))
    }

    /// The factor of each feature in `prefix.weight`, ones unless there is `affine`, and what is added to it
    /// in `prefix.bias`, zeros unless there is a `bias` as well.
    pub fn scale_and_shift(
        &mut self,
        prefix: &str,
        features: usize,
        affine: bool,
        bias: bool,
    ) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let scale = if affine { self.take(prefix, "weight")? } else { vec![1.0; features] };
        let shift = if affine && bias { self.take(prefix, "bias")? } else { vec![0.0; features] };
        Ok((scale, shift))
    }

    /// The values of `prefix.weight` and of `prefix.bias`; zeros for the latter where there is no `bias`.
    pub fn weight_and_bias(
        &mut self,
        prefix: &str,
        outputs: usize,
        bias: bool,
    ) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let weight = self.take(prefix, "weight")?;
        let bias = if bias { self.take(prefix, "bias")? } else { vec![0.0; outputs] };
        Ok((weight, bias))
    }

    /// The numbers of a sample, and how many samples there are; plain features are one sample.
    pub fn channels_and_samples(&self) -> (usize, usize) {
        match self.input {
            Shape::Flat(features) => (features, 1),
            Shape::Sequence { channels, samples } => (channels, samples),
        }
    }
}
