//! A gated recurrent unit, as PyTorch's `GRU` with `batch_first`.

use std::fmt;

use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::{Expected, LayerType, is_false, is_one};
use super::loading::Loading;
use super::recurrent::{Plan, stacked};
use crate::model::ModelError;
use crate::model::kernel::gru::{Gru as Loaded, GruWeights};
use crate::model::kernel::operation::Step;
use crate::model::kernel::recurrent::Returns;
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// A GRU from a state of zeros, as PyTorch's: for each of its layers `{name}.weight_ih_l0`
/// `(3 hidden, inputs)`, `{name}.weight_hh_l0` `(3 hidden, hidden)`, `{name}.bias_ih_l0` and
/// `{name}.bias_hh_l0` `(3 hidden)`, each with the gates in the order reset, update, new; and all of them
/// again with `_reverse`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "gru")]
pub struct Gru {
    /// The tensors' prefix.
    pub name: String,
    /// Channels that come into the layer.
    #[serde(rename = "in")]
    pub inputs: usize,
    /// The numbers of its hidden state: the channels that each direction gives.
    pub hidden: usize,
    /// How many layers are on top of each other.
    #[serde(skip_serializing_if = "is_one")]
    pub layers: usize,
    /// Whether a second direction goes from the last sample to the first, its numbers beside the first one's.
    #[serde(skip_serializing_if = "is_false")]
    pub bidirectional: bool,
    /// Whether the two biases exist.
    pub bias: bool,
    /// Which outputs go on.
    pub returns: Returns,
}

impl Gru {
    /// A GRU of one layer and one direction, with biases, that gives a sequence.
    pub fn new(name: impl Into<String>, inputs: usize, hidden: usize) -> Self {
        let (layers, bidirectional, bias, returns) = (1, false, true, Returns::Sequence);
        Self { name: name.into(), inputs, hidden, layers, bidirectional, bias, returns }
    }

    fn plan(&self) -> Plan<'_> {
        let Self { name, inputs, hidden, layers, bidirectional, bias, returns } = self;
        Plan {
            name,
            inputs: *inputs,
            hidden: *hidden,
            outputs: *hidden,
            layers: *layers,
            bidirectional: *bidirectional,
            bias: *bias,
            returns: *returns,
            gates: 3,
        }
    }

    /// Makes it ready to be run behind a [`Repeat`](super::Repeat), as an [`Lstm`](super::Lstm) is.
    pub(crate) fn load_repeated(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        self.load_from(loading, true)
    }

    fn load_from(&self, loading: &mut Loading<'_>, repeated: bool) -> Result<Box<dyn Step>, ModelError> {
        self.plan().load(loading, repeated, |part| {
            let [input_bias, recurrent_bias] = part.biases()?;
            let (input, recurrent) = (part.take("weight_ih")?, part.take("weight_hh")?);
            Ok(Loaded::new(&GruWeights { input, recurrent, input_bias, recurrent_bias }, part.course))
        })
    }
}

impl LayerType for Gru {
    fn types() -> &'static [&'static str] {
        &["gru"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        let (name, inputs, hidden) = (table.prefix()?, table.size("in")?, table.size("hidden")?);
        Ok(Self {
            layers: stacked(table)?,
            bidirectional: table.flag("bidirectional", false)?,
            bias: table.flag("bias", true)?,
            returns: table.choice("returns", Returns::NAMES, Returns::Sequence)?,
            ..Self::new(name, inputs, hidden)
        })
    }

    fn tensors(&self) -> Vec<Expected> {
        self.plan().tensors()
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        self.plan().shape(input)
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        self.load_from(loading, false)
    }
}

impl fmt::Display for Gru {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gru ")?;
        self.plan().describe(f)
    }
}
