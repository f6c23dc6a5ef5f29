//! Activation functions: one function of each number, defined as PyTorch defines it.

use std::fmt;

use candle_core::cpu_backend::{unary_map, unary_map_vec_par};
use candle_core::op::{GeluErf, Silu, Tanh, UnaryOpT};
use candle_core::{CpuStorage, CustomOp1, Layout, Tensor};
use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::LayerType;
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::Step;
use crate::model::shape::{Misfit, Shape};
use crate::settings::SettingError;

/// The `negative_slope` of PyTorch's leaky ReLU.
const NEGATIVE_SLOPE_DEFAULT: f64 = 0.01;
/// The `alpha` of PyTorch's ELU.
const ALPHA_DEFAULT: f64 = 1.0;

/// An elementwise function, defined as PyTorch defines it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x` above zero, `negative_slope * x` below.
    LeakyRelu {
        /// The slope below zero.
        negative_slope: f64,
    },
    /// The hyperbolic tangent of each number.
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

impl LayerType for Activation {
    fn types() -> &'static [&'static str] {
        &["relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "elu"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        Ok(match table.layer_type() {
            "relu" => Self::Relu,
            "leaky_relu" => {
                Self::LeakyRelu { negative_slope: table.number("negative_slope", NEGATIVE_SLOPE_DEFAULT)? }
            }
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            "gelu" => Self::Gelu,
            "silu" => Self::Silu,
            "elu" => Self::Elu { alpha: table.positive("alpha", ALPHA_DEFAULT)? },
            other => return Err(table.invalid("type", format!("{other} is no activation"))),
        })
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        Ok(input)
    }

    fn load(&self, _: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        Ok(Box::new(*self))
    }

    fn products(&self) -> Option<usize> {
        Some(0)
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

impl Step for Activation {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.apply_op1_no_bwd(self)
    }
}

/// With candle's functions of one number, but not through its operations on tensors, which are compiled for
/// each of its ten kinds of numbers.
impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, candle_core::Shape)> {
        let x = storage.as_slice::<f32>()?;
        let y = match *self {
            // candle's own ReLU and leaky ReLU turn NaN into 0, so that an overflow would look like a healthy
            // answer; PyTorch's, and these, keep it.
            Self::Relu => rectified(x, layout),
            Self::LeakyRelu { negative_slope } => match negative_slope as f32 {
                0.0 => rectified(x, layout),
                slope => unary_map(x, layout, |x| if x < 0.0 { slope * x } else { x }),
            },
            Self::Tanh => unary_map_vec_par(x, layout, Tanh::f32, Tanh::f32_vec),
            Self::Sigmoid => unary_map(x, layout, |x: f32| ((-x).exp() + 1.0).recip()),
            Self::Gelu => unary_map_vec_par(x, layout, GeluErf::f32, GeluErf::f32_vec),
            Self::Silu => unary_map_vec_par(x, layout, Silu::f32, Silu::f32_vec),
            Self::Elu { alpha } => {
                let alpha = alpha as f32;
                unary_map(x, layout, |x: f32| if x.is_sign_positive() { x } else { (x.exp() - 1.0) * alpha })
            }
        };
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }
}

fn rectified(x: &[f32], layout: &Layout) -> Vec<f32> {
    unary_map(x, layout, |x| if x < 0.0 { 0.0 } else { x })
}
