//! Operators that run a body again and again: over the places of an axis, or a known number of times.

use super::Operator;
use crate::model::graph::context::{Context, Problem, axis};
use crate::model::graph::ir::Graph;
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel};
use crate::model::graph::plan::Plan;
use crate::model::graph::tensor::{Data, Element, Kind, TensorType, each_kind};

pub const OPERATORS: &[Operator] =
    &[Operator::onnx("Scan", 9, super::ANY, scan), Operator::onnx("Loop", 1, 2..=usize::MAX, repeat)];

/// A body that runs `count` times.
struct Repeated {
    plan: Plan,
    count: usize,
    /// Values that each run takes over from the one before: the body's inputs and outputs begin with them,
    /// after `control` others.
    states: Vec<Data>,
    control: usize,
    scanned: Vec<Along>,
    collected: Vec<Along>,
    /// Where in the node's inputs those of the body's states begin.
    first_input: usize,
    /// The node's inputs that the body takes from around it.
    outer: Vec<usize>,
    /// Whether the body says after each run whether there is another.
    may_end: bool,
}

/// An axis of a value, of which each run has one place.
struct Along {
    /// The sizes before the axis.
    outer: usize,
    /// The sizes after it.
    inner: usize,
    is_backwards: bool,
}

impl Along {
    fn new(shape: &[usize], axis: usize, is_backwards: bool) -> Self {
        Self {
            outer: shape[..axis].iter().product(),
            inner: shape[axis + 1..].iter().product(),
            is_backwards,
        }
    }

    /// Copies place `at` of `count` between a whole value and one of its places.
    fn copy(&self, from: &Data, to: &mut Data, at: usize, count: usize, out: bool) -> Result<(), Fault> {
        let at = if self.is_backwards { count - 1 - at } else { at };
        for outer in 0..self.outer {
            let (whole, part) = ((outer * count + at) * self.inner, outer * self.inner);
            let (from_at, to_at) = if out { (part, whole) } else { (whole, part) };
            copy(from, from_at, to, to_at, self.inner)?;
        }
        Ok(())
    }
}

/// Copies `count` elements; both are of one kind, which planning has seen to.
fn copy(from: &Data, from_at: usize, to: &mut Data, to_at: usize, count: usize) -> Result<(), Fault> {
    fn of<T: Element>(from: &[T], to: &mut Data, to_at: usize) -> Result<(), Fault> {
        let to = T::of_mut(to).ok_or_else(|| Fault("a body's value is of another kind".to_owned()))?;
        to[to_at..to_at + from.len()].clone_from_slice(from);
        Ok(())
    }
    each_kind!(from, values => of(&values[from_at..from_at + count], to, to_at))
}

fn scan(context: &Context<'_>) -> Result<Built, Problem> {
    let body = context.graph("body")?;
    let scans = context.int("num_scan_inputs")?.ok_or("its attribute num_scan_inputs is missing")?;
    let scans = usize::try_from(scans).ok().filter(|&scans| (1..=context.inputs()).contains(&scans));
    let scans = scans.ok_or_else(|| format!("expected a num_scan_inputs of 1 to {}", context.inputs()))?;
    let states = context.inputs() - scans;
    check_counts(body, context.inputs(), states)?;
    let collects = body.outputs.len() - states;
    let axes = listed(context, "scan_input_axes", scans)?;
    let directions = listed(context, "scan_input_directions", scans)?;
    let mut types: Vec<TensorType> =
        (0..states).map(|at| context.tensor_type(at).cloned()).collect::<Result<_, _>>()?;
    let mut scanned = Vec::with_capacity(scans);
    let mut count = None;
    for at in 0..scans {
        let TensorType { kind, shape } = context.tensor_type(states + at)?;
        let along = axis(axes[at], shape.len())?;
        if *count.get_or_insert(shape[along]) != shape[along] {
            return Err("the inputs that it scans have different lengths".into());
        }
        scanned.push(Along::new(shape, along, directions[at] == 1));
        let mut part = shape.clone();
        part.remove(along);
        types.push(TensorType { kind: *kind, shape: part });
    }
    let count = count.unwrap_or(0);
    let plan = context.body(body, &types)?;
    let mut outputs = states_of(&plan, &types[..states], 0)?;
    let (axes, directions) = (
        listed(context, "scan_output_axes", collects)?,
        listed(context, "scan_output_directions", collects)?,
    );
    let mut collected = Vec::with_capacity(collects);
    for at in 0..collects {
        let part = plan.output_type(states + at).0;
        let along = axis(axes[at], part.shape.len() + 1)?;
        let whole = with_axis(part, along, count);
        collected.push(Along::new(&whole.shape, along, directions[at] == 1));
        outputs.push(whole);
    }
    let outer = outer(context);
    let states = types[..states].iter().map(scratch).collect::<Result<_, _>>()?;
    let kernel = Repeated {
        plan,
        count,
        states,
        control: 0,
        scanned,
        collected,
        first_input: 0,
        outer,
        may_end: false,
    };
    Ok(Built::Kernel { outputs, kernel: Box::new(kernel) })
}

fn repeat(context: &Context<'_>) -> Result<Built, Problem> {
    /// Runs of a body that are known to be wanted.
    const RUNS_MAX: i64 = 1 << 20;
    let body = context.graph("body")?;
    if !context.has(0) {
        return Err("it has no number of runs, expected one that is known when the model is loaded".into());
    }
    let count = context.known_ints(0, "M")?.first().copied().unwrap_or(0);
    if context.has(1) && context.known_values::<bool>(1, "cond")? != [true] {
        return Err("its condition is not true at the start, which is not supported".into());
    }
    let count = usize::try_from(count.min(RUNS_MAX + 1)).unwrap_or(0);
    if count > RUNS_MAX as usize {
        return Err(format!("it would run its body more than {RUNS_MAX} times (runs_max)").into());
    }
    let states = context.inputs() - 2;
    check_counts(body, states + 2, states + 1)?;
    let mut types = vec![TensorType::new(Kind::I64, []), TensorType::new(Kind::Bool, [])];
    for at in 0..states {
        types.push(context.tensor_type(2 + at)?.clone());
    }
    let plan = context.body(body, &types)?;
    if plan.output_type(0).0.kind != Kind::Bool || plan.output(0).len() != 1 {
        return Err("the first value that its body gives is no truth value".into());
    }
    let mut outputs = states_of(&plan, &types[2..], 1)?;
    let mut collected = Vec::new();
    for at in 1 + states..plan.outputs() {
        let whole = with_axis(plan.output_type(at).0, 0, count);
        collected.push(Along::new(&whole.shape, 0, false));
        outputs.push(whole);
    }
    let outer = outer(context);
    let states = types[2..].iter().map(scratch).collect::<Result<_, _>>()?;
    let kernel = Repeated {
        plan,
        count,
        states,
        control: 2,
        scanned: Vec::new(),
        collected,
        first_input: 2,
        outer,
        may_end: true,
    };
    Ok(Built::Kernel { outputs, kernel: Box::new(kernel) })
}

fn check_counts(body: &Graph, inputs: usize, outputs: usize) -> Result<(), Problem> {
    if body.inputs.len() != inputs {
        return Err(format!("its body takes {} values, expected {inputs}", body.inputs.len()).into());
    }
    if body.outputs.len() < outputs {
        return Err(
            format!("its body gives {} values, expected {outputs} or more", body.outputs.len()).into()
        );
    }
    Ok(())
}

/// A list of `count` integers, zeros where it is left out.
fn listed(context: &Context<'_>, name: &str, count: usize) -> Result<Vec<i64>, Problem> {
    match context.ints(name)? {
        None => Ok(vec![0; count]),
        Some(values) if values.len() == count => Ok(values.to_vec()),
        Some(values) => {
            Err(format!("its attribute {name} has {} values, expected {count}", values.len()).into())
        }
    }
}

/// The types of the states, which a run must leave as they were.
fn states_of(plan: &Plan, states: &[TensorType], first: usize) -> Result<Vec<TensorType>, Problem> {
    for (at, state) in states.iter().enumerate() {
        let found = plan.output_type(first + at).0;
        if found != state {
            return Err(format!("its body makes {found} of a state that is {state}").into());
        }
    }
    Ok(states.to_vec())
}

fn with_axis(part: &TensorType, axis: usize, count: usize) -> TensorType {
    let mut whole = part.clone();
    whole.shape.insert(axis, count);
    whole
}

/// The places of the inputs that the body takes from around it and that are not known.
fn outer(context: &Context<'_>) -> Vec<usize> {
    let captured = context.captured_from()..context.all_inputs();
    captured.filter(|&at| matches!(context.constant(at), Ok(None))).collect()
}

/// A buffer of its own for a state; the plan has counted as much before for the body's.
fn scratch(tensor_type: &TensorType) -> Result<Data, Problem> {
    let elements = tensor_type.elements().ok_or("a state has more elements than can be counted")?;
    Ok(Data::zeros(tensor_type.kind, elements))
}

impl Repeated {
    fn begin(&mut self, inputs: &Inputs<'_>) -> Result<(), Fault> {
        for (at, &input) in self.outer.iter().enumerate() {
            let data = inputs.data(input)?;
            copy(data, 0, self.plan.outer(at), 0, data.len())?;
        }
        for at in 0..self.states.len() {
            let data = inputs.data(self.first_input + at)?;
            copy(data, 0, self.plan.input(self.control + at), 0, data.len())?;
        }
        if self.control > 0
            && let Some([truth]) = bool::of_mut(self.plan.input(1))
        {
            *truth = true;
        }
        Ok(())
    }

    /// Hands each state on to the next run. All are taken before one is written, for they may have changed
    /// places.
    fn hand_on(&mut self) -> Result<(), Fault> {
        let first = self.control.min(1);
        for (at, state) in self.states.iter_mut().enumerate() {
            if !self.plan.is_input(first + at, self.control + at) {
                let data = self.plan.output(first + at);
                copy(data, 0, state, 0, data.len())?;
            }
        }
        for (at, state) in self.states.iter().enumerate() {
            if !self.plan.is_input(first + at, self.control + at) {
                copy(state, 0, self.plan.input(self.control + at), 0, state.len())?;
            }
        }
        Ok(())
    }

    fn goes_on(&self) -> bool {
        !self.may_end || bool::of(self.plan.output(0)).is_some_and(|truth| truth == [true])
    }
}

impl Kernel for Repeated {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        self.begin(inputs)?;
        let states = self.states.len();
        let first_collected = self.control.min(1) + states;
        for run in 0..self.count {
            for (at, along) in self.scanned.iter().enumerate() {
                let whole = inputs.data(states + at)?;
                along.copy(whole, self.plan.input(states + at), run, self.count, false)?;
            }
            if self.control > 0
                && let Some([number]) = i64::of_mut(self.plan.input(0))
            {
                *number = run as i64;
            }
            self.plan.run().map_err(|(_, fault)| fault)?;
            for (at, along) in self.collected.iter().enumerate() {
                let part = self.plan.output(first_collected + at);
                along.copy(part, &mut outputs[states + at], run, self.count, true)?;
            }
            self.hand_on()?;
            if !self.goes_on() {
                if !self.collected.is_empty() && run + 1 < self.count {
                    return Err(Fault(format!("its body ended after {} of {} runs", run + 1, self.count)));
                }
                break;
            }
        }
        for (at, output) in outputs.iter_mut().take(states).enumerate() {
            let state = self.plan.input(self.control + at);
            let count = state.len();
            copy(state, 0, output, 0, count)?;
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(self.plan.multiply_adds().saturating_add(1).saturating_mul(self.count as u64))
    }
}
