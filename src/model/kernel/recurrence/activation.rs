//! The functions that gates may have.

use pulp::{Arch, Simd, WithSimd};

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
    /// Applies it to all of `values`. Not inlined: all loops would be there again in each place that calls
    /// it, for each kind of vectors.
    #[inline(never)]
    pub fn apply(self, arch: Arch, values: &mut [f32]) {
        arch.dispatch(Apply { function: self, values });
    }
}

struct Apply<'a> {
    function: Activation,
    values: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[allow(
        clippy::redundant_closure,
        reason = "a function by its name is called for each number, and not inlined"
    )]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { function, values } = self;
        #[inline(always)]
        fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
            for value in values {
                *value = function(*value);
            }
        }
        match function {
            Activation::Sigmoid => each(
                values,
                #[inline(always)]
                |x| functions::sigmoid(x),
            ),
            Activation::Tanh => each(
                values,
                #[inline(always)]
                |x| functions::tanh(x),
            ),
            // A NaN is not below zero, and stays.
            Activation::Relu => each(
                values,
                #[inline(always)]
                |x| if x < 0.0 { 0.0 } else { x },
            ),
            Activation::Affine(alpha, beta) => each(
                values,
                #[inline(always)]
                |x| alpha * x + beta,
            ),
            Activation::LeakyRelu(alpha) => each(
                values,
                #[inline(always)]
                |x| if x < 0.0 { alpha * x } else { x },
            ),
            Activation::ThresholdedRelu(alpha) => each(
                values,
                #[inline(always)]
                |x| if x > alpha { x } else { 0.0 },
            ),
            Activation::ScaledTanh(alpha, beta) => each(
                values,
                #[inline(always)]
                |x| alpha * functions::tanh(beta * x),
            ),
            Activation::HardSigmoid(alpha, beta) => each(
                values,
                #[inline(always)]
                |x| (alpha * x + beta).clamp(0.0, 1.0),
            ),
            Activation::Elu(alpha) => each(
                values,
                #[inline(always)]
                |x| if x < 0.0 { alpha * functions::exp_m1(x) } else { x },
            ),
            Activation::Softsign => each(
                values,
                #[inline(always)]
                |x| x / (1.0 + x.abs()),
            ),
            Activation::Softplus => each(
                values,
                #[inline(always)]
                |x| functions::softplus(x),
            ),
        }
    }
}
