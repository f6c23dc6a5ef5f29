//! Pools: what is most, the mean, or the length, of windows or of whole channels.

mod global;
mod windowed;

use super::Operator;

pub const OPERATORS: &[Operator] = &[
    Operator::onnx("MaxPool", 1, 1..=1, windowed::max),
    Operator::onnx("AveragePool", 1, 1..=1, windowed::average),
    Operator::onnx("LpPool", 1, 1..=1, windowed::length),
    Operator::onnx("GlobalMaxPool", 1, 1..=1, global::max),
    Operator::onnx("GlobalAveragePool", 1, 1..=1, global::average),
    Operator::onnx("GlobalLpPool", 1, 1..=1, global::length),
];
