//! `NonZero` and `Compress`, whose outputs are as long as elements say: these must be known.

use crate::model::graph::context::{Context, Problem, axis};
use crate::model::graph::kernel::{Built, Fault, Inputs};
use crate::model::graph::moves::{Bits, Mover, input_bits, moving, output_bits};
use crate::model::graph::operators::walk::around;
use crate::model::graph::tensor::{Data, Tensor, TensorType, elements};

/// The places of all elements that are not 0, an axis a line.
pub fn non_zero(context: &Context<'_>) -> Result<Built, Problem> {
    let tensor = context.known(0, "X")?;
    let is_set: Vec<bool> = match &tensor.data {
        Data::F32(values) => values.iter().map(|value| *value != 0.0).collect(),
        Data::F64(values) => values.iter().map(|value| *value != 0.0).collect(),
        Data::I64(values) => values.iter().map(|value| *value != 0).collect(),
        Data::I32(values) => values.iter().map(|value| *value != 0).collect(),
        Data::I8(values) => values.iter().map(|value| *value != 0).collect(),
        Data::U8(values) => values.iter().map(|value| *value != 0).collect(),
        Data::Bool(values) => values.clone(),
        Data::Text(_) => return Err(super::super::elementwise::unexpected(context, 0, "numbers")),
    };
    let set: Vec<usize> = (0..is_set.len()).filter(|&at| is_set[at]).collect();
    // More axes than the sizes need could make a large value of a small one.
    let rank = tensor.shape.len();
    elements(&[rank, set.len()]).filter(|all| *all <= RESULT_MAX).ok_or_else(|| {
        format!("its input has {rank} axes and {} elements that are not 0, which is too much", set.len())
    })?;
    let mut places = Vec::with_capacity(rank * set.len());
    for at in 0..rank {
        let (_, size, inner) = around(&tensor.shape, at);
        places.extend(set.iter().map(|&element| (element / inner % size) as i64));
    }
    Ok(Built::Constants(vec![Tensor::new([rank, set.len()], places)]))
}

/// The most indices that are made of a value that is known.
const RESULT_MAX: usize = 1 << 22;

/// The places of an axis, or of all elements, that a condition holds for.
pub fn compress(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.tensor_type(0)?;
    let condition = context.known_values::<bool>(1, "condition")?;
    let (outer, size, inner, mut shape, at) = match context.int("axis")? {
        Some(named) => {
            let at = axis(named, input.shape.len())?;
            let (outer, size, inner) = around(&input.shape, at);
            (outer, size, inner, input.shape.clone(), at)
        }
        None => (1, elements(&input.shape).unwrap_or(0), 1, vec![0], 0),
    };
    if condition.len() > size {
        return Err(Problem(format!(
            "its condition has {} elements, expected {size} at most",
            condition.len()
        )));
    }
    let places: Vec<usize> = (0..condition.len()).filter(|&place| condition[place]).collect();
    shape[at] = places.len();
    let output = TensorType::new(input.kind, shape);
    Ok(moving(output, Compress { outer, size, inner, places }))
}

struct Compress {
    outer: usize,
    size: usize,
    inner: usize,
    places: Vec<usize>,
}

impl Mover for Compress {
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (input_bits::<T>(inputs, 0)?, output_bits::<T>(outputs, 0)?);
        let Self { outer, size, inner, places, .. } = self;
        for outer in 0..*outer {
            for (at, place) in places.iter().enumerate() {
                let from = &from[(outer * *size + place) * *inner..][..*inner];
                to[(outer * places.len() + at) * *inner..][..*inner].clone_from_slice(from);
            }
        }
        Ok(())
    }
}
