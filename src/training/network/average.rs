//! Several networks as one, which gives the mean of what they give: side by side in the hidden layers (L. K.
//! Hansen and P. Salamon, "Neural network ensembles", IEEE Transactions on Pattern Analysis and Machine
//! Intelligence 12, 1990).
//!
//! What one small network says of a device that is unlike those it has seen is partly luck; the mean of
//! several is less so, and remains a chain of the same layers.

use super::layers::{Layer, Weight};

/// The chain whose last layer gives the mean of what `networks` give, which all have these `layers`.
pub fn average(layers: &[Layer], networks: &[Vec<Weight>]) -> (Vec<Layer>, Vec<Weight>) {
    let count = networks.len();
    let last = networks[0].len() / 2 - 1;
    let mut at = 0;
    let mut wide = layers.to_vec();
    let mut weights = Vec::with_capacity(networks[0].len());
    for layer in &mut wide {
        let (is_first, is_last) = (at == 0, at == last);
        match layer {
            Layer::Linear { inputs, outputs, .. } => {
                *inputs *= if is_first { 1 } else { count };
                *outputs *= if is_last { 1 } else { count };
            }
            // A convolution comes before all others.
            Layer::Conv1d { outputs, .. } => *outputs *= count,
            _ => continue,
        }
        let those =
            |part: usize| -> Vec<&Weight> { networks.iter().map(|one| &one[2 * at + part]).collect() };
        weights.push(match (is_first, is_last) {
            (true, true) => mean(&those(0)),
            (true, false) => stacked(&those(0)),
            (false, is_last) => beside(&those(0), is_last),
        });
        weights.push(if is_last { mean(&those(1)) } else { stacked(&those(1)) });
        at += 1;
    }
    (wide, weights)
}

fn mean(weights: &[&Weight]) -> Weight {
    let mut mean = weights[0].clone();
    for (at, value) in mean.values.iter_mut().enumerate() {
        *value = weights.iter().map(|one| one.values[at]).sum::<f32>() / weights.len() as f32;
    }
    mean
}

/// All outputs of the first, then those of the second.
fn stacked(weights: &[&Weight]) -> Weight {
    let mut all = weights[0].clone();
    all.values = weights.iter().flat_map(|one| one.values.iter().copied()).collect();
    all.shape[0] *= weights.len();
    all
}

/// Each with inputs of its own: outputs of its own too, or their mean.
fn beside(weights: &[&Weight], is_mean: bool) -> Weight {
    let (count, outputs, inputs) = (weights.len(), weights[0].shape[0], weights[0].shape[1]);
    let width = count * inputs;
    let rows = if is_mean { outputs } else { count * outputs };
    let scale = if is_mean { 1.0 / count as f32 } else { 1.0 };
    let mut values = vec![0.0; rows * width];
    for (place, one) in weights.iter().enumerate() {
        for (output, row) in one.values.chunks_exact(inputs).enumerate() {
            let output = if is_mean { output } else { place * outputs + output };
            let from = output * width + place * inputs;
            values[from..from + inputs].iter_mut().zip(row).for_each(|(to, value)| *to = scale * value);
        }
    }
    Weight { name: weights[0].name.clone(), shape: vec![rows, width], values }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super::draw::Draw;
    use super::super::layers::{self, Network};
    use super::super::{Convolution, Kind, Order, Settings};
    use super::*;

    #[test]
    fn one_network_gives_the_mean_of_what_three_give() {
        let order = Order::SamplesChannels;
        let convolution = Convolution { order, channels: 2, samples: 6, filters: 3, kernel: 3 };
        let settings = |hidden: &[usize], convolution| Settings {
            hidden: hidden.to_vec(),
            convolution,
            ..Settings::default()
        };
        for settings in [
            settings(&[], None),
            settings(&[4], None),
            settings(&[4, 3], None),
            settings(&[4], Some(convolution)),
        ] {
            for kind in [Kind::Classifier, Kind::Autoencoder] {
                let layers = layers::chain(kind, 12, &settings);
                let row =
                    Tensor::from_vec((0..24).map(|at| (at as f32).sin()).collect(), (2, 12), &Device::Cpu);
                let row = row.unwrap();
                let forward = |network: &Network<'_>| -> Vec<f32> {
                    network.forward(&row).unwrap().flatten_all().unwrap().to_vec1().unwrap()
                };
                let networks: Vec<_> =
                    (0..3).map(|seed| Network::new(&layers, &mut Draw::new(seed)).unwrap()).collect();
                let said: Vec<Vec<f32>> = networks.iter().map(forward).collect();
                let weights: Vec<_> = networks.iter().map(|network| network.weights().unwrap()).collect();
                let (wide, weights) = average(&layers, &weights);
                let together = forward(&Network::of(&wide, &weights).unwrap());
                for (at, value) in together.iter().enumerate() {
                    let mean = said.iter().map(|one| one[at]).sum::<f32>() / 3.0;
                    assert!((value - mean).abs() < 1e-6, "{kind:?} {layers:?}");
                }
            }
        }
    }
}
