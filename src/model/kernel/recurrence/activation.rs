//! The functions that gates may have.

use crate::model::kernel::functions;

/// A function of ONNX's list for recurrent layers, with its numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    Sigmoid,
    Tanh,
    Relu,
    Affine(f32, f32),
    LeakyRelu(f32),
    ThresholdedRelu(f32),
    ScaledTanh(f32, f32),
    HardSigmoid(f32, f32),
    Elu(f32),
    Softsign,
    Softplus,
}

impl Activation {
    /// Applies it to all of `values`; to be called where vectors are as wide as they can be.
    #[allow(
        clippy::redundant_closure,
        reason = "a function by its name is called for each number, and not inlined"
    )]
    #[inline(always)]
    pub fn apply(self, values: &mut [f32]) {
        #[inline(always)]
        fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
            for value in values {
                *value = function(*value);
            }
        }
        match self {
            Self::Sigmoid => each(
                values,
                #[inline(always)]
                |x| functions::sigmoid(x),
            ),
            Self::Tanh => each(
                values,
                #[inline(always)]
                |x| functions::tanh(x),
            ),
            // A NaN is not below zero, and stays.
            Self::Relu => each(
                values,
                #[inline(always)]
                |x| if x < 0.0 { 0.0 } else { x },
            ),
            Self::Affine(alpha, beta) => each(
                values,
                #[inline(always)]
                |x| alpha * x + beta,
            ),
            Self::LeakyRelu(alpha) => each(
                values,
                #[inline(always)]
                |x| if x < 0.0 { alpha * x } else { x },
            ),
            Self::ThresholdedRelu(alpha) => each(
                values,
                #[inline(always)]
                |x| if x > alpha { x } else { 0.0 },
            ),
            Self::ScaledTanh(alpha, beta) => each(
                values,
                #[inline(always)]
                |x| alpha * functions::tanh(beta * x),
            ),
            Self::HardSigmoid(alpha, beta) => each(
                values,
                #[inline(always)]
                |x| (alpha * x + beta).clamp(0.0, 1.0),
            ),
            Self::Elu(alpha) => each(
                values,
                #[inline(always)]
                |x| if x < 0.0 { alpha * functions::exp_m1(x) } else { x },
            ),
            Self::Softsign => each(
                values,
                #[inline(always)]
                |x| x / (1.0 + x.abs()),
            ),
            Self::Softplus => each(
                values,
                #[inline(always)]
                |x| functions::softplus(x),
            ),
        }
    }
}
