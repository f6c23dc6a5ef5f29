//! The layers of a network: what each needs from the weights, and whether they fit together.

pub mod conv1d;
pub mod linear;
pub mod max_pool1d;

use std::fmt;

use serde::Deserialize;

use super::config::schema::LayerEntry;
use super::config::{ConfigError, LAYERS_MAX, Output, Place};
use super::shape::{Shape, shape_after};
use crate::suggestion;

/// The `eps` of PyTorch's batch norm, used when a layer does not state one.
const BATCH_NORM_EPS_DEFAULT: f64 = 1e-5;
/// The `negative_slope` of PyTorch's leaky ReLU.
const NEGATIVE_SLOPE_DEFAULT: f64 = 0.01;
/// The most features on either side of a layer.
const LAYER_FEATURES_MAX: usize = 1 << 20;
/// The most numbers of one row between two layers, and in one window of a convolution.
const LAYER_VALUES_MAX: usize = 1 << 22;
const KINDS: [&str; 15] = [
    "linear",
    "batch_norm",
    "conv1d",
    "max_pool1d",
    "global_average_pool",
    "flatten",
    "lstm",
    "repeat",
    "relu",
    "leaky_relu",
    "tanh",
    "sigmoid",
    "gelu",
    "silu",
    "elu",
];

/// One step of a network.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// `y = x W^T + b`, with `W` of shape `(outputs, inputs)` in `{name}.weight` and `b` in `{name}.bias`.
    Linear {
        /// The tensors' prefix.
        name: String,
        /// Features in.
        inputs: usize,
        /// Features out.
        outputs: usize,
        /// Whether `{name}.bias` exists.
        bias: bool,
    },
    /// Batch norm as in evaluation: running statistics, never the batch's own.
    BatchNorm {
        /// The tensors' prefix.
        name: String,
        /// Features in and out.
        features: usize,
        /// Added to the variance.
        eps: f64,
        /// Whether `{name}.weight` and `{name}.bias` exist.
        affine: bool,
    },
    /// A convolution over the samples of a sequence, as PyTorch's `Conv1d` with one
    /// group and no dilation: weight `(outputs, inputs, kernel)`, bias `(outputs)`.
    Conv1d {
        /// The tensors' prefix.
        name: String,
        /// Channels in.
        inputs: usize,
        /// Channels out.
        outputs: usize,
        /// Samples in a window.
        kernel: usize,
        /// Samples from one window to the next.
        stride: usize,
        /// Zeros added before the first sample and after the last.
        padding: usize,
        /// Whether `{name}.bias` exists.
        bias: bool,
    },
    /// The largest number of each channel in each window.
    MaxPool1d {
        /// Samples in a window.
        kernel: usize,
        /// Samples from one window to the next.
        stride: usize,
        /// Samples added on either side, which are never the largest.
        padding: usize,
    },
    /// The mean of each channel over all samples: from a sequence to `channels` features.
    GlobalAveragePool,
    /// A sequence as plain features, in the order that the model's layout has.
    Flatten,
    /// An LSTM of one layer and one direction from a state of zeros, as PyTorch's: `{name}.weight_ih_l0`
    /// `(4 hidden, inputs)`, `{name}.weight_hh_l0` `(4 hidden, hidden)`, `{name}.bias_ih_l0` and
    /// `{name}.bias_hh_l0` `(4 hidden)`, each with the gates in the order input, forget, cell, output.
    Lstm {
        /// The tensors' prefix.
        name: String,
        /// Channels in.
        inputs: usize,
        /// Channels out.
        hidden: usize,
        /// Whether the two biases exist.
        bias: bool,
        /// Which outputs go on.
        returns: Returns,
    },
    /// The same features at each of `samples` points in time: from plain features to a sequence.
    Repeat {
        /// How many times.
        samples: usize,
    },
    /// An elementwise function.
    Activation(Activation),
}

/// Which of its outputs an LSTM hands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Returns {
    /// The output at each sample.
    Sequence,
    /// The output at the last sample alone, as plain features.
    Last,
}

/// An elementwise function, defined as PyTorch defines it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x` above zero, `negative_slope * x` below.
    LeakyRelu {
        /// The slope below zero.
        negative_slope: f64,
    },
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x * (1 + erf(x / sqrt 2)) / 2`: the exact form.
    Gelu,
    /// `x * sigmoid(x)`.
    Silu,
    /// `x` above zero, `alpha * (exp(x) - 1)` below.
    Elu {
        /// The negative limit.
        alpha: f64,
    },
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linear { name, inputs, outputs, bias } => {
                let bias = if *bias { "" } else { ", no bias" };
                write!(f, "linear {name} ({inputs} to {outputs}{bias})")
            }
            Self::BatchNorm { name, features, eps, .. } => {
                write!(f, "batch_norm {name} ({features}, eps {eps:e})")
            }
            Self::Conv1d { name, inputs, outputs, kernel, stride, padding, bias } => {
                let bias = if *bias { "" } else { ", no bias" };
                write!(f, "conv1d {name} ({inputs} to {outputs}, kernel {kernel}, stride {stride}, ")?;
                write!(f, "padding {padding}{bias})")
            }
            Self::MaxPool1d { kernel, stride, padding } => {
                write!(f, "max_pool1d (kernel {kernel}, stride {stride}, padding {padding})")
            }
            Self::GlobalAveragePool => f.write_str("global_average_pool"),
            Self::Flatten => f.write_str("flatten"),
            Self::Lstm { name, inputs, hidden, bias, returns } => {
                let bias = if *bias { "" } else { ", no bias" };
                let last = if *returns == Returns::Last { ", last" } else { "" };
                write!(f, "lstm {name} ({inputs} to {hidden}{bias}{last})")
            }
            Self::Repeat { samples } => write!(f, "repeat ({samples} samples)"),
            Self::Activation(activation) => activation.fmt(f),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relu => f.write_str("relu"),
            Self::LeakyRelu { negative_slope } => write!(f, "leaky_relu (negative_slope {negative_slope})"),
            Self::Tanh => f.write_str("tanh"),
            Self::Sigmoid => f.write_str("sigmoid"),
            Self::Gelu => f.write_str("gelu"),
            Self::Silu => f.write_str("silu"),
            Self::Elu { alpha } => write!(f, "elu (alpha {alpha})"),
        }
    }
}

/// A tensor that a layer needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// False for what PyTorch saves and evaluation does not read: it may be there, and is not used.
    pub required: bool,
}

/// The tensors that `layers` need, in order.
pub fn expected_tensors(layers: &[Layer]) -> Vec<Expected> {
    let mut all = Vec::new();
    let mut expect = |name: String, shape: Vec<usize>, required| all.push(Expected { name, shape, required });
    for layer in layers {
        match layer {
            Layer::Linear { name, inputs, outputs, bias } => {
                expect(format!("{name}.weight"), vec![*outputs, *inputs], true);
                if *bias {
                    expect(format!("{name}.bias"), vec![*outputs], true);
                }
            }
            Layer::BatchNorm { name, features, affine, .. } => {
                let affine: &[_] = if *affine { &["weight", "bias"] } else { &[] };
                for part in affine.iter().chain(&["running_mean", "running_var"]) {
                    expect(format!("{name}.{part}"), vec![*features], true);
                }
                expect(format!("{name}.num_batches_tracked"), vec![], false);
            }
            Layer::Conv1d { name, inputs, outputs, kernel, bias, .. } => {
                expect(format!("{name}.weight"), vec![*outputs, *inputs, *kernel], true);
                if *bias {
                    expect(format!("{name}.bias"), vec![*outputs], true);
                }
            }
            Layer::Lstm { name, inputs, hidden, bias, .. } => {
                let gates = 4 * hidden;
                expect(format!("{name}.weight_ih_l0"), vec![gates, *inputs], true);
                expect(format!("{name}.weight_hh_l0"), vec![gates, *hidden], true);
                if *bias {
                    expect(format!("{name}.bias_ih_l0"), vec![gates], true);
                    expect(format!("{name}.bias_hh_l0"), vec![gates], true);
                }
            }
            Layer::MaxPool1d { .. }
            | Layer::GlobalAveragePool
            | Layer::Flatten
            | Layer::Repeat { .. }
            | Layer::Activation(_) => {}
        }
    }
    all
}

/// Checks each layer, and that each takes what the one before it gives, from `input` to what `output` needs.
pub fn check(
    entries: &[LayerEntry],
    input: Shape,
    output: Output,
    place: &Place<'_>,
) -> Result<Vec<Layer>, ConfigError> {
    if entries.is_empty() || entries.len() > LAYERS_MAX {
        let problem = format!("expected 1 to {LAYERS_MAX} layers (layers_max), found {}", entries.len());
        return Err(place.error("layers", problem));
    }
    let mut layers: Vec<Layer> = Vec::with_capacity(entries.len());
    let mut shape = input;
    for (at, raw) in entries.iter().enumerate() {
        let entry = Entry { raw, at, place };
        let layer = entry.layer()?;
        shape = entry.next(&layer, shape)?;
        if raw.name.is_some() && entries[..at].iter().any(|earlier| earlier.name == raw.name) {
            return Err(entry.error("name", "an earlier layer has this name"));
        }
        layers.push(layer);
    }
    let expected = match output {
        Output::Probability | Output::Logit => Shape::Flat(1),
        Output::Reconstruction { .. } => input,
    };
    if shape != expected {
        let problem = format!("expected the last layer to give {expected}, it gives {shape}");
        return Err(place.error("layers", problem));
    }
    if output == Output::Logit && layers.last() == Some(&Layer::Activation(Activation::Sigmoid)) {
        let problem = "found \"logit\" after a final sigmoid layer, which would apply the sigmoid twice; \
                       write \"probability\", or leave out the last layer";
        return Err(place.error("output", problem));
    }
    Ok(layers)
}

/// One entry of `layers`, and where it stands.
struct Entry<'a> {
    raw: &'a LayerEntry,
    at: usize,
    place: &'a Place<'a>,
}

impl Entry<'_> {
    fn error(&self, member: &str, problem: impl Into<String>) -> ConfigError {
        self.place.error(format!("layers[{}].{member}", self.at), problem)
    }

    fn layer(&self) -> Result<Layer, ConfigError> {
        let raw = self.raw;
        let (layer, members): (Layer, &[&str]) = match raw.kind.as_str() {
            "linear" => {
                let (name, inputs, outputs) = (self.name()?, self.size("in")?, self.size("out")?);
                let bias = raw.bias.unwrap_or(true);
                (Layer::Linear { name, inputs, outputs, bias }, &["name", "in", "out", "bias"])
            }
            "batch_norm" => {
                let (name, features) = (self.name()?, self.size("features")?);
                let eps = self.positive("eps", raw.eps.unwrap_or(BATCH_NORM_EPS_DEFAULT))?;
                let affine = raw.affine.unwrap_or(true);
                (Layer::BatchNorm { name, features, eps, affine }, &["name", "features", "eps", "affine"])
            }
            "conv1d" => {
                let (name, inputs, outputs) = (self.name()?, self.size("in")?, self.size("out")?);
                let (kernel, stride, padding) = self.window(1)?;
                let bias = raw.bias.unwrap_or(true);
                if kernel.saturating_mul(inputs) > LAYER_VALUES_MAX {
                    let problem = format!(
                        "expected at most {LAYER_VALUES_MAX} numbers in a window (layer_values_max), \
                         found {kernel} samples x {inputs} channels"
                    );
                    return Err(self.error("kernel", problem));
                }
                (
                    Layer::Conv1d { name, inputs, outputs, kernel, stride, padding, bias },
                    &["name", "in", "out", "kernel", "stride", "padding", "bias"],
                )
            }
            "max_pool1d" => {
                let (kernel, stride, padding) = self.window(self.size("kernel")?)?;
                (Layer::MaxPool1d { kernel, stride, padding }, &["name", "kernel", "stride", "padding"])
            }
            "lstm" => {
                let (name, inputs, hidden) = (self.name()?, self.size("in")?, self.size("hidden")?);
                let bias = raw.bias.unwrap_or(true);
                let returns = raw.returns.unwrap_or(Returns::Sequence);
                (
                    Layer::Lstm { name, inputs, hidden, bias, returns },
                    &["name", "in", "hidden", "bias", "returns"],
                )
            }
            "repeat" => (Layer::Repeat { samples: self.size("samples")? }, &["name", "samples"]),
            "global_average_pool" => (Layer::GlobalAveragePool, &["name"]),
            "flatten" => (Layer::Flatten, &["name"]),
            "leaky_relu" => {
                let negative_slope = raw.negative_slope.unwrap_or(NEGATIVE_SLOPE_DEFAULT);
                (Layer::Activation(Activation::LeakyRelu { negative_slope }), &["name", "negative_slope"])
            }
            "elu" => {
                let alpha = self.positive("alpha", raw.alpha.unwrap_or(1.0))?;
                (Layer::Activation(Activation::Elu { alpha }), &["name", "alpha"])
            }
            "relu" => (Layer::Activation(Activation::Relu), &["name"]),
            "tanh" => (Layer::Activation(Activation::Tanh), &["name"]),
            "sigmoid" => (Layer::Activation(Activation::Sigmoid), &["name"]),
            "gelu" => (Layer::Activation(Activation::Gelu), &["name"]),
            "silu" => (Layer::Activation(Activation::Silu), &["name"]),
            other => return Err(self.unknown_kind(other)),
        };
        self.only(members)?;
        Ok(layer)
    }

    fn unknown_kind(&self, kind: &str) -> ConfigError {
        let suggestion = suggestion::meant(kind, KINDS)
            .map(|known| format!("; did you mean \"{known}\"?"))
            .unwrap_or_default();
        let problem = format!("unknown type {kind:?}, expected one of {}{suggestion}", KINDS.join(", "));
        self.error("type", problem)
    }

    /// Refuses members that belong to other types: they would be ignored in silence.
    fn only(&self, members: &[&str]) -> Result<(), ConfigError> {
        let raw = self.raw;
        let present = [
            ("in", raw.inputs.is_some()),
            ("out", raw.outputs.is_some()),
            ("bias", raw.bias.is_some()),
            ("features", raw.features.is_some()),
            ("eps", raw.eps.is_some()),
            ("affine", raw.affine.is_some()),
            ("negative_slope", raw.negative_slope.is_some()),
            ("alpha", raw.alpha.is_some()),
            ("kernel", raw.kernel.is_some()),
            ("stride", raw.stride.is_some()),
            ("padding", raw.padding.is_some()),
            ("hidden", raw.hidden.is_some()),
            ("returns", raw.returns.is_some()),
            ("samples", raw.samples.is_some()),
        ];
        for (member, found) in present {
            if found && !members.contains(&member) {
                let problem = format!("a {} layer takes {} only", raw.kind, members.join(", "));
                return Err(self.error(member, problem));
            }
        }
        Ok(())
    }

    fn name(&self) -> Result<String, ConfigError> {
        match self.raw.name.as_deref() {
            Some(name) if !name.is_empty() => Ok(name.to_owned()),
            _ => Err(self.error("name", format!("a {} layer needs its tensors' prefix", self.raw.kind))),
        }
    }

    fn size(&self, member: &str) -> Result<usize, ConfigError> {
        let raw = self.raw;
        let found = match member {
            "in" => raw.inputs,
            "out" => raw.outputs,
            "kernel" => raw.kernel,
            "stride" => raw.stride,
            "hidden" => raw.hidden,
            "samples" => raw.samples,
            _ => raw.features,
        };
        match found {
            Some(size) if (1..=LAYER_FEATURES_MAX).contains(&size) => Ok(size),
            Some(size) => {
                let problem =
                    format!("expected 1 to {LAYER_FEATURES_MAX} (layer_features_max), found {size}");
                Err(self.error(member, problem))
            }
            None => Err(self.error(member, format!("missing: a {} layer needs it", raw.kind))),
        }
    }

    fn positive(&self, member: &str, number: f64) -> Result<f64, ConfigError> {
        if number > 0.0 && number.is_finite() {
            return Ok(number);
        }
        Err(self.error(member, format!("expected more than 0, found {number}")))
    }

    /// A window's length, the distance to the next, and the padding.
    fn window(&self, stride_default: usize) -> Result<(usize, usize, usize), ConfigError> {
        let kernel = self.size("kernel")?;
        let stride = if self.raw.stride.is_some() { self.size("stride")? } else { stride_default };
        let padding = self.raw.padding.unwrap_or(0);
        if padding > kernel / 2 {
            let problem = format!("expected at most {}, half the kernel, found {padding}", kernel / 2);
            return Err(self.error("padding", problem));
        }
        Ok((kernel, stride, padding))
    }

    /// The shape after `layer`, which must be able to take `shape`.
    fn next(&self, layer: &Layer, shape: Shape) -> Result<Shape, ConfigError> {
        let Some(next) = shape_after(layer, shape) else { return Err(self.cannot_take(layer, shape)) };
        match layer {
            Layer::Linear { inputs, .. } | Layer::Conv1d { inputs, .. } | Layer::Lstm { inputs, .. } => {
                self.fits("in", *inputs, shape.width())?;
            }
            Layer::BatchNorm { features, .. } => self.fits("features", *features, shape.width())?,
            _ => {}
        }
        if next.values() > LAYER_VALUES_MAX {
            let problem =
                format!("expected at most {LAYER_VALUES_MAX} numbers (layer_values_max), found {next}");
            return Err(self.error("type", problem));
        }
        Ok(next)
    }

    fn cannot_take(&self, layer: &Layer, shape: Shape) -> ConfigError {
        let before = if self.at == 0 { "inputs and layout say" } else { "the layers before it give" };
        match (layer, shape) {
            (
                Layer::Conv1d { kernel, padding, .. } | Layer::MaxPool1d { kernel, padding, .. },
                Shape::Sequence { samples, .. },
            ) => {
                let longest = samples.saturating_add(2 * padding);
                self.error(
                    "kernel",
                    format!("expected at most {longest} samples with padding, found {kernel}"),
                )
            }
            (Layer::Repeat { .. }, _) => {
                self.error("type", format!("a repeat layer needs plain features, {before} {shape}"))
            }
            _ => self.error("type", format!("a {} layer needs a sequence, {before} {shape}", self.raw.kind)),
        }
    }

    fn fits(&self, member: &str, found: usize, width: usize) -> Result<(), ConfigError> {
        if found == width {
            return Ok(());
        }
        let before = if self.at == 0 { "inputs says" } else { "the layers before it give" };
        Err(self.error(member, format!("expected {width}, as {before}, found {found}")))
    }
}
