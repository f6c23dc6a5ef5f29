//! A graph as a model: a row of features in, a probability out, and what else the graph gives of the row.

use std::sync::Arc;

use super::config::Config;
use super::graph::PlanError;
use super::graph::network::{Answer, Network};
use super::normalise::Normalisation;
use super::output::{Label, Output, of_reconstruction};
use super::{Model, ModelError};

/// Multiplications and additions of a row of a graph that is called at once rather than by another thread:
/// some microseconds.
const PROMPT_MULTIPLY_ADDS_MAX: u64 = 1 << 13;
/// The nodes of such a graph: each costs some tens of nanoseconds, however little it has to do.
const PROMPT_NODES_MAX: usize = 64;

/// A graph ready to be called.
pub struct GraphModel {
    network: Network,
    normalisation: Option<Normalisation>,
    output: Output,
    /// The graph's output that says the score, and those that are handed on beside it with how many numbers
    /// each has.
    score: usize,
    also: Vec<(usize, usize)>,
    /// Kept between calls, so that normalising allocates only when a batch is larger than any before.
    normalised: Vec<f32>,
    reconstructed: Vec<f32>,
    outside: Vec<(usize, f32)>,
    /// Rows of the last batch that the graph itself refused, with the reason.
    refused: Vec<(usize, String)>,
}

impl GraphModel {
    /// Makes a model of `network`, as `config` describes it.
    pub fn new(config: &Config, network: Network) -> Result<Self, PlanError> {
        let of_graph = |problem: String| PlanError { node: String::new(), problem };
        if network.width() != config.inputs {
            let found = network.width();
            return Err(of_graph(format!(
                "its inputs take {found} features together, expected {}, as inputs says",
                config.inputs
            )));
        }
        let outputs = &network.graph().outputs;
        let find = |name: &str| {
            outputs.iter().position(|output| output == name).ok_or_else(|| {
                let names: Vec<_> =
                    outputs.iter().map(|name| format!("\"{}\"", name.escape_debug())).collect();
                of_graph(format!(
                    "it has no output \"{}\"; there are {}",
                    name.escape_debug(),
                    names.join(", ")
                ))
            })
        };
        let score = config.value.as_deref().map_or(Ok(0), find)?;
        let single = network.single();
        let numbers = |at: usize| single.output(at).len();
        config.output.check_numbers(numbers(score), config.inputs).map_err(|problem| {
            of_graph(format!("its output \"{}\": {problem}", outputs[score].escape_debug()))
        })?;
        let also = config
            .also
            .iter()
            .map(|name| find(name).map(|at| (at, numbers(at))))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            normalisation: config.normalisation.clone(),
            output: config.output.clone(),
            network,
            score,
            also,
            normalised: Vec::new(),
            reconstructed: Vec::new(),
            outside: Vec::new(),
            refused: Vec::new(),
        })
    }
}

impl Model for GraphModel {
    fn inputs(&self) -> usize {
        self.network.width()
    }

    fn outputs(&self) -> usize {
        1 + self.also.iter().map(|(_, numbers)| numbers).sum::<usize>()
    }

    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError> {
        let inputs = self.network.width();
        if !rows.len().is_multiple_of(inputs) {
            return Err(ModelError::Shape { inputs, values: rows.len() });
        }
        let mut normalised = std::mem::take(&mut self.normalised);
        let rows = match &self.normalisation {
            Some(normalisation) => {
                normalisation.apply(rows, inputs, &mut normalised);
                normalised.as_slice()
            }
            None => rows,
        };
        let outputs = self.outputs();
        let Self { network, output, score, also, reconstructed, outside, refused, .. } = self;
        outside.clear();
        refused.clear();
        let graph = Arc::clone(network.graph());
        let mut row = 0;
        network.run(rows, &mut |features, answer| {
            let answer = match answer {
                Ok(answer) => answer,
                Err(fault) => {
                    predictions.resize(predictions.len() + outputs, f32::NAN);
                    refused.push((row, fault.describe(&graph)));
                    row += 1;
                    return;
                }
            };
            let (probability, found) = judge(output, &answer, *score, features, reconstructed);
            if let Some(found) = found.filter(|found| probability.is_nan() && found.is_finite()) {
                outside.push((row, found));
            }
            predictions.push(probability);
            for &(at, numbers) in also.iter() {
                let number = |place| answer.number(at, place).map_or(f32::NAN, |number| number as f32);
                predictions.extend((0..numbers).map(number));
            }
            row += 1;
        });
        self.normalised = normalised;
        Ok(())
    }

    fn outside(&self, row: usize) -> Option<f32> {
        let place = self.outside.binary_search_by_key(&row, |(at, _)| *at).ok()?;
        Some(self.outside[place].1)
    }

    fn refused(&self, row: usize) -> Option<String> {
        let place = self.refused.binary_search_by_key(&row, |(at, _)| *at).ok()?;
        Some(self.refused[place].1.clone())
    }

    fn replica(&self) -> Option<Box<dyn Model>> {
        Some(Box::new(Self {
            network: self.network.replica().ok()?,
            normalisation: self.normalisation.clone(),
            output: self.output.clone(),
            score: self.score,
            also: self.also.clone(),
            normalised: Vec::new(),
            reconstructed: Vec::new(),
            outside: Vec::new(),
            refused: Vec::new(),
        }))
    }

    fn is_prompt(&self) -> bool {
        let plan = self.network.single();
        plan.multiply_adds() <= PROMPT_MULTIPLY_ADDS_MAX && plan.steps().count() <= PROMPT_NODES_MAX
    }
}

/// The probability that an answer means, NaN where it means none, and the number that was to be one.
fn judge(
    output: &Output,
    answer: &Answer<'_>,
    score: usize,
    features: &[f32],
    reconstructed: &mut Vec<f32>,
) -> (f32, Option<f32>) {
    match output {
        &Output::Reconstruction { midpoint, scale } => {
            let again = match answer.floats(score) {
                Some(floats) => floats,
                None => {
                    let number = |at| answer.number(score, at).map_or(f32::NAN, |number| number as f32);
                    reconstructed.clear();
                    reconstructed.extend((0..features.len()).map(number));
                    reconstructed
                }
            };
            (of_reconstruction(features, again, midpoint, scale), None)
        }
        Output::Label { anomaly } => match anomaly {
            Label::Word(word) => (f32::from(u8::from(answer.word(score, 0) == Some(word))), None),
            Label::Number(number) => {
                (f32::from(u8::from(answer.number(score, 0) == Some(*number as f64))), None)
            }
        },
        _ => {
            let number = answer.number(score, output.place());
            let number = number.map_or(f32::NAN, |number| number as f32);
            (output.probability(number), Some(number))
        }
    }
}
