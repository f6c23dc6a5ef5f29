//! What the recurrent layers have in common: stacked layers, two directions, and the names of their tensors.

use super::layer_table::LayerTable;
use super::layer_type::{Expected, Role};
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, RowsLayer, Step};
use crate::model::kernel::recurrent::{Course, Returns, Stack};
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// The most layers on top of each other in one.
const STACKED_LAYERS_MAX: usize = 64;

/// The sizes of a recurrent network, whatever its cells.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The tensors' prefix.
    pub name: &'a str,
    pub inputs: usize,
    pub hidden: usize,
    /// What one direction hands on: `hidden`, unless that is projected.
    pub outputs: usize,
    pub layers: usize,
    pub bidirectional: bool,
    pub bias: bool,
    pub returns: Returns,
    /// How many gates a cell has.
    pub gates: usize,
}

/// One layer and direction of a network.
pub struct Part<'a, 'l> {
    plan: Plan<'a>,
    loading: &'a mut Loading<'l>,
    suffix: String,
    /// Its way through the sequence.
    pub course: Course,
}

impl Plan<'_> {
    fn directions(&self) -> impl Iterator<Item = bool> + use<> {
        if self.bidirectional { [false, true].into_iter().take(2) } else { [false, true].into_iter().take(1) }
    }

    /// The numbers that all directions give at a sample.
    fn width(&self) -> usize {
        self.outputs.saturating_mul(self.directions().count())
    }

    /// What PyTorch saves, in its order.
    pub fn tensors(&self) -> Vec<Expected> {
        let Plan { name, inputs, hidden, outputs, layers, bias, gates, .. } = *self;
        let gates = gates.saturating_mul(hidden);
        let mut tensors = Vec::new();
        for layer in 0..layers {
            for backwards in self.directions() {
                let suffix = suffix(layer, backwards);
                let mut parameter = |part: &str, shape: &[usize]| {
                    let part = format!("{part}_{suffix}");
                    tensors.push(Expected::new(name, &part, shape, Role::Parameter));
                };
                let fed = if layer == 0 { inputs } else { self.width() };
                parameter("weight_ih", &[gates, fed]);
                parameter("weight_hh", &[gates, outputs]);
                if bias {
                    parameter("bias_ih", &[gates]);
                    parameter("bias_hh", &[gates]);
                }
                if outputs != hidden {
                    parameter("weight_hr", &[outputs, hidden]);
                }
            }
        }
        tensors
    }

    pub fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        let (_, samples) = input.sequence()?;
        input.check_width("in", self.inputs)?;
        Ok(match self.returns {
            Returns::Last | Returns::Final => Shape::Flat(self.width()),
            Returns::Sequence => Shape::Sequence { channels: self.width(), samples },
        })
    }

    /// Makes the network ready to be run, of cells that `cell` makes of their parts. When its input is
    /// `repeated`, each row is one sample that stands for all of them.
    pub fn load<C: RowsLayer + 'static>(
        self,
        loading: &mut Loading<'_>,
        repeated: bool,
        cell: impl Fn(&mut Part<'_, '_>) -> Result<C, ModelError>,
    ) -> Result<Box<dyn Step>, ModelError> {
        let (_, samples) = loading.input.sequence()?;
        let mut layers = Vec::with_capacity(self.layers);
        for layer in 0..self.layers {
            let is_last = layer + 1 == self.layers;
            let returns = if is_last { self.returns } else { Returns::Sequence };
            let mut directions = Vec::new();
            for backwards in self.directions() {
                let course = Course::of(samples, repeated && layer == 0, backwards, returns);
                let suffix = suffix(layer, backwards);
                directions.push(cell(&mut Part { plan: self, loading, suffix, course })?);
            }
            layers.push(directions);
        }
        Ok(Box::new(Operation(Stack::new(layers, self.outputs))))
    }

    /// The sizes, as an inspection shows them.
    pub fn describe(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Plan { name, inputs, hidden, outputs, layers, bias, returns, .. } = self;
        write!(f, "{name} ({inputs} to {hidden}")?;
        if outputs != hidden {
            write!(f, ", projected to {outputs}")?;
        }
        if *layers > 1 {
            write!(f, ", {layers} layers")?;
        }
        if self.bidirectional {
            f.write_str(", both directions")?;
        }
        f.write_str(if *bias { "" } else { ", no bias" })?;
        f.write_str(match returns {
            Returns::Sequence => ")",
            Returns::Last => ", last)",
            Returns::Final => ", final)",
        })
    }
}

impl Part<'_, '_> {
    /// The values of one of its tensors, such as `weight_ih`.
    pub fn take(&mut self, part: &str) -> Result<Vec<f32>, ModelError> {
        self.loading.take(self.plan.name, &format!("{part}_{}", self.suffix))
    }

    /// Its two biases; zeros where there are none.
    pub fn biases(&mut self) -> Result<[Vec<f32>; 2], ModelError> {
        if self.plan.bias {
            return Ok([self.take("bias_ih")?, self.take("bias_hh")?]);
        }
        let zeros = vec![0.0; self.plan.gates * self.plan.hidden];
        Ok([zeros.clone(), zeros])
    }
}

fn suffix(layer: usize, backwards: bool) -> String {
    format!("l{layer}{}", if backwards { "_reverse" } else { "" })
}

/// Reads how many layers are on top of each other.
pub fn stacked(table: &mut LayerTable<'_>) -> Result<usize, SettingError> {
    table.count("layers", 1, STACKED_LAYERS_MAX, "stacked_layers_max")
}
