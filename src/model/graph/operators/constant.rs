//! Values that a node states itself.

use std::sync::Arc;

use super::Operator;
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::Built;
use crate::model::graph::tensor::{Element, Tensor};

pub const OPERATORS: &[Operator] = &[Operator::onnx("Constant", 1, 0..=0, constant)];

/// The value of the one attribute that a `Constant` has. A sparse one is refused where the file is read.
fn constant(context: &Context<'_>) -> Result<Built, Problem> {
    let whole = context.tensor("value")?.map(|value| Tensor::clone(value));
    let found = [
        whole,
        context.float("value_float")?.map(scalar),
        context.floats("value_floats")?.map(list),
        context.int("value_int")?.map(scalar),
        context.ints("value_ints")?.map(list),
        context.text("value_string")?.map(|word| scalar(Arc::<str>::from(word))),
        context.texts("value_strings")?.map(|words| {
            let words: Vec<Arc<str>> = words.iter().map(|word| Arc::from(word.as_str())).collect();
            list(&words)
        }),
    ];
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next()) {
        (Some(value), None) => Ok(Built::Constants(vec![value])),
        (None, _) => Err("it has no value, expected an attribute such as value or value_float".into()),
        (Some(_), Some(_)) => Err("it has several values, expected one attribute such as value".into()),
    }
}

fn scalar<T: Element>(value: T) -> Tensor {
    Tensor::new([], vec![value])
}

fn list<T: Element>(values: &[T]) -> Tensor {
    Tensor::new([values.len()], values.to_vec())
}
