//! From the roots of trees to leaves, several at a time: the processor works on one while it waits for the
//! numbers of another.

use super::forest::{Forest, Questions, Real, Step, flags};

/// How many walks go in step.
pub const LANES: usize = 8;

/// How many steps are taken before it is asked whether all have arrived.
const STRIDE: u32 = 8;

/// Walks each of `at` to its leaf. Walk `lane` reads the row that starts at `lane * stride` of `rows`;
/// `depth` is at least the steps of each.
pub fn walk<T: Real>(forest: &Forest<T>, rows: &[T], stride: usize, at: &mut [u32; LANES], depth: u32) {
    match forest.questions {
        Questions::Plain => go(forest, rows, stride, at, depth, plain),
        Questions::Missing => go(forest, rows, stride, at, depth, missing),
        Questions::Any => go(forest, rows, stride, at, depth, any),
    }
}

#[inline(always)]
fn go<T: Real>(
    forest: &Forest<T>,
    rows: &[T],
    stride: usize,
    at: &mut [u32; LANES],
    depth: u32,
    answer: impl Fn(&Forest<T>, &Step<T>, T) -> bool,
) {
    let steps = &forest.steps[..];
    let mut left = depth;
    while left > 0 {
        let now = left.min(STRIDE);
        let before = *at;
        for _ in 0..now {
            for (lane, at) in at.iter_mut().enumerate() {
                let step = &steps[*at as usize];
                let x = rows[lane * stride + (step.feature & !flags::ALL) as usize];
                *at = step.child.wrapping_add(u32::from(!answer(forest, step, x)));
            }
        }
        // Who has not moved is at a leaf: branches lead away.
        left = if before == *at { 0 } else { left - now };
    }
}

#[inline(always)]
fn plain<T: Real>(_: &Forest<T>, step: &Step<T>, x: T) -> bool {
    x <= step.threshold
}

#[inline(always)]
#[allow(clippy::eq_op, reason = "a number that is unlike itself is NaN")]
fn missing<T: Real>(_: &Forest<T>, step: &Step<T>, x: T) -> bool {
    x <= step.threshold || (step.feature & flags::TAKES_NAN != 0) & (x != x)
}

#[inline(always)]
#[allow(clippy::eq_op, reason = "a number that is unlike itself is NaN")]
fn any<T: Real>(forest: &Forest<T>, step: &Step<T>, x: T) -> bool {
    if x != x {
        return step.feature & flags::TAKES_NAN != 0;
    }
    match step.feature & (flags::EQUAL | flags::MEMBER) {
        0 => x <= step.threshold,
        flags::EQUAL => x == step.threshold,
        _ => forest.sets[step.threshold.to_f64() as usize].contains(&x),
    }
}
