//! The chain of layers, as a model's `config.json` lists it and as candle computes it.

use candle_core::{Device, Tensor, Var};

use super::draw::Draw;
use super::{Convolution, Kind, Order, Settings, TrainingError};

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// `y = x W^T + b`; weight `(outputs, inputs)`, bias `(outputs)`.
    #[allow(missing_docs, reason = "the line above names the fields")]
    Linear { name: String, inputs: usize, outputs: usize },
    /// A convolution over samples, with as many samples behind it; weight `(outputs, inputs, kernel)`, bias
    /// `(outputs)`. The row is read as this order says.
    #[allow(missing_docs, reason = "the line above names the fields")]
    Conv1d { name: String, inputs: usize, outputs: usize, kernel: usize, samples: usize, order: Order },
    /// `max(x, 0)`.
    Relu,
    /// The mean of each channel over all samples.
    GlobalAveragePool,
    /// All samples of the first channel, then those of the second, as plain features.
    Flatten,
}

/// A trained tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// As in PyTorch's state dict: the layer's place in the chain, and `weight` or `bias`.
    pub name: String,
    /// Its dimensions, outputs first.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// The layers for `inputs` features, first layer first.
pub fn chain(kind: Kind, inputs: usize, settings: &Settings) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut width = inputs;
    if let Some(Convolution { order, channels, samples, filters, kernel }) = settings.convolution {
        let name = layers.len().to_string();
        layers.push(Layer::Conv1d { name, inputs: channels, outputs: filters, kernel, samples, order });
        layers.push(Layer::Relu);
        // What an autoencoder must find again is lost in a mean.
        (width, _) = match kind {
            Kind::Classifier => (filters, layers.push(Layer::GlobalAveragePool)),
            Kind::Autoencoder => (filters * samples, layers.push(Layer::Flatten)),
        };
    }
    let back = settings.hidden.iter().rev().skip(1).filter(|_| kind == Kind::Autoencoder);
    for &outputs in settings.hidden.iter().chain(back) {
        layers.push(Layer::Linear { name: layers.len().to_string(), inputs: width, outputs });
        layers.push(Layer::Relu);
        width = outputs;
    }
    let outputs = match kind {
        Kind::Classifier => 1,
        Kind::Autoencoder => inputs,
    };
    layers.push(Layer::Linear { name: layers.len().to_string(), inputs: width, outputs });
    layers
}

/// The layers with variables of their own.
pub struct Network<'a> {
    layers: &'a [Layer],
    /// Weight and bias of each layer that has any.
    pub variables: Vec<[Var; 2]>,
}

impl<'a> Network<'a> {
    /// First weights as PyTorch draws them: uniform, within one over the square root of how many numbers go
    /// into an output.
    pub fn new(layers: &'a [Layer], draw: &mut Draw) -> Result<Self, TrainingError> {
        let mut variables = Vec::new();
        for shape in layers.iter().filter_map(Layer::shape) {
            let fan_in: usize = shape[1..].iter().product();
            let bound = 1.0 / (fan_in as f32).sqrt();
            let mut drawn = |shape: &[usize]| {
                let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw.uniform(bound)).collect();
                Var::from_vec(values, shape, &Device::Cpu)
            };
            variables.push([drawn(&shape)?, drawn(&shape[..1])?]);
        }
        Ok(Self { layers, variables })
    }

    /// The layers with weights that were learnt.
    pub fn of(layers: &'a [Layer], weights: &[Weight]) -> Result<Self, TrainingError> {
        let var = |weight: &Weight| Var::from_slice(&weight.values, weight.shape.clone(), &Device::Cpu);
        let pairs = weights.chunks_exact(2).map(|pair| Ok([var(&pair[0])?, var(&pair[1])?]));
        Ok(Self { layers, variables: pairs.collect::<Result<_, TrainingError>>()? })
    }

    /// What the last layer gives for `rows`, `(batch, inputs)`.
    pub fn forward(&self, rows: &Tensor) -> Result<Tensor, TrainingError> {
        let mut x = rows.clone();
        let mut variables = self.variables.iter();
        for layer in self.layers {
            x = match layer {
                Layer::Relu => x.relu()?,
                Layer::GlobalAveragePool => x.mean(2)?,
                Layer::Flatten => x.flatten_from(1)?,
                Layer::Linear { .. } => {
                    let [weight, bias] = variables.next().expect("each linear layer has variables");
                    x.matmul(&weight.t()?)?.broadcast_add(bias)?
                }
                Layer::Conv1d { inputs, kernel, samples, order, .. } => {
                    let [weight, bias] = variables.next().expect("each convolution has variables");
                    let batch = x.dim(0)?;
                    x = match order {
                        Order::ChannelsSamples => x.reshape((batch, *inputs, *samples))?,
                        Order::SamplesChannels => {
                            x.reshape((batch, *samples, *inputs))?.transpose(1, 2)?.contiguous()?
                        }
                    };
                    let bias = bias.reshape((1, (), 1))?;
                    x.conv1d(weight, kernel / 2, 1, 1, 1)?.broadcast_add(&bias)?
                }
            };
        }
        Ok(x)
    }

    /// The variables' values, with their names.
    pub fn weights(&self) -> Result<Vec<Weight>, TrainingError> {
        let mut weights = Vec::with_capacity(2 * self.variables.len());
        for (name, pair) in self.layers.iter().filter_map(Layer::name).zip(&self.variables) {
            for (part, var) in ["weight", "bias"].into_iter().zip(pair) {
                let values = var.flatten_all()?.to_vec1()?;
                weights.push(Weight { name: format!("{name}.{part}"), shape: var.dims().to_vec(), values });
            }
        }
        Ok(weights)
    }
}

impl Layer {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Linear { name, .. } | Self::Conv1d { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The shape of its weight, outputs first.
    fn shape(&self) -> Option<Vec<usize>> {
        match *self {
            Self::Linear { inputs, outputs, .. } => Some(vec![outputs, inputs]),
            Self::Conv1d { inputs, outputs, kernel, .. } => Some(vec![outputs, inputs, kernel]),
            _ => None,
        }
    }
}
