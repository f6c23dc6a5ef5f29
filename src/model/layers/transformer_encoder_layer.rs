//! A block of a transformer's encoder, as PyTorch's `TransformerEncoderLayer` with `batch_first`.
//!
//! It is a short name for the layers that it is made of, which do the work.

use std::fmt;

use serde::Serialize;

use super::chain::{self, Chain};
use super::layer_table::LayerTable;
use super::layer_type::{Expected, LayerType, NORM_EPS_DEFAULT, is_false};
use super::loading::Loading;
use super::self_attention::heads;
use super::{Activation, Layer, LayerNorm, Linear, Residual, SelfAttention};
use crate::model::ModelError;
use crate::model::kernel::operation::Step;
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// The width that PyTorch's feed-forward network has when nobody states one.
const FEEDFORWARD_DEFAULT: usize = 2_048;

/// Attention, then two linear layers for each sample, each added to what came to it, and normalised.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "transformer_encoder_layer")]
pub struct TransformerEncoderLayer {
    /// The prefix of `self_attn`, `linear1`, `linear2`, `norm1` and `norm2`.
    pub name: String,
    /// Features in and out of each sample.
    pub features: usize,
    /// How many heads share them.
    pub heads: usize,
    /// The features between the two linear layers.
    pub feedforward: usize,
    /// The function between them: `relu` or `gelu`.
    pub activation: Between,
    /// Whether what comes is normalised before it goes into each part, rather than what it gives.
    #[serde(skip_serializing_if = "is_false")]
    pub norm_first: bool,
    /// Of both normalisations.
    pub eps: f64,
    /// Whether a sample sees none that come after it.
    #[serde(skip_serializing_if = "is_false")]
    pub causal: bool,
}

/// The function between the two linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Between {
    /// `max(x, 0)`.
    Relu,
    /// The exact form.
    Gelu,
}

impl TransformerEncoderLayer {
    /// The layers that it stands for.
    fn layers(&self) -> Vec<Layer> {
        let Self { name, features, heads, feedforward, causal, .. } = self;
        let attention = Layer::SelfAttention(SelfAttention {
            name: format!("{name}.self_attn"),
            features: *features,
            heads: *heads,
            bias: true,
            causal: *causal,
        });
        let linear = |part, inputs: usize, outputs: usize| {
            Layer::Linear(Linear { name: format!("{name}.{part}"), inputs, outputs, bias: true })
        };
        let activation = match self.activation {
            Between::Relu => Activation::Relu,
            Between::Gelu => Activation::Gelu,
        };
        let forward = vec![
            linear("linear1", *features, *feedforward),
            Layer::Activation(activation),
            linear("linear2", *feedforward, *features),
        ];
        let [first, second] = ["norm1", "norm2"].map(|part| {
            let (name, features, eps) = (format!("{name}.{part}"), *features, self.eps);
            Layer::LayerNorm(LayerNorm { name, features, eps, affine: true, bias: true })
        });
        let residual = |layers| Layer::Residual(Residual { layers, shortcut: Vec::new() });
        if self.norm_first {
            let forward = std::iter::once(second).chain(forward).collect();
            return vec![residual(vec![first, attention]), residual(forward)];
        }
        vec![residual(vec![attention]), first, residual(forward), second]
    }
}

impl LayerType for TransformerEncoderLayer {
    fn types() -> &'static [&'static str] {
        &["transformer_encoder_layer"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        let (name, features) = (table.prefix()?, table.size("features")?);
        let between = [("relu", Between::Relu), ("gelu", Between::Gelu)];
        Ok(Self {
            name,
            features,
            heads: heads(table, features)?,
            feedforward: table.find_size("feedforward")?.unwrap_or(FEEDFORWARD_DEFAULT),
            activation: table.choice("activation", &between, Between::Relu)?,
            norm_first: table.flag("norm_first", false)?,
            eps: table.positive("eps", NORM_EPS_DEFAULT)?,
            causal: table.flag("causal", false)?,
        })
    }

    fn tensors(&self) -> Vec<Expected> {
        self.layers().iter().flat_map(|layer| layer.as_type().tensors()).collect()
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        // That it is a sequence, and of this width, is told in the words of this layer's own members.
        input.sequence()?;
        input.check_width("features", self.features)?;
        chain::shape(&self.layers(), input)
    }

    fn widest(&self, input: Shape) -> usize {
        chain::widest(&self.layers(), input)
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        Ok(Box::new(Chain::load(&self.layers(), loading)?))
    }
}

impl fmt::Display for TransformerEncoderLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, features, heads, feedforward, activation, norm_first, .. } = self;
        let activation = match activation {
            Between::Relu => "relu",
            Between::Gelu => "gelu",
        };
        let first = if *norm_first { ", norm first" } else { "" };
        let causal = if self.causal { ", causal" } else { "" };
        write!(f, "transformer_encoder_layer {name} ({features}, {heads} heads{causal}, ")?;
        write!(f, "{feedforward} between, {activation}{first})")
    }
}
