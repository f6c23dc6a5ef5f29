//! A long short-term memory, as PyTorch's `LSTM` with `batch_first`.

use std::fmt;

use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::{Expected, LayerType, is_false, is_one};
use super::loading::Loading;
use super::recurrent::{Plan, stacked};
use crate::model::ModelError;
use crate::model::kernel::lstm::{Lstm as Loaded, LstmWeights};
use crate::model::kernel::operation::Step;
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

pub use crate::model::kernel::recurrent::Returns;

/// An LSTM from a state of zeros, as PyTorch's: for each of its layers `{name}.weight_ih_l0`
/// `(4 hidden, inputs)`, `{name}.weight_hh_l0` `(4 hidden, hidden)`, `{name}.bias_ih_l0` and
/// `{name}.bias_hh_l0` `(4 hidden)`, each with the gates in the order input, forget, cell, output; with a
/// `proj_size` also `{name}.weight_hr_l0` `(proj_size, hidden)`; and all of them again with `_reverse`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "lstm")]
pub struct Lstm {
    /// The tensors' prefix.
    pub name: String,
    /// Channels that come into the layer.
    #[serde(rename = "in")]
    pub inputs: usize,
    /// The numbers of its hidden state: the channels that each direction gives, unless `proj_size` says
    /// fewer.
    pub hidden: usize,
    /// How many layers are on top of each other.
    #[serde(skip_serializing_if = "is_one")]
    pub layers: usize,
    /// Whether a second direction goes from the last sample to the first, its numbers beside the first one's.
    #[serde(skip_serializing_if = "is_false")]
    pub bidirectional: bool,
    /// To how many numbers each direction's output is projected, fewer than `hidden`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proj_size: Option<usize>,
    /// Whether the two biases exist.
    pub bias: bool,
    /// Which outputs go on.
    pub returns: Returns,
}

impl Lstm {
    /// An LSTM of one layer and one direction, with biases, that gives a sequence.
    pub fn new(name: impl Into<String>, inputs: usize, hidden: usize) -> Self {
        let (layers, bidirectional, proj_size, bias) = (1, false, None, true);
        let returns = Returns::Sequence;
        Self { name: name.into(), inputs, hidden, layers, bidirectional, proj_size, bias, returns }
    }

    fn plan(&self) -> Plan<'_> {
        let Self { name, inputs, hidden, layers, bidirectional, proj_size, bias, returns } = self;
        Plan {
            name,
            inputs: *inputs,
            hidden: *hidden,
            outputs: proj_size.unwrap_or(*hidden),
            layers: *layers,
            bidirectional: *bidirectional,
            bias: *bias,
            returns: *returns,
            gates: 4,
        }
    }

    /// Makes it ready to be run behind a [`Repeat`](super::Repeat), in whose place it steps as well: each
    /// row is one sample that stands for all of them, and its part of the gates is computed once.
    pub(crate) fn load_repeated(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        self.load_from(loading, true)
    }

    fn load_from(&self, loading: &mut Loading<'_>, repeated: bool) -> Result<Box<dyn Step>, ModelError> {
        self.plan().load(loading, repeated, |part| {
            // PyTorch has two biases for cuDNN's sake; the equations only ever see their sum.
            let [mut bias, other] = part.biases()?;
            bias.iter_mut().zip(other).for_each(|(sum, bias)| *sum += bias);
            let input = part.take("weight_ih")?;
            let recurrent = part.take("weight_hh")?;
            let projection = self.proj_size.map(|_| part.take("weight_hr")).transpose()?;
            Ok(Loaded::new(&LstmWeights { input, recurrent, bias, projection }, part.course))
        })
    }
}

impl LayerType for Lstm {
    fn types() -> &'static [&'static str] {
        &["lstm"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        let (name, inputs, hidden) = (table.prefix()?, table.size("in")?, table.size("hidden")?);
        let proj_size = table.find_size("proj_size")?;
        if let Some(found) = proj_size.filter(|size| *size >= hidden) {
            let problem = format!("found {found}, expected fewer than {hidden}, as hidden says");
            return Err(table.invalid("proj_size", problem));
        }
        Ok(Self {
            layers: stacked(table)?,
            bidirectional: table.flag("bidirectional", false)?,
            proj_size,
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

impl fmt::Display for Lstm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lstm ")?;
        self.plan().describe(f)
    }
}
