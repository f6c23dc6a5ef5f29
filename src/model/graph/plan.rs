//! A graph for a number of rows, ready to be run: kernels in order, and the buffers between them.

mod assembly;
mod build;
mod draft;
mod fuse;
mod names;
mod planner;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use self::names::{describe, needs};

use self::planner::Planner;
use super::context::{Known, Prepared};
use super::ir::Graph;
use super::kernel::{Fault, Inputs, Kernel, Source};
use super::rows::Rows;
use super::tensor::{Data, Tensor, TensorType};

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
    /// The numbers of the nodes that have become a part of it.
    fused: Vec<usize>,
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
    /// The numbers of the nodes behind it that it does as well.
    pub fused: Vec<usize>,
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
            fused: step.fused.clone(),
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
