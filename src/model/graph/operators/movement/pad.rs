//! `Pad`: more places at the ends of axes, or fewer.

use crate::model::graph::context::{Context, Problem, axis};
use crate::model::graph::kernel::{Built, Fault, Inputs};
use crate::model::graph::moves::{Bits, Mover, input_bits, moving, output_bits};
use crate::model::graph::operators::walk::strides;
use crate::model::graph::tensor::{Data, Kind, Tensor, TensorType, elements};

/// The most places that may be added to, or taken from, an end; a plan could not hold as many.
const PADS_MAX: u64 = 1 << 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Constant,
    Edge,
    Reflect,
    Wrap,
}

/// One axis: its places in the input and the output, how far apart they are in the input, and how many come
/// before the input's first, which is negative where it is cut off.
#[derive(Clone, Copy)]
struct Axis {
    from: usize,
    to: usize,
    stride: usize,
    before: i64,
}

pub fn pad(context: &Context<'_>) -> Result<Built, Problem> {
    let modes = [
        ("constant", Mode::Constant),
        ("edge", Mode::Edge),
        ("reflect", Mode::Reflect),
        ("wrap", Mode::Wrap),
    ];
    let mode = context.choice("mode", &modes)?;
    let input = context.shape(0)?;
    let pads = pads(context)?;
    let strides = strides(input);
    let mut axes = Vec::with_capacity(input.len());
    for (at, (&from, stride)) in input.iter().zip(strides).enumerate() {
        let (before, after) = pads[at];
        let to = (from as i64).checked_add(before).and_then(|sum| sum.checked_add(after));
        let to = to.and_then(|to| usize::try_from(to).ok()).ok_or_else(|| {
            format!(
                "axis {at} of its input has {from} places, and {before} before and {after} behind are added"
            )
        })?;
        check(mode, at, from, before, after)?;
        axes.push(Axis { from, to, stride: stride as usize, before });
    }
    let shape: Vec<_> = axes.iter().map(|axis| axis.to).collect();
    if pads.iter().all(|pads| *pads == (0, 0)) {
        return Ok(Built::View { of: 0, shape });
    }
    let value = Value::of(context)?;
    let kind = context.kind(0)?;
    let output = TensorType::new(kind, shape);
    let counters = vec![0; axes.len().saturating_sub(1)];
    Ok(moving(output, Pad { mode, axes, value, counters }))
}

fn check(mode: Mode, at: usize, from: usize, before: i64, after: i64) -> Result<(), Problem> {
    let most = before.max(after);
    let fits = match mode {
        Mode::Constant => true,
        Mode::Edge | Mode::Wrap => most <= 0 || from > 0,
        Mode::Reflect => most < from.max(1) as i64,
    };
    if fits {
        return Ok(());
    }
    let most_possible = if mode == Mode::Reflect { from.saturating_sub(1) } else { 0 };
    Err(Problem(format!(
        "axis {at} of its input has {from} places, and {most} are added, expected {most_possible} at most in this mode"
    )))
}

/// How many places come before and behind each axis.
fn pads(context: &Context<'_>) -> Result<Vec<(i64, i64)>, Problem> {
    let rank = context.shape(0)?.len();
    let pads = if context.opset() < 11 {
        if context.inputs() > 1 {
            return Err("it has more than 1 input, and its pads are an attribute before version 11".into());
        }
        let pads = context.ints("pads")?;
        pads.ok_or("its attribute pads is missing, expected integers")?.to_vec()
    } else {
        context.known_ints(1, "pads")?
    };
    let axes = if context.has(3) {
        let axes = context.known_ints(3, "axes")?;
        axes.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?
    } else {
        (0..rank).collect()
    };
    if let Some(pad) = pads.iter().find(|pad| pad.unsigned_abs() > PADS_MAX) {
        return Err(Problem(format!("one of its pads is {pad}, expected {PADS_MAX} at most (pads_max)")));
    }
    if pads.len() != 2 * axes.len() {
        let problem =
            format!("its pads are {pads:?}, expected {} integers, two for each axis", 2 * axes.len());
        return Err(Problem(problem));
    }
    let mut all = vec![(0, 0); rank];
    for (at, &axis) in axes.iter().enumerate() {
        all[axis] = (pads[at], pads[axes.len() + at]);
    }
    Ok(all)
}

/// What new places are filled with.
enum Value {
    Known(Tensor),
    Input,
}

impl Value {
    fn of(context: &Context<'_>) -> Result<Self, Problem> {
        let kind = context.kind(0)?;
        if context.opset() < 11 {
            let value = context.float_or("value", 0.0)?;
            return match kind {
                Kind::F32 => Ok(Self::Known(Tensor::new([], vec![value]))),
                Kind::F64 => Ok(Self::Known(Tensor::new([], vec![f64::from(value)]))),
                _ => Err(Problem(format!(
                    "its input 0 is {kind}, expected float32 or float64 before version 11"
                ))),
            };
        }
        if !context.has(2) {
            return Ok(Self::Known(Tensor { shape: Vec::new(), data: Data::zeros(kind, 1) }));
        }
        let found = context.tensor_type(2)?;
        if found.kind != kind || elements(&found.shape) != Some(1) {
            return Err(Problem(format!("its input 2 (constant_value) is {found}, expected {kind} []")));
        }
        Ok(Self::Input)
    }
}

struct Pad {
    mode: Mode,
    axes: Vec<Axis>,
    value: Value,
    counters: Vec<usize>,
}

impl Axis {
    /// Where place `at` of the output comes from; `None` for what is filled.
    fn source(&self, at: usize, mode: Mode) -> Option<usize> {
        let place = at as i64 - self.before;
        let size = self.from as i64;
        if (0..size).contains(&place) {
            return Some(place as usize);
        }
        let inside = match mode {
            Mode::Constant => return None,
            Mode::Edge => place.clamp(0, size - 1),
            Mode::Reflect if place < 0 => -place,
            Mode::Reflect => 2 * (size - 1) - place,
            Mode::Wrap => place.rem_euclid(size),
        };
        // Both ends of one axis may be moved by more than it has.
        Some(inside.clamp(0, size - 1) as usize)
    }
}

impl Mover for Pad {
    fn run<T: Bits>(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (input_bits::<T>(inputs, 0)?, output_bits::<T>(outputs, 0)?);
        let value = match &self.value {
            Value::Known(tensor) => T::of(&tensor.data),
            Value::Input => Some(input_bits::<T>(inputs, 2)?),
        };
        let value = value.and_then(<[T]>::first).ok_or_else(|| Fault("input 2 is empty".to_owned()))?;
        let Some((last, outer)) = self.axes.split_last() else { return Ok(()) };
        if last.to == 0 {
            return Ok(());
        }
        self.counters.fill(0);
        for row in to.chunks_exact_mut(last.to) {
            let sources = outer
                .iter()
                .zip(&self.counters)
                .map(|(axis, &at)| Some(axis.source(at, self.mode)? * axis.stride));
            match sources.sum::<Option<usize>>() {
                Some(start) => fill(row, &from[start..start + last.from], last, self.mode, value),
                None => row.fill(value.clone()),
            }
            for (axis, counter) in outer.iter().zip(&mut self.counters).rev() {
                *counter += 1;
                if *counter < axis.to {
                    break;
                }
                *counter = 0;
            }
        }
        Ok(())
    }
}

/// One row along the last axis.
fn fill<T: Clone>(row: &mut [T], from: &[T], axis: &Axis, mode: Mode, value: &T) {
    let first = axis.before.clamp(0, row.len() as i64) as usize;
    let cut = (-axis.before).clamp(0, from.len() as i64) as usize;
    let count = (from.len() - cut).min(row.len() - first);
    row[first..first + count].clone_from_slice(&from[cut..cut + count]);
    for at in (0..first).chain(first + count..row.len()) {
        row[at] = match axis.source(at, mode) {
            Some(place) => from[place].clone(),
            None => value.clone(),
        };
    }
}
