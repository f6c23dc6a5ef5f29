//! `SVMClassifier`: a decision for each pair of classes, and the class that wins most of them.

use std::sync::Arc;

use super::probability::{PAIR_MIN, Scratch, couple};
use super::similarity::Similarity;
use super::weighed;
use crate::model::graph::context::{Context, Problem, size};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::operators::ml::labels::Labels;
use crate::model::graph::operators::ml::linear::greatest;
use crate::model::graph::operators::ml::transform::{Transform, logistic};
use crate::model::graph::operators::ml::{Blocks, Table, expect_length};
use crate::model::graph::tensor::{Data, Kind, TensorType};

/// The most classes: each pair of them has a decision.
const CLASSES_MAX: usize = 1024;

struct Classifier {
    similarity: Arc<Similarity>,
    machine: Machine,
    labels: Labels,
    transform: Transform,
    /// Whether no coefficient is negative.
    is_positive: bool,
    blocks: Blocks,
    /// The similarities of a block of rows.
    similar: Vec<f32>,
    /// The scores of one row.
    scores: Vec<f32>,
}

/// How scores follow from similarities.
enum Machine {
    /// They are the scores of the classes, less an offset.
    Linear {
        offset: f32,
    },
    Pairs(Box<Pairs>),
}

/// A machine for each pair of classes.
struct Pairs {
    /// The place of each class' support vectors, and the end.
    starts: Vec<usize>,
    /// For each class but one a row of weights of all support vectors.
    coefficients: Vec<f32>,
    /// An offset for each pair.
    rho: Vec<f32>,
    /// For each pair the two numbers that make a probability of its score, where there are any.
    sigmoids: Vec<(f32, f32)>,
    votes: Vec<usize>,
    scratch: Scratch,
    decisions: Vec<f32>,
}

pub fn classifier(context: &Context<'_>) -> Result<Built, Problem> {
    let table = Table::of_numbers(context)?;
    let labels = Labels::read(context, "classlabels_ints", "classlabels_strings")?;
    let classes = labels.len();
    if classes > CLASSES_MAX {
        return Err(format!("it has {classes} classes, expected {CLASSES_MAX} or fewer (classes_max)").into());
    }
    let coefficients = context.floats("coefficients")?.unwrap_or_default();
    let vectors = context.floats("support_vectors")?.unwrap_or_default();
    let rho = context.floats("rho")?.unwrap_or_default();
    let per_class = context.ints("vectors_per_class")?.unwrap_or_default();
    let (a, b) =
        (context.floats("prob_a")?.unwrap_or_default(), context.floats("prob_b")?.unwrap_or_default());
    let transform = context.choice("post_transform", Transform::NAMES)?;
    let (similarity, machine) = if per_class.iter().all(|&count| count == 0) {
        let expected =
            classes.checked_mul(table.columns).ok_or("it has more coefficients than can be counted")?;
        expect_length("coefficients", coefficients.len(), expected, "one for each class and feature")?;
        let offset = *rho.first().ok_or("its attribute rho is empty, expected the offset of the scores")?;
        (Similarity::linear(context, table, coefficients)?, Machine::Linear { offset })
    } else {
        let pairs = Pairs::new(classes, per_class, coefficients, rho, (a, b))?;
        let count = pairs.starts[classes];
        (Similarity::of(context, table, count, vectors)?, Machine::Pairs(Box::new(pairs)))
    };
    let width = machine.scores(classes);
    let outputs =
        vec![TensorType::new(labels.kind(), [table.rows]), TensorType::new(Kind::F32, [table.rows, width])];
    let kernel = Classifier {
        similar: vec![0.0; table.block() * similarity.vectors()],
        scores: vec![0.0; width],
        is_positive: coefficients.iter().all(|&value| value >= 0.0),
        blocks: Blocks::new(table, context.kind(0)?),
        similarity,
        machine,
        labels,
        transform,
    };
    Ok(Built::Kernel { outputs, kernel: Box::new(kernel) })
}

impl Machine {
    /// How many scores a row has.
    fn scores(&self, classes: usize) -> usize {
        match self {
            Self::Pairs(pairs) if pairs.sigmoids.is_empty() => pairs.rho.len().max(2),
            _ => classes,
        }
    }
}

impl Pairs {
    fn new(
        classes: usize,
        per_class: &[i64],
        coefficients: &[f32],
        rho: &[f32],
        (a, b): (&[f32], &[f32]),
    ) -> Result<Self, Problem> {
        if classes < 2 {
            return Err(format!("it has {classes} class, expected two or more").into());
        }
        expect_length("vectors_per_class", per_class.len(), classes, "one for each class")?;
        let mut starts = vec![0_usize];
        let mut end = 0_usize;
        for &count in per_class {
            end = end
                .checked_add(size(count, "number of support vectors")?)
                .ok_or("it has too many support vectors")?;
            starts.push(end);
        }
        let expected = end.checked_mul(classes - 1).ok_or("it has more coefficients than can be counted")?;
        let why = format!("{} for each of {end} support vectors", classes - 1);
        expect_length("coefficients", coefficients.len(), expected, &why)?;
        let pairs = classes * (classes - 1) / 2;
        expect_length("rho", rho.len(), pairs, "one for each pair of classes")?;
        if !a.is_empty() || !b.is_empty() {
            expect_length("prob_a", a.len(), pairs, "one for each pair of classes")?;
            expect_length("prob_b", b.len(), pairs, "one for each pair of classes")?;
        }
        Ok(Self {
            starts,
            coefficients: coefficients.to_vec(),
            rho: rho.to_vec(),
            sigmoids: a.iter().copied().zip(b.iter().copied()).collect(),
            votes: vec![0; classes],
            scratch: Scratch::new(classes),
            decisions: vec![0.0; pairs],
        })
    }

    /// Decides each pair of classes, and gives the class with most votes, the first of equals.
    fn vote(&mut self, similar: &[f32]) -> usize {
        let (classes, count) = (self.votes.len(), similar.len());
        self.votes.fill(0);
        let mut pair = 0;
        for i in 0..classes {
            let of_i = self.starts[i]..self.starts[i + 1];
            for j in i + 1..classes {
                let of_j = self.starts[j]..self.starts[j + 1];
                // A class' own row of weights is left out: the rows of those after it move up by one.
                let (weights_i, weights_j) =
                    (&self.coefficients[(j - 1) * count..], &self.coefficients[i * count..]);
                let sum = weighed(&similar[of_i.clone()], &weights_i[of_i.clone()])
                    + weighed(&similar[of_j.clone()], &weights_j[of_j])
                    + f64::from(self.rho[pair]);
                self.decisions[pair] = sum as f32;
                self.votes[if sum > 0.0 { i } else { j }] += 1;
                pair += 1;
            }
        }
        let mut winner = 0;
        for (class, votes) in self.votes.iter().enumerate() {
            if *votes > self.votes[winner] {
                winner = class;
            }
        }
        winner
    }

    /// The probabilities of the classes, by those of pairs.
    fn probabilities(&mut self, probabilities: &mut [f32]) {
        let classes = self.votes.len();
        let mut decided = self.decisions.iter().zip(&self.sigmoids);
        for i in 0..classes {
            for j in i + 1..classes {
                let Some((score, (a, b))) = decided.next() else { return };
                let probability = (1.0 - logistic(score * a + b)).clamp(PAIR_MIN, 1.0 - PAIR_MIN);
                self.scratch.pairs[i * classes + j] = probability;
                self.scratch.pairs[j * classes + i] = 1.0 - probability;
            }
        }
        couple(&mut self.scratch, probabilities);
    }
}

impl Classifier {
    /// Writes the scores of a row and gives its class.
    fn score(&mut self, row: usize) -> usize {
        let Self { similarity, machine, transform, is_positive, similar, scores, .. } = self;
        let similar = &similar[row * similarity.vectors()..][..similarity.vectors()];
        match machine {
            Machine::Linear { offset } => {
                scores.iter_mut().zip(similar).for_each(|(score, value)| *score = value + *offset);
                let class = linear_class(scores, *is_positive);
                transform.apply(scores);
                class
            }
            Machine::Pairs(pairs) => {
                let class = pairs.vote(similar);
                if !pairs.sigmoids.is_empty() {
                    pairs.probabilities(scores);
                    transform.apply(scores);
                } else if let [score] = pairs.decisions[..] {
                    two(*transform, score, scores);
                } else {
                    scores.copy_from_slice(&pairs.decisions);
                    transform.apply(scores);
                }
                class
            }
        }
    }
}

/// The class of linear scores. Two classes are decided by a threshold, as in ONNX Runtime.
fn linear_class(scores: &[f32], is_positive: bool) -> usize {
    let class = greatest(scores);
    if scores.len() != 2 {
        return class;
    }
    let is_above = if is_positive { scores[class] >= 0.5 } else { scores[class] > 0.0 };
    if is_above { 1 } else { class }
}

/// The scores of two classes that share a decision.
fn two(transform: Transform, score: f32, scores: &mut [f32]) {
    match transform {
        Transform::None => scores.copy_from_slice(&[-score, score]),
        Transform::Probit => {
            let mut one = [score];
            transform.apply(&mut one);
            scores.copy_from_slice(&[1.0 - one[0], one[0]]);
        }
        Transform::Logistic => {
            scores.copy_from_slice(&[-score, score]);
            transform.apply(scores);
        }
        Transform::Softmax | Transform::SoftmaxZero => scores.copy_from_slice(&[1.0 - score, score]),
    }
}

impl Kernel for Classifier {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let data = inputs.data(0)?;
        let Table { columns, .. } = self.blocks.table;
        let (vectors, width) = (self.similarity.vectors(), self.scores.len());
        let mut blocks = std::mem::replace(&mut self.blocks, Blocks::empty());
        let result = blocks.each(data, |first, rows| {
            let count = rows.len() / columns;
            self.similarity.compute(rows, &mut self.similar[..count * vectors]);
            for at in 0..count {
                let class = self.score(at);
                self.labels.write(outputs, first + at, class)?;
                output::<f32>(outputs, 1)?[(first + at) * width..][..width].copy_from_slice(&self.scores);
            }
            Ok(())
        });
        self.blocks = blocks;
        result
    }

    fn multiply_adds(&self) -> Option<u64> {
        let rows = self.blocks.table.rows;
        let pairs = (rows as u64).saturating_mul((self.labels.len() * self.similarity.vectors()) as u64);
        Some(self.similarity.multiply_adds(rows).saturating_add(pairs))
    }
}
