//! Plain features as a sequence, as PyTorch's `Unflatten` or a `view`: what stands before a decoder's
//! convolutions.

use std::fmt;

use serde::Serialize;

use super::flatten::AsItIs;
use super::layer_table::LayerTable;
use super::layer_type::LayerType;
use super::loading::Loading;
use crate::model::ModelError;
use crate::model::kernel::operation::{Operation, Step};
use crate::model::kernel::transpose::Transpose;
use crate::model::shape::{Misfit, Order, Shape};
use crate::settings::SettingError;

/// Plain features as a sequence, in the order that the model's layout has, or in another.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "unflatten")]
pub struct Unflatten {
    /// Numbers of a sample.
    pub channels: usize,
    /// Points in time.
    pub samples: usize,
    /// Which of the two runs slower, where that is not as in the model's layout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

impl LayerType for Unflatten {
    fn types() -> &'static [&'static str] {
        &["unflatten"]
    }

    fn read(table: &mut LayerTable<'_>) -> Result<Self, SettingError> {
        let (channels, samples) = (table.size("channels")?, table.size("samples")?);
        Ok(Self { channels, samples, order: table.find_choice("order", Order::NAMES)? })
    }

    fn shape(&self, input: Shape) -> Result<Shape, Misfit> {
        let Self { channels, samples, .. } = *self;
        let (features, all) = (input.features()?, channels.saturating_mul(samples));
        if features == all {
            return Ok(Shape::Sequence { channels, samples });
        }
        Err(Misfit::Width { member: "samples", stated: all, width: features })
    }

    fn load(&self, loading: &mut Loading<'_>) -> Result<Box<dyn Step>, ModelError> {
        Ok(match self.order.or(loading.order) {
            Some(Order::ChannelsSamples) => {
                Box::new(Operation(Transpose { outer: self.channels, inner: self.samples }))
            }
            Some(Order::SamplesChannels) | None => Box::new(AsItIs),
        })
    }
}

impl fmt::Display for Unflatten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unflatten ({} channels x {} samples)", self.channels, self.samples)
    }
}
