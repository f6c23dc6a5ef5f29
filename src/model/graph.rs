//! A model as a graph of operators: what `config.json` of format 2 and ONNX files describe.
//!
//! ```text
//!  .onnx ──▶ onnx (reads, bounds) ──┐
//!                                   ├──▶ ir (Graph) ──▶ plan, one for a number of rows ──▶ run
//!  config.json, format 2 ───────────┘         operators (what each node does), rows (whose each number is)
//! ```
//! A plan is made for a number of rows. Every shape in it is a number then, and what follows from shapes and
//! weights alone, such as a chain of `Shape`, `Gather` and `Concat`, is computed when the model is loaded. A
//! forward pass runs through a list of kernels whose buffers are all there.

mod affine;
pub mod context;
pub mod drawing;
pub mod ir;
pub mod json;
pub mod kernel;
mod moves;
pub mod network;
mod operators;
pub mod plan;
pub mod prepare;
mod rows;
pub mod stored;
pub mod tensor;
#[cfg(test)]
mod testing;

pub use self::ir::{Attribute, Graph, Input, Node};
pub use self::operators::{ML_OPSET_MAX, OPSET_MAX};
pub use self::plan::PlanError;
#[cfg(test)]
pub use self::plan::{Plan, Wanted};
#[cfg(test)]
pub use self::rows::Rows;
#[cfg(test)]
pub use self::tensor::TensorType;
pub use self::tensor::{Data, Kind, Tensor};
