//! `Where`: of each place one of two.

use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs};
use crate::model::graph::moves::{Bits, Mover, input_bits, moving, output_bits};
use crate::model::graph::operators::broadcast::{self, Layout};
use crate::model::graph::tensor::{Data, Kind, TensorType};

pub fn select(context: &Context<'_>) -> Result<Built, Problem> {
    if context.kind(0)? != Kind::Bool {
        return Err(super::unexpected(context, 0, "bool"));
    }
    let (first, second) = (context.kind(1)?, context.kind(2)?);
    if first != second {
        return Err(Problem(format!(
            "its inputs 1 and 2 are {first} and {second}, expected the same for both"
        )));
    }
    let inputs = [context.shape(0)?, context.shape(1)?, context.shape(2)?];
    let shape = broadcast::shape(&inputs)?;
    let layout = Layout::new(&shape, inputs);
    let output = TensorType::new(first, shape);
    Ok(moving(output, Select { layout }))
}

struct Select {
    layout: Layout<3>,
}

impl Mover for Select {
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let condition = inputs.values::<bool>(0)?;
        let (first, second) = (input_bits::<T>(inputs, 1)?, input_bits::<T>(inputs, 2)?);
        let to = output_bits::<T>(outputs, 0)?;
        let run = self.layout.run;
        let [by_condition, by_first, by_second] = self.layout.moves.map(usize::from);
        self.layout.runs(|at, [mut c, mut a, mut b]| {
            for to in &mut to[at..at + run] {
                to.clone_from(if condition[c] { &first[a] } else { &second[b] });
                (c, a, b) = (c + by_condition, a + by_first, b + by_second);
            }
        });
        Ok(())
    }
}
