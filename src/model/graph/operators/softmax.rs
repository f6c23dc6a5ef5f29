//! Softmax and its logarithm along an axis.

use std::marker::PhantomData;

use pulp::Arch;

use super::Operator;
use crate::model::graph::context::{Context, Problem, axis};
use crate::model::graph::kernel::{Built, Fault, Inputs, Kernel, output};
use crate::model::graph::tensor::{Data, Element, Kind, TensorType, elements};
use crate::model::kernel::blocks::{Once, Real, max, sum, sum_of};

pub const OPERATORS: &[Operator] = &[
    Operator::onnx("Softmax", 1, 1..=1, |context| build(context, false)),
    Operator::onnx("LogSoftmax", 1, 1..=1, |context| build(context, true)),
];

fn build(context: &Context<'_>, is_log: bool) -> Result<Built, Problem> {
    let shape = context.shape(0)?;
    let flattens = context.opset() < 13;
    let stated = context.int_or("axis", if flattens { 1 } else { -1 })?;
    let rank = shape.len();
    // Before version 13 all axes from it on are one, and it may be behind the last one.
    let at = if flattens && stated == rank as i64 { rank } else { axis(stated, rank)? };
    let count = |sizes: &[usize]| elements(sizes).ok_or("its input has more elements than can be counted");
    let (length, inner) =
        if flattens { (count(&shape[at..])?, 1) } else { (shape[at], count(&shape[at + 1..])?) };
    match context.kind(0)? {
        Kind::F32 => Ok(of_kind::<f32>(shape, length, inner, is_log)),
        Kind::F64 => Ok(of_kind::<f64>(shape, length, inner, is_log)),
        kind => Err(Problem(format!("its input is {kind}, expected float32 or float64"))),
    }
}

fn of_kind<T: Real + Element>(shape: &[usize], length: usize, inner: usize, is_log: bool) -> Built {
    // The largest number and the sum of each column, where there are any.
    let room = if inner == 1 { 0 } else { inner.saturating_mul(2) };
    Built::Kernel {
        outputs: vec![TensorType::new(T::KIND, shape), TensorType::new(T::KIND, [room])],
        kernel: Box::new(Softmax::<T> { length, inner, is_log, kind: PhantomData }),
    }
}

struct Softmax<T> {
    /// The numbers that are taken together.
    length: usize,
    /// How far they are apart.
    inner: usize,
    is_log: bool,
    kind: PhantomData<T>,
}

impl<T: Real + Element> Kernel for Softmax<T> {
    fn run(&mut self, inputs: &Inputs<'_>, outputs: &mut [Data]) -> Result<(), Fault> {
        let x = inputs.values::<T>(0)?;
        let [y, room] = outputs else { return Err(Fault("it has no room".into())) };
        let y = output::<T>(std::slice::from_mut(y), 0)?;
        let room = output::<T>(std::slice::from_mut(room), 0)?;
        let block = self.length * self.inner;
        if block == 0 {
            return Ok(());
        }
        let once = Once;
        Arch::new().dispatch(
            #[inline(always)]
            || {
                once.spend();
                for (x, y) in x.chunks_exact(block).zip(y.chunks_exact_mut(block)) {
                    if self.inner == 1 {
                        row(x, y, self.is_log);
                    } else {
                        columns(x, y, self.inner, room, self.is_log);
                    }
                }
            },
        );
        Ok(())
    }
}

#[inline(always)]
fn row<T: Real>(x: &[T], y: &mut [T], is_log: bool) {
    let most = max(x);
    if is_log {
        let sum = sum_of(
            x,
            #[inline(always)]
            |x| x.sub(most).exp(),
        )
        .ln();
        for (y, x) in y.iter_mut().zip(x) {
            *y = x.sub(most).sub(sum);
        }
        return;
    }
    for (y, x) in y.iter_mut().zip(x) {
        *y = x.sub(most).exp();
    }
    let sum = T::real(1.0).div(sum(y));
    for y in y.iter_mut() {
        *y = y.mul(sum);
    }
}

#[inline(always)]
fn columns<T: Real>(x: &[T], y: &mut [T], inner: usize, room: &mut [T], is_log: bool) {
    let (most, sums) = room.split_at_mut(inner);
    most.fill(T::LEAST);
    sums.fill(T::ZERO);
    for x in x.chunks_exact(inner) {
        for (most, &x) in most.iter_mut().zip(x) {
            *most = if x > *most { x } else { *most };
        }
    }
    for (x, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
        for (((y, x), most), sum) in y.iter_mut().zip(x).zip(&*most).zip(&mut *sums) {
            let less = x.sub(*most);
            let power = less.exp();
            *sum = sum.add(power);
            *y = if is_log { less } else { power };
        }
    }
    for sum in sums.iter_mut() {
        *sum = if is_log { sum.ln() } else { T::real(1.0).div(*sum) };
    }
    for y in y.chunks_exact_mut(inner) {
        for (y, sum) in y.iter_mut().zip(&*sums) {
            *y = if is_log { y.sub(*sum) } else { y.mul(*sum) };
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::graph::testing::One;

    #[test]
    fn axes_are_taken_together_before_version_13_alone() {
        let x = vec![0.0_f32, 0.0, 0.0, 3.0_f32.ln(), 0.0, 0.0];
        for (opset, axis, expected) in [(11, 1, 1.0), (13, 0, 6.0), (13, 1, 2.0), (13, 2, 3.0)] {
            let node = One::new("Softmax", opset).input(&[1, 3, 2], x.clone()).int("axis", axis);
            let (_, found) = node.first::<f32>().unwrap();
            let sum: f32 = found.iter().sum();
            assert!((sum - expected).abs() < 1e-6, "version {opset}, axis {axis}: {found:?}");
        }
    }

    #[test]
    fn what_is_not_a_number_takes_its_row_with_it() {
        let x = vec![f32::NAN, 1.0, f32::NEG_INFINITY, 1.0, 500.0, -500.0];
        let (_, found) = One::new("Softmax", 13).input(&[3, 2], x).first::<f32>().unwrap();
        assert!(found[0].is_nan() && found[1].is_nan());
        assert_eq!(found[2..], [0.0, 1.0, 1.0, 0.0]);
    }
}
