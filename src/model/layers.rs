//! The layers of a network, each type in a file of its own: what `config.json` says of it, the tensors that
//! it needs, what it makes of a row, and the arithmetic.
//!
//! A new type is a file like the others here, and a line in the list below.

mod activation;
mod batch_norm;
mod conv1d;
mod flatten;
mod global_average_pool;
mod layer_table;
mod layer_type;
mod linear;
mod loading;
mod lstm;
mod max_pool1d;
mod repeat;

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

pub use self::lstm::Returns;

pub(crate) use self::layer_type::{Expected, LayerType, Role};
pub(crate) use self::loading::{Loading, Values};

use self::layer_table::{LAYER_VALUES_MAX, LayerTable};
use super::shape::Shape;
use crate::settings::{Entry, SettingError};

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
    /// The mean of each channel over all samples.
    global_average_pool::GlobalAveragePool,
    /// A sequence as plain features.
    flatten::Flatten,
    /// A long short-term memory.
    lstm::Lstm,
    /// Plain features, repeated at each of several points in time.
    repeat::Repeat,
    /// An elementwise function.
    activation::Activation,
}

/// Reads `list`, whose layers must each take what the one before gives, the first one `input`; also says what
/// the last one gives.
pub(crate) fn read(list: &Entry<'_>, input: Shape) -> Result<(Vec<Layer>, Shape), SettingError> {
    let entries = list.items()?;
    if !(1..=LAYERS_MAX).contains(&entries.len()) {
        let problem = format!("found {}, expected 1 to {LAYERS_MAX} layers (layers_max)", entries.len());
        return Err(list.invalid(problem));
    }
    let mut layers = Vec::with_capacity(entries.len());
    let mut names = HashSet::new();
    let mut shape = input;
    for entry in entries {
        let mut table = entry.table()?;
        let found = table.find_choice("type", &Layer::types())?;
        let (layer_type, read) = table.required("type", found)?;
        let mut table = LayerTable::of(table, layer_type, layers.is_empty())?;
        let layer = read(&mut table)?;
        table.refuse_others()?;
        shape = shape_after(&layer, shape, &table)?;
        if table.name().is_some_and(|name| !names.insert(name)) {
            return Err(table.invalid("name", "an earlier layer has this name"));
        }
        layers.push(layer);
    }
    Ok((layers, shape))
}

/// What `layer` makes of a row of shape `input`; the error names the member of its `table` that does not fit.
fn shape_after(layer: &Layer, input: Shape, table: &LayerTable<'_>) -> Result<Shape, SettingError> {
    let output = layer.as_type().shape(input).map_err(|misfit| table.misfit(misfit, input))?;
    if output.values() > LAYER_VALUES_MAX {
        let problem =
            format!("found {output}, expected at most {LAYER_VALUES_MAX} numbers (layer_values_max)");
        return Err(table.invalid("type", problem));
    }
    Ok(output)
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_type().fmt(f)
    }
}
