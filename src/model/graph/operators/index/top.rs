//! `TopK` and `Hardmax`: the largest along an axis.

use std::cmp::Ordering;
use std::marker::PhantomData;

use crate::model::graph::context::{Context, Problem, axis, size};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::operators::elementwise::unexpected;
use crate::model::graph::operators::walk::around;
use crate::model::graph::tensor::{Data, Element, Kind, TensorType};

/// Sorted as it may be where that is not asked for: an order must be had anyway.
pub fn top(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.tensor_type(0)?;
    let at = axis(context.int_or("axis", -1)?, input.shape.len())?;
    let count = if context.opset() < 10 {
        context.int("k")?.ok_or("its attribute k is missing, expected an integer")?
    } else {
        let count = context.known_ints(1, "K")?;
        let &[count] = count.as_slice() else {
            return Err(Problem(format!("its input 1 (K) has {} elements, expected 1", count.len())));
        };
        count
    };
    let count = size(count, "number of places")?;
    let (outer, size, inner) = around(&input.shape, at);
    if count > size {
        return Err(Problem(format!("it takes {count} places of axis {at}, which has {size}")));
    }
    context.ignore(&["sorted"]);
    let is_largest = context.flag("largest", true)?;
    let mut shape = input.shape.clone();
    shape[at] = count;
    let outputs = vec![TensorType::new(input.kind, shape.as_slice()), TensorType::new(Kind::I64, shape)];
    let lines = Lines { outer, size, inner };
    Ok(match input.kind {
        Kind::F32 => built(outputs, Top::<f32> { lines, count, is_largest, best: Vec::new() }),
        Kind::F64 => built(outputs, Top::<f64> { lines, count, is_largest, best: Vec::new() }),
        Kind::I64 => built(outputs, Top::<i64> { lines, count, is_largest, best: Vec::new() }),
        Kind::I32 => built(outputs, Top::<i32> { lines, count, is_largest, best: Vec::new() }),
        Kind::I8 => built(outputs, Top::<i8> { lines, count, is_largest, best: Vec::new() }),
        Kind::U8 => built(outputs, Top::<u8> { lines, count, is_largest, best: Vec::new() }),
        Kind::Bool | Kind::Text => return Err(unexpected(context, 0, "numbers")),
    })
}

fn built(outputs: Vec<TensorType>, kernel: impl Kernel + 'static) -> Built {
    Built::Kernel { outputs, kernel: Box::new(kernel) }
}

/// Along an axis.
#[derive(Clone, Copy)]
struct Lines {
    outer: usize,
    size: usize,
    inner: usize,
}

struct Top<T> {
    lines: Lines,
    count: usize,
    is_largest: bool,
    /// The best so far, a heap whose first is the worst of them. Its memory is taken in the first run: how
    /// much that is has then been looked at.
    best: Vec<(T, usize)>,
}

impl<T: Element + Copy + PartialOrd> Top<T> {
    /// Which of two comes first: the larger, of equal ones that with the lower place. What is not a number is
    /// larger than all that are.
    fn order(is_largest: bool, a: &(T, usize), b: &(T, usize)) -> Ordering {
        let is_none = |value: &T| value.partial_cmp(value).is_none();
        let values = a.0.partial_cmp(&b.0).unwrap_or_else(|| is_none(&a.0).cmp(&is_none(&b.0)));
        let values = if is_largest { values.reverse() } else { values };
        values.then(a.1.cmp(&b.1))
    }

    /// Puts the first one, which has changed, to where it belongs.
    fn sink(best: &mut [(T, usize)], is_largest: bool) {
        let mut at = 0;
        loop {
            let mut worst = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < best.len() && Self::order(is_largest, &best[child], &best[worst]).is_gt() {
                    worst = child;
                }
            }
            if worst == at {
                return;
            }
            best.swap(at, worst);
            at = worst;
        }
    }
}

impl<T: Element + Copy + PartialOrd> Kernel for Top<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let from = inputs.values::<T>(0)?;
        let [values, places] = outputs else { return Err(Fault("output 1 is missing".to_owned())) };
        let values = output::<T>(std::slice::from_mut(values), 0)?;
        let places = output::<i64>(std::slice::from_mut(places), 0)?;
        let Lines { outer, size, inner } = self.lines;
        let (count, is_largest) = (self.count, self.is_largest);
        if count == 0 {
            return Ok(());
        }
        for line in 0..outer * inner {
            let (before, behind) = (line / inner, line % inner);
            let element = |at: usize| (from[(before * size + at) * inner + behind], at);
            self.best.clear();
            self.best.extend((0..count).map(element));
            // A list that is sorted with the worst first is a heap with the worst first.
            self.best.sort_unstable_by(|a, b| Self::order(is_largest, b, a));
            for next in (count..size).map(element) {
                if Self::order(is_largest, &next, &self.best[0]).is_lt() {
                    self.best[0] = next;
                    Self::sink(&mut self.best, is_largest);
                }
            }
            self.best.sort_unstable_by(|a, b| Self::order(is_largest, a, b));
            for (at, (value, place)) in self.best.iter().enumerate() {
                let to = (before * count + at) * inner + behind;
                values[to] = *value;
                places[to] = *place as i64;
            }
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        let Lines { outer, size, inner } = self.lines;
        // A comparison for each, and as many again as a heap is deep.
        let each = 2 + u64::from(usize::BITS - self.count.leading_zeros());
        Some([outer, size, inner].iter().fold(each, |all, &factor| all.saturating_mul(factor as u64)))
    }
}

/// 1 at the first largest of each line and 0 elsewhere. Before version 13 a line is all behind an axis.
pub fn hardmax(context: &Context<'_>) -> Result<Built, Problem> {
    let input = context.shape(0)?;
    let lines = if context.opset() < 13 {
        let at = axis(context.int_or("axis", 1)?, input.len())?;
        Lines { outer: input[..at].iter().product(), size: input[at..].iter().product(), inner: 1 }
    } else {
        let at = axis(context.int_or("axis", -1)?, input.len())?;
        let (outer, size, inner) = around(input, at);
        Lines { outer, size, inner }
    };
    let output = context.tensor_type(0)?.clone();
    match output.kind {
        Kind::F32 => Ok(Built::kernel(output, Hardmax::<f32> { lines, of: PhantomData })),
        Kind::F64 => Ok(Built::kernel(output, Hardmax::<f64> { lines, of: PhantomData })),
        _ => Err(unexpected(context, 0, "float32 or float64")),
    }
}

struct Hardmax<T> {
    lines: Lines,
    of: PhantomData<T>,
}

impl<T: Element + Copy + PartialOrd + From<u8>> Kernel for Hardmax<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (from, to) = (inputs.values::<T>(0)?, output::<T>(outputs, 0)?);
        let Lines { outer, size, inner } = self.lines;
        to.fill(T::from(0));
        for line in 0..if size == 0 { 0 } else { outer * inner } {
            let start = line / inner * size * inner + line % inner;
            let mut best = start;
            for at in 1..size {
                if from[start + at * inner] > from[best] {
                    best = start + at * inner;
                }
            }
            // What is not a number is the largest of nothing.
            if from[best].partial_cmp(&from[best]).is_some() {
                to[best] = T::from(1);
            }
        }
        Ok(())
    }
}
