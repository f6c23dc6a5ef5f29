//! A convolution over time, as PyTorch's `Conv1d`.

use std::fmt;

use serde::{Serialize, Serializer};

use super::layer_table::{LAYER_VALUES_MAX, LayerTable};
use super::layer_type::{Expected, LayerType, is_one};
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::convolution::Convolution;
use crate::model::kernel::operation::{Operation, Step};
use crate::model::kernel::window::Window;
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

pub use crate::model::kernel::convolution::PaddingMode;

/// A convolution over the samples of a sequence: `{name}.weight` is `(outputs, inputs / groups, kernel)`,
/// `{name}.bias` `(outputs)`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "conv1d")]
pub struct Conv1d {
    /// The tensors' prefix.
    pub name: String,
    /// Channels that come into the layer.
    #[serde(rename = "in")]
    pub inputs: usize,
    /// Channels that the layer gives.
    #[serde(rename = "out")]
    pub outputs: usize,
    /// Samples in a window.
    pub kernel: usize,
    /// Samples from one window to the next.
    pub stride: usize,
    /// Samples from one of a window to its next.
    #[serde(skip_serializing_if = "is_one")]
    pub dilation: usize,
    /// Into how many groups the channels are divided, each with outputs of its own.
    #[serde(skip_serializing_if = "is_one")]
    pub groups: usize,
    /// Samples added before the first and after the last.
    pub padding: Padding,
    /// What stands there.
    #[serde(skip_serializing_if = "is_zeros")]
    pub padding_mode: PaddingMode,
    /// Whether `{name}.bias` exists.
    pub bias: bool,
}

/// How many samples are added to a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// So many before the first, and as many after the last.
    Each(usize),
    /// As many as keep the sequence's length with a stride of 1; of an odd number one more after the last.
    Same,
    /// All of those before the first, so that no window meets a later sample.
    Causal,
}

impl Padding {
    const NAMES: &[(&str, Self)] = &[("same", Self::Same), ("causal", Self::Causal)];

    /// Before the first sample and after the last, for windows that reach `beyond` samples from their first.
    fn sides(self, beyond: usize) -> (usize, usize) {
        match self {
            Self::Each(padding) => (padding, padding),
            Self::Same => (beyond / 2, beyond - beyond / 2),
            Self::Causal => (beyond, 0),
        }
    }
}

impl From<usize> for Padding {
    fn from(samples: usize) -> Self {
        Self::Each(samples)
    }
}

/// As in `config.json`: a number, or a word.
impl Serialize for Padding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Each(padding) => padding.serialize(serializer),
            Self::Same => serializer.serialize_str("same"),
            Self::Causal => serializer.serialize_str("causal"),
        }
    }
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Each(padding) => padding.fmt(f),
            Self::Same => f.write_str("same"),
            Self::Causal => f.write_str("causal"),
        }
    }
}

fn is_zeros(mode: &PaddingMode) -> bool {
    *mode == PaddingMode::Zeros
}

impl Conv1d {
    /// A convolution of all channels with a bias, window by window, without anything around the sequence.
    pub fn new(name: impl Into<String>, inputs: usize, outputs: usize, kernel: usize) -> Self {
        Self {
            name: name.into(),
            inputs,
            outputs,
            kernel,
            stride: 1,
            dilation: 1,
            groups: 1,
            padding: Padding::Each(0),
            padding_mode: PaddingMode::Zeros,
            bias: true,
        }
    }

    /// How many samples a window reaches from its first.
    fn beyond(&self) -> usize {
        self.kernel.saturating_sub(1).saturating_mul(self.dilation)
    }

    fn windows(&self, samples: usize) -> Result<Window, Misfit> {
        let (before, after) = self.padding.sides(self.beyond());
        if let Some(most) = self.padding_mode.padding_max(samples)
            && before.max(after) > most
        {
            let why = "no more are in the sequence to take them from";
            return Err(Misfit::Beyond { member: "padding", stated: before.max(after), most, why });
        }
        let longest = samples.saturating_add(before).saturating_add(after);
        Window::dilated(samples, self.kernel, self.stride, self.dilation, (before, after))
            .ok_or(Misfit::Window { kernel: self.beyond().saturating_add(1), longest })
    }

    fn read_padding(&self, table: &mut LayerTable<'_>) -> Result<Padding, SettingError> {
        let beyond = self.beyond();
        let Some(entry) = table.find("padding") else { return Ok(Padding::Each(0)) };
        if entry.text().is_ok() {
            let padding = entry.choice(Padding::NAMES)?;
            if self.stride != 1 {
                let problem = format!("found {padding}, expected a number where stride is not 1");
                return Err(entry.invalid(problem));
            }
            return Ok(padding);
        }
        // Beyond it a window would meet no sample at all.
        let error = |_| entry.wrong(format!("at most {beyond}, or same, or causal"));
        entry.number(..=beyond).map(Padding::Each).map_err(error)
    }

    fn check(&self, table: &LayerTable<'_>) -> Result<(), SettingError> {
        let Self { inputs, outputs, kernel, dilation, groups, .. } = self;
        for (key, channels) in [("in", inputs), ("out", outputs)] {
            if !channels.is_multiple_of(*groups) {
                let problem = format!("found {groups}, expected a divisor of {channels}, as {key} says");
                return Err(table.invalid("groups", problem));
            }
        }
        if kernel.saturating_mul(*inputs) > LAYER_VALUES_MAX {
            let problem = format!(
                "found {kernel} samples x {inputs} channels, \
                 expected at most {LAYER_VALUES_MAX} numbers in a window (layer_values_max)"
            );
            return Err(table.invalid("kernel", problem));
        }
        if kernel.saturating_mul(*dilation).saturating_mul(*inputs) > LAYER_VALUES_MAX {
            let problem = format!(
                "found {dilation}, so that a window spans {kernel} x {dilation} samples of {inputs} channels, \
                 expected at most {LAYER_VALUES_MAX} numbers (layer_values_max)"
            );
            return Err(table.invalid("dilation", problem));
        }
        Ok(())
    }
}

impl LayerType for Conv1d {
    fn types() -> &'static [&'static str] {
        &["conv1d"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        let (name, inputs, outputs) = (table.prefix()?, table.size("in")?, table.size("out")?);
        let mut layer = Self {
            stride: table.find_size("stride")?.unwrap_or(1),
            dilation: table.find_size("dilation")?.unwrap_or(1),
            groups: table.find_size("groups")?.unwrap_or(1),
            padding_mode: table.choice("padding_mode", PaddingMode::NAMES, PaddingMode::Zeros)?,
            bias: table.flag("bias", true)?,
            ..Self::new(name, inputs, outputs, table.size("kernel")?)
        };
        layer.check(table)?;
        layer.padding = layer.read_padding(table)?;
        Ok(layer)
    }

    fn tensors(&self) -> Vec<Expected> {
        let of_group = self.inputs / self.groups.max(1);
        Expected::weight_and_bias(&self.name, &[self.outputs, of_group, self.kernel], self.bias)
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        let (_, samples) = input.sequence()?;
        let windows = self.windows(samples)?;
        input.check_width("in", self.inputs)?;
        Ok(Shape::Sequence { channels: self.outputs, samples: windows.count })
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let (weight, bias) = loading.weight_and_bias(&self.name, self.outputs, self.bias)?;
        let (_, samples) = loading.input.sequence()?;
        let window = self.windows(samples)?;
        Ok(Box::new(Operation(Convolution::new(&weight, &bias, self.groups, window, self.padding_mode))))
    }
}

impl fmt::Display for Conv1d {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, inputs, outputs, kernel, stride, dilation, groups, padding, .. } = self;
        write!(f, "conv1d {name} ({inputs} to {outputs}, kernel {kernel}, stride {stride}, ")?;
        if *dilation != 1 {
            write!(f, "dilation {dilation}, ")?;
        }
        if *groups != 1 {
            write!(f, "{groups} groups, ")?;
        }
        write!(f, "padding {padding}")?;
        f.write_str(match self.padding_mode {
            PaddingMode::Zeros => "",
            PaddingMode::Reflect => " reflect",
            PaddingMode::Replicate => " replicate",
            PaddingMode::Circular => " circular",
        })?;
        f.write_str(if self.bias { ")" } else { ", no bias)" })
    }
}
