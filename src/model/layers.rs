//! The layers of a network, each type in a file of its own: what `config.json` says of it, the tensors that it
//! needs, what it makes of a row, and the arithmetic.
//!
//! A new type is a file like the others here, and a line in the list below.

mod activation;
mod batch_norm;
mod conv1d;
mod entry;
mod flatten;
mod global_average_pool;
mod layer_type;
mod linear;
mod loading;
mod lstm;
mod max_pool1d;
mod repeat;

use std::fmt;

use serde::Serialize;

pub use self::lstm::Returns;

pub(crate) use self::entry::Entry;
pub(crate) use self::layer_type::{Expected, LayerType, Role};
pub(crate) use self::loading::{Loading, Values};

use self::entry::LAYER_VALUES_MAX;
use super::ConfigError;
use super::config::Place;
use super::config::schema::LayerEntry;
use super::shape::Shape;
use crate::suggestion;

/// The most layers that a model may have.
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
            /// Each type's words, and how it is read.
            const READERS: &[(fn() -> &'static [&'static str], Reader)] =
                &[$(($Type::types, |entry| $Type::read(entry).map(Self::$Type)),)+];

            /// The layer as what its type has in common with the others.
            pub(crate) fn as_type(&self) -> &dyn LayerType {
                match self {
                    $(Self::$Type(layer) => layer,)+
                }
            }
        }
    };
}

type Reader = fn(&mut Entry<'_>) -> Result<Layer, ConfigError>;

layers! {
    /// `y = x W^T + b`.
    linear::Linear,
    /// Batch norm as in evaluation.
    batch_norm::BatchNorm,
    /// A convolution over the samples of a sequence.
    conv1d::Conv1d,
    /// The largest number of each channel in each window.
    max_pool1d::MaxPool1d,
    /// The mean of each channel over all samples.
    global_average_pool::GlobalAveragePool,
    /// A sequence as plain features.
    flatten::Flatten,
    /// A long short-term memory.
    lstm::Lstm,
    /// The same features at each of several points in time.
    repeat::Repeat,
    /// An elementwise function.
    activation::Activation,
}

impl Layer {
    /// Reads one entry, of whatever type it says that it is.
    pub(crate) fn read(entry: &mut Entry<'_>) -> Result<Self, ConfigError> {
        let found = entry.layer_type();
        let reader = Self::READERS.iter().find(|(types, _)| types().contains(&found));
        let Some((_, read)) = reader else { return Err(unknown_type(entry)) };
        let layer = read(entry)?;
        entry.finish()?;
        Ok(layer)
    }
}

/// Reads `entries`, of which each must take what the one before it gives, the first one `input`; also says
/// what the last one gives.
pub(crate) fn read(
    entries: &[LayerEntry],
    input: Shape,
    place: &Place<'_>,
) -> Result<(Vec<Layer>, Shape), ConfigError> {
    if entries.is_empty() || entries.len() > LAYERS_MAX {
        let problem = format!("expected 1 to {LAYERS_MAX} layers (layers_max), found {}", entries.len());
        return Err(place.error("layers", problem));
    }
    let mut layers = Vec::with_capacity(entries.len());
    let mut shape = input;
    for (at, raw) in entries.iter().enumerate() {
        let mut entry = Entry::new(raw, at, place);
        let layer = Layer::read(&mut entry)?;
        shape = shape_after(&layer, shape, &entry)?;
        if raw.name.is_some() && entries[..at].iter().any(|earlier| earlier.name == raw.name) {
            return Err(entry.error("name", "an earlier layer has this name"));
        }
        layers.push(layer);
    }
    Ok((layers, shape))
}

/// What `layer` makes of a row of shape `input`; the error names the member of `entry` that does not fit.
fn shape_after(layer: &Layer, input: Shape, entry: &Entry<'_>) -> Result<Shape, ConfigError> {
    let output = layer.as_type().shape(input).map_err(|misfit| entry.misfit(misfit, input))?;
    if output.values() > LAYER_VALUES_MAX {
        let problem =
            format!("expected at most {LAYER_VALUES_MAX} numbers (layer_values_max), found {output}");
        return Err(entry.error("type", problem));
    }
    Ok(output)
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_type().fmt(f)
    }
}

fn unknown_type(entry: &Entry<'_>) -> ConfigError {
    let found = entry.layer_type();
    let known: Vec<_> = Layer::READERS.iter().flat_map(|(types, _)| types()).copied().collect();
    let suggestion = suggestion::meant(found, known.iter().copied())
        .map(|known| format!("; did you mean \"{known}\"?"))
        .unwrap_or_default();
    entry.error("type", format!("unknown type {found:?}, expected one of {}{suggestion}", known.join(", ")))
}
