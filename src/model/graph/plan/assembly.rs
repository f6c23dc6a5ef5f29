//! Buffers for the values of a plan: those that are needed at different times share one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::draft::{Draft, DraftStep, Place, Planned, Root};
use super::names::default_cost;
use super::planner::Planner;
use super::{Output, Plan, Step};
use crate::model::graph::kernel::Source;
use crate::model::graph::rows::Rows;
use crate::model::graph::tensor::{Data, Kind, Tensor, TensorType};

/// Puts values that are needed at different times into the same buffers.
#[derive(Default)]
pub struct Assembly {
    buffers: Vec<Data>,
    /// Of each root, once it has one.
    places: HashMap<usize, usize>,
    /// Buffers that nobody needs any more, by kind and length.
    free: HashMap<(Kind, usize), Vec<usize>>,
    constants: Vec<Arc<Tensor>>,
    /// Where a constant is among them, by its address.
    known: HashMap<*const Tensor, usize>,
}

impl Assembly {
    pub fn of(planner: Planner<'_, '_>, outputs: Vec<(Draft, TensorType, Rows)>) -> Plan {
        let mut assembly = Self::default();
        let Planner { roots, steps, values, wanted, cost, .. } = planner;
        let outside = |name: &str| match values.get(name) {
            Some(Planned { place: Place::Root(root), .. }) => Some(*root),
            _ => None,
        };
        let inputs: Vec<_> = wanted.graph.inputs.iter().filter_map(|input| outside(&input.name)).collect();
        let inputs = inputs.into_iter().map(|root| assembly.place(root, &roots)).collect();
        // Those that are known have no place.
        let outer: Vec<_> = wanted.outer.iter().filter_map(|(name, _)| outside(name)).collect();
        let outer = outer.into_iter().map(|root| assembly.place(root, &roots)).collect();
        let mut ready = Vec::with_capacity(steps.len());
        for (at, step) in steps.into_iter().enumerate() {
            let outputs = step.outputs.iter().map(|&root| assembly.place(root, &roots)).collect();
            let sources: Vec<_> = step.inputs.iter().map(|input| assembly.source(input)).collect();
            // A root that nobody reads is free again at once; its last use is the step that makes it.
            let read = step.inputs.iter().filter_map(|input| match input {
                Draft::Root(root) => Some(*root),
                _ => None,
            });
            let done: BTreeSet<usize> = read
                .filter(|&root| roots[root].last_use == at)
                .chain(step.outputs.iter().copied().filter(|&root| roots[root].last_use <= at))
                .filter(|&root| !roots[root].is_kept)
                .collect();
            for root in done {
                assembly.release(root, &roots);
            }
            let types: Vec<_> = step.outputs.iter().map(|&root| roots[root].tensor_type.clone()).collect();
            let multiply_adds = step.kernel.multiply_adds().unwrap_or_else(|| default_cost(&types));
            let DraftStep { node, kernel, fused, .. } = step;
            ready.push(Step { node, fused, kernel, sources, outputs, types, multiply_adds });
        }
        let outputs = outputs
            .into_iter()
            .map(|(draft, tensor_type, rows)| Output { source: assembly.source(&draft), tensor_type, rows })
            .collect();
        Plan {
            multiply_adds: cost,
            steps: ready,
            buffers: assembly.buffers,
            constants: assembly.constants,
            inputs,
            outer,
            outputs,
            written: Vec::new(),
        }
    }

    fn place(&mut self, root: usize, roots: &[Root]) -> usize {
        let tensor_type = &roots[root].tensor_type;
        let key = (tensor_type.kind, tensor_type.elements().unwrap_or(0));
        let place = self.free.get_mut(&key).and_then(Vec::pop).unwrap_or_else(|| {
            self.buffers.push(Data::zeros(key.0, key.1));
            self.buffers.len() - 1
        });
        self.places.insert(root, place);
        place
    }

    fn release(&mut self, root: usize, roots: &[Root]) {
        let tensor_type = &roots[root].tensor_type;
        let key = (tensor_type.kind, tensor_type.elements().unwrap_or(0));
        if let Some(&place) = self.places.get(&root) {
            self.free.entry(key).or_default().push(place);
        }
    }

    fn source(&mut self, draft: &Draft) -> Source {
        match draft {
            Draft::Absent => Source::Absent,
            Draft::Root(root) => Source::Buffer(self.places[root]),
            Draft::Constant(tensor) => {
                let constants = &mut self.constants;
                Source::Constant(*self.known.entry(Arc::as_ptr(tensor)).or_insert_with(|| {
                    constants.push(Arc::clone(tensor));
                    constants.len() - 1
                }))
            }
        }
    }
}
