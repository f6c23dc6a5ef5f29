//! A product with few outputs: each is a sum along whole vectors of a row, whose lanes are added up at the
//! end.

use pulp::{Simd, WithSimd};

use super::tile::load;
use super::{Rows, Start, Weights};

/// Sums that are taken side by side, to hide how long an addition takes.
const SUMS: usize = 4;

pub struct Narrow<'a> {
    pub weights: Weights<'a>,
    pub rows: Rows<'a>,
    pub start: Start<'a>,
    pub rectify: bool,
    pub products: &'a mut [f32],
}

impl WithSimd for Narrow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights, rows, start, rectify, products } = self;
        let Weights { depth, outputs, values, bias, .. } = weights;
        for row in 0..rows.count {
            let x = &rows.values[row * rows.stride..][..depth];
            for output in 0..outputs {
                let place = row * outputs + output;
                let start = match start {
                    Start::Bias => bias.get(output).copied().unwrap_or(0.0),
                    Start::Rows(start) => start[place],
                    Start::There => products[place],
                };
                let sum = start + dot(simd, x, &values[output * depth..][..depth]);
                // A NaN is not below zero, and stays.
                products[place] = if rectify && sum < 0.0 { 0.0 } else { sum };
            }
        }
    }
}

#[inline(always)]
fn dot<S: Simd>(simd: S, x: &[f32], weights: &[f32]) -> f32 {
    let (xs, x_rest) = S::as_simd_f32s(x);
    let (ws, w_rest) = S::as_simd_f32s(weights);
    let mut sums = [simd.splat_f32s(0.0); SUMS];
    let (x_blocks, xs) = xs.as_chunks::<SUMS>();
    let (w_blocks, ws) = ws.as_chunks::<SUMS>();
    for (x, w) in x_blocks.iter().zip(w_blocks) {
        for at in 0..SUMS {
            sums[at] = simd.mul_add_e_f32s(x[at], w[at], sums[at]);
        }
    }
    for ((x, w), sum) in xs.iter().zip(ws).zip(&mut sums) {
        *sum = simd.mul_add_e_f32s(*x, *w, *sum);
    }
    if !x_rest.is_empty() {
        sums[SUMS - 1] = simd.mul_add_e_f32s(load(simd, x_rest), load(simd, w_rest), sums[SUMS - 1]);
    }
    let sum = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
    simd.reduce_sum_f32s(sum)
}
