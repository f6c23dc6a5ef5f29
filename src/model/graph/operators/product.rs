//! Operators that multiply matrices.

mod einsum;
mod gemm;
mod integer;
mod matmul;

use std::sync::Arc;

use super::Operator;
use super::weights::Arranged;
use crate::model::graph::affine::Affine;
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::tensor::{Kind, elements};
use crate::model::kernel::product::Product;

/// Operators of ONNX Runtime that exporters and quantisers write.
const MICROSOFT: &str = "com.microsoft";

pub const OPERATORS: &[Operator] = &[
    Operator::onnx("Gemm", 1, 2..=3, gemm::build),
    Operator::onnx("MatMul", 1, 2..=2, matmul::build),
    Operator::onnx("Einsum", 12, super::ANY, einsum::build),
    Operator::onnx("MatMulInteger", 10, 2..=4, integer::matmul),
    Operator::onnx("QLinearMatMul", 10, 8..=8, integer::quantised),
    Operator { domain: MICROSOFT, name: "QGemm", since: 1, inputs: 6..=9, build: integer::gemm },
];

/// `make` for the kind of numbers that is multiplied.
fn of_kind(kind: Kind, what: &str) -> Problem {
    Problem(format!("its {what} is {kind}, expected float32, float64, int32 or int64"))
}

/// The number of elements of a part of a shape, where it can be counted.
fn count(shape: &[usize]) -> Result<usize, Problem> {
    elements(shape)
        .ok_or_else(|| Problem(format!("the shape {shape:?} has more elements than can be counted")))
}

/// The multiplications of products of `rows` rows.
fn multiply_adds(sizes: &[usize]) -> u64 {
    sizes.iter().fold(1, |product: u64, &size| product.saturating_mul(size as u64))
}

/// Lets a known product, whose outputs lie along `axis`, take over what comes after it.
pub fn fuse_affine(known: &mut Arc<Arranged<Product>>, affine: &Affine<'_>, axis: usize) -> bool {
    let lines = affine.of_channels(axis, known.outputs());
    let after = lines.and_then(|lines| affine.taken_into(known, |product| product.with(&lines)));
    let is_taken = after.is_some();
    if let Some(after) = after {
        *known = after;
    }
    is_taken
}

/// Both inputs, whose kinds must be the same.
fn same_kind(context: &Context<'_>, at: usize) -> Result<(), Problem> {
    let (first, other) = (context.kind(0)?, context.kind(at)?);
    if first == other {
        return Ok(());
    }
    Err(Problem(format!("its inputs are {first} and {other}, expected the same kind")))
}

#[cfg(test)]
mod tests;
