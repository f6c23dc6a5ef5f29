//! The planning of a graph, node after node: what is known of each value, and what each node is built as.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::draft::{Draft, DraftStep, Place, Planned, Root};
use super::names::{captured, describe, needs, nodes};
use super::{PLAN_BYTES_MAX, Plan, PlanError, Singles, Value, Wanted};
use crate::model::graph::context::{Context, Known, Problem};
use crate::model::graph::ir::{Attribute, DOMAIN, Node};
use crate::model::graph::kernel::Built;
use crate::model::graph::operators;
use crate::model::graph::rows::{self, Rows};
use crate::model::graph::tensor::{Tensor, TensorType};

/// A plan in the making.
pub struct Planner<'w, 'g> {
    pub wanted: &'w Wanted<'g>,
    pub values: HashMap<String, Planned>,
    /// How often each value is used, by nodes and as an output.
    pub uses: HashMap<String, usize>,
    pub roots: Vec<Root>,
    pub steps: Vec<DraftStep>,
    /// Which step made a root.
    pub maker: HashMap<usize, usize>,
    pub bytes: usize,
    pub folded: u64,
    pub cost: u64,
    pub singles: Singles,
    /// The number of the first node of the next body.
    pub next_body: usize,
}

impl<'w, 'g> Planner<'w, 'g> {
    pub fn new(wanted: &'w Wanted<'g>) -> Result<Self, PlanError> {
        let mut planner = Self {
            wanted,
            values: HashMap::new(),
            uses: HashMap::new(),
            roots: Vec::new(),
            steps: Vec::new(),
            maker: HashMap::new(),
            bytes: 0,
            folded: 0,
            cost: 0,
            singles: Singles::new(),
            next_body: wanted.first_node + wanted.graph.nodes.len(),
        };
        let graph = wanted.graph;
        for (name, tensor) in &graph.constants {
            planner.define_constant(name, Arc::clone(tensor), Rows::Same);
        }
        for (input, (tensor_type, rows)) in graph.inputs.iter().zip(&wanted.inputs) {
            let known = Known { tensor_type: tensor_type.clone(), constant: None };
            planner.define_outside(&input.name, Value { known, rows: *rows })?;
        }
        for (name, value) in &wanted.outer {
            match &value.known.constant {
                Some(constant) => planner.define_constant(name, Arc::clone(constant), value.rows),
                None => planner.define_outside(name, value.clone())?,
            }
        }
        Ok(planner)
    }

    pub fn define_constant(&mut self, name: &str, tensor: Arc<Tensor>, rows: Rows) {
        let known = Known { tensor_type: tensor.tensor_type(), constant: Some(tensor) };
        self.values.insert(name.to_owned(), Planned { value: Value { known, rows }, place: Place::Constant });
    }

    /// Notes a constant that was computed here, and whether it depends on how many rows there are.
    pub fn define_computed(&mut self, name: &str, tensor: Tensor) {
        let rows = match self.wanted.singles {
            Some(singles) => rows::of_constant(&tensor, singles.get(name).map(Arc::as_ref), self.wanted.rows),
            None => Rows::Same,
        };
        let tensor = Arc::new(tensor);
        if self.wanted.singles.is_none() {
            self.singles.insert(name.to_owned(), Arc::clone(&tensor));
        }
        self.define_constant(name, tensor, rows);
    }

    pub fn define_outside(&mut self, name: &str, value: Value) -> Result<(), PlanError> {
        let root = self.root(&value.known.tensor_type, true).map_err(|problem| PlanError {
            node: String::new(),
            problem: format!("its input \"{}\": {}", name.escape_debug(), problem.0),
        })?;
        self.values.insert(name.to_owned(), Planned { value, place: Place::Root(root) });
        Ok(())
    }

    /// A place for a value that is computed, within the bound of a plan.
    pub fn root(&mut self, tensor_type: &TensorType, is_kept: bool) -> Result<usize, Problem> {
        self.count_bytes(tensor_type)?;
        self.roots.push(Root { tensor_type: tensor_type.clone(), last_use: 0, is_kept });
        Ok(self.roots.len() - 1)
    }

    pub fn count_bytes(&mut self, tensor_type: &TensorType) -> Result<(), Problem> {
        let bytes =
            tensor_type.elements().and_then(|elements| elements.checked_mul(tensor_type.kind.bytes()));
        let total = bytes.and_then(|bytes| self.bytes.checked_add(bytes));
        match total {
            Some(total) if total <= PLAN_BYTES_MAX => {
                self.bytes = total;
                Ok(())
            }
            _ => Err(Problem(format!(
                "it would give {tensor_type}, and with it the model's values would take more than {PLAN_BYTES_MAX} bytes (plan_bytes_max)"
            ))),
        }
    }

    pub fn plan(mut self) -> Result<(Plan, Singles), PlanError> {
        let graph = self.wanted.graph;
        let needed = self.needed()?;
        for (at, node) in graph.nodes.iter().enumerate() {
            if needed.contains(&at) {
                self.node(at, node).map_err(|problem| self.at(at, node, problem))?;
            }
        }
        self.finish()
    }

    pub fn at(&self, at: usize, node: &Node, problem: Problem) -> PlanError {
        PlanError { node: describe(at, node, self.wanted.opsets), problem: problem.0 }
    }

    /// The nodes that the outputs need, found from the end.
    pub fn needed(&mut self) -> Result<BTreeSet<usize>, PlanError> {
        let graph = self.wanted.graph;
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        for output in &graph.outputs {
            wanted.insert(output);
            *self.uses.entry(output.clone()).or_default() += 1;
        }
        let mut needed = BTreeSet::new();
        for (at, node) in graph.nodes.iter().enumerate().rev() {
            if !node.outputs.iter().any(|name| wanted.contains(name.as_str())) {
                continue;
            }
            needed.insert(at);
            for name in needs(node) {
                wanted.insert(name);
                *self.uses.entry(name.to_owned()).or_default() += 1;
            }
        }
        Ok(needed)
    }

    pub fn node(&mut self, at: usize, node: &Node) -> Result<(), Problem> {
        if node.domain == DOMAIN && node.operator == "If" {
            return self.inline(node);
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            inputs.push(if name.is_empty() { None } else { Some(self.value(name)?) });
        }
        while inputs.last().is_some_and(Option::is_none) {
            inputs.pop();
        }
        let operator = operators::find(node, self.wanted.opsets)?;
        operator.check_inputs(inputs.len())?;
        let bodies = node.attributes.values().filter_map(|attribute| match attribute {
            Attribute::Graph(body) => Some(body.as_ref()),
            _ => None,
        });
        let captured: BTreeSet<_> = bodies.clone().flat_map(captured).map(str::to_owned).collect();
        let first_of_body = self.next_body;
        let nodes: usize = bodies.map(nodes).sum();
        for name in &captured {
            inputs.push(Some(self.value(name)?));
        }
        let (rows, drafts): (Vec<_>, Vec<_>) = inputs
            .iter()
            .map(|input| {
                input.map_or((Rows::Same, Draft::Absent), |planned| (planned.value.rows, planned.draft()))
            })
            .unzip();
        let context = Context {
            node,
            number: self.wanted.first_node + at,
            opset: operator.opset,
            inputs: inputs.iter().map(|input| input.map(|planned| planned.value.known.clone())).collect(),
            prepared: self.wanted.prepared,
            opsets: self.wanted.opsets,
            captured: captured.into_iter().collect(),
            first_of_body,
            read: Default::default(),
        };
        let built = operator.build(&context)?;
        let rows = self.rows_after(&context, &rows, &built)?;
        self.next_body += nodes;
        self.take(at, node, built, rows, drafts)
    }

    /// Plans the branch that an `If` takes, whose condition must be known, in its place.
    pub fn inline(&mut self, node: &Node) -> Result<(), Problem> {
        let [condition] = node.inputs.as_slice() else {
            return Err(Problem(format!("it has {} inputs, expected 1", node.inputs.len())));
        };
        let known = &self.value(condition)?.value.known;
        let truth = known.constant.as_ref().and_then(|tensor| tensor.values::<bool>());
        let Some(&[truth]) = truth else {
            return Err(Problem(
                "its condition depends on the row, or is no truth value; it must be known when the model is loaded"
                    .to_owned(),
            ));
        };
        let name = if truth { "then_branch" } else { "else_branch" };
        let Some(Attribute::Graph(body)) = node.attributes.get(name) else {
            return Err(Problem(format!("its attribute {name} is missing, expected a graph")));
        };
        for (name, tensor) in &body.constants {
            self.define_constant(name, Arc::clone(tensor), Rows::Same);
        }
        let first = self.next_body;
        self.next_body += nodes(body);
        for (at, inner) in body.nodes.iter().enumerate() {
            let problem = |problem: Problem| {
                Problem(format!("in its {name}: {}: {}", describe(at, inner, self.wanted.opsets), problem.0))
            };
            self.node(first + at, inner).map_err(problem)?;
        }
        if body.outputs.len() < node.outputs.len() {
            let found = body.outputs.len();
            return Err(Problem(format!("its {name} gives {found} values, expected {}", node.outputs.len())));
        }
        for (to, from) in node.outputs.iter().zip(&body.outputs) {
            let planned = self.value(from)?.clone();
            if let Some(constant) = self.singles.get(from).cloned() {
                self.singles.insert(to.clone(), constant);
            }
            self.values.insert(to.clone(), planned);
        }
        Ok(())
    }

    /// How rows lie in what a node gives; it must not be that they meet.
    pub fn rows_after(
        &self,
        context: &Context<'_>,
        inputs: &[Rows],
        built: &Built,
    ) -> Result<Vec<Rows>, Problem> {
        let view;
        let outputs = match built {
            Built::Constants(_) => return Ok(Vec::new()),
            Built::Kernel { outputs, .. } => outputs.as_slice(),
            Built::View { of, shape } => {
                view = [TensorType::new(context.kind(*of)?, shape.clone())];
                view.as_slice()
            }
        };
        if self.wanted.rows == 1 {
            return Ok(vec![Rows::Same; outputs.len()]);
        }
        Ok(rows::after(context, inputs, built, outputs, self.wanted.rows))
    }

    pub fn value(&self, name: &str) -> Result<&Planned, Problem> {
        self.values.get(name).ok_or_else(|| {
            Problem(format!(
                "it needs the value \"{}\", which is no input, no weight, and made by no node before it",
                name.escape_debug()
            ))
        })
    }
}
