//! An LSTM of one layer and one direction, from a state of zeros.
//!
//! ```text
//!  [i f g o] = W_ih x_t + b_ih + W_hh h + b_hh
//!  c = sigmoid(f) c + sigmoid(i) tanh(g)        h = sigmoid(o) tanh(c)
//! ```
//! A step is one product for all rows and all gates, of `[x_t | h]` with both weights side by side, and
//! one pass over the gates in vectors. Where the input is the same at each sample, its part of the gates
//! is computed once. The hidden numbers are filled up to whole vectors with zeros, which stay zeros.

use pulp::{Arch, Simd, WithSimd};
use serde::Serialize;

use super::operation::RowsLayer;
use super::product::{Product, Rows, Start, lanes};

/// Beyond it, both ways, a gate is 0 or 1 to 2e-9; within it no product of three exponentials overflows.
const GATE_MAX: f32 = 20.0;

/// Which of its outputs an LSTM hands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Returns {
    /// The output at each sample.
    Sequence,
    /// The output at the last sample alone, as plain features.
    Last,
}

impl Returns {
    /// Each with its word in `config.json`.
    pub(crate) const NAMES: &[(&str, Self)] = &[("sequence", Self::Sequence), ("last", Self::Last)];
}

/// An LSTM over sequences `(samples, inputs)`.
pub struct Lstm {
    arch: Arch,
    feed: Feed,
    inputs: usize,
    hidden: usize,
    /// `hidden`, filled up to whole vectors.
    padded: usize,
    samples: usize,
    returns: Returns,
}

/// Where a step's input comes from.
enum Feed {
    /// The sequence has one for each sample: both weights side by side.
    Sequence(Product),
    /// One row serves all samples.
    Repeated { input: Product, recurrent: Product },
}

/// What PyTorch saves: gates in the order input, forget, cell, output.
pub struct LstmWeights {
    /// `(4 hidden, inputs)`.
    pub input: Vec<f32>,
    /// `(4 hidden, hidden)`.
    pub recurrent: Vec<f32>,
    /// `(4 hidden)`, the sum of both.
    pub bias: Vec<f32>,
}

impl Lstm {
    /// An LSTM over `samples` samples; when the input is `repeated`, each row is one
    /// sample that stands for all of them.
    pub fn new(weights: &LstmWeights, samples: usize, repeated: bool, returns: Returns) -> Self {
        let arch = Arch::new();
        let hidden = weights.bias.len() / 4;
        let inputs = weights.input.len() / weights.bias.len();
        let padded = hidden.next_multiple_of(lanes(arch));
        let bias = spread(&[(&weights.bias, 1, 1)], hidden, padded);
        let input = (weights.input.as_slice(), inputs, inputs);
        let recurrent = (weights.recurrent.as_slice(), hidden, padded);
        let feed = if repeated {
            Feed::Repeated {
                // An autoencoder's decoder is fed with one row at every sample: its product is the same each
                // time, and made once (docs/performance.md: once, not 64 times).
                input: Product::new(&spread(&[input], hidden, padded), &bias),
                recurrent: Product::new(&spread(&[recurrent], hidden, padded), &vec![0.0; 4 * padded]),
            }
        } else {
            Feed::Sequence(Product::new(&spread(&[input, recurrent], hidden, padded), &bias))
        };
        Self { arch, feed, inputs, hidden, padded, samples, returns }
    }
}

/// Puts matrices of `4 hidden` rows, each with its width and the width that it gets,
/// side by side, and fills each gate's rows up to `padded`.
fn spread(matrices: &[(&[f32], usize, usize)], hidden: usize, padded: usize) -> Vec<f32> {
    let mut all = Vec::new();
    for row in 0..4 * padded {
        let (gate, at) = (row / padded, row % padded);
        for &(matrix, width, wide) in matrices {
            let end = all.len() + wide;
            if at < hidden {
                all.extend_from_slice(&matrix[(gate * hidden + at) * width..][..width]);
            }
            all.resize(end, 0.0);
        }
    }
    all
}

impl RowsLayer for Lstm {
    const NAME: &'static str = "lstm";

    fn inputs(&self) -> usize {
        match self.feed {
            Feed::Sequence(_) => self.samples * self.inputs,
            Feed::Repeated { .. } => self.inputs,
        }
    }

    fn outputs(&self) -> usize {
        match self.returns {
            Returns::Sequence => self.samples * self.hidden,
            Returns::Last => self.hidden,
        }
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let batch = input.len() / self.inputs();
        let mut gates = vec![0.0; batch * 4 * self.padded];
        let mut cells = vec![0.0; batch * self.padded];
        let (fed, product, start) = match &self.feed {
            Feed::Sequence(product) => (self.inputs, product, None),
            Feed::Repeated { input: product, recurrent } => {
                let mut start = vec![0.0; gates.len()];
                product.multiply(Rows::packed(input, self.inputs), Start::Bias, false, &mut start);
                (0, recurrent, Some(start))
            }
        };
        let start = start.as_deref().map_or(Start::Bias, Start::Rows);
        // A row is the step's input, then the hidden numbers.
        let width = fed + self.padded;
        let mut state = vec![0.0; batch * width];
        for sample in 0..self.samples {
            if fed > 0 {
                let sequences = input.chunks_exact(self.inputs());
                for (row, sequence) in state.chunks_exact_mut(width).zip(sequences) {
                    row[..fed].copy_from_slice(&sequence[sample * fed..][..fed]);
                }
            }
            product.multiply(Rows::packed(&state, width), start, false, &mut gates);
            let step = Step { gates: &gates, cells: &mut cells, state: &mut state, padded: self.padded, fed };
            self.arch.dispatch(step);
            let place = match self.returns {
                Returns::Sequence => sample * self.hidden,
                Returns::Last if sample + 1 == self.samples => 0,
                Returns::Last => continue,
            };
            for (row, output) in state.chunks_exact(width).zip(output.chunks_exact_mut(self.outputs())) {
                output[place..][..self.hidden].copy_from_slice(&row[fed..][..self.hidden]);
            }
        }
    }
}

/// From the gates to the next cell and hidden numbers, for all rows.
pub(super) struct Step<'a> {
    /// `(batch, 4 padded)`.
    pub gates: &'a [f32],
    /// `(batch, padded)`.
    pub cells: &'a mut [f32],
    /// `(batch, fed + padded)`, of which the hidden numbers are written.
    pub state: &'a mut [f32],
    pub padded: usize,
    pub fed: usize,
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { gates, cells, state, padded, fed } = self;
        let rows = gates.chunks_exact(4 * padded).zip(cells.chunks_exact_mut(padded));
        for ((gates, cells), state) in rows.zip(state.chunks_exact_mut(fed + padded)) {
            let vectors = |gate: usize| S::as_simd_f32s(&gates[gate * padded..][..padded]).0;
            let cells = S::as_mut_simd_f32s(cells).0;
            let hidden = S::as_mut_simd_f32s(&mut state[fed..]).0;
            let gates = vectors(0).iter().zip(vectors(1)).zip(vectors(2)).zip(vectors(3));
            for ((cell, hidden), (((i, f), g), o)) in cells.iter_mut().zip(hidden).zip(gates) {
                (*cell, *hidden) = step(simd, [*i, *f, *g, *o], *cell);
            }
        }
    }
}

/// The next cell and hidden numbers, with one division for each.
#[inline(always)]
fn step<S: Simd>(simd: S, [i, f, g, o]: [S::f32s; 4], cell: S::f32s) -> (S::f32s, S::f32s) {
    let one = simd.splat_f32s(1.0);
    // sigmoid(x) = 1 / (1 + e^-x), tanh(x) = (1 - e^-2x) / (1 + e^-2x)
    let i = simd.add_f32s(one, exp_minus(simd, i));
    let f = simd.add_f32s(one, exp_minus(simd, f));
    let g = exp_minus(simd, simd.add_f32s(g, g));
    let o = simd.add_f32s(one, exp_minus(simd, o));
    let ig = simd.mul_f32s(i, simd.add_f32s(one, g));
    // Over one common denominator: two divisions in place of five, and a division takes as long as many
    // multiplications.
    let above = simd.mul_add_e_f32s(cell, ig, simd.mul_f32s(simd.sub_f32s(one, g), f));
    let cell = simd.div_f32s(above, simd.mul_f32s(ig, f));
    let c = exp_minus(simd, simd.add_f32s(cell, cell));
    let hidden = simd.div_f32s(simd.sub_f32s(one, c), simd.mul_f32s(o, simd.add_f32s(one, c)));
    (cell, hidden)
}

/// `e^-x`, with `x` clamped to `GATE_MAX` both ways; NaN stays NaN. The relative error is below 2e-7.
///
/// `x = n ln 2 + r`, so that `e^x = 2^n e^r` with `|r| <= ln 2 / 2`, where eight
/// terms of the series are exact enough.
#[inline(always)]
pub(super) fn exp_minus<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    /// 1.5 * 2^23: added to a small number, it leaves the nearest integer in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    /// ln 2 in two parts, of which the first has few enough bits for its multiples to be exact.
    const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
    const EXPONENT_BIAS: u32 = 127;
    const MANTISSA_BITS: u32 = 23;
    const SERIES: [f32; 7] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

    let (min, max) = (simd.splat_f32s(-GATE_MAX), simd.splat_f32s(GATE_MAX));
    // Selections, not minimum and maximum, which would make a bound of a NaN.
    let x = simd.select_f32s(simd.less_than_f32s(x, min), min, x);
    let x = simd.select_f32s(simd.less_than_f32s(max, x), max, x);
    let rounder = simd.splat_f32s(ROUNDER);
    let rounded = simd.mul_add_e_f32s(x, simd.splat_f32s(-std::f32::consts::LOG2_E), rounder);
    let n = simd.sub_f32s(rounded, rounder);
    // In two steps (W. J. Cody and W. Waite, "Software manual for the elementary functions", 1980): n ln 2 in
    // one f32 would be off by more than the series is.
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2[0]), simd.neg_f32s(x));
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2[1]), r);
    let mut series = simd.splat_f32s(1.0 / 5_040.0);
    for term in SERIES {
        series = simd.mul_add_e_f32s(series, r, simd.splat_f32s(term));
    }
    let exponent = simd.add_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(EXPONENT_BIAS));
    let power = simd.wrapping_dyn_shl_u32s(exponent, simd.splat_u32s(MANTISSA_BITS));
    simd.mul_f32s(series, simd.transmute_f32s_u32s(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_equals_the_equations_in_double_precision() {
        struct One([f32; 4], f32);
        impl WithSimd for One {
            type Output = (f32, f32);
            fn with_simd<S: Simd>(self, simd: S) -> (f32, f32) {
                let gates = self.0.map(|gate| simd.splat_f32s(gate));
                let (cell, hidden) = step(simd, gates, simd.splat_f32s(self.1));
                let mut found = [vec![0.0; S::F32_LANES], vec![0.0; S::F32_LANES]];
                simd.partial_store_f32s(&mut found[0], cell);
                simd.partial_store_f32s(&mut found[1], hidden);
                (found[0][0], found[1][0])
            }
        }
        let sigmoid = |x: f32| 1.0 / (1.0 + (-f64::from(x)).exp());
        let values = [-200.0, -19.0, -3.3, -0.7, -1e-4, 0.0, 1e-7, 0.02, 1.1, 6.5, 40.0];
        for i in values {
            for g in values {
                for (f, o, cell) in [(0.3, -0.2, 0.7), (-1.5, 4.0, -2.0), (i, g, 1.25), (g, i, 40.0)] {
                    let (found_cell, found_hidden) = Arch::new().dispatch(One([i, f, g, o], cell));
                    let next = sigmoid(f) * f64::from(cell) + sigmoid(i) * f64::from(g).tanh();
                    let hidden = sigmoid(o) * next.tanh();
                    let scale = next.abs().max(1.0);
                    assert!((f64::from(found_cell) - next).abs() < 4e-7 * scale, "{i} {f} {g} {o} {cell}");
                    assert!((f64::from(found_hidden) - hidden).abs() < 3e-7, "{i} {f} {g} {o} {cell}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        let weights = LstmWeights { input: vec![0.5; 4], recurrent: vec![0.5; 4], bias: vec![0.0; 4] };
        let lstm = Lstm::new(&weights, 2, false, Returns::Last);
        let mut output = [0.0; 2];
        lstm.forward(&[f32::NAN, 1.0, 1.0, 1.0], &mut output);
        assert!(output[0].is_nan() && output[1].is_finite());
    }
}
