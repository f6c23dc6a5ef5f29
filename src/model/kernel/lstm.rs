//! One layer and direction of an LSTM, from a state of zeros.
//!
//! ```text
//!  [i f g o] = W_ih x_t + b_ih + W_hh h + b_hh
//!  c = sigmoid(f) c + sigmoid(i) tanh(g)        h = sigmoid(o) tanh(c), with a projection W_hr of that
//! ```
//! A step is one product for all rows and all gates, of `[x_t | h]` with both weights side by side, and
//! one pass over the gates in vectors. Where the input is the same at each sample, its part of the gates
//! is computed once. The hidden numbers are filled up to whole vectors with zeros, which stay zeros.

use pulp::{Arch, Simd, WithSimd};

use super::exponential::{GATE_MAX, exp_minus};
use super::operation::RowsLayer;
use super::product::{Product, Rows, Start, lanes};
use super::recurrent::{Course, spread};

/// Input, forget, cell, output.
const GATES: usize = 4;

/// One layer and direction over sequences `(samples, inputs)`.
pub struct Lstm {
    arch: Arch,
    feed: Feed,
    inputs: usize,
    /// The cells, filled up to whole vectors.
    padded: usize,
    /// From the cells' outputs to the fewer numbers that are handed on; absent where all of them are.
    projection: Option<Product>,
    /// The numbers that are handed on at a sample.
    outputs: usize,
    /// Those, with the zeros that fill them up where they are not projected.
    carried: usize,
    course: Course,
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
    /// `(4 hidden, outputs)`, of which there are `hidden` unless they are projected.
    pub recurrent: Vec<f32>,
    /// `(4 hidden)`, the sum of both.
    pub bias: Vec<f32>,
    /// `(outputs, hidden)`.
    pub projection: Option<Vec<f32>>,
}

impl Lstm {
    /// An LSTM that goes its `course`.
    pub fn new(weights: &LstmWeights, course: Course) -> Self {
        let arch = Arch::new();
        let hidden = weights.bias.len() / GATES;
        let inputs = weights.input.len() / weights.bias.len();
        let outputs = weights.recurrent.len() / weights.bias.len();
        let padded = hidden.next_multiple_of(lanes(arch));
        let carried = if weights.projection.is_some() { outputs } else { padded };
        let spread = |matrices: &[_]| spread(matrices, GATES, hidden, padded);
        let bias = spread(&[(&weights.bias, 1, 1)]);
        let input = (weights.input.as_slice(), inputs, inputs);
        let recurrent = (weights.recurrent.as_slice(), outputs, carried);
        let feed = if course.repeated {
            Feed::Repeated {
                // An autoencoder's decoder is fed with one row at every sample: its product is the same each
                // time, and made once (docs/performance.md: once, not 64 times).
                input: Product::new(&spread(&[input]), &bias),
                recurrent: Product::new(&spread(&[recurrent]), &vec![0.0; GATES * padded]),
            }
        } else {
            Feed::Sequence(Product::new(&spread(&[input, recurrent]), &bias))
        };
        let projection = weights.projection.as_deref().map(|projection| {
            let mut filled = vec![0.0; outputs * padded];
            for (row, weights) in filled.chunks_exact_mut(padded).zip(projection.chunks_exact(hidden)) {
                row[..hidden].copy_from_slice(weights);
            }
            Product::new(&filled, &vec![0.0; outputs])
        });
        Self { arch, feed, inputs, padded, projection, outputs, carried, course }
    }
}

impl RowsLayer for Lstm {
    const NAME: &'static str = "lstm";

    fn inputs(&self) -> usize {
        self.course.samples_in() * self.inputs
    }

    fn outputs(&self) -> usize {
        self.course.samples_out() * self.outputs
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let batch = input.len() / self.inputs();
        let mut gates = vec![0.0; batch * GATES * self.padded];
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
        let width = fed + self.carried;
        let mut state = vec![0.0; batch * width];
        let mut projected = Projected::new(self, batch);
        for step in 0..self.course.steps() {
            if fed > 0 {
                let sample = self.course.sample(step);
                let sequences = input.chunks_exact(self.inputs());
                for (row, sequence) in state.chunks_exact_mut(width).zip(sequences) {
                    row[..fed].copy_from_slice(&sequence[sample * fed..][..fed]);
                }
            }
            product.multiply(Rows::packed(&state, width), start, false, &mut gates);
            match &mut projected {
                None => {
                    let (gates, cells, state) = (&gates, &mut cells, &mut state);
                    self.arch.dispatch(Step { gates, cells, state, padded: self.padded, fed });
                }
                Some(projected) => projected.step(self, &gates, &mut cells, &mut state, fed),
            }
            let Some(place) = self.course.place(step) else { continue };
            for (row, output) in state.chunks_exact(width).zip(output.chunks_exact_mut(self.outputs())) {
                let numbers = &row[fed..][..self.outputs];
                output[place * self.outputs..][..self.outputs].copy_from_slice(numbers);
            }
        }
    }
}

/// What a step of an LSTM with a projection needs besides.
struct Projected<'a> {
    projection: &'a Product,
    /// The cells' outputs, `(batch, padded)`.
    hidden: Vec<f32>,
    /// What is handed on of them, `(batch, outputs)`.
    outputs: Vec<f32>,
}

impl<'a> Projected<'a> {
    fn new(lstm: &'a Lstm, batch: usize) -> Option<Self> {
        let projection = lstm.projection.as_ref()?;
        let (hidden, outputs) = (vec![0.0; batch * lstm.padded], vec![0.0; batch * lstm.outputs]);
        Some(Self { projection, hidden, outputs })
    }

    fn step(&mut self, lstm: &Lstm, gates: &[f32], cells: &mut [f32], state: &mut [f32], fed: usize) {
        let &Lstm { arch, padded, outputs: width, .. } = lstm;
        arch.dispatch(Step { gates, cells, state: &mut self.hidden, padded, fed: 0 });
        let rows = Rows::packed(&self.hidden, padded);
        self.projection.multiply(rows, Start::Bias, false, &mut self.outputs);
        for (row, outputs) in state.chunks_exact_mut(fed + width).zip(self.outputs.chunks_exact(width)) {
            row[fed..].copy_from_slice(outputs);
        }
    }
}

/// From the gates to the next cell and hidden numbers, for all rows.
pub(crate) struct Step<'a> {
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
        let rows = gates.chunks_exact(GATES * padded).zip(cells.chunks_exact_mut(padded));
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
    let i = simd.add_f32s(one, exp_minus(simd, i, GATE_MAX));
    let f = simd.add_f32s(one, exp_minus(simd, f, GATE_MAX));
    let g = exp_minus(simd, simd.add_f32s(g, g), GATE_MAX);
    let o = simd.add_f32s(one, exp_minus(simd, o, GATE_MAX));
    let ig = simd.mul_f32s(i, simd.add_f32s(one, g));
    // Over one common denominator: two divisions in place of five, and a division takes as long as many
    // multiplications.
    let above = simd.mul_add_e_f32s(cell, ig, simd.mul_f32s(simd.sub_f32s(one, g), f));
    let cell = simd.div_f32s(above, simd.mul_f32s(ig, f));
    let c = exp_minus(simd, simd.add_f32s(cell, cell), GATE_MAX);
    let hidden = simd.div_f32s(simd.sub_f32s(one, c), simd.mul_f32s(o, simd.add_f32s(one, c)));
    (cell, hidden)
}

#[cfg(test)]
mod tests {
    use super::super::recurrent::Returns;
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
        let (input, recurrent, bias) = (vec![0.5; 4], vec![0.5; 4], vec![0.0; 4]);
        let weights = LstmWeights { input, recurrent, bias, projection: None };
        let lstm = Lstm::new(&weights, Course::of(2, false, false, Returns::Last));
        let mut output = [0.0; 2];
        lstm.forward(&[f32::NAN, 1.0, 1.0, 1.0], &mut output);
        assert!(output[0].is_nan() && output[1].is_finite());
    }
}
