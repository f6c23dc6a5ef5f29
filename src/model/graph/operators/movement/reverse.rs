//! `ReverseSequence`: the first places of each sequence backwards.

use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs};
use crate::model::graph::moves::{Bits, Mover, input_bits, moving, output_bits};
use crate::model::graph::tensor::{Data, Kind, TensorType};

pub fn reverse_sequence(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.tensor_type(0)?.clone();
    let (batch, time) = (context.int_or("batch_axis", 1)?, context.int_or("time_axis", 0)?);
    let is_time_first = match (batch, time) {
        (1, 0) => true,
        (0, 1) => false,
        _ => {
            let problem =
                format!("its batch_axis is {batch} and its time_axis {time}, expected 0 and 1, or 1 and 0");
            return Err(Problem(problem));
        }
    };
    let &[first, second, ref inner @ ..] = input.shape.as_slice() else {
        return Err(Problem(format!("its input has the shape {:?}, expected 2 axes or more", input.shape)));
    };
    let (batch, steps) = if is_time_first { (second, first) } else { (first, second) };
    let lengths = TensorType::new(Kind::I64, [batch]);
    if *context.tensor_type(1)? != lengths {
        let found = context.tensor_type(1)?;
        return Err(Problem(format!("its input 1 (sequence_lens) is {found}, expected {lengths}")));
    }
    let inner = inner.iter().product();
    Ok(moving(input, Reverse { is_time_first, batch, steps, inner }))
}

struct Reverse {
    is_time_first: bool,
    batch: usize,
    steps: usize,
    inner: usize,
}

impl Mover for Reverse {
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, lengths) = (input_bits::<T>(inputs, 0)?, inputs.values::<i64>(1)?);
        let to = output_bits::<T>(outputs, 0)?;
        let Self { is_time_first, batch, steps, inner, .. } = *self;
        for (row, &length) in lengths.iter().enumerate() {
            let known = usize::try_from(length).ok().filter(|length| *length <= steps);
            let length = known.ok_or_else(|| {
                Fault(format!("the length of sequence {row} is {length}, expected 0 to {steps}"))
            })?;
            for step in 0..steps {
                let other = if step < length { length - 1 - step } else { step };
                let place =
                    |step| if is_time_first { step * batch + row } else { row * steps + step } * inner;
                to[place(step)..][..inner].clone_from_slice(&from[place(other)..][..inner]);
            }
        }
        Ok(())
    }
}
