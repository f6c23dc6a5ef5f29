//! Functions of f32 that matter for the time of a pass, each compiled for all vector instructions.

use pulp::{Arch, Simd, WithSimd};

use crate::model::graph::kernel::{Fault, Inputs, Kernel, output};
use crate::model::graph::tensor::Data;
use crate::model::kernel::functions::{erf, exp, exp_m1, ln, softplus as softplus_32, tanh};

/// A function of a number.
pub trait Function: Copy + Send + 'static {
    /// Must be `#[inline(always)]`: the loop round it is compiled for instructions that this is not.
    fn of(self, x: f32) -> f32;
}

/// Declares each function as a type, the enumeration of all, and the kernel of each.
macro_rules! functions {
    ($($name:ident = |$x:ident, $first:tt, $second:tt| $body:expr;)+) => {
        /// Which function; those with settings say at their formula what the two are.
        #[derive(Debug, Clone, Copy)]
        pub enum Fast {
            $($name,)+
        }

        $(
            #[derive(Clone, Copy)]
            struct $name([f32; 2]);

            impl Function for $name {
                #[inline(always)]
                fn of(self, $x: f32) -> f32 {
                    let [$first, $second] = self.0;
                    $body
                }
            }
        )+

        /// The kernel of a function with its settings.
        pub fn kernel(fast: Fast, settings: [f64; 2]) -> Box<dyn Kernel> {
            let settings = settings.map(|setting| setting as f32);
            let arch = Arch::new();
            match fast {
                $(Fast::$name => Box::new(Map { arch, function: $name(settings) }),)+
            }
        }
    };
}

functions! {
    Abs = |x, _, _| x.abs();
    Ceil = |x, _, _| x.ceil();
    Celu = |x, alpha, _| if x < 0.0 { alpha * exp_m1(x / alpha) } else { x };
    Elu = |x, alpha, _| if x < 0.0 { alpha * exp_m1(x) } else { x };
    Erf = |x, _, _| erf(x);
    Exp = |x, _, _| exp(x);
    Floor = |x, _, _| x.floor();
    Gelu = |x, _, _| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
    GeluTanh = |x, _, _| {
        let inner = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2 * (x + 0.044_715 * x * x * x);
        0.5 * x * (1.0 + tanh(inner))
    };
    HardSigmoid = |x, alpha, beta| unit(alpha * x + beta);
    HardSwish = |x, _, _| x * unit(x * (1.0 / 6.0) + 0.5);
    LeakyRelu = |x, alpha, _| if x < 0.0 { alpha * x } else { x };
    Log = |x, _, _| ln(x);
    Mish = |x, _, _| x * tanh(softplus_32(x));
    Neg = |x, _, _| -x;
    Reciprocal = |x, _, _| 1.0 / x;
    Relu = |x, _, _| if x < 0.0 { 0.0 } else { x };
    Root = |x, _, _| if x == f32::NEG_INFINITY { f32::INFINITY } else { (x + 0.0).sqrt() };
    Round = |x, _, _| x.round_ties_even();
    Selu = |x, alpha, gamma| gamma * if x < 0.0 { alpha * exp_m1(x) } else { x };
    Sigmoid = |x, _, _| crate::model::kernel::functions::sigmoid(x);
    // Not a number stays so.
    Sign = |x, _, _| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else if x == 0.0 { 0.0 } else { x };
    Softplus = |x, _, _| softplus_32(x);
    Sqrt = |x, _, _| x.sqrt();
    Square = |x, _, _| x * x;
    Swish = |x, alpha, _| x * crate::model::kernel::functions::sigmoid(alpha * x);
    Tanh = |x, _, _| tanh(x);
}

/// The nearest number from 0 to 1.
#[inline(always)]
fn unit(x: f32) -> f32 {
    let x = if x > 1.0 { 1.0 } else { x };
    if x < 0.0 { 0.0 } else { x }
}

/// 1 / (1 + e^-x) of a double.
pub fn sigmoid(x: f64) -> f64 {
    let power = (-x.abs()).exp();
    if x < 0.0 { power / (1.0 + power) } else { 1.0 / (1.0 + power) }
}

/// ln(1 + e^x) of a double.
pub fn softplus(x: f64) -> f64 {
    let above = if x < 0.0 { 0.0 } else { x };
    above + (-x.abs()).exp().ln_1p()
}

/// -1, 0 or 1; what is not a number stays so.
pub fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else if x == 0.0 {
        0.0
    } else {
        x
    }
}

struct Map<F> {
    arch: Arch,
    function: F,
}

impl<F: Function> Kernel for Map<F> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<f32>(0)?, output::<f32>(outputs, 0)?);
        self.arch.dispatch(Pass { from, to, function: self.function });
        Ok(())
    }
}

struct Pass<'a, F> {
    from: &'a [f32],
    to: &'a mut [f32],
    function: F,
}

impl<F: Function> WithSimd for Pass<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (to, &from) in self.to.iter_mut().zip(self.from) {
            *to = self.function.of(from);
        }
    }
}
