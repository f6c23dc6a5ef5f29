//! The layers of a dense network: what each needs from the weights, and whether they fit together.

use std::fmt;

use super::schema::{LayerEntry, nearest};
use super::{ConfigError, LAYERS_MAX, Output, Place};

/// The `eps` of PyTorch's batch norm, used when a layer does not state one.
const BATCH_NORM_EPS_DEFAULT: f64 = 1e-5;
/// The `negative_slope` of PyTorch's leaky ReLU.
const NEGATIVE_SLOPE_DEFAULT: f64 = 0.01;
/// The most features on either side of a layer.
const LAYER_FEATURES_MAX: usize = 1 << 20;
const KINDS: [&str; 9] =
    ["linear", "batch_norm", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "elu"];

/// One step of a dense network.
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
    /// An elementwise function.
    Activation(Activation),
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
pub(in crate::model) struct Expected {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// False for what PyTorch saves and evaluation does not read: it may be there, and is not used.
    pub required: bool,
}

/// The tensors that `layers` need, in order.
pub(in crate::model) fn expected_tensors(layers: &[Layer]) -> Vec<Expected> {
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
            Layer::Activation(_) => {}
        }
    }
    all
}

/// Checks each layer, and that each takes what the one before it gives, from `inputs` features to one number.
pub(super) fn check(
    entries: &[LayerEntry],
    inputs: usize,
    output: Output,
    place: &Place<'_>,
) -> Result<Vec<Layer>, ConfigError> {
    if entries.is_empty() || entries.len() > LAYERS_MAX {
        let problem = format!("expected 1 to {LAYERS_MAX} layers (layers_max), found {}", entries.len());
        return Err(place.error("layers", problem));
    }
    let mut layers: Vec<Layer> = Vec::with_capacity(entries.len());
    let mut width = inputs;
    for (at, raw) in entries.iter().enumerate() {
        let entry = Entry { raw, at, place };
        let layer = entry.layer()?;
        match &layer {
            Layer::Linear { inputs, outputs, .. } => {
                entry.fits("in", *inputs, width)?;
                width = *outputs;
            }
            Layer::BatchNorm { features, .. } => entry.fits("features", *features, width)?,
            Layer::Activation(_) => {}
        }
        if raw.name.is_some() && entries[..at].iter().any(|earlier| earlier.name == raw.name) {
            return Err(entry.error("name", "an earlier layer has this name"));
        }
        layers.push(layer);
    }
    if width != 1 {
        let problem = format!("expected the last layer to give 1 number, it gives {width}");
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
        let suggestion = nearest(kind, KINDS.into_iter())
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

    fn fits(&self, member: &str, found: usize, width: usize) -> Result<(), ConfigError> {
        if found == width {
            return Ok(());
        }
        let before = if self.at == 0 { "inputs says" } else { "the layers before it give" };
        Err(self.error(member, format!("expected {width}, as {before}, found {found}")))
    }
}
