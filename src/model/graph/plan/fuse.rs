//! Nodes that become a part of the step before, which does what they do while it writes, or with other
//! weights.

use std::sync::Arc;

use super::Value;
use super::draft::{Draft, Place, Planned};
use super::planner::Planner;
use crate::model::graph::affine::Affine;
use crate::model::graph::ir::{DOMAIN, Node};
use crate::model::graph::kernel::{Kernel, Then};
use crate::model::graph::rows::Rows;
use crate::model::graph::tensor::{Tensor, TensorType};
use crate::model::kernel::line::Line;

impl<'w> Planner<'w, '_> {
    /// Lets the step before do what `node` does, where it alone needs what that step gives. `kernel` is what
    /// the node was built as, and `output` what it gives.
    pub fn fused(
        &mut self,
        at: usize,
        node: &Node,
        (kernel, output): (&dyn Kernel, &TensorType),
        inputs: &[Draft],
        rows: Rows,
    ) -> bool {
        // What the nodes of a branch use is not counted: it counts as one use by the node whose branch it is.
        if !self.wanted.graph.nodes.get(at).is_some_and(|own| std::ptr::eq(own, node)) {
            return false;
        }
        let Some((place, root)) = only_root(inputs) else { return false };
        // What a body takes from around it is no input of the node's own.
        let Some(name) = node.inputs.get(place).filter(|name| !name.is_empty()) else { return false };
        if self.uses.get(name) != Some(&1) || self.roots[root].is_kept {
            return false;
        }
        let known = self.values[name].value.known.clone();
        // What a view of it is may be needed elsewhere too, and what broadcasts it is no part of the step.
        if known.tensor_type != self.roots[root].tensor_type || known.tensor_type != *output {
            return false;
        }
        let affine;
        let then = if node.domain == DOMAIN && node.operator == "Relu" {
            Then::Relu
        } else {
            let Some(found) = self.affine(at, node, kernel, inputs, place) else { return false };
            affine = found;
            Then::Affine(&affine)
        };
        let Some(step) = self.maker.get(&root).map(|&step| &mut self.steps[step]) else { return false };
        if step.gives.as_ref() != Some(name) || !step.kernel.fuse(then) {
            return false;
        }
        step.fused.push(at);
        step.gives = Some(node.outputs[0].clone());
        let planned = Planned { value: Value { known, rows }, place: Place::Root(root) };
        self.values.insert(node.outputs[0].clone(), planned);
        true
    }

    /// What `node` does with its input `place`, where that is a factor and a summand for each channel.
    fn affine(
        &self,
        at: usize,
        node: &Node,
        kernel: &dyn Kernel,
        inputs: &[Draft],
        place: usize,
    ) -> Option<Affine<'w>> {
        let mut of = Vec::new();
        for (input, name) in inputs.iter().zip(&node.inputs) {
            let Draft::Constant(tensor) = input else { continue };
            // With as many places as there are rows it could have a line for each of them.
            if self.values.get(name)?.value.rows != Rows::Same {
                return None;
            }
            of.push(Arc::clone(tensor));
        }
        let shape = &self.values[&node.inputs[place]].value.known.tensor_type.shape;
        let (axis, lines) = match (&of[..], kernel.lines()) {
            (_, Some(lines)) => (Some(1), lines),
            ([constant], None) if node.domain == DOMAIN => {
                (channels(&constant.shape, shape)?, lines(&node.operator, constant, place == 0)?)
            }
            _ => return None,
        };
        let number = self.wanted.first_node + at;
        Some(Affine { axis, lines, of, number, prepared: self.wanted.prepared })
    }
}

/// Along which axis of `shape` a constant that is brought to it has more than one number: none where it has
/// only one. `None` where there are several.
fn channels(constant: &[usize], shape: &[usize]) -> Option<Option<usize>> {
    let first = shape.len().checked_sub(constant.len())?;
    let mut axes = (0..constant.len()).filter(|&axis| constant[axis] != 1);
    let axis = axes.next();
    axes.next().is_none().then(|| axis.map(|axis| axis + first))
}

/// What becomes of a known number: the factor, or the summand.
type Part = fn(f64) -> f64;

/// What an operator of two numbers, one of which is known, does with the other; `is_second` where it is the
/// second that is known.
fn lines(operator: &str, constant: &Tensor, is_second: bool) -> Option<Vec<Line>> {
    let (factor, summand): (Part, Part) = match (operator, is_second) {
        ("Add", _) => (|_| 1.0, |c| c),
        ("Sub", true) => (|_| 1.0, |c| -c),
        ("Sub", false) => (|_| -1.0, |c| c),
        ("Mul", _) => (|c| c, |_| 0.0),
        ("Div", true) => (|c| 1.0 / c, |_| 0.0),
        _ => return None,
    };
    let line = |&c: &f32| Line { factor: factor(f64::from(c)), summand: summand(f64::from(c)) };
    Some(constant.values::<f32>()?.iter().map(line).collect())
}

/// The only input that is computed, and where it is.
fn only_root(inputs: &[Draft]) -> Option<(usize, usize)> {
    let mut roots = inputs.iter().enumerate().filter_map(|(place, input)| match input {
        Draft::Root(root) => Some((place, *root)),
        _ => None,
    });
    let first = roots.next()?;
    roots.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests;
