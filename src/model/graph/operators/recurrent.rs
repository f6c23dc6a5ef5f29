//! LSTM, GRU and RNN, in both directions.

use std::sync::Arc;

use super::Operator;
use super::weights::{Arranged, arranged};
use crate::model::graph::context::{Context, Problem, expect_rank, size};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel};
use crate::model::graph::tensor::{Data, Kind, TensorType};
use crate::model::kernel::recurrence::{
    Activation, Call, Cell, Places, Recurrent, RecurrentWeights, Settings,
};

pub const OPERATORS: &[Operator] = &[
    Operator::onnx("LSTM", 7, 3..=8, |context| build(context, Cell::Lstm)),
    Operator::onnx("GRU", 7, 3..=6, |context| build(context, Cell::Gru)),
    Operator::onnx("RNN", 7, 3..=6, |context| build(context, Cell::Plain)),
];

const X: usize = 0;
const W: usize = 1;
const R: usize = 2;
const B: usize = 3;
const LENGTHS: usize = 4;
const STATE: usize = 5;
const CELLS: usize = 6;
const PEEPHOLES: usize = 7;

/// The sizes of a node.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    samples: usize,
    rows: usize,
    inputs: usize,
    hidden: usize,
    directions: usize,
    /// `layout` 1: rows come first, then samples.
    is_row_first: bool,
}

fn build(context: &Context<'_>, cell: Cell) -> Result<Built, Problem> {
    let is_reverse = context.choice(
        "direction",
        &[("forward", [false, false]), ("reverse", [true, false]), ("bidirectional", [false, true])],
    )?;
    let directions = if is_reverse[1] { 2 } else { 1 };
    let sizes = sizes(context, cell, directions)?;
    let settings = settings(context, cell, directions)?;
    context.ignore(&["output_sequence"]);
    let Sizes { samples, rows, hidden, is_row_first, .. } = sizes;
    let layers = arranged(context, &[W, R, B, PEEPHOLES], || layers(context, &sizes, &settings))?;
    let room = layers[0].room(rows, samples).ok_or("its gates are more than can be counted")?;
    let all =
        if is_row_first { [rows, samples, directions, hidden] } else { [samples, directions, rows, hidden] };
    let last = if is_row_first { [rows, directions, hidden] } else { [directions, rows, hidden] };
    let names = if cell == Cell::Lstm { 3 } else { 2 };
    let shapes = (0..names).map(|at| match (context.wants(at), at) {
        (false, _) => vec![0],
        (true, 0) => all.to_vec(),
        (true, _) => last.to_vec(),
    });
    let shapes = shapes.chain([vec![room]]);
    Ok(Built::Kernel {
        outputs: shapes.map(|shape| TensorType::new(Kind::F32, shape)).collect(),
        kernel: Box::new(Layer {
            layers,
            sizes,
            is_reverse,
            before: [STATE, CELLS].map(|at| (at, context.has(at))),
            has_lengths: context.has(LENGTHS),
        }),
    })
}

fn sizes(context: &Context<'_>, cell: Cell, directions: usize) -> Result<Sizes, Problem> {
    for at in (0..context.inputs()).filter(|&at| context.has(at)) {
        let (kind, expected) = (context.kind(at)?, if at == LENGTHS { Kind::I32 } else { Kind::F32 });
        if kind != expected {
            return Err(Problem(format!("its input {at} is {kind}, expected {expected}")));
        }
    }
    let (input, recurrent) = (context.shape(X)?, context.shape(R)?);
    expect_rank(input, 3..=3, "input 0 (X)")?;
    expect_rank(recurrent, 3..=3, "input 2 (R)")?;
    let is_row_first = context.flag("layout", false)?;
    let (samples, rows) = if is_row_first { (input[1], input[0]) } else { (input[0], input[1]) };
    let sizes = Sizes { samples, rows, inputs: input[2], hidden: recurrent[2], directions, is_row_first };
    if let Some(stated) = context.int("hidden_size")?
        && size(stated, "attribute hidden_size")? != sizes.hidden
    {
        return Err(Problem(format!(
            "its attribute hidden_size is {stated}, and input 2 (R) is for {}",
            sizes.hidden
        )));
    }
    if sizes.hidden == 0 || sizes.inputs == 0 {
        return Err(Problem(format!(
            "its weights are for {} inputs and {} hidden numbers, expected 1 or more",
            sizes.inputs, sizes.hidden
        )));
    }
    let hidden = sizes.hidden;
    let gates = cell.order().len().checked_mul(hidden).ok_or("it has more gates than can be counted")?;
    let state = if is_row_first { [rows, directions, hidden] } else { [directions, rows, hidden] };
    let expected: [(usize, &str, &[usize]); 7] = [
        (W, "W", &[directions, gates, sizes.inputs]),
        (R, "R", &[directions, gates, hidden]),
        (B, "B", &[directions, gates.saturating_mul(2)]),
        (LENGTHS, "sequence_lens", &[rows]),
        (STATE, "initial_h", &state),
        (CELLS, "initial_c", &state),
        (PEEPHOLES, "P", &[directions, hidden.saturating_mul(3)]),
    ];
    for (at, name, expected) in expected {
        if context.has(at) && context.shape(at)? != expected {
            let found = context.shape(at)?;
            return Err(Problem(format!(
                "its input {at} ({name}) has the shape {found:?}, expected {expected:?}"
            )));
        }
    }
    Ok(sizes)
}

/// What each direction is set to.
fn settings(context: &Context<'_>, cell: Cell, directions: usize) -> Result<Vec<Settings>, Problem> {
    use Activation::{Sigmoid, Tanh};
    let (usual, count) = match cell {
        Cell::Lstm => ([Sigmoid, Tanh, Tanh], 3),
        Cell::Gru => ([Sigmoid, Tanh, Tanh], 2),
        Cell::Plain => ([Tanh, Tanh, Tanh], 1),
    };
    let names = context.texts("activations")?.unwrap_or_default();
    let mut alphas = context.floats("activation_alpha")?.unwrap_or_default().iter().copied();
    let mut betas = context.floats("activation_beta")?.unwrap_or_default().iter().copied();
    if !names.is_empty() && names.len() != count * directions {
        return Err(Problem(format!("it has {} activations, expected {}", names.len(), count * directions)));
    }
    let clip = context.float("clip")?.filter(|clip| *clip > 0.0);
    let is_forget_coupled = cell == Cell::Lstm && context.flag("input_forget", false)?;
    let is_reset_after = cell == Cell::Gru && context.int_or("linear_before_reset", 0)? != 0;
    let mut all = Vec::with_capacity(directions);
    for direction in 0..directions {
        let mut activations = usual;
        if !names.is_empty() {
            for (place, name) in activations.iter_mut().zip(&names[direction * count..][..count]) {
                *place = activation(name, &mut alphas, &mut betas)?;
            }
        }
        all.push(Settings { cell, activations, clip, is_forget_coupled, is_reset_after });
    }
    Ok(all)
}

/// The function of a name, with its numbers from the lists, where it takes any. Numbers that are not there
/// are as in ONNX Runtime, which has zeros for `Affine` and `ThresholdedRelu`.
fn activation(
    name: &str,
    alphas: &mut impl Iterator<Item = f32>,
    betas: &mut impl Iterator<Item = f32>,
) -> Result<Activation, Problem> {
    let mut alpha = |usual: f32| alphas.next().unwrap_or(usual);
    let mut beta = |usual: f32| betas.next().unwrap_or(usual);
    Ok(match name.to_ascii_lowercase().as_str() {
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "relu" => Activation::Relu,
        "affine" => Activation::Affine(alpha(0.0), beta(0.0)),
        "leakyrelu" => Activation::LeakyRelu(alpha(0.01)),
        "thresholdedrelu" => Activation::ThresholdedRelu(alpha(0.0)),
        "scaledtanh" => Activation::ScaledTanh(alpha(1.0), beta(1.0)),
        "hardsigmoid" => Activation::HardSigmoid(alpha(0.2), beta(0.5)),
        "elu" => Activation::Elu(alpha(1.0)),
        "softsign" => Activation::Softsign,
        "softplus" => Activation::Softplus,
        _ => return Err(Problem(format!("its activation \"{}\" is not one of ONNX's", name.escape_debug()))),
    })
}

fn layers(context: &Context<'_>, sizes: &Sizes, settings: &[Settings]) -> Result<Vec<Recurrent>, Problem> {
    let known = |at: usize, name: &str| {
        if context.has(at) { context.known_values::<f32>(at, name) } else { Ok(&[][..]) }
    };
    let [input, recurrent] = [known(W, "W")?, known(R, "R")?];
    let [bias, peepholes] = [known(B, "B")?, known(PEEPHOLES, "P")?];
    let part = |values: &'_ [f32], direction: usize| {
        let each = values.len() / sizes.directions;
        direction * each..(direction + 1) * each
    };
    let layer = |(direction, settings): (usize, &Settings)| {
        let weights = RecurrentWeights {
            input: &input[part(input, direction)],
            recurrent: &recurrent[part(recurrent, direction)],
            bias: &bias[part(bias, direction)],
            peepholes: &peepholes[part(peepholes, direction)],
            inputs: sizes.inputs,
            hidden: sizes.hidden,
        };
        Recurrent::new(*settings, &weights)
    };
    Ok(settings.iter().enumerate().map(layer).collect())
}

struct Layer {
    layers: Arc<Arranged<Vec<Recurrent>>>,
    sizes: Sizes,
    is_reverse: [bool; 2],
    /// The inputs that the hidden numbers and the cells begin with, where they are there.
    before: [(usize, bool); 2],
    has_lengths: bool,
}

impl Kernel for Layer {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let lengths = if self.has_lengths { Some(inputs.values::<i32>(LENGTHS)?) } else { None };
        let Sizes { samples, rows, .. } = self.sizes;
        let bad = |length: &&i32| !usize::try_from(**length).is_ok_and(|length| length <= samples);
        if let Some(bad) = lengths.and_then(|lengths| lengths.iter().find(bad)) {
            return Err(Fault(format!("a sequence has the length {bad}, expected 0 to {samples}")));
        }
        match lengths {
            // Sequences of different lengths are run one by one.
            Some(lengths) if lengths.iter().any(|&length| length as usize != samples) => {
                if let Some(Data::F32(all)) = outputs.first_mut() {
                    all.fill(0.0);
                }
                for (row, length) in lengths.iter().enumerate() {
                    self.part(inputs, outputs, row, 1, *length as usize)?;
                }
                Ok(())
            }
            _ => self.part(inputs, outputs, 0, rows, samples),
        }
    }

    fn multiply_adds(&self) -> Option<u64> {
        let Sizes { rows, samples, .. } = self.sizes;
        Some(
            self.layers
                .iter()
                .fold(0, |sum: u64, layer| sum.saturating_add(layer.multiply_adds(rows, samples))),
        )
    }
}

impl Layer {
    /// Runs `rows` rows from `first`, over their first `samples` samples.
    fn part(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Data],
        first: usize,
        rows: usize,
        samples: usize,
    ) -> Result<(), Fault> {
        for (direction, layer) in self.layers.iter().enumerate() {
            let [x, all, state] = self.places(direction, first);
            let mut before = [None; 2];
            for (before, (at, is_there)) in before.iter_mut().zip(self.before) {
                if is_there {
                    *before = Some((inputs.values::<f32>(at)?, state));
                }
            }
            let mut outputs = outputs.iter_mut().map(|output| match output {
                Data::F32(values) => values.as_mut_slice(),
                _ => &mut [],
            });
            let room = outputs.next_back().unwrap_or_default();
            let mut next = || outputs.next().unwrap_or_default();
            layer.run(Call {
                x: inputs.values(X)?,
                x_places: x,
                rows,
                samples,
                is_reverse: self.is_reverse[direction],
                before,
                after: [(next(), all), (next(), state), (next(), state)],
                room,
            });
        }
        Ok(())
    }

    /// Where the input, all outputs and the states of a direction lie, from row `first` on.
    fn places(&self, direction: usize, first: usize) -> [Places; 3] {
        let Sizes { samples, rows, inputs, hidden, directions, is_row_first } = self.sizes;
        let place =
            |start: usize, sample: usize, row: usize| Places { start: start + first * row, sample, row };
        if is_row_first {
            [
                place(0, inputs, samples * inputs),
                place(direction * hidden, directions * hidden, samples * directions * hidden),
                place(direction * hidden, 0, directions * hidden),
            ]
        } else {
            [
                place(0, rows * inputs, inputs),
                place(direction * rows * hidden, directions * rows * hidden, hidden),
                place(direction * rows * hidden, 0, hidden),
            ]
        }
    }
}

#[cfg(test)]
mod tests;
