//! The layers of a network, each type in a file of its own: what `config.json` says of it, the tensors that
//! it needs, what it makes of a row, and the arithmetic.
//!
//! A new type is a file like the others here, and a line in the list below.

mod activation;
mod average_pool1d;
mod batch_norm;
mod chain;
mod conv1d;
mod embedding;
mod flatten;
mod global_average_pool;
mod group_norm;
mod gru;
mod layer_norm;
mod layer_table;
mod layer_type;
mod linear;
mod loading;
mod lstm;
mod max_pool1d;
mod pooling;
mod position;
mod reading;
mod recurrent;
mod repeat;
mod residual;
mod self_attention;
mod transformer_encoder_layer;
mod unflatten;
mod upsample;

use std::fmt;

use serde::Serialize;

pub use self::conv1d::{Padding, PaddingMode};
pub use self::lstm::Returns;
pub use self::transformer_encoder_layer::Between;

pub(crate) use self::chain::{Chain, products, widest};
pub(crate) use self::layer_type::{Expected, LayerType, Role};
pub(crate) use self::loading::{Loading, Values};

use self::layer_table::LayerTable;
use self::reading::Reading;
use super::shape::Shape;
use crate::settings::{Entry, SettingError};

/// The most layers that a model may have, with those within others.
pub(crate) const LAYERS_MAX: usize = 1_024;

/// Makes of the list of types what needs all of them: [`Layer`], and how each is read and asked.
macro_rules! layers {
    ($($(#[$doc:meta])+ $file:ident::$Type:ident,)+) => {
        $(pub use self::$file::$Type;)+

        /// One step of a network.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Layer {
            $($(#[$doc])+ $Type($Type),)+
        }

        impl Layer {
            /// Each word for a type, and how what it stands for is read.
            fn types() -> Vec<(&'static str, (&'static str, Reader))> {
                let mut types = Vec::new();
                $(
                    let read: Reader = |table| $Type::read(table).map(Self::$Type);
                    types.extend($Type::types().iter().map(|word| (*word, (*word, read))));
                )+
                types
            }

            /// The layer as what its type has in common with the others.
            pub(crate) fn as_type(&self) -> &dyn LayerType {
                match self {
                    $(Self::$Type(layer) => layer,)+
                }
            }
        }
    };
}

type Reader = fn(&mut LayerTable<'_>) -> Result<Layer, SettingError>;

layers! {
    /// `y = x W^T + b`.
    linear::Linear,
    /// Batch norm as in evaluation.
    batch_norm::BatchNorm,
    /// A convolution over the samples of a sequence.
    conv1d::Conv1d,
    /// The largest number of each channel in each window.
    max_pool1d::MaxPool1d,
    /// The mean of each channel in each window.
    average_pool1d::AveragePool1d,
    /// The mean of each channel over all samples.
    global_average_pool::GlobalAveragePool,
    /// A sequence as plain features.
    flatten::Flatten,
    /// Plain features as a sequence.
    unflatten::Unflatten,
    /// Each sample several times.
    upsample::Upsample,
    /// Layer normalisation.
    layer_norm::LayerNorm,
    /// Group normalisation.
    group_norm::GroupNorm,
    /// A long short-term memory.
    lstm::Lstm,
    /// A gated recurrent unit.
    gru::Gru,
    /// Attention of a sequence to itself.
    self_attention::SelfAttention,
    /// A block of a transformer's encoder.
    transformer_encoder_layer::TransformerEncoderLayer,
    /// Where a sample stands, added to it.
    position::Position,
    /// Rows of a table in the place of small whole numbers.
    embedding::Embedding,
    /// What inner layers give, added to what came to them.
    residual::Residual,
    /// Plain features, repeated at each of several points in time.
    repeat::Repeat,
    /// An elementwise function.
    activation::Activation,
}

/// Reads `list`, whose layers must each take what the one before gives, the first one `input`; also says what
/// the last one gives.
pub(crate) fn read(list: &Entry<'_>, input: Shape) -> Result<(Vec<Layer>, Shape), SettingError> {
    Reading::default().list(list, input, 0)
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_type().fmt(f)
    }
}
