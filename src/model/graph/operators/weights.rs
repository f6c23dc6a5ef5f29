//! What nodes make of their weights once, for all plans and threads.

use std::ops::Deref;
use std::sync::Arc;

use crate::model::graph::context::{Context, Problem};
use crate::model::graph::tensor::Tensor;

/// What was made of known inputs, with the inputs: constants that follow from the batch differ from plan to
/// plan.
pub struct Arranged<T> {
    of: Vec<Option<Arc<Tensor>>>,
    made: T,
}

impl<T> Arranged<T> {
    pub fn new(of: Vec<Option<Arc<Tensor>>>, made: T) -> Self {
        Self { of, made }
    }

    /// Whether it was made of these inputs.
    pub fn is_of(&self, inputs: &[Option<Arc<Tensor>>]) -> bool {
        let same = |(a, b): (&Option<Arc<Tensor>>, &Option<Arc<Tensor>>)| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            (None, None) => true,
            _ => false,
        };
        self.of.iter().zip(inputs).all(same)
    }
}

impl<T> Deref for Arranged<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.made
    }
}

/// What `make` makes of the known `inputs`; made once, as long as they are the same.
pub fn arranged<T: Send + Sync + 'static>(
    context: &Context<'_>,
    inputs: &[usize],
    make: impl Fn() -> Result<T, Problem>,
) -> Result<Arc<Arranged<T>>, Problem> {
    let known = |&at: &usize| if context.has(at) { Ok(context.constant(at)?.cloned()) } else { Ok(None) };
    let of = inputs.iter().map(known).collect::<Result<Vec<_>, Problem>>()?;
    let arranged = context.prepared(|| Ok(Arranged::new(of.clone(), make()?)))?;
    if arranged.is_of(&of) {
        return Ok(arranged);
    }
    Ok(Arc::new(Arranged::new(of, make()?)))
}
