//! `OneHot`: of each index a line of one value, with another where it points to.

use crate::model::graph::context::{Context, Problem, axis};
use crate::model::graph::kernel::{Built, Fault, Inputs};
use crate::model::graph::moves::{Bits, Mover, input_bits, moving, output_bits};
use crate::model::graph::operators::number::integer;
use crate::model::graph::tensor::{Data, Kind, Tensor, TensorType, elements};

pub fn one_hot(context: &Context<'_>) -> Result<Built, Problem> {
    let indices = context.shape(0)?;
    if matches!(context.kind(0)?, Kind::Bool | Kind::Text) {
        return Err(Problem(format!("its input 0 (indices) is {}, expected numbers", context.kind(0)?)));
    }
    let depth = depth(context.known(1, "depth")?)?;
    let values = context.tensor_type(2)?;
    if elements(&values.shape) != Some(2) {
        return Err(Problem(format!("its input 2 (values) has the shape {:?}, expected [2]", values.shape)));
    }
    let at = axis(context.int_or("axis", -1)?, indices.len() + 1)?;
    let mut shape = indices.to_vec();
    shape.insert(at, depth);
    let inner = indices[at..].iter().product();
    let output = TensorType::new(values.kind, shape);
    Ok(moving(output, OneHot { depth, inner }))
}

fn depth(tensor: &Tensor) -> Result<usize, Problem> {
    let value = number(&tensor.data, 0).filter(|_| tensor.data.len() == 1);
    let value = value.and_then(|value| usize::try_from(value).ok());
    value.ok_or_else(|| {
        Problem(format!("its input 1 (depth) is {}, expected one number, 0 or more", tensor.tensor_type()))
    })
}

/// The whole number at a place; `None` where there is none.
fn number(data: &Data, at: usize) -> Option<i64> {
    let whole = |value: f64| (value.fract() == 0.0).then(|| integer(value));
    match data {
        Data::F32(values) => whole(f64::from(*values.get(at)?)),
        Data::F64(values) => whole(*values.get(at)?),
        Data::I64(values) => values.get(at).copied(),
        Data::I32(values) => values.get(at).map(|&value| i64::from(value)),
        Data::I8(values) => values.get(at).map(|&value| i64::from(value)),
        Data::U8(values) => values.get(at).map(|&value| i64::from(value)),
        Data::Bool(_) | Data::Text(_) => None,
    }
}

struct OneHot {
    depth: usize,
    inner: usize,
}

impl Mover for OneHot {
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (indices, values) = (inputs.data(0)?, input_bits::<T>(inputs, 2)?);
        let to = output_bits::<T>(outputs, 0)?;
        let [off, on] = values else { return Err(Fault("input 2 is not of 2 elements".to_owned())) };
        to.fill(off.clone());
        let depth = self.depth as i64;
        for at in 0..indices.len() {
            // An index beyond the line leaves it as it is.
            let Some(index) = number(indices, at) else { continue };
            let index = if index < 0 { index.saturating_add(depth) } else { index };
            if (0..depth).contains(&index) {
                let (outer, behind) = (at / self.inner, at % self.inner);
                to[(outer * self.depth + index as usize) * self.inner + behind].clone_from(on);
            }
        }
        Ok(())
    }
}
