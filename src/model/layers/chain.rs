//! Layers one after the other: what they make of a row, and how they are run.

use candle_core::Tensor;

use super::loading::Loading;
use super::{Activation, Layer};
use crate::model::ModelError;
use crate::model::kernel::operation::Step;
use crate::model::shape::{Misfit, Shape};

/// What `layers` make of a row.
pub fn shape(layers: &[Layer], input: Shape) -> Result<Shape, Misfit> {
    layers.iter().try_fold(input, |shape, layer| layer.as_type().shape(shape))
}

/// The widest that a row is anywhere in `layers`, as far as they fit.
pub fn widest(layers: &[Layer], input: Shape) -> usize {
    let (mut shape, mut widest) = (input, input.values());
    for layer in layers {
        widest = widest.max(layer.as_type().widest(shape));
        let Ok(next) = layer.as_type().shape(shape) else { break };
        shape = next;
        widest = widest.max(shape.values());
    }
    widest
}

/// How many multiplications a row takes in `layers` that see all of it at once; `None` where there are
/// others.
pub fn products(layers: &[Layer]) -> Option<usize> {
    let of_layer = |layer: &Layer| layer.as_type().products();
    layers.iter().try_fold(0_usize, |sum, layer| sum.checked_add(of_layer(layer)?))
}

/// Layers that are loaded and can be run, one after the other.
pub struct Chain(Vec<Box<dyn Step>>);

impl Chain {
    /// The steps that do what `layers` say, of which the first meets what `loading` says. Where one step can
    /// do the work of two layers, it does.
    pub fn load(layers: &[Layer], loading: &mut Loading<'_>) -> Result<Self, ModelError> {
        let mut steps: Vec<Box<dyn Step>> = Vec::with_capacity(layers.len());
        let mut input = loading.input;
        for (at, layer) in layers.iter().enumerate() {
            let mut loading = Loading { values: &mut *loading.values, input, order: loading.order };
            input = layer.as_type().shape(input)?;
            let before = at.checked_sub(1).map(|before| &layers[before]);
            let step = match layer {
                // A product rectifies while its sums are still in registers: a pass over memory less.
                Layer::Activation(Activation::Relu)
                    if steps.last_mut().is_some_and(|last| last.rectify()) =>
                {
                    continue;
                }
                // The recurrent layer behind it computes the repeated input's part of the gates once, not at
                // each sample.
                Layer::Repeat(_) if matches!(layers.get(at + 1), Some(Layer::Lstm(_) | Layer::Gru(_))) => {
                    continue;
                }
                Layer::Lstm(lstm) if matches!(before, Some(Layer::Repeat(_))) => {
                    lstm.load_repeated(&mut loading)?
                }
                Layer::Gru(gru) if matches!(before, Some(Layer::Repeat(_))) => {
                    gru.load_repeated(&mut loading)?
                }
                layer => layer.as_type().load(&mut loading)?,
            };
            steps.push(step);
        }
        Ok(Self(steps))
    }

    /// The steps.
    pub fn into_steps(self) -> Vec<Box<dyn Step>> {
        self.0
    }
}

impl Step for Chain {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let mut x = x.clone();
        for step in &self.0 {
            x = step.forward(&x)?;
        }
        Ok(x)
    }
}
