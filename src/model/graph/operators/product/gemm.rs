//! `Gemm`: `alpha A B + beta C` of two matrices, each of which may lie transposed.

use std::sync::Arc;

use pulp::Arch;

use super::super::weights::{Arranged, arranged};
use super::{fuse_affine, multiply_adds, of_kind, same_kind};
use crate::model::graph::context::{Context, Problem, expect_rank};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, Then, output};
use crate::model::graph::tensor::{Data, Element, Kind, TensorType};
use crate::model::kernel::plain::{Matrix, Number, add_products};
use crate::model::kernel::product::{Product, Raw, Rows, Start, Weights, arrange, space};

/// What a node says, and its sizes.
#[derive(Debug, Clone)]
pub struct Gemm {
    pub rows: usize,
    pub depth: usize,
    pub outputs: usize,
    is_left_transposed: bool,
    is_right_transposed: bool,
    pub alpha: f32,
    beta: f32,
}

pub fn build(context: &Context<'_>) -> Result<Built, Problem> {
    if context.opset() < 7 {
        // From 7 on, C always broadcasts.
        context.ignore(&["broadcast"]);
    }
    same_kind(context, 1)?;
    let gemm = Gemm::new(context, [0, 1])?;
    let added = if context.has(2) {
        same_kind(context, 2)?;
        Some(Added::new(context.shape(2)?, &gemm)?)
    } else {
        None
    };
    match context.kind(0)? {
        Kind::F32 => build_f32(context, gemm, added),
        Kind::F64 => Ok(plain::<f64>(gemm, added)),
        Kind::I64 => Ok(plain::<i64>(gemm, added)),
        Kind::I32 => Ok(plain::<i32>(gemm, added)),
        kind => Err(of_kind(kind, "input 0")),
    }
}

impl Gemm {
    /// The product of two inputs.
    pub fn new(context: &Context<'_>, [left, right]: [usize; 2]) -> Result<Self, Problem> {
        let (left, right) = (context.shape(left)?, context.shape(right)?);
        expect_rank(left, 2..=2, "left matrix")?;
        expect_rank(right, 2..=2, "right matrix")?;
        let is_left_transposed = context.flag("transA", false)?;
        let is_right_transposed = context.flag("transB", false)?;
        let (rows, depth) = if is_left_transposed { (left[1], left[0]) } else { (left[0], left[1]) };
        let (inner, outputs) = if is_right_transposed { (right[1], right[0]) } else { (right[0], right[1]) };
        if depth != inner {
            return Err(Problem(format!(
                "its matrices have the shapes {left:?} and {right:?}, whose inner sizes {depth} and {inner} differ"
            )));
        }
        let (alpha, beta) = (context.float_or("alpha", 1.0)?, context.float_or("beta", 1.0)?);
        Ok(Self { rows, depth, outputs, is_left_transposed, is_right_transposed, alpha, beta })
    }

    /// How far it is on the right from one output to the next, and from one input to the next.
    pub fn right_strides(&self) -> (usize, usize) {
        if self.is_right_transposed { (self.depth, 1) } else { (1, self.outputs) }
    }

    /// Writes the rows of a left matrix that lies transposed.
    fn transpose<T: Copy>(&self, left: &[T], into: &mut [T]) {
        for (row, into) in into.chunks_exact_mut(self.depth.max(1)).enumerate() {
            for (place, value) in into.iter_mut().zip(left[row..].iter().step_by(self.rows)) {
                *place = *value;
            }
        }
    }

    /// What the rows of the left matrix take where they have to be laid out anew.
    fn transposed(&self) -> usize {
        if self.is_left_transposed { self.rows.saturating_mul(self.depth) } else { 0 }
    }
}

/// How C broadcasts: how far it is from row to row, and from output to output.
#[derive(Debug, Clone, Copy)]
struct Added {
    down: usize,
    across: usize,
}

impl Added {
    fn new(shape: &[usize], gemm: &Gemm) -> Result<Self, Problem> {
        expect_rank(shape, 0..=2, "input 2 (C)")?;
        let across = shape.last().copied().unwrap_or(1);
        let down = if shape.len() == 2 { shape[0] } else { 1 };
        let fits = |found: usize, expected: usize| found == 1 || found == expected;
        if !fits(across, gemm.outputs) || !fits(down, gemm.rows) {
            return Err(Problem(format!(
                "its input 2 (C) has the shape {shape:?}, which does not broadcast to [{}, {}]",
                gemm.rows, gemm.outputs
            )));
        }
        let stride = |size: usize, stride: usize| if size > 1 { stride } else { 0 };
        Ok(Self { down: stride(down, across), across: stride(across, 1) })
    }

    /// Calls `write` with each of `places` and the number that is added to it.
    fn each<T: Copy>(self, added: &[T], outputs: usize, places: &mut [T], write: impl Fn(&mut T, T)) {
        for (row, places) in places.chunks_exact_mut(outputs.max(1)).enumerate() {
            let added = &added[row * self.down..];
            if self.across == 1 {
                places.iter_mut().zip(added).for_each(|(place, &added)| write(place, added));
            } else {
                places.iter_mut().for_each(|place| write(place, added[0]));
            }
        }
    }
}

fn build_f32(context: &Context<'_>, gemm: Gemm, added: Option<Added>) -> Result<Built, Problem> {
    let Gemm { rows, depth, outputs, alpha, beta, .. } = gemm;
    // Without inputs there is nothing to arrange, however many outputs there are.
    let is_known = context.constant(1)?.is_some() && depth > 0;
    // A bias of one row is part of the product; anything else is written first, and added to.
    let bias = if added.is_some() { context.constant(2)? } else { None };
    let is_bias =
        is_known && (added.is_none() || bias.is_some() && added.is_some_and(|added| added.down == 0));
    let known = if is_known {
        Some(arranged(context, &[1, 2], || {
            let (across, down) = gemm.right_strides();
            let raw = Raw { values: context.known_values(1, "B")?, across, down, scale: alpha };
            let mut bias = vec![0.0; outputs];
            if let Some(added) = added.filter(|_| is_bias) {
                added.each(context.known_values::<f32>(2, "C")?, outputs, &mut bias, |place, c| {
                    *place = beta * c
                });
            }
            Ok(Product::arranged(raw, depth, &bias))
        })?)
    } else {
        None
    };
    let scratch = if is_known { 0 } else { space(depth, outputs).unwrap_or(usize::MAX) };
    let types = [vec![rows, outputs], vec![scratch], vec![gemm.transposed()]];
    let added = if is_bias { None } else { added };
    Ok(Built::Kernel {
        outputs: types.into_iter().map(|shape| TensorType::new(Kind::F32, shape)).collect(),
        kernel: Box::new(Single { arch: Arch::new(), gemm, known, added, rectify: false }),
    })
}

/// For float32.
struct Single {
    arch: Arch,
    gemm: Gemm,
    known: Option<Arc<Arranged<Product>>>,
    /// What is added where it is not the product's bias.
    added: Option<Added>,
    rectify: bool,
}

impl Kernel for Single {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let Gemm { rows, depth, outputs: width, alpha, beta, .. } = self.gemm;
        let [Data::F32(products), Data::F32(panels), Data::F32(transposed)] = outputs else {
            return Err(Fault("its outputs are not float32".into()));
        };
        let mut left = inputs.values::<f32>(0)?;
        if self.gemm.is_left_transposed {
            self.gemm.transpose(left, transposed);
            left = transposed;
        }
        let start = match self.added {
            None => Start::Bias,
            Some(added) => {
                added.each(inputs.values::<f32>(2)?, width, products, |place, c| *place = beta * c);
                Start::There
            }
        };
        let rows = Rows { values: left, stride: depth, count: rows };
        match &self.known {
            Some(known) => known.multiply(rows, start, self.rectify, products),
            None => {
                let (across, down) = self.gemm.right_strides();
                let raw = Raw { values: inputs.values(1)?, across, down, scale: alpha };
                arrange(raw, depth, width, panels);
                Weights::new(depth, width, panels).multiply(self.arch, rows, start, self.rectify, products);
            }
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(multiply_adds(&[self.gemm.rows, self.gemm.depth, self.gemm.outputs]))
    }

    fn fuse(&mut self, then: Then<'_>) -> bool {
        let affine = match then {
            Then::Relu => {
                self.rectify = true;
                return true;
            }
            Then::Affine(affine) => affine,
        };
        // What is not in the product's bias would be multiplied too.
        if self.rectify || self.added.is_some() {
            return false;
        }
        self.known.as_mut().is_some_and(|known| fuse_affine(known, affine, 1))
    }
}

fn plain<T: Number + Element>(gemm: Gemm, added: Option<Added>) -> Built {
    let types = [vec![gemm.rows, gemm.outputs], vec![gemm.transposed()]];
    Built::Kernel {
        outputs: types.into_iter().map(|shape| TensorType::new(T::KIND, shape)).collect(),
        kernel: Box::new(Plain::<T> { gemm, added, kind: std::marker::PhantomData }),
    }
}

/// For the other kinds.
struct Plain<T> {
    gemm: Gemm,
    added: Option<Added>,
    kind: std::marker::PhantomData<T>,
}

impl<T: Number + Element> Kernel for Plain<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let [products, transposed] = outputs else { return Err(Fault("it has no room".into())) };
        let products = output::<T>(std::slice::from_mut(products), 0)?;
        let mut left = inputs.values::<T>(0)?;
        if self.gemm.is_left_transposed {
            let transposed = output::<T>(std::slice::from_mut(transposed), 0)?;
            self.gemm.transpose(left, transposed);
            left = transposed;
        }
        let (across, down) = self.gemm.right_strides();
        let right = Matrix { values: inputs.values::<T>(1)?, down, across };
        products.fill(T::ZERO);
        add_products(left, self.gemm.depth, right, self.gemm.outputs, products);
        if self.gemm.alpha != 1.0 {
            let alpha = T::from_f32(self.gemm.alpha);
            products.iter_mut().for_each(|product| *product = alpha.multiply_add(*product, T::ZERO));
        }
        if let Some(added) = self.added {
            let (beta, values) = (T::from_f32(self.gemm.beta), inputs.values::<T>(2)?);
            added.each(values, self.gemm.outputs, products, |place, c| *place = beta.multiply_add(c, *place));
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some(multiply_adds(&[self.gemm.rows, self.gemm.depth, self.gemm.outputs]))
    }
}
