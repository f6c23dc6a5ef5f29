//! `x * weight + bias`, the arithmetic of every layer here that has weights, with
//! the widest vectors that the processor has.
//!
//! candle's own product asks the operating system for the number of cores at each call (80 µs),
//! and candle copies the windows of a convolution before it multiplies. Here weights are arranged
//! once, at load, and windows are read in place. The instructions are chosen when the model is
//! built, through pulp, which gemm below candle uses as well: one binary runs on any processor.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

/// The weights of a product, in panels of as many outputs as a vector has lanes.
pub struct Product {
    arch: Arch,
    depth: usize,
    outputs: usize,
    /// For each panel `depth` vectors; outputs that fill the last panel up are zeros.
    panels: Vec<f32>,
    /// One number for each output, filled up like the panels.
    bias: Vec<f32>,
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

impl Product {
    /// Arranges `weight`, `(outputs, depth)` and row-major as PyTorch has it, and
    /// `bias`, a number for each output.
    pub fn new(weight: &[f32], bias: &[f32]) -> Self {
        let arch = Arch::new();
        let lanes = lanes(arch);
        let outputs = bias.len();
        let depth = weight.len() / outputs;
        let padded = outputs.next_multiple_of(lanes);
        let mut panels = vec![0.0; padded * depth];
        for (output, weights) in weight.chunks_exact(depth).enumerate() {
            // PyTorch has `y = x W^T + b` with W as (outputs, depth): transposed within a panel, one vector
            // holds the weights of neighbouring outputs for one input, and a row's sums need no adding up
            // across a vector.
            let start = output / lanes * lanes * depth + output % lanes;
            for (at, weight) in weights.iter().enumerate() {
                panels[start + at * lanes] = *weight;
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(padded, 0.0);
        Self { arch, depth, outputs, panels, bias }
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
        self.arch.dispatch(Multiply { product: self, rows, start, rectify, products });
    }
}

struct Multiply<'a> {
    product: &'a Product,
    rows: Rows<'a>,
    start: Start<'a>,
    rectify: bool,
    products: &'a mut [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let panels = self.product.bias.len() / S::F32_LANES;
        // Sums stay in registers: 16 of 32, or 8 of 16, and both units of the processor stay busy.
        let many = S::REGISTER_COUNT >= 32;
        let tall = if many { 8 } else { 4 };
        let tiled = self.rows.count / tall * tall;
        let mut panel = 0;
        while panel < panels && tiled > 0 {
            let two = panels - panel >= 2;
            for row in (0..tiled).step_by(tall) {
                match (many, two) {
                    (true, true) => self.tile::<S, 8, 2>(simd, row, panel),
                    (true, false) => self.tile::<S, 8, 1>(simd, row, panel),
                    (false, true) => self.tile::<S, 4, 2>(simd, row, panel),
                    (false, false) => self.tile::<S, 4, 1>(simd, row, panel),
                }
            }
            panel += if two { 2 } else { 1 };
        }
        for row in tiled..self.rows.count {
            self.single(simd, row, 0..panels);
        }
    }
}

impl Multiply<'_> {
    /// One row: the sums of many panels hide how long an addition takes.
    #[inline(always)]
    fn single<S: Simd>(&mut self, simd: S, row: usize, mut panels: Range<usize>) {
        while !panels.is_empty() {
            panels.start += match panels.len() {
                8.. => {
                    self.tile::<S, 1, 8>(simd, row, panels.start);
                    8
                }
                4.. => {
                    self.tile::<S, 1, 4>(simd, row, panels.start);
                    4
                }
                2.. => {
                    self.tile::<S, 1, 2>(simd, row, panels.start);
                    2
                }
                _ => {
                    self.tile::<S, 1, 1>(simd, row, panels.start);
                    1
                }
            };
        }
    }

    /// `ROWS` rows from `row` with `PANELS` panels from `panel`.
    #[inline(always)]
    #[allow(
        clippy::needless_range_loop,
        reason = "loops over indices are unrolled whole, so that sums stay in registers; loops over iterators of ours were \
                  not, at a seventh of the speed"
    )]
    fn tile<S: Simd, const ROWS: usize, const PANELS: usize>(&mut self, simd: S, row: usize, panel: usize) {
        let Product { depth, outputs, .. } = *self.product;
        let lanes = S::F32_LANES;
        let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
        for (at, values) in rows.iter_mut().enumerate() {
            *values = &self.rows.values[(row + at) * self.rows.stride..][..depth];
        }
        let mut weights: [&[S::f32s]; PANELS] = [&[]; PANELS];
        for (at, weights) in weights.iter_mut().enumerate() {
            let start = (panel + at) * depth * lanes;
            *weights = &S::as_simd_f32s(&self.product.panels[start..][..depth * lanes]).0[..depth];
        }
        let mut sums = [[simd.splat_f32s(0.0); PANELS]; ROWS];
        for (at, sums) in sums.iter_mut().enumerate() {
            for (of, sum) in sums.iter_mut().enumerate() {
                let first = (panel + of) * lanes;
                *sum = match self.start {
                    Start::Bias => S::as_simd_f32s(&self.product.bias[first..first + lanes]).0[0],
                    Start::Rows(start) => {
                        let start = &start[(row + at) * outputs..][..outputs];
                        simd.partial_load_f32s(&start[first..outputs.min(first + lanes)])
                    }
                };
            }
        }
        // Each sum is taken in the order of the inputs whatever the tile's size, so that a row has the same
        // score alone and in a batch.
        for at in 0..depth {
            let mut now = [simd.splat_f32s(0.0); PANELS];
            for (now, weights) in now.iter_mut().zip(&weights) {
                *now = weights[at];
            }
            for row in 0..ROWS {
                let x = simd.splat_f32s(rows[row][at]);
                for panel in 0..PANELS {
                    sums[row][panel] = simd.mul_add_e_f32s(x, now[panel], sums[row][panel]);
                }
            }
        }
        let zero = simd.splat_f32s(0.0);
        for (at, sums) in sums.iter().enumerate() {
            let products = &mut self.products[(row + at) * outputs..][..outputs];
            for (of, sum) in sums.iter().enumerate() {
                let first = (panel + of) * lanes;
                // Not the processor's maximum, which gives the other operand for a NaN. A NaN has to reach
                // the output, where it is refused; PyTorch's ReLU keeps it too.
                let negative = simd.less_than_f32s(*sum, zero);
                let sum = if self.rectify { simd.select_f32s(negative, zero, *sum) } else { *sum };
                let place = &mut products[first..outputs.min(first + lanes)];
                if place.len() == lanes {
                    S::as_mut_simd_f32s(place).0[0] = sum;
                } else {
                    simd.partial_store_f32s(place, sum);
                }
            }
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
        for (count, depth, outputs) in
            [(1, 1, 1), (3, 7, 5), (8, 3, 16), (13, 40, 33), (25, 2, 200), (1, 9, 250)]
        {
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
    fn what_is_not_a_number_is_not_rectified() {
        let product = Product::new(&[1.0, -1.0], &[0.0, 0.0]);
        let mut products = [0.0; 4];
        product.multiply(Rows::packed(&[f32::NAN, 2.0], 1), Start::Bias, true, &mut products);
        assert!(products[0].is_nan() && products[1].is_nan());
        assert_eq!(products[2..], [2.0, 0.0]);
    }
}
