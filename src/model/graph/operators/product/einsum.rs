//! `Einsum`: sums of products along axes that letters name.

mod equation;

use std::marker::PhantomData;

use pulp::Arch;

use self::equation::{Equation, Strides};
use super::{count, multiply_adds, of_kind, same_kind};
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::tensor::{Data, Element, Kind, TensorType};
use crate::model::kernel::plain::Number;
use crate::model::kernel::product::{Raw, Rows, Start, Weights, arrange, space};

pub fn build(context: &Context<'_>) -> Result<Built, Problem> {
    for at in 1..context.inputs() {
        same_kind(context, at)?;
    }
    let text = context.text("equation")?.ok_or("its attribute equation is missing")?;
    let shapes = (0..context.inputs()).map(|at| context.shape(at)).collect::<Result<Vec<_>, _>>()?;
    let equation = Equation::new(text, &shapes)?;
    match context.kind(0)? {
        Kind::F32 if shapes.len() == 2 => pair(&equation),
        Kind::F32 => plain::<f32>(&equation),
        Kind::F64 => plain::<f64>(&equation),
        Kind::I64 => plain::<i64>(&equation),
        Kind::I32 => plain::<i32>(&equation),
        kind => Err(of_kind(kind, "input 0")),
    }
}

/// Any equation, number by number.
struct Plain<T> {
    /// The axes of the output.
    kept: Axes,
    /// The axes that are summed up.
    summed: Axes,
    kind: PhantomData<T>,
}

/// Sizes of axes, and the strides of each input along them.
struct Axes {
    sizes: Vec<usize>,
    count: usize,
    strides: Vec<Strides>,
}

impl Axes {
    fn new(equation: &Equation, labels: impl Iterator<Item = usize>) -> Result<Self, Problem> {
        let labels: Vec<_> = labels.collect();
        let sizes: Vec<_> = labels.iter().map(|&label| equation.sizes[label]).collect();
        let of_input = |strides: &Strides| labels.iter().map(|&label| strides[label]).collect();
        Ok(Self { count: count(&sizes)?, strides: equation.strides.iter().map(of_input).collect(), sizes })
    }

    /// Where the element number `number` is in input `input`.
    fn place(&self, input: usize, mut number: usize) -> usize {
        let mut place = 0;
        for (size, stride) in self.sizes.iter().zip(&self.strides[input]).rev() {
            place += number % size * stride;
            number /= size;
        }
        place
    }
}

fn plain<T: Number + Element>(equation: &Equation) -> Result<Built, Problem> {
    let summed = (0..equation.sizes.len()).filter(|label| !equation.output.contains(label));
    let kernel = Plain::<T> {
        kept: Axes::new(equation, equation.output.iter().copied())?,
        summed: Axes::new(equation, summed)?,
        kind: PhantomData,
    };
    Ok(Built::kernel(TensorType::new(T::KIND, kernel.kept.sizes.clone()), kernel))
}

impl<T: Number + Element> Kernel for Plain<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let y = output::<T>(outputs, 0)?;
        let many = self.kept.strides.len();
        for (number, y) in y.iter_mut().enumerate() {
            let mut sum = T::ZERO;
            for at in 0..self.summed.count {
                let element = |input: usize| -> Result<T, Fault> {
                    let place = self.kept.place(input, number) + self.summed.place(input, at);
                    Ok(inputs.values::<T>(input)?[place])
                };
                let mut product = element(0)?;
                for input in 1..many {
                    product = product.multiply_add(element(input)?, T::ZERO);
                }
                sum = product.multiply_add(T::from_f32(1.0), sum);
            }
            *y = sum;
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        // Each is found by its number, which takes about as long as ten products.
        Some(multiply_adds(&[self.kept.count, self.summed.count, 10 * self.kept.strides.len()]))
    }
}

/// Two inputs of float32: a product of matrices, after both have been laid out as such.
struct Pair {
    arch: Arch,
    /// Axes of the output that both have, that the left has alone, and that the right has alone.
    batch: Axes,
    rows: Axes,
    columns: Axes,
    depth: Axes,
    /// Where products go: for each of the three the strides in the output.
    to: [Strides; 3],
}

fn pair(equation: &Equation) -> Result<Built, Problem> {
    let has = |input: usize, label: usize| equation.has[input][label];
    let output = |keep: &dyn Fn(usize) -> bool| -> Vec<usize> {
        equation.output.iter().copied().filter(|&label| keep(label)).collect()
    };
    let batch = output(&|label| has(0, label) && has(1, label));
    let rows = output(&|label| has(0, label) && !has(1, label));
    let columns = output(&|label| !has(0, label));
    let depth: Vec<_> = (0..equation.sizes.len()).filter(|label| !equation.output.contains(label)).collect();
    let shape: Vec<_> = equation.output.iter().map(|&label| equation.sizes[label]).collect();
    let stride = |label: &usize| -> Result<usize, Problem> {
        let at = equation.output.iter().position(|of| of == label).unwrap_or(0);
        count(&shape[at + 1..])
    };
    let strides = |labels: &[usize]| labels.iter().map(stride).collect::<Result<Vec<_>, _>>();
    let to = [strides(&batch)?, strides(&rows)?, strides(&columns)?];
    let axes = |labels: Vec<usize>| Axes::new(equation, labels.into_iter());
    let pair = Pair {
        arch: Arch::new(),
        batch: axes(batch)?,
        rows: axes(rows)?,
        columns: axes(columns)?,
        depth: axes(depth)?,
        to,
    };
    let [rows, columns, depth] = [pair.rows.count, pair.columns.count, pair.depth.count];
    let rooms = [
        rows.saturating_mul(depth),
        columns.saturating_mul(depth),
        space(depth, columns).unwrap_or(usize::MAX),
        rows.saturating_mul(columns),
    ];
    let shapes = [shape].into_iter().chain(rooms.map(|room| vec![room]));
    Ok(Built::Kernel {
        outputs: shapes.map(|shape| TensorType::new(Kind::F32, shape)).collect(),
        kernel: Box::new(pair),
    })
}

/// Where the element number `number` of axes with these strides is.
fn place(sizes: &[usize], strides: &[usize], mut number: usize) -> usize {
    let mut place = 0;
    for (size, stride) in sizes.iter().zip(strides).rev() {
        place += number % size * stride;
        number /= size;
    }
    place
}

impl Kernel for Pair {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let [Data::F32(y), Data::F32(left), Data::F32(right), Data::F32(panels), Data::F32(products)] =
            outputs
        else {
            return Err(Fault("its outputs are not float32".into()));
        };
        let (depth, width) = (self.depth.count, self.columns.count);
        let (a, b) = (inputs.values::<f32>(0)?, inputs.values::<f32>(1)?);
        if y.is_empty() {
            return Ok(());
        }
        for batch in 0..self.batch.count {
            self.lay_out(0, a, self.batch.place(0, batch), &self.rows, left);
            self.lay_out(1, b, self.batch.place(1, batch), &self.columns, right);
            arrange(Raw { values: right, across: depth, down: 1, scale: 1.0 }, depth, width, panels);
            let rows = Rows { values: left, stride: depth, count: self.rows.count };
            Weights::new(depth, width, panels).multiply(self.arch, rows, Start::Bias, false, products);
            let start = place(&self.batch.sizes, &self.to[0], batch);
            for (row, products) in products.chunks_exact(width).enumerate() {
                let start = start + place(&self.rows.sizes, &self.to[1], row);
                for (column, product) in products.iter().enumerate() {
                    y[start + place(&self.columns.sizes, &self.to[2], column)] = *product;
                }
            }
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(multiply_adds(&[self.batch.count, self.rows.count, self.columns.count, self.depth.count]))
    }
}

impl Pair {
    /// Writes lines of `depth` numbers of `input`.
    fn lay_out(&self, input: usize, values: &[f32], start: usize, lines: &Axes, into: &mut [f32]) {
        for (line, into) in into.chunks_exact_mut(self.depth.count.max(1)).enumerate() {
            let start = start + lines.place(input, line);
            for (at, place) in into.iter_mut().enumerate() {
                *place = values[start + self.depth.place(input, at)];
            }
        }
    }
}
