//! `x * weight + bias`, the arithmetic of every layer here that has weights, with
//! the widest vectors that the processor has.
//!
//! candle's own product asks the operating system for the number of cores at each call (80 µs),
//! and candle copies the windows of a convolution before it multiplies. Here weights are arranged
//! once, at load, and windows are read in place. The instructions are chosen when the model is
//! built, through pulp, which gemm below candle uses as well: one binary runs on any processor.

mod narrow;
mod tile;

use std::sync::Arc;

use pulp::{Arch, Simd, WithSimd};

use self::narrow::Narrow;
use self::tile::Tiles;
use super::line::Line;

/// Up to so many outputs, each is a sum along whole vectors: a panel would be mostly empty.
const NARROW_OUTPUTS_MAX: usize = 4;
/// From so many inputs on: adding up the lanes of a vector at the end costs about as much.
const NARROW_DEPTH_MIN: usize = 32;

/// The weights of a product, arranged once.
pub struct Product {
    arch: Arch,
    depth: usize,
    outputs: usize,
    /// Shared by products that differ in their bias.
    values: Arc<Vec<f32>>,
    /// One number for each output, filled up like the panels.
    bias: Vec<f32>,
}

/// Weights that are arranged, wherever they are kept.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    depth: usize,
    outputs: usize,
    /// For each panel of as many outputs as a vector has lanes, `depth` vectors; outputs that fill the last
    /// panel up are zeros. In a narrow product simply `(outputs, depth)`.
    values: &'a [f32],
    is_narrow: bool,
    /// One number for each output, filled up to whole vectors; nothing for zeros.
    bias: &'a [f32],
}

/// Weights as they come: element `(output, at)` is `values[output * across + at * down]`.
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    pub values: &'a [f32],
    pub across: usize,
    pub down: usize,
    /// What each is multiplied with.
    pub scale: f32,
}

/// Where the rows to multiply lie. Rows may overlap, as the windows of a convolution do.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub values: &'a [f32],
    /// From the start of one row to that of the next.
    pub stride: usize,
    pub count: usize,
}

impl<'a> Rows<'a> {
    /// Rows of `width` values, one after the other.
    pub fn packed(values: &'a [f32], width: usize) -> Self {
        Self { values, stride: width, count: values.len() / width }
    }
}

/// What the products are added to.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// The product's own bias.
    Bias,
    /// Rows like the output's.
    Rows(&'a [f32]),
    /// What is at the output's place already.
    There,
}

/// Lanes of the processor's widest vector of f32.
pub fn lanes(arch: Arch) -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    arch.dispatch(Lanes)
}

/// Only for weights that are the same for all rows: what a row gives must not depend on how many outputs
/// there are when these are rows themselves.
fn is_narrow(depth: usize, outputs: usize) -> bool {
    outputs <= NARROW_OUTPUTS_MAX && depth >= NARROW_DEPTH_MIN
}

impl Product {
    /// Arranges `weight`, `(outputs, depth)` and row-major as PyTorch has it, and
    /// `bias`, a number for each output.
    pub fn new(weight: &[f32], bias: &[f32]) -> Self {
        let depth = weight.len().checked_div(bias.len()).unwrap_or(0);
        Self::arranged(Raw { values: weight, across: depth, down: 1, scale: 1.0 }, depth, bias)
    }

    /// Arranges `weight`, which has `depth` numbers for each of `bias`.
    pub fn arranged(weight: Raw<'_>, depth: usize, bias: &[f32]) -> Self {
        let arch = Arch::new();
        let outputs = bias.len();
        let mut values = Vec::new();
        if is_narrow(depth, outputs) {
            let Raw { values: weights, across, down, scale } = weight;
            let weight = |output: usize, at: usize| weights[output * across + at * down] * scale;
            values.extend((0..outputs).flat_map(|output| (0..depth).map(move |at| weight(output, at))));
        } else {
            values.resize(space(depth, outputs).unwrap_or(0), 0.0);
            arrange(weight, depth, outputs, &mut values);
        }
        let mut bias = bias.to_vec();
        bias.resize(outputs.next_multiple_of(lanes(arch)), 0.0);
        Self { arch, depth, outputs, values: Arc::new(values), bias }
    }

    /// The product whose results are those of this one with each output's line applied; `None` where its
    /// weights cannot take that over.
    pub fn with(&self, lines: &[Line]) -> Option<Self> {
        let Self { arch, depth, outputs, ref values, ref bias } = *self;
        let mut bias = bias.clone();
        for (bias, line) in bias.iter_mut().zip(lines) {
            *bias = line.bias(*bias)?;
        }
        let mut values = Arc::clone(values);
        if lines.iter().any(|line| line.factor != 1.0) {
            let (is_narrow, lanes) = (is_narrow(depth, outputs), lanes(arch));
            let output =
                |at: usize| if is_narrow { at / depth } else { at / (depth * lanes) * lanes + at % lanes };
            // Those that fill the last panel up stay zeros.
            let weight = |(at, &weight): (usize, &f32)| {
                lines.get(output(at)).map_or(Some(weight), |line| line.weight(weight))
            };
            values = Arc::new(values.iter().enumerate().map(weight).collect::<Option<_>>()?);
        }
        Some(Self { arch, depth, outputs, values, bias })
    }

    /// How many numbers a row has.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// How many numbers a row of the result has.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Multiplies `rows` into `products`, which has `outputs` numbers for each row; with
    /// `rectify`, what is below zero becomes zero, and NaN stays.
    pub fn multiply(&self, rows: Rows<'_>, start: Start<'_>, rectify: bool, products: &mut [f32]) {
        let Self { arch, depth, outputs, .. } = *self;
        let is_narrow = is_narrow(depth, outputs);
        let weights = Weights { depth, outputs, values: &self.values, is_narrow, bias: &self.bias };
        weights.multiply(arch, rows, start, rectify, products);
    }
}

/// How many numbers [`arrange`] makes; `None` when they cannot be counted.
pub fn space(depth: usize, outputs: usize) -> Option<usize> {
    outputs.checked_next_multiple_of(lanes(Arch::new()))?.checked_mul(depth)
}

/// Arranges `weight`, which is `(outputs, depth)`, in `into`, which has the [`space`] for it or more.
pub fn arrange(weight: Raw<'_>, depth: usize, outputs: usize, into: &mut [f32]) {
    Arch::new().dispatch(Arrange { weight, depth, outputs, into });
}

struct Arrange<'a> {
    weight: Raw<'a>,
    depth: usize,
    outputs: usize,
    into: &'a mut [f32],
}

impl WithSimd for Arrange<'_> {
    type Output = ();

    // PyTorch has `y = x W^T + b` with W as (outputs, depth): transposed within a panel, one vector holds the
    // weights of neighbouring outputs for one input, and a row's sums need no adding up across a vector.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { weight: Raw { values, across, down, scale }, depth, outputs, into } = self;
        if depth == 0 || outputs == 0 {
            return;
        }
        let panels = into.chunks_exact_mut(depth * S::F32_LANES).take(outputs.div_ceil(S::F32_LANES));
        for (panel, into) in panels.enumerate() {
            let first = panel * S::F32_LANES;
            let filled = (outputs - first).min(S::F32_LANES);
            for (at, vector) in into.chunks_exact_mut(S::F32_LANES).enumerate() {
                let start = first * across + at * down;
                let (weights, rest) = vector.split_at_mut(filled);
                if across == 1 {
                    for (place, weight) in weights.iter_mut().zip(&values[start..]) {
                        *place = weight * scale;
                    }
                } else {
                    for (place, weight) in weights.iter_mut().zip(values[start..].iter().step_by(across)) {
                        *place = weight * scale;
                    }
                }
                rest.fill(0.0);
            }
        }
    }
}

impl<'a> Weights<'a> {
    /// What [`arrange`] made of weights `(outputs, depth)`, without a bias.
    pub fn new(depth: usize, outputs: usize, values: &'a [f32]) -> Self {
        Self { depth, outputs, values, is_narrow: false, bias: &[] }
    }

    /// As [`Product::multiply`] does.
    pub fn multiply(self, arch: Arch, rows: Rows<'_>, start: Start<'_>, rectify: bool, products: &mut [f32]) {
        if self.is_narrow {
            arch.dispatch(Narrow { weights: self, rows, start, rectify, products });
        } else {
            arch.dispatch(Tiles { weights: self, rows, start, rectify, products });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in [-1, 1) that look random.
    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn every_shape_equals_the_sum_written_out() {
        for (count, depth, outputs) in [
            (1, 1, 1),
            (3, 7, 5),
            (8, 3, 16),
            (13, 40, 33),
            (25, 2, 200),
            (1, 9, 250),
            (5, 32, 1),
            (9, 77, 3),
        ] {
            let (weight, bias) = (numbers(depth * outputs, 1), numbers(outputs, 2));
            let values = numbers(count * (depth + 2), 3);
            let product = Product::new(&weight, &bias);
            let mut found = vec![f32::NAN; count * outputs];
            let rows = Rows { values: &values, stride: depth + 2, count };
            product.multiply(rows, Start::Bias, false, &mut found);
            let mut added = vec![f32::NAN; count * outputs];
            product.multiply(rows, Start::Rows(&found), true, &mut added);
            for row in 0..count {
                for output in 0..outputs {
                    let weights = &weight[output * depth..][..depth];
                    let x = &values[row * (depth + 2)..][..depth];
                    let sum: f64 = weights.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                    let once = sum + f64::from(bias[output]);
                    let twice = (once + sum).max(0.0);
                    let at = row * outputs + output;
                    assert!((f64::from(found[at]) - once).abs() < 1e-5, "{} {once}", found[at]);
                    assert!((f64::from(added[at]) - twice).abs() < 1e-5, "{} {twice}", added[at]);
                }
            }
        }
    }

    #[test]
    fn weights_take_over_a_line_for_each_output() {
        for (depth, outputs) in [(3, 5), (40, 33), (9, 250), (77, 3), (32, 1)] {
            let (weight, bias) = (numbers(depth * outputs, 1), numbers(outputs, 2));
            let values = numbers(4 * depth, 3);
            let (factors, summands) = (numbers(outputs, 4), numbers(outputs, 5));
            let line = |at: usize| Line { factor: factors[at].into(), summand: summands[at].into() };
            let lines: Vec<_> = (0..outputs).map(line).collect();
            let product = Product::new(&weight, &bias);
            let multiplied = |product: &Product| {
                let mut products = vec![f32::NAN; 4 * outputs];
                product.multiply(Rows::packed(&values, depth), Start::Bias, false, &mut products);
                products
            };
            let (before, after) = (multiplied(&product), multiplied(&product.with(&lines).unwrap()));
            for (at, (before, after)) in before.iter().zip(after).enumerate() {
                let expected = before * factors[at % outputs] + summands[at % outputs];
                assert!((after - expected).abs() < 1e-5, "{after} {expected}");
            }
            let huge = Line { factor: 1e39, summand: 0.0 };
            assert!(product.with(&vec![huge; outputs]).is_none());
        }
    }

    #[test]
    fn what_is_not_a_number_is_not_rectified() {
        let product = Product::new(&[1.0, -1.0], &[0.0, 0.0]);
        let mut products = [0.0; 4];
        product.multiply(Rows::packed(&[f32::NAN, 2.0], 1), Start::Bias, true, &mut products);
        assert!(products[0].is_nan() && products[1].is_nan());
        assert_eq!(products[2..], [2.0, 0.0]);
    }
}
