//! What recurrent layers share: their way through time, and layers and directions on top of each other.

use std::borrow::Cow;

use serde::Serialize;

use super::operation::RowsLayer;

/// Which of its outputs a recurrent layer hands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Returns {
    /// The output at each sample.
    Sequence,
    /// The output at the last sample alone, as plain features: PyTorch's `output[:, -1]`. Of the direction
    /// that runs backwards it has seen that one sample only.
    Last,
    /// Of each direction the output after all of its steps, as plain features: PyTorch's `h_n` of the last
    /// layer. With one direction it is the last.
    Final,
}

impl Returns {
    /// Each with its word in `config.json`.
    pub(crate) const NAMES: &[(&str, Self)] =
        &[("sequence", Self::Sequence), ("last", Self::Last), ("final", Self::Final)];
}

/// The way of one layer and direction through a sequence.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    pub samples: usize,
    /// Each row is one sample, which stands for all of them.
    pub repeated: bool,
    /// From the last sample to the first.
    pub backwards: bool,
    /// The only step whose output is handed on; those of all steps where there is none.
    pub only: Option<usize>,
}

impl Course {
    /// That of one direction of the layer whose outputs are handed on as `returns` says.
    pub fn of(samples: usize, repeated: bool, backwards: bool, returns: Returns) -> Self {
        let only = match returns {
            Returns::Sequence => None,
            Returns::Last if backwards => Some(0),
            Returns::Last | Returns::Final => Some(samples.saturating_sub(1)),
        };
        Self { samples, repeated, backwards, only }
    }

    /// How many steps there are to take: none after the last whose output is asked for.
    pub fn steps(self) -> usize {
        self.only.map_or(self.samples, |only| only + 1)
    }

    /// The sample that `step` meets.
    pub fn sample(self, step: usize) -> usize {
        if self.backwards { self.samples - 1 - step } else { step }
    }

    /// Where among the outputs of a row that of `step` stands, counted in outputs; nowhere for most steps
    /// when one alone is asked for.
    pub fn place(self, step: usize) -> Option<usize> {
        match self.only {
            None => Some(self.sample(step)),
            Some(only) => (only == step).then_some(0),
        }
    }

    /// How many samples a row has when it comes.
    pub fn samples_in(self) -> usize {
        if self.repeated { 1 } else { self.samples }
    }

    /// How many outputs a row has.
    pub fn samples_out(self) -> usize {
        if self.only.is_some() { 1 } else { self.samples }
    }
}

/// Layers on top of each other, each of one direction or of two side by side.
pub struct Stack<C> {
    layers: Vec<Vec<C>>,
    /// The numbers that one direction gives at a sample.
    width: usize,
}

impl<C: RowsLayer> Stack<C> {
    /// `layers` as they follow each other, none of them empty; each direction gives `width` numbers at a
    /// sample.
    pub fn new(layers: Vec<Vec<C>>, width: usize) -> Self {
        Self { layers, width }
    }

    /// One layer: its directions one after the other, then their outputs side by side.
    fn layer(&self, directions: &[C], input: &[f32], output: &mut [f32]) {
        let [only] = directions else {
            for (at, direction) in directions.iter().enumerate() {
                let mut alone = vec![0.0; output.len() / directions.len()];
                direction.forward(input, &mut alone);
                let places = output.chunks_exact_mut(directions.len() * self.width);
                for (place, numbers) in places.zip(alone.chunks_exact(self.width)) {
                    place[at * self.width..][..self.width].copy_from_slice(numbers);
                }
            }
            return;
        };
        only.forward(input, output);
    }
}

impl<C: RowsLayer> RowsLayer for Stack<C> {
    const NAME: &'static str = C::NAME;

    fn inputs(&self) -> usize {
        self.layers.first().and_then(|layer| layer.first()).map_or(0, C::inputs)
    }

    fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.iter().map(C::outputs).sum())
    }

    fn forward(&self, input: &[f32], output: &mut [f32]) {
        let Some((last, before)) = self.layers.split_last() else { return };
        let batch = input.len() / self.inputs();
        let mut now = Cow::Borrowed(input);
        for layer in before {
            let mut next = vec![0.0; batch * layer.iter().map(C::outputs).sum::<usize>()];
            self.layer(layer, &now, &mut next);
            now = Cow::Owned(next);
        }
        self.layer(last, &now, output);
    }
}

/// Puts matrices of `gates * hidden` rows, each with its width and the width that it gets,
/// side by side, and fills each gate's rows up to `padded`.
pub fn spread(matrices: &[(&[f32], usize, usize)], gates: usize, hidden: usize, padded: usize) -> Vec<f32> {
    let mut all = Vec::new();
    for row in 0..gates * padded {
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
