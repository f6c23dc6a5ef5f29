//! A network in front of the detection: trained on a fleet, and described as a model's layers.

use super::network::{self, Group, Kind, Label, Layer, Trained};
use super::plan::Plan;
use super::trained::{Progress, TrainingError};
use crate::model::layers::{
    self, Activation, Conv1d, Flatten, GlobalAveragePool, Linear, Padding, PaddingMode,
};
use crate::model::{Config, Layout, Order, Output, Tensor};
use crate::sensors::recorded::Fleet;

/// So many networks become one: what one of them has by luck, the others have not.
const NETWORKS: usize = 3;

/// Trains a classifier where rows have labels, and else an autoencoder.
pub fn train(
    fleet: &Fleet,
    plan: &Plan,
    progress: &mut dyn FnMut(Progress),
) -> Result<Trained, TrainingError> {
    let label = |truth: &Option<bool>| match truth {
        Some(false) => Label::Healthy,
        Some(true) => Label::Failing,
        None => Label::Unknown,
    };
    let is_labelled = fleet.devices.iter().flat_map(|device| &device.truth).any(Option::is_some);
    let labels: Vec<Vec<Label>> = fleet
        .devices
        .iter()
        .map(|device| if is_labelled { device.truth.iter().map(label).collect() } else { Vec::new() })
        .collect();
    let groups: Vec<_> = fleet
        .devices
        .iter()
        .zip(&labels)
        .map(|(device, labels)| Group { rows: &device.features, labels })
        .collect();
    let settings = network::Settings {
        seed: plan.seed,
        log: plan.log,
        convolution: plan.convolution,
        averaged: NETWORKS,
        ..network::Settings::default()
    };
    let mut tell = |network::Progress { epoch, of, .. }| {
        progress(Progress { step: "training the network", done: epoch, of });
    };
    Ok(network::train(&groups, fleet.features.len(), &settings, &mut tell)?)
}

/// The probability of an anomaly of each device's rows, by networks that have not seen the device.
pub fn unseen(network: &Trained) -> Vec<Vec<f32>> {
    let (midpoint, scale) = meaning(network);
    let probability = |score: &f32| (1.0 / (1.0 + (-(f64::from(*score) - midpoint) / scale).exp())) as f32;
    network.held_back.groups.iter().map(|group| group.scores.iter().map(probability).collect()).collect()
}

/// Which score is as likely an anomaly as not, and how far it must grow for the odds to grow by a factor of
/// e.
fn meaning(network: &Trained) -> (f64, f64) {
    match network.kind {
        Kind::Classifier => (0.0, 1.0),
        Kind::Autoencoder => (network.threshold.into(), network.scale.into()),
    }
}

/// Describes the network in `config`; returns its tensors.
pub fn describe(network: Trained, config: &mut Config) -> Vec<Tensor> {
    let (midpoint, scale) = meaning(&network);
    config.output = match network.kind {
        Kind::Classifier => Output::Logit,
        Kind::Autoencoder => Output::Reconstruction { midpoint, scale },
    };
    let layout = network.layers.iter().find_map(|layer| match layer {
        Layer::Conv1d { inputs, samples, order, .. } => {
            Some(Layout { order: order_of(*order), channels: *inputs, samples: *samples })
        }
        _ => None,
    });
    config.layout = layout;
    config.layers = network.layers.into_iter().map(layer).collect();
    let tensor =
        |weight: network::Weight| Tensor { name: weight.name, shape: weight.shape, values: weight.values };
    network.weights.into_iter().map(tensor).collect()
}

fn order_of(order: network::Order) -> Order {
    match order {
        network::Order::ChannelsSamples => Order::ChannelsSamples,
        network::Order::SamplesChannels => Order::SamplesChannels,
    }
}

fn layer(layer: Layer) -> layers::Layer {
    match layer {
        Layer::Linear { name, inputs, outputs } => {
            layers::Layer::Linear(Linear { name, inputs, outputs, bias: true })
        }
        Layer::Relu => layers::Layer::Activation(Activation::Relu),
        Layer::Conv1d { name, inputs, outputs, kernel, .. } => layers::Layer::Conv1d(Conv1d {
            name,
            inputs,
            outputs,
            kernel,
            stride: 1,
            dilation: 1,
            groups: 1,
            padding: Padding::Same,
            padding_mode: PaddingMode::Zeros,
            bias: true,
        }),
        Layer::GlobalAveragePool => layers::Layer::GlobalAveragePool(GlobalAveragePool {}),
        // All samples of a channel before those of the next.
        Layer::Flatten => layers::Layer::Flatten(Flatten { order: Some(Order::ChannelsSamples) }),
    }
}

/// How good networks were on devices that they had not seen.
pub fn sentence(network: &Trained) -> String {
    let what = match network.kind {
        Kind::Classifier => "a classifier",
        Kind::Autoencoder => "an autoencoder",
    };
    let held_back = &network.held_back;
    let mean = |of: fn(&network::HeldBackGroup) -> Option<f64>| {
        let all: Vec<f64> = held_back.groups.iter().filter_map(of).collect();
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    };
    let (area, drift) = (mean(|group| group.roc_auc), mean(|group| group.drift_auc));
    let unseen = if held_back.by_group { "devices" } else { "pieces of time" };
    let figures = match (area, drift) {
        (Some(area), Some(drift)) => format!(
            "; on {unseen} that it had not seen its mean ROC AUC was {area:.3}, beside a healthy drift of {drift:.3}"
        ),
        (None, Some(drift)) => format!("; on {unseen} that it had not seen its healthy drift was {drift:.3}"),
        _ => String::new(),
    };
    format!("{what}, stopped after {} epochs{figures}", held_back.epochs)
}
