//! What becomes of a node that was built: a step, a constant, a name for what is there, or a part of the step
//! before; and the end of planning.

use super::assembly::Assembly;
use super::draft::{Draft, DraftStep, Place, Planned};
use super::names::default_cost;
use super::planner::Planner;
use super::{FOLD_MULTIPLY_ADDS_MAX, Plan, PlanError, RUN_MULTIPLY_ADDS_MAX, Singles, Value};
use crate::model::graph::context::{Known, Problem};
use crate::model::graph::ir::Node;
use crate::model::graph::kernel::{Built, Inputs, Kernel, Source};
use crate::model::graph::rows::Rows;
use crate::model::graph::tensor::{Data, Tensor, TensorType};

impl Planner<'_, '_> {
    /// Notes what a node was built as.
    pub fn take(
        &mut self,
        at: usize,
        node: &Node,
        built: Built,
        rows: Vec<Rows>,
        inputs: Vec<Draft>,
    ) -> Result<(), Problem> {
        let is_constant = inputs.iter().all(|input| !matches!(input, Draft::Root(_)));
        if rows.contains(&Rows::Mixed) && !is_constant {
            let problem = "in it rows of a batch may meet each other, or depend on how many there are";
            return Err(Problem(problem.to_owned()));
        }
        match built {
            Built::Constants(tensors) => {
                for (name, tensor) in node.outputs.iter().zip(tensors) {
                    self.count_bytes(&tensor.tensor_type())?;
                    self.define_computed(name, tensor);
                }
                Ok(())
            }
            Built::View { of, shape } => self.view(node, &inputs[of], shape, rows[0], of),
            Built::Kernel { outputs, kernel } => {
                let cost = kernel.multiply_adds().unwrap_or_else(|| default_cost(&outputs));
                if is_constant {
                    return self.fold(node, outputs, kernel, cost, inputs);
                }
                self.cost = self.cost.saturating_add(cost);
                if self.cost > RUN_MULTIPLY_ADDS_MAX {
                    return Err(Problem(format!(
                        "with it a run takes more than {RUN_MULTIPLY_ADDS_MAX} multiplications (run_multiply_adds_max)"
                    )));
                }
                if self.fused(at, node, (kernel.as_ref(), &outputs[0]), &inputs, rows[0]) {
                    return Ok(());
                }
                let mut roots = Vec::with_capacity(outputs.len());
                for (place, tensor_type) in outputs.iter().enumerate() {
                    let root = self.root(tensor_type, false)?;
                    self.maker.insert(root, self.steps.len());
                    roots.push(root);
                    let known = Known { tensor_type: tensor_type.clone(), constant: None };
                    if let Some(name) = node.outputs.get(place).filter(|name| !name.is_empty()) {
                        let value = Value { known, rows: rows[place] };
                        self.values.insert(name.clone(), Planned { value, place: Place::Root(root) });
                    }
                }
                // What a step has beyond its node's outputs is room on the way.
                let gives = if let [name] = &node.outputs[..] { Some(name.clone()) } else { None };
                self.steps.push(DraftStep {
                    node: at,
                    kernel,
                    inputs,
                    outputs: roots,
                    fused: Vec::new(),
                    gives,
                });
                Ok(())
            }
        }
    }

    fn view(
        &mut self,
        node: &Node,
        input: &Draft,
        shape: Vec<usize>,
        rows: Rows,
        of: usize,
    ) -> Result<(), Problem> {
        let name = &node.outputs[0];
        match input {
            Draft::Absent => Err(Problem(format!("its input {of} is left out, expected a value"))),
            Draft::Constant(tensor) => {
                let tensor = Tensor { shape, data: tensor.data.clone() };
                self.define_computed(name, tensor);
                Ok(())
            }
            Draft::Root(root) => {
                let kind = self.roots[*root].tensor_type.kind;
                let known = Known { tensor_type: TensorType { kind, shape }, constant: None };
                let planned = Planned { value: Value { known, rows }, place: Place::Root(*root) };
                self.values.insert(name.clone(), planned);
                Ok(())
            }
        }
    }

    /// Computes what follows from constants alone.
    fn fold(
        &mut self,
        node: &Node,
        outputs: Vec<TensorType>,
        mut kernel: Box<dyn Kernel>,
        cost: u64,
        inputs: Vec<Draft>,
    ) -> Result<(), Problem> {
        self.folded = self.folded.saturating_add(cost);
        if self.folded > FOLD_MULTIPLY_ADDS_MAX {
            return Err(Problem(format!(
                "with it what can be computed at load takes more than {FOLD_MULTIPLY_ADDS_MAX} multiplications (fold_multiply_adds_max)"
            )));
        }
        let mut written = Vec::with_capacity(outputs.len());
        for tensor_type in &outputs {
            self.count_bytes(tensor_type)?;
            written.push(Data::zeros(tensor_type.kind, tensor_type.elements().unwrap_or(0)));
        }
        let (mut sources, mut constants) = (Vec::new(), Vec::new());
        for input in inputs {
            sources.push(match input {
                Draft::Constant(tensor) => {
                    constants.push(tensor);
                    Source::Constant(constants.len() - 1)
                }
                Draft::Absent | Draft::Root(_) => Source::Absent,
            });
        }
        let inputs = Inputs { sources: &sources, buffers: &[], constants: &constants };
        kernel.run(&inputs, &mut written).map_err(|fault| Problem(fault.0))?;
        for ((name, tensor_type), data) in node.outputs.iter().zip(outputs).zip(written) {
            self.define_computed(name, Tensor { shape: tensor_type.shape, data });
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<(Plan, Singles), PlanError> {
        let graph = self.wanted.graph;
        for (at, step) in self.steps.iter().enumerate() {
            for input in &step.inputs {
                if let Draft::Root(root) = input {
                    self.roots[*root].last_use = at;
                }
            }
        }
        let mut made = Vec::with_capacity(graph.outputs.len());
        for name in &graph.outputs {
            let planned = self.value(name).map_err(|_| PlanError {
                node: String::new(),
                problem: format!("its output \"{}\" is made by no node", name.escape_debug()),
            })?;
            made.push((planned.draft(), planned.value.known.tensor_type.clone(), planned.value.rows));
        }
        for (draft, ..) in &made {
            if let Draft::Root(root) = draft {
                self.roots[*root].is_kept = true;
            }
        }
        let singles = std::mem::take(&mut self.singles);
        Ok((Assembly::of(self, made), singles))
    }
}
