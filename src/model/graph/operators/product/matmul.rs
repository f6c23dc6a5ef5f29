//! `MatMul`, as numpy's: matrices in the last two axes, the others broadcast.

use std::sync::Arc;

use pulp::Arch;

use super::super::weights::{Arranged, arranged};
use super::{count, fuse_affine, multiply_adds, of_kind, same_kind};
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, Then, output};
use crate::model::graph::tensor::{Data, Element, Kind, TensorType};
use crate::model::kernel::plain::{Matrix, Number, add_products};
use crate::model::kernel::product::{Product, Raw, Rows, Start, Weights, arrange, space};

/// The sizes of a product, and which matrices meet.
#[derive(Debug, Clone)]
pub struct Sizes {
    pub rows: usize,
    pub depth: usize,
    pub outputs: usize,
    /// The shape of the axes before, and how far apart the matrices are along each, in elements.
    batch: Vec<usize>,
    left: Vec<usize>,
    right: Vec<usize>,
    pub output: Vec<usize>,
}

pub fn build(context: &Context<'_>) -> Result<Built, Problem> {
    same_kind(context, 1)?;
    let sizes = Sizes::new(context.shape(0)?, context.shape(1)?)?;
    match context.kind(0)? {
        Kind::F32 => build_f32(context, sizes),
        Kind::F64 => Ok(plain::<f64>(sizes)),
        Kind::I64 => Ok(plain::<i64>(sizes)),
        Kind::I32 => Ok(plain::<i32>(sizes)),
        kind => Err(of_kind(kind, "input 0")),
    }
}

impl Sizes {
    pub fn new(left: &[usize], right: &[usize]) -> Result<Self, Problem> {
        let misfit =
            |what: &str| Problem(format!("its inputs have the shapes {left:?} and {right:?}, {what}"));
        let ([.., depth], [.., _]) = (left, right) else { return Err(misfit("expected one axis or more")) };
        let rows = if left.len() > 1 { left[left.len() - 2] } else { 1 };
        let (inner, outputs) =
            if right.len() > 1 { (right[right.len() - 2], right[right.len() - 1]) } else { (right[0], 1) };
        if *depth != inner {
            return Err(misfit("whose inner sizes differ"));
        }
        let (before, after) =
            (&left[..left.len().saturating_sub(2)], &right[..right.len().saturating_sub(2)]);
        let batch = broadcast(before, after).ok_or_else(|| misfit("whose first axes do not broadcast"))?;
        let mut output = batch.clone();
        output.extend((left.len() > 1).then_some(rows));
        output.extend((right.len() > 1).then_some(outputs));
        let (mut batch_left, mut batch_right) = (strides(before, &batch)?, strides(after, &batch)?);
        let (mut batch, mut rows) = (batch, rows);
        if after.iter().all(|&size| size == 1) {
            // One matrix on the right serves all: their rows are one after the other.
            rows = count(&batch)?
                .checked_mul(rows)
                .ok_or_else(|| misfit("which is more than can be counted"))?;
            (batch, batch_left, batch_right) = (Vec::new(), Vec::new(), Vec::new());
        }
        let scale = |strides: &mut [usize], each: usize| {
            strides.iter_mut().for_each(|stride| *stride = stride.saturating_mul(each));
        };
        scale(&mut batch_left, rows.saturating_mul(*depth));
        scale(&mut batch_right, depth.saturating_mul(outputs));
        Ok(Self { rows, depth: *depth, outputs, batch, left: batch_left, right: batch_right, output })
    }

    fn multiply_adds(&self) -> u64 {
        multiply_adds(&self.batch).saturating_mul(multiply_adds(&[self.rows, self.depth, self.outputs]))
    }

    /// Where the matrices of product `index` start, on the left and on the right.
    pub fn matrices(&self, index: usize) -> (usize, usize) {
        let (mut rest, mut left, mut right) = (index, 0, 0);
        for axis in (0..self.batch.len()).rev() {
            let at = rest % self.batch[axis];
            rest /= self.batch[axis];
            left += at * self.left[axis];
            right += at * self.right[axis];
        }
        (left, right)
    }
}

/// The shape of both, where a size of 1 or none fits all.
fn broadcast(left: &[usize], right: &[usize]) -> Option<Vec<usize>> {
    let rank = left.len().max(right.len());
    let size =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    let both = |axis| match (size(left, axis), size(right, axis)) {
        (left, right) if left == right => Some(left),
        (1, size) | (size, 1) => Some(size),
        _ => None,
    };
    (0..rank).map(both).collect()
}

/// How far apart the parts of `shape` are along each axis of `batch`; 0 where one serves all.
fn strides(shape: &[usize], batch: &[usize]) -> Result<Vec<usize>, Problem> {
    let missing = batch.len() - shape.len();
    let mut strides = vec![0; batch.len()];
    for (axis, stride) in strides.iter_mut().enumerate().skip(missing) {
        if shape[axis - missing] > 1 {
            *stride = count(&shape[axis - missing + 1..])?;
        }
    }
    Ok(strides)
}

fn build_f32(context: &Context<'_>, sizes: Sizes) -> Result<Built, Problem> {
    let Sizes { depth, outputs, .. } = sizes;
    let is_known = context.constant(1)?.is_some() && sizes.batch.is_empty() && depth > 0;
    let known = if is_known {
        Some(arranged(context, &[1], || {
            let values = context.known_values::<f32>(1, "B")?;
            let raw = Raw { values, across: 1, down: outputs, scale: 1.0 };
            Ok(Product::arranged(raw, depth, &vec![0.0; outputs]))
        })?)
    } else {
        None
    };
    let scratch = if is_known { 0 } else { space(depth, outputs).unwrap_or(usize::MAX) };
    let outputs =
        vec![TensorType::new(Kind::F32, sizes.output.clone()), TensorType::new(Kind::F32, [scratch])];
    let kernel = Box::new(MatMul { arch: Arch::new(), sizes, known, rectify: false });
    Ok(Built::Kernel { outputs, kernel })
}

struct MatMul {
    arch: Arch,
    sizes: Sizes,
    known: Option<Arc<Arranged<Product>>>,
    rectify: bool,
}

impl Kernel for MatMul {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let left = inputs.values::<f32>(0)?;
        let [products, panels] = outputs else { return Err(Fault("it has no room".into())) };
        let products = output::<f32>(std::slice::from_mut(products), 0)?;
        let Sizes { rows, depth, outputs, .. } = self.sizes;
        if let Some(known) = &self.known {
            known.multiply(
                Rows { values: left, stride: depth, count: rows },
                Start::Bias,
                self.rectify,
                products,
            );
            return Ok(());
        }
        if products.is_empty() {
            return Ok(());
        }
        let panels = output::<f32>(std::slice::from_mut(panels), 0)?;
        let right = inputs.values::<f32>(1)?;
        let mut last = None;
        for (index, products) in products.chunks_exact_mut(rows * outputs).enumerate() {
            let (left_at, right_at) = self.sizes.matrices(index);
            if last != Some(right_at) {
                let raw = Raw { values: &right[right_at..], across: 1, down: outputs, scale: 1.0 };
                arrange(raw, depth, outputs, panels);
                last = Some(right_at);
            }
            let rows = Rows { values: &left[left_at..], stride: depth, count: rows };
            Weights::new(depth, outputs, panels).multiply(
                self.arch,
                rows,
                Start::Bias,
                self.rectify,
                products,
            );
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(self.sizes.multiply_adds())
    }

    fn fuse(&mut self, then: Then<'_>) -> bool {
        match then {
            Then::Relu => {
                self.rectify = true;
                true
            }
            Then::Affine(_) if self.rectify => false,
            Then::Affine(affine) => match (&mut self.known, self.sizes.output.len().checked_sub(1)) {
                (Some(known), Some(last)) => fuse_affine(known, affine, last),
                _ => false,
            },
        }
    }
}

fn plain<T: Number + Element>(sizes: Sizes) -> Built {
    let output = TensorType::new(T::KIND, sizes.output.clone());
    Built::kernel(output, Plain::<T> { sizes, kind: std::marker::PhantomData })
}

struct Plain<T> {
    sizes: Sizes,
    kind: std::marker::PhantomData<T>,
}

impl<T: Number + Element> Kernel for Plain<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let (left, right) = (inputs.values::<T>(0)?, inputs.values::<T>(1)?);
        let products = output::<T>(outputs, 0)?;
        products.fill(T::ZERO);
        let Sizes { rows, depth, outputs, .. } = self.sizes;
        if products.is_empty() {
            return Ok(());
        }
        for (index, products) in products.chunks_exact_mut(rows * outputs).enumerate() {
            let (left_at, right_at) = self.sizes.matrices(index);
            let right = Matrix { values: &right[right_at..], down: outputs, across: 1 };
            add_products(&left[left_at..][..rows * depth], depth, right, outputs, products);
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(self.sizes.multiply_adds())
    }
}
