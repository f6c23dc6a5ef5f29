//! A step of a recurrent layer: from its gates to the next hidden numbers.

use super::activation::Activation;
use super::{Recurrent, gru};
use crate::model::kernel::blocks::Once;
use crate::model::kernel::lstm;
use crate::model::kernel::product::{Rows, Start};

/// What a layer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    Lstm,
    Gru,
    Plain,
}

impl Cell {
    /// The places of the gates in ONNX, in the order in which they lie here: i f g o, z r n, or one.
    pub fn order(self) -> &'static [usize] {
        match self {
            Self::Lstm => &[0, 2, 3, 1],
            Self::Gru => &[0, 1, 2],
            Self::Plain => &[0],
        }
    }
}

/// How a layer works.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub cell: Cell,
    /// An LSTM has all three, a GRU two, a plain one the first.
    pub activations: [Activation; 3],
    /// What the sums of gates are bounded to.
    pub clip: Option<f32>,
    /// An LSTM forgets what it does not take in.
    pub is_forget_coupled: bool,
    /// A GRU resets the product with the hidden numbers, not these.
    pub is_reset_after: bool,
}

impl Settings {
    /// Whether a step is one pass in vectors.
    fn is_usual(&self, peepholes: &[f32]) -> bool {
        use Activation::{Sigmoid, Tanh};
        let usual = match self.cell {
            Cell::Lstm => self.activations == [Sigmoid, Tanh, Tanh] && !self.is_forget_coupled,
            Cell::Gru => self.activations[..2] == [Sigmoid, Tanh],
            Cell::Plain => false,
        };
        usual && self.clip.is_none() && peepholes.is_empty()
    }
}

/// What a step works with, for all rows.
pub struct Memory<'a> {
    /// The input's part of the gates.
    pub fed: &'a mut [f32],
    pub gates: &'a mut [f32],
    /// Twice as many as hidden numbers.
    pub rest: &'a mut [f32],
    pub cells: &'a mut [f32],
    pub state: &'a mut [f32],
}

impl Recurrent {
    pub fn step(&self, memory: Memory<'_>) {
        match self.settings.cell {
            Cell::Lstm => self.lstm(memory),
            Cell::Gru => self.gru(memory),
            Cell::Plain => self.plain(memory),
        }
    }

    fn lstm(&self, memory: Memory<'_>) {
        let Memory { fed, gates, cells, state, .. } = memory;
        let padded = self.padded;
        self.recurrent.multiply(Rows::packed(state, padded), Start::Rows(fed), false, gates);
        if self.settings.is_usual(&self.peepholes) {
            self.arch.dispatch(lstm::Step { gates, cells, state, padded, fed: 0 });
            return;
        }
        let once = Once;
        self.arch.dispatch(
            #[inline(always)]
            || {
                once.spend();
                let rows = gates.chunks_exact_mut(4 * padded).zip(cells.chunks_exact_mut(padded));
                for ((gates, cells), state) in rows.zip(state.chunks_exact_mut(padded)) {
                    self.lstm_row(gates, &mut cells[..self.hidden], &mut state[..self.hidden]);
                }
            },
        );
    }

    #[inline(always)]
    fn lstm_row(&self, gates: &mut [f32], cells: &mut [f32], state: &mut [f32]) {
        let (hidden, padded) = (self.hidden, self.padded);
        let [f, g, h] = self.settings.activations;
        let (input, gates) = gates.split_at_mut(padded);
        let (forget, gates) = gates.split_at_mut(padded);
        let (new, output) = gates.split_at_mut(padded);
        let [input, forget, new, output] = [input, forget, new, output].map(|gate| &mut gate[..hidden]);
        // ONNX has them in the order i, o, f.
        let mut peepholes = self.peepholes.chunks_exact(hidden);
        let [of_input, of_output, of_forget] = [(); 3].map(|()| peepholes.next().unwrap_or_default());
        add_products(input, of_input, cells);
        self.finish(input, f);
        if self.settings.is_forget_coupled {
            forget.iter_mut().zip(&*input).for_each(|(forget, input)| *forget = 1.0 - input);
        } else {
            add_products(forget, of_forget, cells);
            self.finish(forget, f);
        }
        self.finish(new, g);
        for (((cell, input), forget), new) in cells.iter_mut().zip(&*input).zip(&*forget).zip(&*new) {
            *cell = forget * *cell + input * new;
        }
        add_products(output, of_output, cells);
        self.finish(output, f);
        state.copy_from_slice(cells);
        h.apply(self.arch, state);
        state.iter_mut().zip(&*output).for_each(|(state, output)| *state *= output);
    }

    /// Bounds a gate's sums and applies its function.
    #[inline(always)]
    fn finish(&self, gate: &mut [f32], function: Activation) {
        if let Some(clip) = self.settings.clip {
            gate.iter_mut().for_each(|sum| *sum = sum.clamp(-clip, clip));
        }
        function.apply(self.arch, gate);
    }

    fn gru(&self, memory: Memory<'_>) {
        let Memory { fed, gates, rest, state, .. } = memory;
        let padded = self.padded;
        let f = self.settings.activations[0];
        self.recurrent.multiply(Rows::packed(state, padded), Start::Bias, false, gates);
        if let Some(last) = &self.last {
            let (reset, sums) = rest.split_at_mut(state.len());
            let rows = fed.chunks_exact_mut(3 * padded).zip(gates.chunks_exact(2 * padded));
            let once = Once;
            self.arch.dispatch(
                #[inline(always)]
                || {
                    once.spend();
                    for (((fed, gates), state), reset) in
                        rows.zip(state.chunks_exact(padded)).zip(reset.chunks_exact_mut(padded))
                    {
                        self.open(fed, gates, f);
                        for ((reset, state), r) in reset.iter_mut().zip(state).zip(&fed[padded..]) {
                            *reset = r * state;
                        }
                    }
                },
            );
            last.multiply(Rows::packed(reset, padded), Start::Bias, false, sums);
            self.close(fed, state, sums, padded, |_, sum| sum);
        } else if self.settings.is_usual(&[]) {
            self.arch.dispatch(gru::Step { fed, gates, state, padded });
        } else {
            let once = Once;
            self.arch.dispatch(
                #[inline(always)]
                || {
                    once.spend();
                    for (fed, gates) in fed.chunks_exact_mut(3 * padded).zip(gates.chunks_exact(3 * padded)) {
                        self.open(fed, gates, f);
                    }
                },
            );
            self.close(fed, state, &gates[2 * padded..], 3 * padded, |r, sum| r * sum);
        }
    }

    /// The gates z and r, in place of the input's part of them.
    #[inline(always)]
    fn open(&self, fed: &mut [f32], gates: &[f32], function: Activation) {
        for gate in 0..2 {
            let fed = &mut fed[gate * self.padded..][..self.hidden];
            fed.iter_mut().zip(&gates[gate * self.padded..]).for_each(|(fed, gate)| *fed += gate);
            self.finish(fed, function);
        }
    }

    /// The gate n, and the next hidden numbers. `sums` are those of the hidden numbers to n, a row each
    /// `stride`, of which `part` makes what is added, with r.
    fn close(
        &self,
        fed: &mut [f32],
        state: &mut [f32],
        sums: &[f32],
        stride: usize,
        part: impl Fn(f32, f32) -> f32,
    ) {
        let (hidden, padded) = (self.hidden, self.padded);
        let once = Once;
        self.arch.dispatch(
            #[inline(always)]
            || {
                once.spend();
                let rows = fed.chunks_exact_mut(3 * padded).zip(state.chunks_exact_mut(padded));
                for ((fed, state), sums) in rows.zip(sums.chunks(stride)) {
                    let (opened, new) = fed.split_at_mut(2 * padded);
                    let (z, r) = opened.split_at(padded);
                    let new = &mut new[..hidden];
                    for ((new, sum), r) in new.iter_mut().zip(sums).zip(r) {
                        *new += part(*r, *sum);
                    }
                    self.finish(new, self.settings.activations[1]);
                    for ((state, new), z) in state.iter_mut().zip(&*new).zip(z) {
                        *state = (1.0 - z) * new + z * *state;
                    }
                }
            },
        );
    }

    fn plain(&self, memory: Memory<'_>) {
        let Memory { fed, gates, state, .. } = memory;
        self.recurrent.multiply(Rows::packed(state, self.padded), Start::Rows(fed), false, gates);
        let once = Once;
        self.arch.dispatch(
            #[inline(always)]
            || {
                once.spend();
                let rows = gates.chunks_exact(self.padded).zip(state.chunks_exact_mut(self.padded));
                for (gates, state) in rows {
                    let state = &mut state[..self.hidden];
                    state.copy_from_slice(&gates[..self.hidden]);
                    self.finish(state, self.settings.activations[0]);
                }
            },
        );
    }
}

#[inline(always)]
fn add_products(sums: &mut [f32], weights: &[f32], cells: &[f32]) {
    for ((sum, weight), cell) in sums.iter_mut().zip(weights).zip(cells) {
        *sum += weight * cell;
    }
}
