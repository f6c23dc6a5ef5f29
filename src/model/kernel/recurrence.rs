//! Recurrent layers of one direction: LSTM, GRU and the plain one, as ONNX describes them.
//!
//! The input's part of the gates is one product for as many samples at once as the cache holds, to which each
//! step adds its product with the hidden numbers. These are filled up to whole vectors with zeros, which stay
//! zeros.

mod activation;
mod cell;
mod gru;

use pulp::Arch;

use super::product::{Product, Rows, Start, lanes};

pub use self::activation::Activation;
pub use self::cell::{Cell, Settings};

/// The numbers of gates that are computed ahead: a part of the first-level cache.
const AHEAD: usize = 4 << 10;

/// A layer with its weights.
pub struct Recurrent {
    arch: Arch,
    settings: Settings,
    inputs: usize,
    hidden: usize,
    /// `hidden`, filled up to whole vectors.
    padded: usize,
    /// From the input to all gates.
    input: Product,
    /// From the hidden numbers to all gates, or to all but the last.
    recurrent: Product,
    /// From the hidden numbers, as far as they are not reset, to the last gate.
    last: Option<Product>,
    /// For an LSTM three times `hidden`: what the cells add to the gates i, o and f.
    peepholes: Vec<f32>,
}

/// What is trained, as ONNX numbers it.
pub struct RecurrentWeights<'a> {
    /// `(gates hidden, inputs)`.
    pub input: &'a [f32],
    /// `(gates hidden, hidden)`.
    pub recurrent: &'a [f32],
    /// `(2 gates hidden)`: those of the input, then those of the hidden numbers; or none.
    pub bias: &'a [f32],
    /// `(3 hidden)`, or none.
    pub peepholes: &'a [f32],
    pub inputs: usize,
    pub hidden: usize,
}

/// Where the numbers of a sample and of a row lie.
#[derive(Debug, Clone, Copy, Default)]
pub struct Places {
    pub start: usize,
    /// From one sample to the next.
    pub sample: usize,
    /// From one row to the next.
    pub row: usize,
}

/// What a layer works on.
pub struct Call<'a> {
    pub x: &'a [f32],
    pub x_places: Places,
    pub rows: usize,
    pub samples: usize,
    /// From the last sample to the first.
    pub is_reverse: bool,
    /// What the hidden numbers and the cells are before; none for zeros.
    pub before: [Option<(&'a [f32], Places)>; 2],
    /// Where all outputs, the last of them, and the last cells go; nothing for what nobody wants.
    pub after: [(&'a mut [f32], Places); 3],
    /// [`Recurrent::room`].
    pub room: &'a mut [f32],
}

impl Recurrent {
    pub fn new(settings: Settings, weights: &RecurrentWeights<'_>) -> Self {
        let arch = Arch::new();
        let hidden = weights.hidden;
        let padded = hidden.next_multiple_of(lanes(arch));
        let order = settings.cell.order();
        let gates = order.len();
        let spread = |matrix: &[f32], gates: &[usize], width: usize, wide: usize| {
            let mut all = Vec::with_capacity(gates.len() * padded * wide);
            for &gate in gates {
                let start = all.len();
                for row in matrix[gate * hidden * width..][..hidden * width].chunks_exact(width) {
                    all.extend_from_slice(row);
                    all.resize(all.len() + wide - width, 0.0);
                }
                all.resize(start + padded * wide, 0.0);
            }
            all
        };
        let zeros = vec![0.0; 2 * gates * hidden];
        let bias = if weights.bias.is_empty() { &zeros } else { weights.bias };
        let (of_input, of_hidden) = bias.split_at(gates * hidden);
        // Both biases are added at once, except where the second is reset with the hidden numbers.
        let apart = settings.cell == Cell::Gru && settings.is_reset_after;
        let is_apart = |at: usize| apart && at / hidden == 2;
        let sum: Vec<f32> = (0..gates * hidden)
            .map(|at| if is_apart(at) { of_input[at] } else { of_input[at] + of_hidden[at] })
            .collect();
        let rest: Vec<f32> =
            (0..gates * hidden).map(|at| if is_apart(at) { of_hidden[at] } else { 0.0 }).collect();
        let (first, last) = if settings.cell == Cell::Gru && !settings.is_reset_after {
            order.split_at(2)
        } else {
            (order, &[][..])
        };
        let product = |gates: &[usize]| {
            let matrix = spread(weights.recurrent, gates, hidden, padded);
            Product::new(&matrix, &spread(&rest, gates, 1, 1))
        };
        Self {
            arch,
            input: Product::new(
                &spread(weights.input, order, weights.inputs, weights.inputs),
                &spread(&sum, order, 1, 1),
            ),
            recurrent: product(first),
            last: (!last.is_empty()).then(|| product(last)),
            peepholes: weights.peepholes.to_vec(),
            settings,
            inputs: weights.inputs,
            hidden,
            padded,
        }
    }

    /// How many samples' gates are computed ahead.
    fn ahead(&self, rows: usize, samples: usize) -> usize {
        (AHEAD / (rows * self.input.outputs()).max(1)).clamp(1, samples.max(1))
    }

    /// The numbers that `rows` rows need on the way; `None` where they cannot be counted.
    pub fn room(&self, rows: usize, samples: usize) -> Option<usize> {
        let ahead = self.ahead(rows, samples).checked_mul(self.input.outputs())?;
        // Gates, the hidden numbers and their part that is not reset, and cells.
        ahead.checked_add(self.recurrent.outputs())?.checked_add(4 * self.padded)?.checked_mul(rows)
    }

    pub fn multiply_adds(&self, rows: usize, samples: usize) -> u64 {
        let gates = self.settings.cell.order().len() * self.hidden;
        let sizes = [rows, samples, gates, self.inputs + self.hidden];
        sizes.iter().fold(1, |product: u64, &size| product.saturating_mul(size as u64))
    }

    pub fn run(&self, call: Call<'_>) {
        let Call { x, x_places, rows, samples, is_reverse, before, after, room } = call;
        let ahead = self.ahead(rows, samples);
        let (state, room) = room.split_at_mut(rows * self.padded);
        let (cells, room) = room.split_at_mut(rows * self.padded);
        let (gates, room) = room.split_at_mut(rows * self.recurrent.outputs());
        let (rest, room) = room.split_at_mut(2 * rows * self.padded);
        self.begin(state, before[0]);
        self.begin(cells, before[1]);
        let [(all, all_places), (last, last_places), (last_cells, cell_places)] = after;
        let width = rows * self.input.outputs();
        let mut done = 0;
        while done < samples {
            let count = ahead.min(samples - done);
            let first = if is_reverse { samples - done - count } else { done };
            let fed = &mut room[..count * width];
            self.feed(x, x_places, rows, first..first + count, fed);
            for step in 0..count {
                let at = if is_reverse { count - 1 - step } else { step };
                let fed = &mut fed[at * width..][..width];
                self.step(cell::Memory {
                    fed,
                    gates: &mut *gates,
                    rest: &mut *rest,
                    cells: &mut *cells,
                    state: &mut *state,
                });
                if !all.is_empty() {
                    let places =
                        Places { start: all_places.start + (first + at) * all_places.sample, ..all_places };
                    self.hand_on(state, all, places);
                }
            }
            done += count;
        }
        self.hand_on(state, last, last_places);
        self.hand_on(cells, last_cells, cell_places);
    }

    fn begin(&self, numbers: &mut [f32], before: Option<(&[f32], Places)>) {
        numbers.fill(0.0);
        let Some((values, places)) = before else { return };
        for (row, numbers) in numbers.chunks_exact_mut(self.padded).enumerate() {
            let start = places.start + row * places.row;
            numbers[..self.hidden].copy_from_slice(&values[start..][..self.hidden]);
        }
    }

    fn hand_on(&self, numbers: &[f32], to: &mut [f32], places: Places) {
        if to.is_empty() {
            return;
        }
        for (row, numbers) in numbers.chunks_exact(self.padded).enumerate() {
            to[places.start + row * places.row..][..self.hidden].copy_from_slice(&numbers[..self.hidden]);
        }
    }

    /// The input's part of the gates for `samples`.
    fn feed(&self, x: &[f32], places: Places, rows: usize, samples: std::ops::Range<usize>, fed: &mut [f32]) {
        let width = rows * self.input.outputs();
        let start = |sample: usize| &x[places.start + sample * places.sample..];
        let count = samples.len();
        let is_packed = rows == 1 || (places.row == self.inputs && places.sample == rows * self.inputs);
        if is_packed {
            let stride = if rows == 1 { places.sample } else { self.inputs };
            let rows = Rows { values: start(samples.start), stride, count: count * rows };
            self.input.multiply(rows, Start::Bias, false, fed);
            return;
        }
        for (sample, fed) in samples.zip(fed.chunks_exact_mut(width)) {
            let rows = Rows { values: start(sample), stride: places.row, count: rows };
            self.input.multiply(rows, Start::Bias, false, fed);
        }
    }
}
