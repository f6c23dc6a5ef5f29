//! What a plan is drafted as, before values have buffers.

use std::sync::Arc;

use super::Value;
use crate::model::graph::kernel::Kernel;
use crate::model::graph::tensor::{Tensor, TensorType};

/// A value that is computed: where it is made and where it is needed last.
pub struct Root {
    pub tensor_type: TensorType,
    /// The first step that does not need it any more; kept for ever where it is an input or an output.
    pub last_use: usize,
    pub is_kept: bool,
}

/// Where the elements of a value are, while a plan is made.
#[derive(Clone, Copy)]
pub enum Place {
    Root(usize),
    Constant,
}

/// A value that is known so far.
#[derive(Clone)]
pub struct Planned {
    pub value: Value,
    pub place: Place,
}

/// A step whose values have no buffers yet.
pub struct DraftStep {
    pub node: usize,
    pub kernel: Box<dyn Kernel>,
    pub inputs: Vec<Draft>,
    pub outputs: Vec<usize>,
    /// The nodes that have become a part of it, in order.
    pub fused: Vec<usize>,
    /// The name of what it gives, where that is one value: of the last node that is a part of it.
    pub gives: Option<String>,
}

/// Where an input of a step comes from.
#[derive(Clone)]
pub enum Draft {
    Absent,
    Root(usize),
    Constant(Arc<Tensor>),
}

impl Planned {
    pub fn draft(&self) -> Draft {
        match (&self.place, &self.value.known.constant) {
            (Place::Root(root), _) => Draft::Root(*root),
            (Place::Constant, Some(constant)) => Draft::Constant(Arc::clone(constant)),
            (Place::Constant, None) => Draft::Absent,
        }
    }
}
