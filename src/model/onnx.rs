//! Reads an ONNX file into a [`Graph`].
//!
//! The file is not trusted: what it says is compared with what is there, everything that takes memory is
//! bounded by a constant of [`limits`], and nothing here calls itself by a depth that a file controls. What
//! nodes do, and whether their inputs fit, is not looked at here: the plan does that. Types that the file
//! states of values between nodes are not trusted, and so not read.
//!
//! ```text
//!  bytes ──▶ wire (fields) ──▶ model (versions, functions) ──▶ graph ──▶ node, tensor ──▶ graph::Graph
//!                                                                └── function (calls are written out)
//! ```

mod error;
mod external;
#[cfg(test)]
mod fixtures;
mod function;
mod graph;
mod limits;
mod model;
mod node;
mod tensor;
#[cfg(test)]
mod tests;
mod value_info;
mod wire;

use std::path::Path;

pub use self::error::OnnxError;
pub use self::limits::FILE_BYTES_MAX;
use crate::model::graph::Graph;

/// Reads the ONNX model that `file` holds. `directory` is where it came from: weights may lie in files there.
///
/// # Errors
/// [`OnnxError`], in words without the file's name: what was found where, and what was expected.
pub fn read(file: &[u8], directory: Option<&Path>) -> Result<Graph, OnnxError> {
    if file.len() as u64 > FILE_BYTES_MAX {
        return Err(
            format!("it has {} bytes, more than {FILE_BYTES_MAX} (file_bytes_max)", file.len()).into()
        );
    }
    let model = match model::Model::read(file) {
        Ok(model) => model,
        Err(error) => return Err(model::foreign(file).map_or(error, OnnxError::from)),
    };
    graph::Reader::new(&model, directory, file.len() as u64).model()
}
