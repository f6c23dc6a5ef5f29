//! A long short-term memory, as PyTorch's `LSTM` of one layer and one direction with `batch_first`.

use std::fmt;

use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::{Expected, LayerType, Role};
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::lstm::{Lstm as Loaded, LstmWeights};
use crate::model::kernel::operation::{Operation, Step};
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

pub use crate::model::kernel::lstm::Returns;

/// An LSTM of one layer and one direction from a state of zeros, as PyTorch's: `{name}.weight_ih_l0`
/// `(4 hidden, inputs)`, `{name}.weight_hh_l0` `(4 hidden, hidden)`, `{name}.bias_ih_l0` and
/// `{name}.bias_hh_l0` `(4 hidden)`, each with the gates in the order input, forget, cell, output.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "lstm")]
pub struct Lstm {
    /// The tensors' prefix.
    pub name: String,
    /// Channels that come into the layer.
    #[serde(rename = "in")]
    pub inputs: usize,
    /// Channels that the layer gives: the numbers of its hidden state.
    pub hidden: usize,
    /// Whether the two biases exist.
    pub bias: bool,
    /// Which outputs go on.
    pub returns: Returns,
}

impl Lstm {
    /// Makes it ready to be run behind a [`Repeat`](super::Repeat), in whose place it steps as well: each
    /// row is one sample that stands for all of them, and its part of the gates is computed once.
    pub(crate) fn load_repeated(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        self.load_from(loading, true)
    }

    fn load_from(&self, loading: &mut Loading<'_>, repeated: bool) -> Result<Box<dyn Step>, ModelError> {
        let (_, samples) = loading.input.sequence()?;
        let mut sum = vec![0.0; 4 * self.hidden];
        if self.bias {
            // PyTorch has two for cuDNN's sake; the equations only ever see their sum.
            for part in ["bias_ih_l0", "bias_hh_l0"] {
                let part = loading.take(&self.name, part)?;
                sum.iter_mut().zip(part).for_each(|(sum, bias)| *sum += bias);
            }
        }
        let input = loading.take(&self.name, "weight_ih_l0")?;
        let recurrent = loading.take(&self.name, "weight_hh_l0")?;
        let weights = LstmWeights { input, recurrent, bias: sum };
        Ok(Box::new(Operation(Loaded::new(&weights, samples, repeated, self.returns))))
    }
}

impl LayerType for Lstm {
    fn types() -> &'static [&'static str] {
        &["lstm"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        Ok(Self {
            name: table.prefix()?,
            inputs: table.size("in")?,
            hidden: table.size("hidden")?,
            bias: table.flag("bias", true)?,
            returns: table.choice("returns", Returns::NAMES, Returns::Sequence)?,
        })
    }

    fn tensors(&self) -> Vec<Expected> {
        let Self { name, inputs, hidden, bias, .. } = self;
        let gates = 4 * hidden;
        let parameter = |part, shape: &[usize]| Expected::new(name, part, shape, Role::Parameter);
        let mut tensors =
            vec![parameter("weight_ih_l0", &[gates, *inputs]), parameter("weight_hh_l0", &[gates, *hidden])];
        if *bias {
            tensors.extend(["bias_ih_l0", "bias_hh_l0"].map(|part| parameter(part, &[gates])));
        }
        tensors
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        let (_, samples) = input.sequence()?;
        input.check_width("in", self.inputs)?;
        Ok(match self.returns {
            Returns::Last => Shape::Flat(self.hidden),
            Returns::Sequence => Shape::Sequence { channels: self.hidden, samples },
        })
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        self.load_from(loading, false)
    }
}

impl fmt::Display for Lstm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, inputs, hidden, bias, returns } = self;
        let bias = if *bias { "" } else { ", no bias" };
        let last = if *returns == Returns::Last { ", last" } else { "" };
        write!(f, "lstm {name} ({inputs} to {hidden}{bias}{last})")
    }
}
