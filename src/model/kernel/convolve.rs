//! A convolution of channels that each lie in one piece, along one axis or over two.
//!
//! ```text
//!  input ──▶ plane: zeros around it, each step of a stride apart ──▶ sums of filters x vectors of places
//! ```
//! In a plane neighbouring windows are neighbouring numbers, whatever the stride, so that a vector holds the
//! same number of as many windows, and nothing is transposed. Where there are two axes, windows are counted
//! through all rows of the plane, and those between the rows are left out of the output.

use pulp::{Arch, Simd, WithSimd};

use super::product::lanes;

/// How filters go over an input: for each of both axes, the first of which has size 1 where there is one.
#[derive(Debug, Clone)]
pub struct Geometry {
    pub groups: usize,
    /// Channels of the input and of the output, in one group.
    pub inputs: usize,
    pub outputs: usize,
    pub input: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Where the input starts, seen from the first window; negative where its start is left out.
    pub before: [i64; 2],
    /// From one number of the input to the next; 1, or more where there are zeros between.
    pub spread: [usize; 2],
    pub output: [usize; 2],
}

/// A convolution that is laid out: how its planes look.
#[derive(Debug)]
pub struct Convolution {
    geometry: Geometry,
    /// Rows and columns of one phase of the plane.
    phase: [usize; 2],
    /// The numbers of one channel of the plane.
    channel: usize,
    /// Where each number of a window lies, seen from the window's place.
    offsets: Vec<usize>,
    /// Places of windows in the plane, those between its rows among them.
    places: usize,
    lanes: usize,
}

/// Output channels that are computed together, from the most to the fewest.
const BLOCKS: [usize; 4] = [8, 4, 2, 1];

/// The sizes of the blocks of `outputs` channels.
fn blocks(mut outputs: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let block = BLOCKS.into_iter().find(|&block| block <= outputs)?;
        outputs -= block;
        Some(block)
    })
}

impl Convolution {
    /// Lays it out; `None` where it is more than can be counted.
    pub fn new(geometry: Geometry) -> Option<Self> {
        let mut phase = [0; 2];
        for (axis, phase) in phase.iter_mut().enumerate() {
            let reach = (geometry.kernel[axis] - 1).checked_mul(geometry.dilation[axis])?;
            let extent =
                (geometry.output[axis].max(1) - 1).checked_mul(geometry.stride[axis])?.checked_add(reach)?;
            *phase = (extent / geometry.stride[axis]).checked_add(1)?;
        }
        let [rows, columns] = phase;
        let area = rows.checked_mul(columns)?;
        let channel = area.checked_mul(geometry.stride[0])?.checked_mul(geometry.stride[1])?;
        channel.checked_mul(geometry.inputs)?.checked_mul(geometry.groups)?;
        let mut offsets = Vec::new();
        for input in 0..geometry.inputs {
            for y in 0..geometry.kernel[0] {
                for x in 0..geometry.kernel[1] {
                    let at = [y * geometry.dilation[0], x * geometry.dilation[1]];
                    let step = [at[0] % geometry.stride[0], at[1] % geometry.stride[1]];
                    let inside = at[0] / geometry.stride[0] * columns + at[1] / geometry.stride[1];
                    let number = step[0] * geometry.stride[1] + step[1];
                    offsets.push(input * channel + number * area + inside);
                }
            }
        }
        let [down, right] = geometry.output;
        let places = if down == 0 || right == 0 { 0 } else { (down - 1) * columns + right };
        Some(Self { geometry, phase, channel, offsets, places, lanes: lanes(Arch::new()) })
    }

    /// The numbers of a plane, which one sample needs.
    pub fn plane_space(&self) -> usize {
        // Vectors reach beyond the last place.
        (self.channel * self.geometry.inputs * self.geometry.groups).saturating_add(4 * self.lanes)
    }

    /// What the output of one sample takes with the places between its rows; nothing where there are none.
    pub fn wide_space(&self) -> usize {
        if self.is_dense() { 0 } else { self.places.saturating_mul(self.geometry.outputs) }
    }

    /// Whether the places of a plane are the output.
    fn is_dense(&self) -> bool {
        self.geometry.output[0] <= 1 || self.phase[1] == self.geometry.output[1]
    }

    fn depth(&self) -> usize {
        self.offsets.len()
    }

    /// The numbers of one sample that come in.
    pub fn input_size(&self) -> usize {
        let Geometry { groups, inputs, input, .. } = &self.geometry;
        groups * inputs * input[0] * input[1]
    }

    /// The numbers of one sample that come out.
    pub fn output_size(&self) -> usize {
        let Geometry { groups, outputs, output, .. } = &self.geometry;
        groups * outputs * output[0] * output[1]
    }

    pub fn multiply_adds(&self) -> u64 {
        (self.output_size() as u64).saturating_mul(self.depth() as u64)
    }

    /// Convolves `input`, sample after sample, with `filters`, which [`arrange`] made. `bias` has a number
    /// for each output channel, or none.
    pub fn run(
        &self,
        filters: &[f32],
        bias: &[f32],
        rectify: bool,
        input: &[f32],
        room: Room<'_>,
        output: &mut [f32],
    ) {
        if output.is_empty() {
            return;
        }
        room.plane.fill(0.0);
        let arch = Arch::new();
        let outputs = output.chunks_exact_mut(self.output_size());
        for (input, output) in input.chunks_exact(self.input_size().max(1)).zip(outputs) {
            self.fill(input, room.plane);
            let Geometry { groups, inputs, outputs, .. } = self.geometry;
            let of_group = outputs * self.geometry.output[0] * self.geometry.output[1];
            for (group, output) in output.chunks_exact_mut(of_group).enumerate().take(groups) {
                let filters = &filters[group * outputs * self.depth()..][..outputs * self.depth()];
                let bias = if bias.is_empty() { bias } else { &bias[group * outputs..][..outputs] };
                let plane = &room.plane[group * inputs * self.channel..];
                let products = if self.is_dense() { &mut *output } else { &mut *room.wide };
                arch.dispatch(Sums { convolution: self, filters, bias, plane, rectify, products });
                if !self.is_dense() {
                    self.close_up(room.wide, output);
                }
            }
        }
    }

    /// Puts one sample into the plane, where zeros are everywhere else.
    fn fill(&self, input: &[f32], plane: &mut [f32]) {
        let Geometry { input: [rows, columns], stride, before, spread, .. } = self.geometry;
        let [height, width] = self.phase;
        // The part of a row that lies in the plane.
        let place = |at: usize, axis: usize| before[axis] + (at * spread[axis]) as i64;
        let end = (width * stride[1]) as i64;
        let first = (0..columns).find(|&column| place(column, 1) >= 0).unwrap_or(columns);
        let last =
            (first..columns).rev().find(|&column| place(column, 1) < end).map_or(first, |last| last + 1);
        let is_plain = stride[1] == 1 && spread[1] == 1;
        for (channel, input) in input.chunks_exact((rows * columns).max(1)).enumerate() {
            let plane = &mut plane[channel * self.channel..][..self.channel];
            for (row, input) in input.chunks_exact(columns.max(1)).enumerate() {
                let Ok(down) = usize::try_from(place(row, 0)) else { continue };
                if down >= height * stride[0] || first == last {
                    continue;
                }
                let start = down % stride[0] * stride[1] * height * width + down / stride[0] * width;
                let at = place(first, 1) as usize;
                if is_plain {
                    plane[start + at..][..last - first].copy_from_slice(&input[first..last]);
                    continue;
                }
                for (number, value) in input[first..last].iter().enumerate() {
                    let at = at + number * spread[1];
                    plane[start + at % stride[1] * height * width + at / stride[1]] = *value;
                }
            }
        }
    }

    /// Leaves out the places between the rows.
    fn close_up(&self, wide: &[f32], output: &mut [f32]) {
        let [rows, columns] = self.geometry.output;
        for (wide, output) in wide.chunks_exact(self.places).zip(output.chunks_exact_mut(rows * columns)) {
            for (wide, output) in wide.chunks(self.phase[1]).zip(output.chunks_exact_mut(columns)) {
                output.copy_from_slice(&wide[..columns]);
            }
        }
    }
}

/// Room on the way.
pub struct Room<'a> {
    /// [`Convolution::plane_space`].
    pub plane: &'a mut [f32],
    /// [`Convolution::wide_space`].
    pub wide: &'a mut [f32],
}

/// Arranges filters for `groups` groups of `outputs` channels, each with `depth` numbers: block after block,
/// the numbers of a block's channels side by side. `weight` gives each by group, channel and place.
pub fn arrange(
    [groups, outputs, depth]: [usize; 3],
    weight: impl Fn(usize, usize, usize) -> f32,
    into: &mut [f32],
) {
    let mut places = into.iter_mut();
    for group in 0..groups {
        let mut first = 0;
        for block in blocks(outputs) {
            for at in 0..depth {
                for (output, place) in (first..first + block).zip(&mut places) {
                    *place = weight(group, output, at);
                }
            }
            first += block;
        }
    }
}

/// All sums of one group of one sample.
struct Sums<'a> {
    convolution: &'a Convolution,
    filters: &'a [f32],
    bias: &'a [f32],
    plane: &'a [f32],
    rectify: bool,
    products: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (places, depth) = (self.convolution.places, self.convolution.depth());
        let mut first = 0;
        for block in blocks(self.convolution.geometry.outputs) {
            let mut place = 0;
            while place < places {
                let left = (places - place).div_ceil(S::F32_LANES);
                let many = S::REGISTER_COUNT >= 32;
                let filters = &self.filters[first * depth..][..block * depth];
                place += S::F32_LANES
                    * match (block, left) {
                        (8, 2..) if many => self.tile::<S, 8, 2>(simd, filters, first, place),
                        (8, _) => self.tile::<S, 8, 1>(simd, filters, first, place),
                        (4, 4..) if many => self.tile::<S, 4, 4>(simd, filters, first, place),
                        (4, 2..) => self.tile::<S, 4, 2>(simd, filters, first, place),
                        (4, _) => self.tile::<S, 4, 1>(simd, filters, first, place),
                        (2, 4..) => self.tile::<S, 2, 4>(simd, filters, first, place),
                        (2, 2..) => self.tile::<S, 2, 2>(simd, filters, first, place),
                        (2, _) => self.tile::<S, 2, 1>(simd, filters, first, place),
                        (_, 4..) => self.tile::<S, 1, 4>(simd, filters, first, place),
                        (_, 2..) => self.tile::<S, 1, 2>(simd, filters, first, place),
                        _ => self.tile::<S, 1, 1>(simd, filters, first, place),
                    };
            }
            first += block;
        }
    }
}

impl Sums<'_> {
    /// `CHANNELS` output channels from `first` at `VECTORS` vectors of places from `place`; gives `VECTORS`.
    #[inline(always)]
    #[allow(
        clippy::needless_range_loop,
        reason = "as in a product's tile: loops over indices are unrolled whole, and sums stay in registers"
    )]
    fn tile<S: Simd, const CHANNELS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        filters: &[f32],
        first: usize,
        place: usize,
    ) -> usize {
        let lanes = S::F32_LANES;
        let plane = &self.plane[place..];
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; CHANNELS];
        if !self.bias.is_empty() {
            for channel in 0..CHANNELS {
                sums[channel] = [simd.splat_f32s(self.bias[first + channel]); VECTORS];
            }
        }
        for (weights, &offset) in filters.as_chunks::<CHANNELS>().0.iter().zip(&self.convolution.offsets) {
            let values = S::as_simd_f32s(&plane[offset..][..VECTORS * lanes]).0;
            let mut now = [simd.splat_f32s(0.0); VECTORS];
            now.copy_from_slice(&values[..VECTORS]);
            for channel in 0..CHANNELS {
                let weight = simd.splat_f32s(weights[channel]);
                for vector in 0..VECTORS {
                    sums[channel][vector] = simd.mul_add_e_f32s(weight, now[vector], sums[channel][vector]);
                }
            }
        }
        let zero = simd.splat_f32s(0.0);
        let places = self.convolution.places;
        for channel in 0..CHANNELS {
            let products = &mut self.products[(first + channel) * places..][..places];
            for vector in 0..VECTORS {
                let sum = sums[channel][vector];
                // A NaN is not below zero, and stays.
                let negative = simd.less_than_f32s(sum, zero);
                let sum = if self.rectify { simd.select_f32s(negative, zero, sum) } else { sum };
                let start = place + vector * lanes;
                let products = &mut products[start.min(places)..places.min(start + lanes)];
                match S::as_mut_simd_f32s(products).0 {
                    [whole] => *whole = sum,
                    _ => simd.partial_store_f32s(products, sum),
                }
            }
        }
        VECTORS
    }
}
