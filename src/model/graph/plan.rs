//! A graph for a number of rows, ready to be run: kernels in order, and the buffers between them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::context::{Context, Known, Prepared, Problem};
use super::ir::{Attribute, DOMAIN, Graph, Node};
use super::kernel::{Built, Fault, Inputs, Kernel, Source, Then};
use super::operators;
use super::rows::{self, Rows};
use super::tensor::{Data, Kind, Tensor, TensorType};

/// What all values of a plan that are not weights may take in memory.
pub const PLAN_BYTES_MAX: usize = 128 << 20;
/// The multiplications and additions that what is computed at load may take: a second or so.
const FOLD_MULTIPLY_ADDS_MAX: u64 = 1 << 30;
/// The multiplications and additions that a run may take: a few seconds.
const RUN_MULTIPLY_ADDS_MAX: u64 = 1 << 33;

/// Why a graph cannot be planned: at which node, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    /// The node, such as `node 3 "/fc1/Gemm" (Gemm, opset 13)`; empty where it is the graph itself.
    pub node: String,
    pub problem: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.node.is_empty() {
            write!(f, "{}: ", self.node)?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for PlanError {}

/// What a plan is made for.
pub struct Wanted<'a> {
    pub graph: &'a Graph,
    /// The version of each domain's operators.
    pub opsets: &'a BTreeMap<String, i64>,
    /// The kind and shape of each of the graph's inputs, with how the rows lie in it.
    pub inputs: Vec<(TensorType, Rows)>,
    /// Values from around a body, by name.
    pub outer: Vec<(String, Value)>,
    /// For how many rows it is made.
    pub rows: usize,
    /// What follows from weights and shapes for one row, by name; of no use for one.
    pub singles: Option<&'a Singles>,
    /// What nodes have made of their weights so far.
    pub prepared: &'a Mutex<Prepared>,
    /// Added to each node's number, so that nodes of bodies have numbers of their own.
    pub first_node: usize,
}

/// The values that follow from weights and shapes in a plan for one row, by their names.
pub type Singles = HashMap<String, Arc<Tensor>>;

/// What is known of a value while a plan is made.
#[derive(Debug, Clone)]
pub struct Value {
    pub known: Known,
    pub rows: Rows,
}

/// A graph for a number of rows.
pub struct Plan {
    steps: Vec<Step>,
    buffers: Vec<Data>,
    constants: Vec<Arc<Tensor>>,
    inputs: Vec<usize>,
    outer: Vec<usize>,
    outputs: Vec<Output>,
    multiply_adds: u64,
    /// Buffers that a step is writing, kept so that a run allocates nothing.
    written: Vec<Data>,
}

struct Step {
    /// The node's number in its graph.
    node: usize,
    kernel: Box<dyn Kernel>,
    sources: Vec<Source>,
    outputs: Vec<usize>,
    types: Vec<TensorType>,
    multiply_adds: u64,
}

/// What a step of a plan is, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct StepInfo {
    /// The number of its node.
    pub node: usize,
    /// What it gives.
    pub outputs: Vec<TensorType>,
    pub multiply_adds: u64,
}

struct Output {
    source: Source,
    tensor_type: TensorType,
    rows: Rows,
}

impl Plan {
    /// Plans `wanted`.
    ///
    /// # Errors
    /// [`PlanError`], with the first node that does not fit.
    pub fn new(wanted: &Wanted<'_>) -> Result<Self, PlanError> {
        Ok(Self::with_singles(wanted)?.0)
    }

    /// Plans `wanted`, which is for one row, and says what follows from weights and shapes, with which plans
    /// for more rows are compared.
    ///
    /// # Errors
    /// As of [`new`](Self::new).
    pub fn with_singles(wanted: &Wanted<'_>) -> Result<(Self, Singles), PlanError> {
        Planner::new(wanted)?.plan()
    }

    /// Where input `at` is to be written before a run.
    pub fn input(&mut self, at: usize) -> &mut Data {
        &mut self.buffers[self.inputs[at]]
    }

    /// Where value `at` from around a body is to be written before a run.
    pub fn outer(&mut self, at: usize) -> &mut Data {
        &mut self.buffers[self.outer[at]]
    }

    /// The multiplications and additions of a run.
    pub fn multiply_adds(&self) -> u64 {
        self.multiply_adds
    }

    /// What its buffers take.
    pub fn bytes(&self) -> usize {
        self.buffers.iter().map(|data| data.len() * data.kind().bytes()).sum()
    }

    /// Whether output `at` is written where input `input` is read, so that it is what the next run begins
    /// with.
    pub fn is_input(&self, at: usize, input: usize) -> bool {
        self.outputs[at].source == Source::Buffer(self.inputs[input])
    }

    /// What output `at` is.
    pub fn output_type(&self, at: usize) -> (&TensorType, Rows) {
        (&self.outputs[at].tensor_type, self.outputs[at].rows)
    }

    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// Output `at` of the last run.
    pub fn output(&self, at: usize) -> &Data {
        match self.outputs[at].source {
            Source::Buffer(place) => &self.buffers[place],
            Source::Constant(place) => &self.constants[place].data,
            Source::Absent => unreachable!("an output is made of something"),
        }
    }

    /// Its steps in order: the nodes for which there is something to do.
    pub fn steps(&self) -> impl Iterator<Item = StepInfo> {
        self.steps.iter().map(|step| StepInfo {
            node: step.node,
            outputs: step.types.clone(),
            multiply_adds: step.multiply_adds,
        })
    }

    /// Runs it as [`run`](Self::run) does, and adds what each step took to `times`.
    pub fn run_timed(&mut self, times: &mut [Duration]) -> Result<(), (usize, Fault)> {
        for (step, time) in self.steps.iter_mut().zip(times) {
            let start = Instant::now();
            run_step(step, &mut self.buffers, &self.constants, &mut self.written)?;
            *time += start.elapsed();
        }
        Ok(())
    }

    /// Runs it on the inputs as they are.
    ///
    /// # Errors
    /// [`Fault`], with the number of the node, where a row's elements are at fault.
    pub fn run(&mut self) -> Result<(), (usize, Fault)> {
        for step in &mut self.steps {
            run_step(step, &mut self.buffers, &self.constants, &mut self.written)?;
        }
        Ok(())
    }
}

fn run_step(
    step: &mut Step,
    buffers: &mut [Data],
    constants: &[Arc<Tensor>],
    written: &mut Vec<Data>,
) -> Result<(), (usize, Fault)> {
    written.clear();
    // Taken out, so that inputs can be lent from where they are; an empty vector in its place costs nothing.
    written.extend(step.outputs.iter().map(|&place| std::mem::take(&mut buffers[place])));
    let inputs = Inputs { sources: &step.sources, buffers, constants };
    let result = step.kernel.run(&inputs, written);
    for (&place, data) in step.outputs.iter().zip(written.drain(..)) {
        buffers[place] = data;
    }
    result.map_err(|fault| (step.node, fault))
}

/// A value that is computed: where it is made and where it is needed last.
struct Root {
    tensor_type: TensorType,
    /// The first step that does not need it any more; kept for ever where it is an input or an output.
    last_use: usize,
    is_kept: bool,
}

/// Where the elements of a value are, while a plan is made.
#[derive(Clone, Copy)]
enum Place {
    Root(usize),
    Constant,
}

#[derive(Clone)]
struct Planned {
    value: Value,
    place: Place,
}

struct DraftStep {
    node: usize,
    kernel: Box<dyn Kernel>,
    inputs: Vec<Draft>,
    outputs: Vec<usize>,
}

#[derive(Clone)]
enum Draft {
    Absent,
    Root(usize),
    Constant(Arc<Tensor>),
}

struct Planner<'w, 'g> {
    wanted: &'w Wanted<'g>,
    values: HashMap<String, Planned>,
    /// How often each value is used, by nodes and as an output.
    uses: HashMap<String, usize>,
    roots: Vec<Root>,
    steps: Vec<DraftStep>,
    /// Which step made a root.
    maker: HashMap<usize, usize>,
    bytes: usize,
    folded: u64,
    cost: u64,
    singles: Singles,
    /// The number of the first node of the next body.
    next_body: usize,
}

impl<'w, 'g> Planner<'w, 'g> {
    fn new(wanted: &'w Wanted<'g>) -> Result<Self, PlanError> {
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

    fn define_constant(&mut self, name: &str, tensor: Arc<Tensor>, rows: Rows) {
        let known = Known { tensor_type: tensor.tensor_type(), constant: Some(tensor) };
        self.values.insert(name.to_owned(), Planned { value: Value { known, rows }, place: Place::Constant });
    }

    /// Notes a constant that was computed here, and whether it depends on how many rows there are.
    fn define_computed(&mut self, name: &str, tensor: Tensor) {
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

    fn define_outside(&mut self, name: &str, value: Value) -> Result<(), PlanError> {
        let root = self.root(&value.known.tensor_type, true).map_err(|problem| PlanError {
            node: String::new(),
            problem: format!("its input \"{}\": {}", name.escape_debug(), problem.0),
        })?;
        self.values.insert(name.to_owned(), Planned { value, place: Place::Root(root) });
        Ok(())
    }

    /// A place for a value that is computed, within the bound of a plan.
    fn root(&mut self, tensor_type: &TensorType, is_kept: bool) -> Result<usize, Problem> {
        self.count_bytes(tensor_type)?;
        self.roots.push(Root { tensor_type: tensor_type.clone(), last_use: 0, is_kept });
        Ok(self.roots.len() - 1)
    }

    fn count_bytes(&mut self, tensor_type: &TensorType) -> Result<(), Problem> {
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

    fn plan(mut self) -> Result<(Plan, Singles), PlanError> {
        let graph = self.wanted.graph;
        let needed = self.needed()?;
        for (at, node) in graph.nodes.iter().enumerate() {
            if needed.contains(&at) {
                self.node(at, node).map_err(|problem| self.at(at, node, problem))?;
            }
        }
        self.finish()
    }

    fn at(&self, at: usize, node: &Node, problem: Problem) -> PlanError {
        PlanError { node: describe(at, node, self.wanted.opsets), problem: problem.0 }
    }

    /// The nodes that the outputs need, found from the end.
    fn needed(&mut self) -> Result<BTreeSet<usize>, PlanError> {
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

    fn node(&mut self, at: usize, node: &Node) -> Result<(), Problem> {
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
    fn inline(&mut self, node: &Node) -> Result<(), Problem> {
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
    fn rows_after(
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

    fn value(&self, name: &str) -> Result<&Planned, Problem> {
        self.values.get(name).ok_or_else(|| {
            Problem(format!(
                "it needs the value \"{}\", which is no input, no weight, and made by no node before it",
                name.escape_debug()
            ))
        })
    }

    /// Notes what a node was built as.
    fn take(
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
                if self.fused(node, &inputs, rows[0]) {
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
                self.steps.push(DraftStep { node: at, kernel, inputs, outputs: roots });
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

    /// Lets the step before apply the function that `node` is, where it alone needs what that step gives.
    fn fused(&mut self, node: &Node, inputs: &[Draft], rows: Rows) -> bool {
        let then = match (node.domain.as_str(), node.operator.as_str()) {
            (DOMAIN, "Relu") => Then::Relu,
            _ => return false,
        };
        let [Draft::Root(root)] = *inputs else { return false };
        if self.uses.get(&node.inputs[0]) != Some(&1) || self.roots[root].is_kept {
            return false;
        }
        // A view of it may be needed elsewhere: only what the step itself named is known to be used once.
        let planned = &self.values[&node.inputs[0]];
        let Some(step) = self.maker.get(&root).map(|&step| &mut self.steps[step]) else { return false };
        let maker = self.wanted.graph.nodes.get(step.node);
        let is_itself = planned.value.known.tensor_type == self.roots[root].tensor_type
            // What a step has beyond its node's outputs is room on the way.
            && maker.is_some_and(|maker| maker.outputs == node.inputs[..1]);
        if !is_itself || !step.kernel.fuse(then) {
            return false;
        }
        let value = Value { known: planned.value.known.clone(), rows };
        self.values.insert(node.outputs[0].clone(), Planned { value, place: Place::Root(root) });
        true
    }

    fn finish(mut self) -> Result<(Plan, Singles), PlanError> {
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

impl Planned {
    fn draft(&self) -> Draft {
        match (&self.place, &self.value.known.constant) {
            (Place::Root(root), _) => Draft::Root(*root),
            (Place::Constant, Some(constant)) => Draft::Constant(Arc::clone(constant)),
            (Place::Constant, None) => Draft::Absent,
        }
    }
}

/// Puts values that are needed at different times into the same buffers.
#[derive(Default)]
struct Assembly {
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
    fn of(planner: Planner<'_, '_>, outputs: Vec<(Draft, TensorType, Rows)>) -> Plan {
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
            ready.push(Step { node: step.node, kernel: step.kernel, sources, outputs, types, multiply_adds });
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

/// The names of all values that `node` needs, those that its bodies take from around them among them. Bodies
/// nest no deeper than [`super::ir::BODIES_DEPTH_MAX`], which whoever makes a graph sees to.
pub fn needs(node: &Node) -> Vec<&str> {
    let own = node.inputs.iter().map(String::as_str).filter(|name| !name.is_empty());
    let mut names: Vec<_> = own.collect();
    for attribute in node.attributes.values() {
        if let Attribute::Graph(body) = attribute {
            names.extend(captured(body));
        }
    }
    names
}

/// How many nodes a body has, those of bodies in it among them.
fn nodes(body: &Graph) -> usize {
    let inner =
        body.nodes.iter().flat_map(|node| node.attributes.values()).filter_map(|attribute| match attribute {
            Attribute::Graph(body) => Some(nodes(body)),
            _ => None,
        });
    body.nodes.len() + inner.sum::<usize>()
}

/// The names of the values that a body takes from around it.
pub fn captured(body: &Graph) -> BTreeSet<&str> {
    let mut made: BTreeSet<&str> = body.constants.keys().map(String::as_str).collect();
    made.extend(body.inputs.iter().map(|input| input.name.as_str()));
    let mut captured = BTreeSet::new();
    for node in &body.nodes {
        captured.extend(needs(node).into_iter().filter(|name| !made.contains(name)));
        made.extend(node.outputs.iter().map(String::as_str));
    }
    captured.extend(body.outputs.iter().map(String::as_str).filter(|name| !made.contains(name)));
    captured
}

fn default_cost(outputs: &[TensorType]) -> u64 {
    outputs.first().and_then(TensorType::elements).map_or(u64::MAX, |elements| elements as u64)
}

/// A node for messages, such as `node 3 "/fc1/Gemm" (Gemm, opset 13)`.
pub fn describe(at: usize, node: &Node, opsets: &BTreeMap<String, i64>) -> String {
    let name =
        if node.name.is_empty() { String::new() } else { format!(" \"{}\"", node.name.escape_debug()) };
    let domain =
        if node.domain == DOMAIN { String::new() } else { format!("{}:", node.domain.escape_debug()) };
    let opset = opsets.get(&node.domain).map_or("no opset".to_owned(), |opset| format!("opset {opset}"));
    format!("node {at}{name} ({domain}{}, {opset})", node.operator.escape_debug())
}
