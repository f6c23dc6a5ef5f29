//! Products of small integers, each with a zero point that is taken off first.

use super::super::quantise::{Whole, integer};
use super::gemm::Gemm;
use super::matmul::Sizes;
use super::multiply_adds;
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::tensor::{Data, Kind, TensorType, elements};
use crate::model::kernel::plain::{Matrix, add_products};

/// One side: where its numbers, its scale and its zero point are among the inputs.
#[derive(Debug, Clone, Copy)]
struct Side {
    input: usize,
    scale: Option<usize>,
    zero: Option<usize>,
    /// How many numbers there are.
    size: usize,
    /// How far it is from row to row, or from output to output, and from place to place within them.
    strides: (usize, usize),
}

struct Product {
    left: Side,
    right: Side,
    sizes: Sizes,
    /// Whole numbers that are added to the sums, where there are any: row by row, or one row.
    added: Option<usize>,
    alpha: f32,
    /// Scale and zero point of the output, where it is of small integers.
    to: Option<(usize, Option<usize>)>,
}

impl Side {
    fn new(
        context: &Context<'_>,
        input: usize,
        scale: Option<usize>,
        zero: usize,
        lines: usize,
    ) -> Result<Self, Problem> {
        let kind = context.kind(input)?;
        if !matches!(kind, Kind::I8 | Kind::U8) {
            return Err(Problem(format!("its input {input} is {kind}, expected int8 or uint8")));
        }
        let zero = context.has(zero).then_some(zero);
        for at in [scale, zero].into_iter().flatten() {
            let count = elements(context.shape(at)?);
            if count != Some(1) && count != Some(lines) {
                let shape = context.shape(at)?;
                return Err(Problem(format!(
                    "its input {at} has the shape {shape:?}, expected one number or {lines}"
                )));
            }
            let (found, expected) = (context.kind(at)?, if Some(at) == scale { Kind::F32 } else { kind });
            if found != expected {
                return Err(Problem(format!("its input {at} is {found}, expected {expected}")));
            }
        }
        let size = elements(context.shape(input)?).ok_or("it has more elements than can be counted")?;
        Ok(Self { input, scale, zero, size, strides: (0, 0) })
    }
}

/// An element of a list, or the only one there is.
fn one_or(length: usize, at: usize) -> usize {
    if length == 1 { 0 } else { at % length.max(1) }
}

/// A product as `MatMul` has it, whose sides each have a scale and a zero point after them or elsewhere.
fn plain(
    context: &Context<'_>,
    [left, right]: [usize; 2],
    scales: [Option<usize>; 2],
    zeros: [usize; 2],
) -> Result<Product, Problem> {
    let shape = context.shape(left)?;
    let rows = if shape.len() > 1 { shape[shape.len() - 2] } else { 1 };
    let sizes = Sizes::new(shape, context.shape(right)?)?;
    let mut left = Side::new(context, left, scales[0], zeros[0], rows)?;
    let mut right = Side::new(context, right, scales[1], zeros[1], sizes.outputs)?;
    left.strides = (sizes.depth, 1);
    right.strides = (1, sizes.outputs);
    Ok(Product::plain(left, right, sizes))
}

pub fn matmul(context: &Context<'_>) -> Result<Built, Problem> {
    finish(plain(context, [0, 1], [None, None], [2, 3])?, Kind::I32)
}

pub fn quantised(context: &Context<'_>) -> Result<Built, Problem> {
    let product = plain(context, [0, 3], [Some(1), Some(4)], [2, 5])?;
    let kind = single(context, 6, 7)?;
    finish(Product { to: Some((6, Some(7))), ..product }, kind)
}

/// The output's kind, by its zero point; its scale and that are one number each.
fn single(context: &Context<'_>, scale: usize, zero: usize) -> Result<Kind, Problem> {
    for at in [scale, zero] {
        if elements(context.shape(at)?) != Some(1) {
            return Err(Problem(format!(
                "its input {at} has the shape {:?}, expected one number",
                context.shape(at)?
            )));
        }
    }
    match (context.kind(scale)?, context.kind(zero)?) {
        (Kind::F32, kind @ (Kind::I8 | Kind::U8)) => Ok(kind),
        (scale, zero) => Err(Problem(format!(
            "its output's scale and zero point are {scale} and {zero}, expected float32, and int8 or uint8"
        ))),
    }
}

pub fn gemm(context: &Context<'_>) -> Result<Built, Problem> {
    let gemm = Gemm::new(context, [0, 3])?;
    let Gemm { rows, depth, outputs, alpha, .. } = gemm;
    let sizes = Sizes::new(&[rows, depth], &[depth, outputs])?;
    let mut left = Side::new(context, 0, Some(1), 2, rows)?;
    left.strides = if context.flag("transA", false)? { (1, rows) } else { (depth, 1) };
    let mut right = Side::new(context, 3, Some(4), 5, outputs)?;
    right.strides = gemm.right_strides();
    let added = context.has(6).then_some(6);
    if let Some(at) = added {
        let shape = context.shape(at)?;
        let count = elements(shape);
        let is_known = count == Some(outputs) || count == rows.checked_mul(outputs) || count == Some(1);
        if context.kind(at)? != Kind::I32 || !is_known {
            return Err(Problem(format!(
                "its input {at} (C) is {}, expected int32 [{outputs}]",
                context.tensor_type(at)?
            )));
        }
    }
    let (kind, to) =
        if context.has(7) { (single(context, 7, 8)?, Some((7, Some(8)))) } else { (Kind::F32, None) };
    finish(Product { added, alpha, to, ..Product::plain(left, right, sizes) }, kind)
}

impl Product {
    fn plain(left: Side, right: Side, sizes: Sizes) -> Self {
        Self { left, right, sizes, added: None, alpha: 1.0, to: None }
    }

    /// What each sum is multiplied with.
    fn scale(&self, inputs: &Inputs<'_>, row: usize, column: usize) -> Result<f32, Fault> {
        let mut scale = self.alpha;
        for (side, at) in [(self.left, row), (self.right, column)] {
            if let Some(input) = side.scale {
                let scales = inputs.values::<f32>(input)?;
                scale *= scales[one_or(scales.len(), at)];
            }
        }
        Ok(scale)
    }
}

fn finish(product: Product, kind: Kind) -> Result<Built, Problem> {
    let shapes = [product.sizes.output.clone(), vec![product.left.size], vec![product.right.size]];
    let sums = if kind == Kind::I32 { 0 } else { elements(&shapes[0]).unwrap_or(usize::MAX) };
    let mut outputs: Vec<_> = shapes.into_iter().map(|shape| TensorType::new(Kind::I32, shape)).collect();
    outputs[0].kind = kind;
    outputs.push(TensorType::new(Kind::I32, [sums]));
    Ok(Built::Kernel { outputs, kernel: Box::new(product) })
}

impl Kernel for Product {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let [out, Data::I32(left), Data::I32(right), Data::I32(room)] = outputs else {
            return Err(Fault("it has no room".into()));
        };
        let Sizes { rows, depth, outputs: width, .. } = self.sizes;
        let zeros = |side: Side| side.zero.map(|zero| inputs.data(zero)).transpose();
        let take_off = |zeros: Option<&Data>, line: usize| {
            zeros.map_or(0, |zeros| integer(zeros, one_or(zeros.len(), line)))
        };
        let (data, zero) = (inputs.data(self.left.input)?, zeros(self.left)?);
        let (down, across) = self.left.strides;
        for (row, left) in left.chunks_exact_mut(depth.max(1)).enumerate() {
            let zero = take_off(zero, row);
            for (at, left) in left.iter_mut().enumerate() {
                *left = integer(data, row * down + at * across) - zero;
            }
        }
        let (data, zero) = (inputs.data(self.right.input)?, zeros(self.right)?);
        let (across, down) = self.right.strides;
        for (at, right) in right.iter_mut().enumerate() {
            let column = if across == 1 { at % width.max(1) } else { at / across };
            *right = integer(data, at) - take_off(zero, column);
        }
        let sums = match &mut *out {
            Data::I32(sums) => sums,
            _ => room,
        };
        sums.fill(0);
        if sums.is_empty() {
            return Ok(());
        }
        for (index, sums) in sums.chunks_exact_mut(rows * width).enumerate() {
            let (left_at, right_at) = self.sizes.matrices(index);
            let right = Matrix { values: &right[right_at..], down, across };
            add_products(&left[left_at..][..rows * depth], depth, right, width, sums);
        }
        self.write(inputs, room, out)
    }

    fn multiply_adds(&self) -> Option<u64> {
        let products = elements(&self.sizes.output).unwrap_or(usize::MAX);
        Some(multiply_adds(&[products, self.sizes.depth]))
    }
}

impl Product {
    /// From the sums to the output, where these are not it.
    fn write(&self, inputs: &Inputs<'_>, sums: &[i32], out: &mut Data) -> Result<(), Fault> {
        let added = self.added.map(|at| inputs.values::<i32>(at)).transpose()?;
        let width = self.sizes.outputs;
        let number = |at: usize, sum: i32| -> Result<f32, Fault> {
            let added = added.map_or(0, |added| added[one_or(added.len(), at)]);
            let scale = self.scale(inputs, at / width, at % width)?;
            Ok(sum.wrapping_add(added) as f32 * scale)
        };
        let quantised = |at: usize, sum: i32| -> Result<f32, Fault> {
            let (scale, zero) = self.to.ok_or_else(|| Fault("it has no scale".into()))?;
            let zero = zero.map(|zero| inputs.data(zero)).transpose()?.map_or(0, |zero| integer(zero, 0));
            Ok((number(at, sum)? / inputs.values::<f32>(scale)?[0]).round_ties_even() + zero as f32)
        };
        match out {
            Data::F32(out) => {
                for (at, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
                    *out = number(at, *sum)?;
                }
            }
            Data::U8(out) => {
                for (at, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
                    *out = u8::rounded(quantised(at, *sum)?);
                }
            }
            Data::I8(_) => {
                let out = output::<i8>(std::slice::from_mut(out), 0)?;
                for (at, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
                    *out = i8::rounded(quantised(at, *sum)?);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
