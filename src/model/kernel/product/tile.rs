//! A product in tiles of several rows with several panels, whose sums stay in registers.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Rows, Start, Weights};

pub struct Tiles<'a> {
    pub weights: Weights<'a>,
    pub rows: Rows<'a>,
    pub start: Start<'a>,
    pub rectify: bool,
    pub products: &'a mut [f32],
}

impl WithSimd for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let panels = self.weights.outputs.div_ceil(S::F32_LANES);
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
        let mut row = tiled;
        if many && row + 4 <= self.rows.count {
            self.four(simd, row, panels);
            row += 4;
        }
        for row in row..self.rows.count {
            self.single(simd, row, 0..panels);
        }
    }
}

impl Tiles<'_> {
    /// Four rows with all panels, where there are registers for it.
    #[inline(always)]
    fn four<S: Simd>(&mut self, simd: S, row: usize, panels: usize) {
        let mut panel = 0;
        while panel < panels {
            panel += match panels - panel {
                4.. => {
                    self.tile::<S, 4, 4>(simd, row, panel);
                    4
                }
                2.. => {
                    self.tile::<S, 4, 2>(simd, row, panel);
                    2
                }
                _ => {
                    self.tile::<S, 4, 1>(simd, row, panel);
                    1
                }
            };
        }
    }

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
        let Weights { depth, outputs, values: panels, bias, .. } = self.weights;
        let lanes = S::F32_LANES;
        let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
        for (at, values) in rows.iter_mut().enumerate() {
            *values = &self.rows.values[(row + at) * self.rows.stride..][..depth];
        }
        let mut weights: [&[S::f32s]; PANELS] = [&[]; PANELS];
        for (at, weights) in weights.iter_mut().enumerate() {
            let start = (panel + at) * depth * lanes;
            *weights = &S::as_simd_f32s(&panels[start..][..depth * lanes]).0[..depth];
        }
        let mut sums = [[simd.splat_f32s(0.0); PANELS]; ROWS];
        for (at, sums) in sums.iter_mut().enumerate() {
            for (of, sum) in sums.iter_mut().enumerate() {
                let first = (panel + of) * lanes;
                *sum = match self.start {
                    Start::Bias if bias.is_empty() => *sum,
                    Start::Bias => S::as_simd_f32s(&bias[first..first + lanes]).0[0],
                    Start::Rows(start) => {
                        let start = &start[(row + at) * outputs..][..outputs];
                        load(simd, &start[first..outputs.min(first + lanes)])
                    }
                    Start::There => {
                        let start = &self.products[(row + at) * outputs..][..outputs];
                        load(simd, &start[first..outputs.min(first + lanes)])
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

/// A vector of what may be less than one: whole ones are the rule, and are read at once.
#[inline(always)]
pub fn load<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    match S::as_simd_f32s(values).0 {
        [whole] => *whole,
        _ => simd.partial_load_f32s(values),
    }
}
