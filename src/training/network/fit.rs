//! One training: steps of AdamW over rows that are drawn, epoch by epoch.

use std::f64::consts::PI;

use candle_core::{Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};

use super::draw::Draw;
use super::layers::{Layer, Network, Weight};
use super::{Kind, Settings, TrainingError};

/// The share of the cycle in which the learning rate rises, and where it begins, as a share of its top:
/// PyTorch's `OneCycleLR`.
const RISES_FOR: f64 = 0.3;
const BEGINS_AT: f64 = 1.0 / 25.0;
/// So many rows are scored at once.
const SCORED_AT_ONCE: usize = 1_024;

/// Rows of a group that a network may learn from.
pub struct Piece<'a> {
    /// All normalised rows of the group.
    pub rows: &'a [f32],
    /// The places of the healthy ones.
    pub healthy: Vec<u32>,
    /// The places of the failing ones.
    pub failing: Vec<u32>,
}

/// The places of the rows of one kind.
type Those = for<'a, 'b> fn(&'a Piece<'b>) -> &'a Vec<u32>;

/// What is to be trained, and how.
#[derive(Clone, Copy)]
pub struct Fit<'a> {
    pub kind: Kind,
    pub inputs: usize,
    pub layers: &'a [Layer],
    pub settings: &'a Settings,
}

/// A network at the end of each of its epochs.
pub struct Course {
    pub epochs: Vec<Vec<Weight>>,
    pub losses: Vec<f32>,
}

impl Fit<'_> {
    /// Trains for `epochs`; each one's loss is told to `each`.
    pub fn run(
        &self,
        pieces: &[Piece<'_>],
        epochs: usize,
        each: &mut dyn FnMut(f32),
    ) -> Result<Course, TrainingError> {
        let settings = self.settings;
        let mut draw = Draw::new(settings.seed);
        let network = Network::new(self.layers, &mut draw)?;
        let params = ParamsAdamW { lr: 0.0, weight_decay: settings.weight_decay, ..ParamsAdamW::default() };
        let free = ParamsAdamW { weight_decay: 0.0, ..params.clone() };
        let of = |at: usize| network.variables.iter().map(|pair| pair[at].clone()).collect();
        let mut optimisers = [AdamW::new(of(0), params)?, AdamW::new(of(1), free)?];
        let steps = settings.epochs_max * settings.steps_per_epoch;
        let mut course = Course { epochs: Vec::with_capacity(epochs), losses: Vec::with_capacity(epochs) };
        let mut step = 0;
        for epoch in 0..epochs {
            let mut sum = 0.0;
            for _ in 0..settings.steps_per_epoch {
                let rate = settings.learning_rate * cycle(step as f64 / steps as f64);
                step += 1;
                let loss = self.loss(&network, pieces, &mut draw)?;
                let gradients = loss.backward()?;
                for optimiser in &mut optimisers {
                    optimiser.set_learning_rate(rate);
                    optimiser.step(&gradients)?;
                }
                sum += loss.to_scalar::<f32>()?;
            }
            let loss = sum / settings.steps_per_epoch as f32;
            if !loss.is_finite() {
                return Err(TrainingError::Diverged { epoch, learning_rate: settings.learning_rate });
            }
            course.epochs.push(network.weights()?);
            course.losses.push(loss);
            each(loss);
        }
        Ok(course)
    }

    /// The scores of rows by a network with these weights: logits, or mean squared errors.
    pub fn scores(
        &self,
        weights: &[Weight],
        rows: &[f32],
        places: &[u32],
    ) -> Result<Vec<f32>, TrainingError> {
        let network = Network::of(self.layers, weights)?;
        let mut scores = Vec::with_capacity(places.len());
        for places in places.chunks(SCORED_AT_ONCE) {
            let mut batch = Vec::with_capacity(places.len() * self.inputs);
            places.iter().for_each(|at| self.copy(rows, *at, &mut batch));
            let batch = Tensor::from_vec(batch, (places.len(), self.inputs), &Device::Cpu)?;
            let output = network.forward(&batch)?;
            let score = match self.kind {
                Kind::Classifier => output.squeeze(1)?,
                Kind::Autoencoder => (output - &batch)?.sqr()?.mean(1)?,
            };
            scores.extend(score.to_vec1::<f32>()?);
        }
        Ok(scores)
    }

    /// The loss of one step.
    fn loss(
        &self,
        network: &Network<'_>,
        pieces: &[Piece<'_>],
        draw: &mut Draw,
    ) -> Result<Tensor, TrainingError> {
        let half = self.settings.batch_rows / 2;
        let mut batch = Vec::with_capacity(2 * half * self.inputs);
        self.draw(pieces, |piece| &piece.healthy, half, draw, &mut batch);
        let second: Those = match self.kind {
            Kind::Classifier => |piece| &piece.failing,
            Kind::Autoencoder => |piece| &piece.healthy,
        };
        self.draw(pieces, second, half, draw, &mut batch);
        let batch = Tensor::from_vec(batch, (2 * half, self.inputs), &Device::Cpu)?;
        let output = network.forward(&batch)?;
        if self.kind == Kind::Autoencoder {
            return Ok((output - batch)?.sqr()?.mean_all()?);
        }
        // Cross entropy of a logit z, in the form that none makes infinite: max(z, 0) - z y + ln(1 + e^-|z|).
        let logit = output.squeeze(1)?;
        let target: Vec<f32> = (0..2 * half).map(|at| if at < half { 0.0 } else { 1.0 }).collect();
        let target = Tensor::from_vec(target, 2 * half, &Device::Cpu)?;
        let tail = (logit.abs()?.neg()?.exp()? + 1.0)?.log()?;
        Ok(((logit.relu()? - (logit * target)?)? + tail)?.mean_all()?)
    }

    /// Draws a group that has such rows, and one of them, so many times.
    fn draw(&self, pieces: &[Piece<'_>], those: Those, count: usize, draw: &mut Draw, batch: &mut Vec<f32>) {
        let with: Vec<&Piece<'_>> = pieces.iter().filter(|piece| !those(piece).is_empty()).collect();
        for _ in 0..count {
            let piece = with[draw.below(with.len())];
            let places = those(piece);
            self.copy(piece.rows, places[draw.below(places.len())], batch);
        }
    }

    fn copy(&self, rows: &[f32], at: u32, batch: &mut Vec<f32>) {
        let at = at as usize * self.inputs;
        batch.extend_from_slice(&rows[at..at + self.inputs]);
    }
}

/// The learning rate as a share of its top, after so much of the cycle.
fn cycle(share: f64) -> f64 {
    if share < RISES_FOR {
        BEGINS_AT + (1.0 - BEGINS_AT) * 0.5 * (1.0 - (PI * share / RISES_FOR).cos())
    } else {
        0.5 * (1.0 + (PI * (share - RISES_FOR) / (1.0 - RISES_FOR)).cos())
    }
}
