//! `DFT`: the discrete Fourier transform along an axis, and back, summed up as it is defined.

use super::Operator;
use crate::model::graph::context::{Context, Problem, axis};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel};
use crate::model::graph::tensor::{Data, Kind, TensorType, elements};

pub const OPERATORS: &[Operator] = &[Operator::onnx("DFT", 17, 1..=3, build)];

/// The longest transform: its angles are kept.
const LENGTH_MAX: usize = 1 << 16;

fn build(context: &Context<'_>) -> Result<Built, Problem> {
    let shape = context.shape(0)?;
    let kind = context.kind(0)?;
    if kind != Kind::F32 {
        return Err(Problem(format!("its input is {kind}, expected float32")));
    }
    let Some(&parts @ (1 | 2)) = shape.last().filter(|_| shape.len() > 1) else {
        return Err(Problem(format!(
            "its input has the shape {shape:?}, expected a last axis of 1 (real) or 2 (complex)"
        )));
    };
    let one = |at: usize, what: &str| -> Result<i64, Problem> {
        let values = context.known_ints(at, what)?;
        let first = values.first().filter(|_| values.len() == 1).copied();
        first.ok_or_else(|| {
            Problem(format!("its input {at} ({what}) has {} numbers, expected one", values.len()))
        })
    };
    let stated = match (context.opset() < 20, context.has(2)) {
        (true, _) => context.int_or("axis", 1)?,
        (false, true) => one(2, "axis")?,
        (false, false) => -2,
    };
    let at = axis(stated, shape.len())?;
    if at + 1 == shape.len() {
        return Err(Problem(format!("its axis is {stated}, which is that of the real and imaginary parts")));
    }
    let length = if context.has(1) { one(1, "dft_length")? } else { shape[at] as i64 };
    let length =
        usize::try_from(length).ok().filter(|length| (1..=LENGTH_MAX).contains(length)).ok_or_else(|| {
            Problem(format!(
                "its transform has the length {length}, expected 1 to {LENGTH_MAX} (dft_length_max)"
            ))
        })?;
    let (is_inverse, is_onesided) = (context.flag("inverse", false)?, context.flag("onesided", false)?);
    if is_inverse && is_onesided {
        return Err("it is one-sided and inverse at once, which is not supported".into());
    }
    let mut output = shape.to_vec();
    output[at] = if is_onesided { length / 2 + 1 } else { length };
    output[shape.len() - 1] = 2;
    let inner =
        elements(&shape[at + 1..shape.len() - 1]).ok_or("its input has more elements than can be counted")?;
    let turn = if is_inverse { 1.0 } else { -1.0 };
    let angle = |at: usize| turn * std::f64::consts::TAU * at as f64 / length as f64;
    let kernel = Dft {
        angles: (0..length).map(|at| angle(at).sin_cos()).map(|(sin, cos)| (cos, sin)).collect(),
        input: shape[at],
        output: output[at],
        inner,
        parts,
        scale: if is_inverse { 1.0 / length as f64 } else { 1.0 },
        count: elements(&output).unwrap_or(usize::MAX) / 2,
    };
    Ok(Built::kernel(TensorType::new(Kind::F32, output), kernel))
}

struct Dft {
    /// Cosine and sine of each part of the circle.
    angles: Vec<(f64, f64)>,
    input: usize,
    output: usize,
    inner: usize,
    /// 1 for real numbers, 2 for complex ones.
    parts: usize,
    scale: f64,
    count: usize,
}

impl Kernel for Dft {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let x = inputs.values::<f32>(0)?;
        let y = crate::model::graph::kernel::output::<f32>(outputs, 0)?;
        let (samples, stride) = (self.input.min(self.angles.len()), self.inner * self.parts);
        let (block, out_block) = (self.input * stride, self.output * self.inner * 2);
        if y.is_empty() || block == 0 {
            y.fill(0.0);
            return Ok(());
        }
        for (x, y) in x.chunks_exact(block).zip(y.chunks_exact_mut(out_block)) {
            for (number, y) in y.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let (frequency, column) = (number / self.inner, number % self.inner);
                let (mut real, mut imaginary, mut turn) = (0.0, 0.0, 0);
                for sample in 0..samples {
                    let (cos, sin) = self.angles[turn];
                    let at = sample * stride + column * self.parts;
                    let a = f64::from(x[at]);
                    let b = if self.parts == 2 { f64::from(x[at + 1]) } else { 0.0 };
                    real += a * cos - b * sin;
                    imaginary += a * sin + b * cos;
                    turn += frequency;
                    turn -= if turn >= self.angles.len() { self.angles.len() } else { 0 };
                }
                *y = [(real * self.scale) as f32, (imaginary * self.scale) as f32];
            }
        }
        Ok(())
    }

    fn multiply_adds(&self) -> Option<u64> {
        Some((self.count as u64).saturating_mul(4 * self.input as u64))
    }
}
