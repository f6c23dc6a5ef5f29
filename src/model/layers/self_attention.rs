//! Attention of a sequence to itself, as PyTorch's `MultiheadAttention` with `batch_first`, its query, key
//! and value all the same sequence.

use std::fmt;

use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::{Expected, LayerType, Role, is_false};
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::attention::Attention;
use crate::model::kernel::operation::{Operation, Step};
use crate::model::kernel::product::Product;
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// The most scores of one row: samples times samples times heads. Some tenths of a second.
const SCORES_MAX: usize = 1 << 26;

/// Attention of the samples to each other: `{name}.in_proj_weight` is `(3 features, features)`,
/// `{name}.out_proj.weight` `(features, features)`, and there are `{name}.in_proj_bias` and
/// `{name}.out_proj.bias`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "self_attention")]
pub struct SelfAttention {
    /// The tensors' prefix.
    pub name: String,
    /// Features in and out of each sample.
    pub features: usize,
    /// How many heads share them.
    pub heads: usize,
    /// Whether the two biases exist.
    pub bias: bool,
    /// Whether a sample sees none that come after it.
    #[serde(skip_serializing_if = "is_false")]
    pub causal: bool,
}

/// Reads how many heads share the `features`.
pub fn heads(table: &mut LayerTable<'_>, features: usize) -> Result<usize, SettingError> {
    let heads = table.size("heads")?;
    if features.is_multiple_of(heads) {
        return Ok(heads);
    }
    Err(table.invalid("heads", format!("found {heads}, expected a divisor of {features}, as features says")))
}

impl LayerType for SelfAttention {
    fn types() -> &'static [&'static str] {
        &["self_attention"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        let (name, features) = (table.prefix()?, table.size("features")?);
        let heads = heads(table, features)?;
        let (bias, causal) = (table.flag("bias", true)?, table.flag("causal", false)?);
        Ok(Self { name, features, heads, bias, causal })
    }

    fn tensors(&self) -> Vec<Expected> {
        let Self { name, features, bias, .. } = self;
        let parameter = |part, shape: &[usize]| Expected::new(name, part, shape, Role::Parameter);
        let all = features.saturating_mul(3);
        let mut tensors = vec![parameter("in_proj_weight", &[all, *features])];
        if *bias {
            tensors.push(parameter("in_proj_bias", &[all]));
        }
        tensors.extend(Expected::weight_and_bias(
            &format!("{name}.out_proj"),
            &[*features, *features],
            *bias,
        ));
        tensors
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        let (_, samples) = input.sequence()?;
        input.check_width("features", self.features)?;
        let most = SCORES_MAX / self.heads.max(1) / samples.max(1);
        if samples > most {
            let why = "as many as keep samples x samples x heads within scores_max";
            return Err(Misfit::Samples { samples, most, why });
        }
        Ok(input)
    }

    fn widest(&self, input: Shape) -> usize {
        input.values().saturating_mul(3)
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let Self { name, features, heads, bias, causal } = self;
        let (_, samples) = loading.input.sequence()?;
        let into = loading.take(name, "in_proj_weight")?;
        let into_bias =
            if *bias { loading.take(name, "in_proj_bias")? } else { vec![0.0; features.saturating_mul(3)] };
        let (out, out_bias) = loading.weight_and_bias(&format!("{name}.out_proj"), *features, *bias)?;
        let (into, out) = (Product::new(&into, &into_bias), Product::new(&out, &out_bias));
        Ok(Box::new(Operation(Attention::new(into, out, *heads, samples, *causal))))
    }
}

impl fmt::Display for SelfAttention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, features, heads, bias, causal } = self;
        let causal = if *causal { ", causal" } else { "" };
        let bias = if *bias { "" } else { ", no bias" };
        write!(f, "self_attention {name} ({features}, {heads} heads{causal}{bias})")
    }
}
