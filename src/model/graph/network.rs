//! A graph that takes rows of features, any number at a time.
//!
//! A batch is worked through in blocks of rows, for each size of which there is a plan: what goes from node
//! to node stays in the processor's cache, and nothing is allocated. Rows whose graph mixes them are run one
//! by one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::context::Prepared;
use super::ir::{Graph, Input};
use super::kernel::Fault;
use super::plan::{Plan, PlanError, Singles, Wanted, describe};
use super::prepare;
use super::rows::Rows;
use super::tensor::{Data, Kind, TensorType};

/// The bytes between nodes that a block of rows may have: a part of the second-level cache.
const BLOCK_BYTES: usize = 256 << 10;
/// The largest block; beyond it nothing is gained.
const BLOCK_ROWS_MAX: usize = 64;
/// Largest whole numbers of which f64, and with it f32's every whole number, is certain.
const WHOLE_MAX: f32 = 9_007_199_254_740_992.0;

/// A graph that is ready for rows. A clone plans anew and shares the weights.
pub struct Network {
    graph: Arc<Graph>,
    inputs: Vec<RowInput>,
    width: usize,
    /// For each size of block, the largest first; the last is for one row.
    plans: Vec<(usize, Plan)>,
    prepared: Arc<Mutex<Prepared>>,
    /// Why rows are run one by one, where they are.
    alone: Option<PlanError>,
}

/// What is done with each row's features and its answer, or why it has none.
type Take<'t> = dyn FnMut(&[f32], Result<Answer<'_>, RowFault>) + 't;

/// What a row gives to one of the graph's inputs.
#[derive(Debug, Clone)]
struct RowInput {
    kind: Kind,
    /// The shape for one row.
    shape: Vec<usize>,
    /// Whether the first size is the number of rows.
    is_batch: bool,
    features: usize,
}

impl Network {
    /// Plans `graph`.
    ///
    /// # Errors
    /// The first node, or the input, that cannot be planned for one row.
    pub fn new(graph: Arc<Graph>) -> Result<Self, PlanError> {
        let graph = prepare::join_trees(&graph).map_or(graph, Arc::new);
        Self::with_prepared(graph, Arc::default())
    }

    fn with_prepared(graph: Arc<Graph>, prepared: Arc<Mutex<Prepared>>) -> Result<Self, PlanError> {
        let inputs: Vec<_> = graph.inputs.iter().map(RowInput::of).collect::<Result<_, _>>()?;
        let width = inputs.iter().map(|input| input.features).sum();
        if width == 0 {
            return Err(of_graph("it has no input that takes a number"));
        }
        let mut network = Self { graph, inputs, width, plans: Vec::new(), prepared, alone: None };
        let (single, singles) = network.plan(1, None)?;
        let row_bytes = single.bytes().max(1);
        network.plans.push((1, single));
        let mut rows = 2;
        // Weights are used for eight rows at a time, which is worth more than the cache.
        let bytes = |rows: usize| if rows <= 8 { 4 * BLOCK_BYTES } else { BLOCK_BYTES };
        while rows <= BLOCK_ROWS_MAX && (rows == 2 || rows * row_bytes <= bytes(rows)) {
            match network.plan(rows, Some(&singles)) {
                Ok((plan, _)) => network.plans.push((rows, plan)),
                Err(error) => {
                    network.alone = Some(error);
                    network.plans.truncate(1);
                    break;
                }
            }
            rows *= 2;
        }
        network.plans.reverse();
        Ok(network)
    }

    fn plan(&self, rows: usize, singles: Option<&Singles>) -> Result<(Plan, Singles), PlanError> {
        let types: Option<Vec<_>> = self.inputs.iter().map(|input| input.for_rows(rows)).collect();
        let Some(inputs) = types else { return Err(of_graph("its batch is of one row")) };
        let wanted = Wanted {
            graph: &self.graph,
            opsets: &self.graph.opsets,
            inputs,
            outer: Vec::new(),
            rows,
            singles,
            prepared: &self.prepared,
            first_node: 0,
        };
        let (plan, singles) = Plan::with_singles(&wanted)?;
        for at in 0..plan.outputs() {
            if rows > 1 && matches!(plan.output_type(at).1, Rows::Counted | Rows::Mixed) {
                return Err(of_graph("an output depends on how many rows there are"));
            }
        }
        Ok((plan, singles))
    }

    /// How many features a row has: those of all inputs, one input after the other.
    pub fn width(&self) -> usize {
        self.width
    }

    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Why rows are run one by one, where they are: the node in which they would meet.
    pub fn alone(&self) -> Option<&PlanError> {
        self.alone.as_ref()
    }

    /// The plan for one row.
    pub fn single(&self) -> &Plan {
        &self.plans[self.plans.len() - 1].1
    }

    /// What each step of a pass over one row takes, on average of `passes` over a row of zeros.
    ///
    /// # Errors
    /// Why such a row has no answer.
    pub fn profile(&mut self, passes: u32) -> Result<Vec<Duration>, String> {
        let zeros = vec![0.0; self.width];
        let (_, plan) = self.plans.last_mut().ok_or("it has no plan")?;
        fill(plan, &self.inputs, &zeros, zeros.len()).map_err(|fault| fault.fault.0)?;
        let mut times = vec![Duration::ZERO; plan.steps().count()];
        // The first pass finds caches and memory cold.
        plan.run().map_err(|(_, fault)| fault.0)?;
        for _ in 0..passes {
            plan.run_timed(&mut times).map_err(|(_, fault)| fault.0)?;
        }
        Ok(times.into_iter().map(|time| time / passes.max(1)).collect())
    }

    /// The same graph for another thread.
    ///
    /// # Errors
    /// None that the first has not had.
    pub fn replica(&self) -> Result<Self, PlanError> {
        Self::with_prepared(Arc::clone(&self.graph), Arc::clone(&self.prepared))
    }

    /// Runs `rows`, row-major, of [`width`](Self::width) features each, and hands each row's answer to `take`
    /// in order; or why it has none.
    pub fn run(&mut self, rows: &[f32], take: &mut Take<'_>) {
        let mut rest = rows;
        let mut size = 0;
        while !rest.is_empty() {
            let left = rest.len() / self.width;
            if left == 0 {
                return;
            }
            // Sizes only shrink: what is left fits none that was too large before.
            while self.plans[size].0 > left {
                size += 1;
            }
            let (block, others) = rest.split_at(self.plans[size].0 * self.width);
            self.run_block(block, size, take);
            rest = others;
        }
    }

    fn run_block(&mut self, block: &[f32], size: usize, take: &mut Take<'_>) {
        let (rows, plan) = &mut self.plans[size];
        let result = fill(plan, &self.inputs, block, self.width)
            .and_then(|()| plan.run().map_err(|(node, fault)| RowFault { node: Some(node), fault }));
        match result {
            Ok(()) => {
                for (row, features) in block.chunks_exact(self.width).enumerate() {
                    take(features, Ok(Answer { plan, row, rows: *rows }));
                }
            }
            Err(fault) if *rows == 1 => take(block, Err(fault)),
            // One row is at fault: the others are not.
            Err(_) => {
                let last = self.plans.len() - 1;
                for row in block.chunks_exact(self.width) {
                    self.run_block(row, last, take);
                }
            }
        }
    }
}

/// Why a row has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// The number of the node, where it is one of the graph's.
    pub node: Option<usize>,
    pub fault: Fault,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network")
            .field("width", &self.width)
            .field("nodes", &self.graph.nodes.len())
            .finish_non_exhaustive()
    }
}

impl RowFault {
    /// The fault, with the name of its node in `graph`.
    pub fn describe(&self, graph: &Graph) -> String {
        let node = self.node.and_then(|at| Some((at, graph.nodes.get(at)?)));
        match node {
            Some((at, node)) => format!("{}: {}", describe(at, node, &graph.opsets), self.fault.0),
            None => self.fault.0.clone(),
        }
    }
}

/// What the graph gives for one row.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    plan: &'a Plan,
    row: usize,
    rows: usize,
}

impl<'a> Answer<'a> {
    /// Output `output`: its elements for all rows of the block, and where this row's are among them.
    fn part(&self, output: usize) -> (&'a Data, Part) {
        let (tensor_type, rows) = self.plan.output_type(output);
        let data = self.plan.output(output);
        let part = match rows {
            Rows::Axis { axis, each } if self.rows > 1 => {
                let inner: usize = tensor_type.shape[axis + 1..].iter().product::<usize>() * each;
                Part { start: self.row * inner, inner, stride: inner * self.rows }
            }
            _ => Part { start: 0, inner: data.len(), stride: data.len() },
        };
        (data, part)
    }

    /// Number `at` of output `output`; `None` where there is none, or it is a word.
    pub fn number(&self, output: usize, at: usize) -> Option<f64> {
        let (data, part) = self.part(output);
        if part.inner == 0 {
            return None;
        }
        let place = part.start + at / part.inner * part.stride + at % part.inner;
        Some(match data {
            Data::F32(values) => f64::from(*values.get(place)?),
            Data::F64(values) => *values.get(place)?,
            Data::I64(values) => *values.get(place)? as f64,
            Data::I32(values) => f64::from(*values.get(place)?),
            Data::I8(values) => f64::from(*values.get(place)?),
            Data::U8(values) => f64::from(*values.get(place)?),
            Data::Bool(values) => f64::from(u8::from(*values.get(place)?)),
            Data::Text(_) => return None,
        })
    }

    /// Word `at` of output `output`; `None` where there is none.
    pub fn word(&self, output: usize, at: usize) -> Option<&'a str> {
        let (data, part) = self.part(output);
        match data {
            Data::Text(words) if part.inner > 0 => {
                let place = part.start + at / part.inner * part.stride + at % part.inner;
                words.get(place).map(AsRef::as_ref)
            }
            _ => None,
        }
    }

    /// All numbers of output `output`, where they are single precision and lie together.
    pub fn floats(&self, output: usize) -> Option<&'a [f32]> {
        match self.part(output) {
            (Data::F32(values), part) if values.len() <= part.stride || self.rows == 1 => {
                values.get(part.start..part.start + part.inner)
            }
            _ => None,
        }
    }
}

/// Where a row's elements are: runs of `inner` from `start` on, `stride` apart.
struct Part {
    start: usize,
    inner: usize,
    stride: usize,
}

/// Writes a block's features to where the plan reads them.
fn fill(plan: &mut Plan, inputs: &[RowInput], block: &[f32], width: usize) -> Result<(), RowFault> {
    let mut first = 0;
    for (at, input) in inputs.iter().enumerate() {
        let rows = block.chunks_exact(width).map(|row| &row[first..first + input.features]);
        write(plan.input(at), rows, input.features).map_err(|fault| RowFault { node: None, fault })?;
        first += input.features;
    }
    Ok(())
}

fn write<'a>(data: &mut Data, rows: impl Iterator<Item = &'a [f32]>, features: usize) -> Result<(), Fault> {
    fn all<'a, T: Copy>(
        to: &mut [T],
        rows: impl Iterator<Item = &'a [f32]>,
        features: usize,
        convert: impl Fn(f32) -> Option<T>,
        expected: &str,
    ) -> Result<(), Fault> {
        for (to, from) in to.chunks_exact_mut(features.max(1)).zip(rows) {
            for (to, &from) in to.iter_mut().zip(from) {
                *to = convert(from)
                    .ok_or_else(|| Fault(format!("found the feature {from}, expected {expected}")))?;
            }
        }
        Ok(())
    }
    let whole = |value: f32| value.fract() == 0.0 && value.abs() <= WHOLE_MAX;
    let within = |value: f32, low: f32, high: f32| whole(value) && (low..=high).contains(&value);
    match data {
        Data::F32(to) => {
            for (to, from) in to.chunks_exact_mut(features.max(1)).zip(rows) {
                to.copy_from_slice(from);
            }
            Ok(())
        }
        Data::F64(to) => all(to, rows, features, |value| Some(f64::from(value)), ""),
        Data::I64(to) => {
            all(to, rows, features, |value| whole(value).then_some(value as i64), "a whole number")
        }
        Data::I32(to) => all(
            to,
            rows,
            features,
            |value| within(value, i32::MIN as f32, 2_147_483_520.0).then_some(value as i32),
            "a whole number of 32 bits",
        ),
        Data::I8(to) => all(
            to,
            rows,
            features,
            |value| within(value, -128.0, 127.0).then_some(value as i8),
            "a whole number from -128 to 127",
        ),
        Data::U8(to) => all(
            to,
            rows,
            features,
            |value| within(value, 0.0, 255.0).then_some(value as u8),
            "a whole number from 0 to 255",
        ),
        Data::Bool(to) => all(
            to,
            rows,
            features,
            |value| (value == 0.0 || value == 1.0).then_some(value == 1.0),
            "0 or 1, for false or true",
        ),
        Data::Text(_) => Err(Fault("its input takes words".to_owned())),
    }
}

fn of_graph(problem: impl Into<String>) -> PlanError {
    PlanError { node: String::new(), problem: problem.into() }
}

impl RowInput {
    fn of(input: &Input) -> Result<Self, PlanError> {
        let name = input.name.escape_debug();
        if input.kind == Kind::Text {
            return Err(of_graph(format!("its input \"{name}\" takes strings; features are numbers")));
        }
        let is_batch = matches!(input.shape.first(), Some(None));
        if let [Some(rows), _, ..] = input.shape[..]
            && rows != 1
        {
            return Err(of_graph(format!(
                "its input \"{name}\" takes {rows} rows at a time; export the model with a dynamic first axis, or with 1"
            )));
        }
        let mut shape = Vec::with_capacity(input.shape.len());
        for (at, size) in input.shape.iter().enumerate() {
            match size {
                Some(size) => shape.push(*size),
                None if at == 0 => shape.push(1),
                None => {
                    return Err(of_graph(format!(
                        "its input \"{name}\" leaves the size of axis {at} open; state it"
                    )));
                }
            }
        }
        let features = super::tensor::elements(&shape)
            .filter(|&features| features <= crate::model::INPUTS_MAX)
            .ok_or_else(|| {
                of_graph(format!(
                    "its input \"{name}\" takes more than {} features (inputs_max)",
                    crate::model::INPUTS_MAX
                ))
            })?;
        Ok(Self { kind: input.kind, shape, is_batch, features })
    }

    /// What the input is for `rows` rows; `None` where it has room for one.
    fn for_rows(&self, rows: usize) -> Option<(TensorType, Rows)> {
        let mut shape = self.shape.clone();
        if rows > 1 {
            if !self.is_batch {
                return None;
            }
            shape[0] = rows;
        }
        Some((TensorType::new(self.kind, shape), Rows::Axis { axis: 0, each: 1 }))
    }
}
