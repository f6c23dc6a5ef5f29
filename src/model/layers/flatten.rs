//! Flattens a sequence, as PyTorch's `Flatten`: its numbers become plain features.

use std::fmt;

use candle_core::Tensor;
use serde::Serialize;

use super::layer_table::LayerTable;
use super::layer_type::LayerType;
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, Step};
use crate::model::kernel::transpose::Transpose;
use crate::model::shape::{Misfit, Order, Shape};
use crate::settings::SettingError;

/// A sequence as plain features, in the order that the model's layout has, or in another.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(tag = "type", rename = "flatten")]
pub struct Flatten {
    /// Which of channels and samples runs slower, where that is not as in the model's layout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

impl LayerType for Flatten {
    fn types() -> &'static [&'static str] {
        &["flatten"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        Ok(Self { order: table.find_choice("order", Order::NAMES)? })
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        input.sequence()?;
        Ok(Shape::Flat(input.values()))
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        let (channels, samples) = loading.input.sequence()?;
        // The linear layer behind it has its columns in the order that PyTorch's flatten gave: behind
        // convolutions all samples of a channel side by side. Between layers of ours the channels of a sample
        // are side by side.
        Ok(match self.order.or(loading.order) {
            Some(Order::ChannelsSamples) => {
                Box::new(Operation(Transpose { outer: samples, inner: channels }))
            }
            Some(Order::SamplesChannels) | None => Box::new(AsItIs),
        })
    }
}

impl fmt::Display for Flatten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.order {
            None => "flatten",
            Some(Order::ChannelsSamples) => "flatten (channels_samples)",
            Some(Order::SamplesChannels) => "flatten (samples_channels)",
        })
    }
}

/// The numbers lie in their order already.
pub struct AsItIs;

impl Step for AsItIs {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        Ok(x.clone())
    }
}
