//! A residual connection: what inner layers give, added to what came to them.

use std::fmt;

use candle_core::cpu_backend::binary_map_vec_par;
use candle_core::op::{Add, BinaryOpT};
use candle_core::{CpuStorage, CustomOp2, Layout, Tensor};
use serde::Serialize;

use super::Layer;
use super::chain::{self, Chain};
use super::layer_table::LayerTable;
use super::layer_type::{Expected, LayerType};
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::Step;
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// `layers(x) + shortcut(x)`, where an empty shortcut is `x` itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "residual")]
pub struct Residual {
    /// The layers that are gone round.
    pub layers: Vec<Layer>,
    /// What is done on the way round, such as a convolution of one sample to as many channels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shortcut: Vec<Layer>,
}

impl LayerType for Residual {
    fn types() -> &'static [&'static str] {
        &["residual"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        let Some((layers, inner)) = table.inner("layers")? else {
            return Err(table.invalid("layers", "missing: a residual layer needs it"));
        };
        let (shortcut, round) = table.inner("shortcut")?.unwrap_or((Vec::new(), table.input()));
        if inner != round {
            let problem = format!("they give {inner}, and {round} are added to that: both must be alike");
            return Err(table.invalid("layers", problem));
        }
        Ok(Self { layers, shortcut })
    }

    fn tensors(&self) -> Vec<Expected> {
        let layers = self.layers.iter().chain(&self.shortcut);
        layers.flat_map(|layer| layer.as_type().tensors()).collect()
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        let (inner, round) = (chain::shape(&self.layers, input)?, chain::shape(&self.shortcut, input)?);
        if inner == round { Ok(inner) } else { Err(Misfit::Branches { inner, round }) }
    }

    fn widest(&self, input: Shape) -> usize {
        chain::widest(&self.layers, input).max(chain::widest(&self.shortcut, input))
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let layers = Chain::load(&self.layers, loading)?;
        Ok(Box::new(Loaded { layers, shortcut: Chain::load(&self.shortcut, loading)? }))
    }

    fn products(&self) -> Option<usize> {
        chain::products(&self.layers)?.checked_add(chain::products(&self.shortcut)?)
    }
}

impl fmt::Display for Residual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("residual (")?;
        list(f, &self.layers)?;
        if !self.shortcut.is_empty() {
            f.write_str("; shortcut ")?;
            list(f, &self.shortcut)?;
        }
        f.write_str(")")
    }
}

fn list(f: &mut fmt::Formatter<'_>, layers: &[Layer]) -> fmt::Result {
    for (at, layer) in layers.iter().enumerate() {
        write!(f, "{}{layer}", if at == 0 { "" } else { ", " })?;
    }
    Ok(())
}

struct Loaded {
    layers: Chain,
    shortcut: Chain,
}

impl Step for Loaded {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.layers.forward(x)?.apply_op2_no_bwd(&self.shortcut.forward(x)?, &Sum)
    }
}

/// The sum of two of one shape, as candle has it for f32. Its operation on tensors is compiled for each of
/// its ten kinds of numbers.
struct Sum;

impl CustomOp2 for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn cpu_fwd(
        &self,
        left: &CpuStorage,
        left_layout: &Layout,
        right: &CpuStorage,
        right_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, candle_core::Shape)> {
        if left_layout.shape() != right_layout.shape() {
            candle_core::bail!("sum of {left_layout:?} and {right_layout:?}, expected one shape");
        }
        let (left, right) = (left.as_slice::<f32>()?, right.as_slice::<f32>()?);
        let sum = binary_map_vec_par(
            left_layout,
            right_layout,
            left,
            right,
            Add::f32,
            Add::f32_vec,
            Add::f32_scalar_vec,
        );
        Ok((CpuStorage::F32(sum), left_layout.shape().clone()))
    }
}
