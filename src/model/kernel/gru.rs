//! One layer and direction of a gated recurrent unit, from a state of zeros.
//!
//! ```text
//!  r = sigmoid(W_ir x_t + b_ir + W_hr h + b_hr)        z = sigmoid(W_iz x_t + b_iz + W_hz h + b_hz)
//!  n = tanh(W_in x_t + b_in + r (W_hn h + b_hn))       h = n + z (h - n)
//! ```
//! A step is two products for all rows and gates, of the input and of the hidden numbers, since `r` stands
//! between them, and one pass over the gates in vectors. The hidden numbers are filled up to whole vectors
//! with zeros, which stay zeros.

use pulp::{Arch, Simd, WithSimd};

use super::exponential::{GATE_MAX, exp_minus};
use super::operation::RowsLayer;
use super::product::{Product, Rows, Start, lanes};
use super::recurrent::{Course, spread};

/// Reset, update, new.
const GATES: usize = 3;

/// One layer and direction over sequences `(samples, inputs)`.
pub struct Gru {
    arch: Arch,
    input: Product,
    recurrent: Product,
    hidden: usize,
    /// `hidden`, filled up to whole vectors.
    padded: usize,
    course: Course,
}

/// What PyTorch saves: gates in the order reset, update, new.
pub struct GruWeights {
    /// `(3 hidden, inputs)`.
    pub input: Vec<f32>,
    /// `(3 hidden, hidden)`.
    pub recurrent: Vec<f32>,
    /// `(3 hidden)`.
    pub input_bias: Vec<f32>,
    /// `(3 hidden)`.
    pub recurrent_bias: Vec<f32>,
}

impl Gru {
    /// A GRU that goes its `course`.
    pub fn new(weights: &GruWeights, course: Course) -> Self {
        let arch = Arch::new();
        let hidden = weights.input_bias.len() / GATES;
        let inputs = weights.input.len() / weights.input_bias.len();
        let padded = hidden.next_multiple_of(lanes(arch));
        // Of the first two gates the biases only ever meet as a sum; that of the third is under the reset.
        let mut input_bias = weights.input_bias.clone();
        let mut recurrent_bias = weights.recurrent_bias.clone();
        for (sum, bias) in input_bias.iter_mut().zip(&mut recurrent_bias).take(2 * hidden) {
            *sum += std::mem::take(bias);
        }
        let product = |matrix: &[f32], width, wide, bias: &[f32]| {
            let matrix = spread(&[(matrix, width, wide)], GATES, hidden, padded);
            Product::new(&matrix, &spread(&[(bias, 1, 1)], GATES, hidden, padded))
        };
        let input = product(&weights.input, inputs, inputs, &input_bias);
        let recurrent = product(&weights.recurrent, hidden, padded, &recurrent_bias);
        Self { arch, input, recurrent, hidden, padded, course }
    }
}

impl RowsLayer for Gru {
    const NAME: &'static str = "gru";

    fn inputs(&self) -> usize {
        self.course.samples_in() * self.input.depth()
    }

    fn outputs(&self) -> usize {
        self.course.samples_out() * self.hidden
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let (inputs, padded) = (self.input.depth(), self.padded);
        let batch = input.len() / self.inputs();
        let mut fed = vec![0.0; batch * GATES * padded];
        let mut gates = vec![0.0; fed.len()];
        let mut hidden = vec![0.0; batch * padded];
        for step in 0..self.course.steps() {
            if step == 0 || !self.course.repeated {
                let first = if self.course.repeated { 0 } else { self.course.sample(step) * inputs };
                let rows = Rows { values: &input[first..], stride: self.inputs(), count: batch };
                self.input.multiply(rows, Start::Bias, false, &mut fed);
            }
            self.recurrent.multiply(Rows::packed(&hidden, padded), Start::Bias, false, &mut gates);
            self.arch.dispatch(Step { fed: &fed, gates: &gates, hidden: &mut hidden, padded });
            let Some(place) = self.course.place(step) else { continue };
            for (row, output) in hidden.chunks_exact(padded).zip(output.chunks_exact_mut(self.outputs())) {
                output[place * self.hidden..][..self.hidden].copy_from_slice(&row[..self.hidden]);
            }
        }
    }
}

/// From the gates to the next hidden numbers, for all rows.
struct Step<'a> {
    /// The input's part of the gates, `(batch, 3 padded)`.
    fed: &'a [f32],
    /// The hidden numbers' part, `(batch, 3 padded)`.
    gates: &'a [f32],
    /// `(batch, padded)`.
    hidden: &'a mut [f32],
    padded: usize,
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { fed, gates, hidden, padded } = self;
        let rows = fed.chunks_exact(GATES * padded).zip(gates.chunks_exact(GATES * padded));
        for ((fed, gates), hidden) in rows.zip(hidden.chunks_exact_mut(padded)) {
            let part = |gate: usize| gate * padded..(gate + 1) * padded;
            let fed = [0, 1, 2].map(|gate| S::as_simd_f32s(&fed[part(gate)]).0);
            let gates = [0, 1, 2].map(|gate| S::as_simd_f32s(&gates[part(gate)]).0);
            for (at, hidden) in S::as_mut_simd_f32s(hidden).0.iter_mut().enumerate() {
                let (r, z) =
                    (simd.add_f32s(fed[0][at], gates[0][at]), simd.add_f32s(fed[1][at], gates[1][at]));
                *hidden = step(simd, [r, z, fed[2][at], gates[2][at]], *hidden);
            }
        }
    }
}

/// The next hidden numbers, of the sums of the reset and update gates and the two parts of the new gate.
#[inline(always)]
fn step<S: Simd>(simd: S, [r, z, x, h]: [S::f32s; 4], hidden: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let r = simd.add_f32s(one, exp_minus(simd, r, GATE_MAX));
    let z = simd.add_f32s(one, exp_minus(simd, z, GATE_MAX));
    let n = simd.add_f32s(x, simd.div_f32s(h, r));
    let n = exp_minus(simd, simd.add_f32s(n, n), GATE_MAX);
    let n = simd.div_f32s(simd.sub_f32s(one, n), simd.add_f32s(one, n));
    simd.add_f32s(n, simd.div_f32s(simd.sub_f32s(hidden, n), z))
}

#[cfg(test)]
mod tests {
    use super::super::recurrent::Returns;
    use super::*;

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    #[test]
    fn a_sequence_equals_the_equations_in_double_precision() {
        let weights = GruWeights {
            input: vec![0.7, -1.3, 2.1],
            recurrent: vec![-0.4, 0.9, 1.7],
            input_bias: vec![0.1, -0.2, 0.3],
            recurrent_bias: vec![-0.5, 0.6, -0.7],
        };
        let input = [0.3, -2.0, 30.0, 0.0, 1.5];
        let gru = Gru::new(&weights, Course::of(input.len(), false, false, Returns::Sequence));
        let mut found = [0.0; 5];
        gru.forward(&input, &mut found);
        let of = |part: &[f32], at: usize| f64::from(part[at]);
        let mut h = 0.0;
        for (x, found) in input.iter().map(|&x| f64::from(x)).zip(found) {
            let x = |gate| of(&weights.input, gate) * x + of(&weights.input_bias, gate);
            let from = |gate| of(&weights.recurrent, gate) * h + of(&weights.recurrent_bias, gate);
            let (r, z) = (sigmoid(x(0) + from(0)), sigmoid(x(1) + from(1)));
            let n = (x(2) + r * from(2)).tanh();
            h = (1.0 - z) * n + z * h;
            assert!((f64::from(found) - h).abs() < 4e-7, "{found}, expected {h}");
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        let weights = GruWeights {
            input: vec![0.5; 3],
            recurrent: vec![0.5; 3],
            input_bias: vec![0.0; 3],
            recurrent_bias: vec![0.0; 3],
        };
        let gru = Gru::new(&weights, Course::of(2, false, false, Returns::Last));
        let mut output = [0.0; 2];
        gru.forward(&[f32::NAN, 1.0, 1.0, 1.0], &mut output);
        assert!(output[0].is_nan() && output[1].is_finite());
    }
}
