//! Operators that change each row of numbers by itself: `Scaler`, `Normalizer`, `Binarizer`.

use super::{Blocks, Table, expect_numbers};
use crate::model::graph::context::{Context, Problem};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::operators::Operator;
use crate::model::graph::tensor::{Data, Element, Kind, TensorType};

pub const OPERATORS: &[Operator] = &[
    Operator::ml("Scaler", 1, 1..=1, scaler),
    Operator::ml("Normalizer", 1, 1..=1, normalizer),
    Operator::ml("Binarizer", 1, 1..=1, binarizer),
];

struct Scaler {
    columns: usize,
    /// One for each column, or one for all.
    offset: Vec<f32>,
    scale: Vec<f32>,
}

fn scaler(context: &Context<'_>) -> Result<Built, Problem> {
    let table = Table::of(context)?;
    expect_numbers(context.kind(0)?)?;
    let offset = context.floats("offset")?.unwrap_or_default();
    let scale = context.floats("scale")?.unwrap_or_default();
    for (name, values) in [("offset", offset), ("scale", scale)] {
        if values.len() != 1 && values.len() != table.columns || values.is_empty() {
            return Err(format!(
                "its attribute {name} has {} values, expected 1 or {}, one for each feature",
                values.len(),
                table.columns
            )
            .into());
        }
    }
    if offset.len() != scale.len() {
        return Err(
            format!("it has {} offsets and {} scales, expected as many", offset.len(), scale.len()).into()
        );
    }
    let kernel = Scaler { columns: table.columns, offset: offset.to_vec(), scale: scale.to_vec() };
    Ok(Built::kernel(TensorType::new(Kind::F32, context.shape(0)?), kernel))
}

impl Scaler {
    fn scale<T: Copy>(&self, from: &[T], to: &mut [f32], one: impl Fn(T, f32, f32) -> f32) {
        if let ([offset], [scale]) = (&self.offset[..], &self.scale[..]) {
            to.iter_mut().zip(from).for_each(|(to, &from)| *to = one(from, *offset, *scale));
            return;
        }
        for (to, from) in to.chunks_exact_mut(self.columns).zip(from.chunks_exact(self.columns)) {
            let settings = self.offset.iter().zip(&self.scale);
            for ((to, &from), (&offset, &scale)) in to.iter_mut().zip(from).zip(settings) {
                *to = one(from, offset, scale);
            }
        }
    }
}

impl Kernel for Scaler {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let to = output::<f32>(outputs, 0)?;
        match inputs.data(0)? {
            Data::F32(from) => {
                pulp::Arch::new().dispatch(|| self.scale(from, to, |x, offset, scale| (x - offset) * scale));
            }
            Data::F64(from) => {
                self.scale(from, to, |x, offset, scale| ((x - f64::from(offset)) * f64::from(scale)) as f32);
            }
            Data::I64(from) => self.scale(from, to, |x, offset, scale| (x as f32 - offset) * scale),
            Data::I32(from) => self.scale(from, to, |x, offset, scale| (x as f32 - offset) * scale),
            other => return Err(Fault(format!("its input is {}, expected numbers", other.kind()))),
        }
        Ok(())
    }
}

/// What a row is divided by.
#[derive(Debug, Clone, Copy)]
enum Norm {
    /// The greatest distance from zero. ONNX Runtime forgets that it is a distance.
    Max,
    L1,
    L2,
}

struct Normalizer {
    norm: Norm,
    blocks: Blocks,
}

fn normalizer(context: &Context<'_>) -> Result<Built, Problem> {
    let norm = context.choice("norm", &[("MAX", Norm::Max), ("L1", Norm::L1), ("L2", Norm::L2)])?;
    let blocks = Blocks::new(Table::of_numbers(context)?, context.kind(0)?);
    Ok(Built::kernel(TensorType::new(Kind::F32, context.shape(0)?), Normalizer { norm, blocks }))
}

impl Norm {
    /// Divides `from` into `to`; a row of zeros stays as it is.
    fn divide(self, from: &[f32], to: &mut [f32]) {
        let by = match self {
            Self::Max => from.iter().fold(0.0_f32, |most, x| most.max(x.abs())),
            Self::L1 => from.iter().fold(0.0, |sum, x| sum + x.abs()),
            Self::L2 => from.iter().fold(0.0, |sum, x| sum + x * x),
        };
        if by == 0.0 {
            to.copy_from_slice(from);
            return;
        }
        match self {
            Self::Max | Self::L1 => to.iter_mut().zip(from).for_each(|(to, x)| *to = x / by),
            // Squares are divided, as ONNX Runtime does: what underflows there does so here.
            Self::L2 => to.iter_mut().zip(from).for_each(|(to, x)| {
                let part = (x * x / by).sqrt();
                *to = if *x < 0.0 { -part } else { part };
            }),
        }
    }
}

impl Kernel for Normalizer {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let to = output::<f32>(outputs, 0)?;
        let (norm, columns) = (self.norm, self.blocks.table.columns);
        self.blocks.each(inputs.data(0)?, |first, rows| {
            let to = &mut to[first * columns..][..rows.len()];
            for (from, to) in rows.chunks_exact(columns).zip(to.chunks_exact_mut(columns)) {
                norm.divide(from, to);
            }
            Ok(())
        })
    }
}

/// One where a number is above the threshold, else zero.
struct Binarizer {
    threshold: f32,
}

fn binarizer(context: &Context<'_>) -> Result<Built, Problem> {
    let threshold = context.float_or("threshold", 0.0)?;
    expect_numbers(context.kind(0)?)?;
    Ok(Built::kernel(context.tensor_type(0)?.clone(), Binarizer { threshold }))
}

fn above<T: Element + Copy>(
    from: &[T],
    outputs: &mut [Data],
    yes: T,
    no: T,
    is_above: impl Fn(T) -> bool,
) -> Result<(), Fault> {
    let to = output::<T>(outputs, 0)?;
    to.iter_mut().zip(from).for_each(|(to, &from)| *to = if is_above(from) { yes } else { no });
    Ok(())
}

impl Kernel for Binarizer {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let threshold = self.threshold;
        let exact = f64::from(threshold);
        match inputs.data(0)? {
            Data::F32(from) => above(from, outputs, 1.0, 0.0, |x| x > threshold),
            Data::F64(from) => above(from, outputs, 1.0, 0.0, |x| x > exact),
            Data::I64(from) => above(from, outputs, 1, 0, |x| x as f32 > threshold),
            Data::I32(from) => above(from, outputs, 1, 0, |x| f64::from(x) > exact),
            other => Err(Fault(format!("its input is {}, expected numbers", other.kind()))),
        }
    }
}
