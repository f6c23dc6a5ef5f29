//! How several inputs are brought to one shape: an axis that one has not, or of which it has one place, is
//! repeated.

use crate::model::graph::context::Problem;

/// The shape that all of `shapes` are brought to.
pub fn shape(shapes: &[&[usize]]) -> Result<Vec<usize>, Problem> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut common = vec![1; rank];
    for shape in shapes {
        for (all, &size) in common[rank - shape.len()..].iter_mut().zip(*shape) {
            if *all == 1 {
                *all = size;
            } else if size != 1 && size != *all {
                let shapes: Vec<_> = shapes.iter().map(|shape| format!("{shape:?}")).collect();
                return Err(Problem(format!(
                    "its inputs have the shapes {}, expected the same sizes, or 1, from the last axis on",
                    shapes.join(", ")
                )));
            }
        }
    }
    Ok(common)
}

/// Where the elements of `N` inputs are for each element of an output: runs along the last axis, in each of
/// which an input has either its next elements or one and the same.
pub struct Layout<const N: usize> {
    /// The elements of a run.
    pub run: usize,
    /// Whether an input has its next elements along a run.
    pub moves: [bool; N],
    /// The axes before, the last one first.
    outer: Vec<Axis<N>>,
    counters: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Axis<const N: usize> {
    size: usize,
    strides: [usize; N],
}

impl<const N: usize> Layout<N> {
    /// The layout of inputs of `shapes` within `output`, to which they can be brought.
    pub fn new(output: &[usize], shapes: [&[usize]; N]) -> Self {
        let mut axes: Vec<Axis<N>> = Vec::new();
        let mut strides = [1_usize; N];
        for (behind, &size) in output.iter().rev().enumerate() {
            let mut axis = Axis { size, strides: [0; N] };
            for (input, shape) in shapes.iter().enumerate() {
                let own = shape.len().checked_sub(behind + 1).map_or(1, |at| shape[at]);
                if own != 1 {
                    axis.strides[input] = strides[input];
                }
                strides[input] = strides[input].saturating_mul(own.max(1));
            }
            match axes.last_mut() {
                _ if size == 1 => {}
                Some(last) if (0..N).all(|at| axis.strides[at] == last.strides[at] * last.size) => {
                    last.size *= size;
                }
                _ => axes.push(axis),
            }
        }
        if output.contains(&0) {
            return Self { run: 0, moves: [true; N], outer: Vec::new(), counters: Vec::new() };
        }
        // The last axis of more than one place; an input that has it has its elements side by side there.
        let last = if axes.is_empty() { Axis { size: 1, strides: [1; N] } } else { axes.remove(0) };
        let counters = vec![0; axes.len()];
        Self { run: last.size, moves: last.strides.map(|stride| stride == 1), outer: axes, counters }
    }

    /// Calls `each` with the place of a run in the output, and in each of the inputs.
    #[inline(always)]
    pub fn runs(&mut self, mut each: impl FnMut(usize, [usize; N])) {
        if self.run == 0 {
            return;
        }
        self.counters.fill(0);
        let (mut at, mut places) = (0, [0; N]);
        'runs: loop {
            each(at, places);
            at += self.run;
            for (axis, counter) in self.outer.iter().zip(&mut self.counters) {
                *counter += 1;
                for (place, stride) in places.iter_mut().zip(axis.strides) {
                    *place += stride;
                }
                if *counter < axis.size {
                    continue 'runs;
                }
                *counter = 0;
                for (place, stride) in places.iter_mut().zip(axis.strides) {
                    *place -= stride * axis.size;
                }
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_repeated_along_axes_that_they_lack() {
        for (left, right, expected) in [
            (&[][..], &[][..], &[][..]),
            (&[2, 3], &[3], &[2, 3]),
            (&[2, 1, 3], &[4, 1], &[2, 4, 3]),
            (&[1], &[5, 1], &[5, 1]),
            (&[0, 3], &[1], &[0, 3]),
            (&[2, 3, 4], &[3, 1], &[2, 3, 4]),
            (&[3, 1, 1], &[2, 1, 4, 5], &[2, 3, 4, 5]),
        ] {
            let output = shape(&[left, right]).unwrap();
            assert_eq!(output, expected);
            let mut layout = Layout::new(&output, [left, right]);
            let mut found = Vec::new();
            let (run, moves) = (layout.run, layout.moves);
            layout.runs(|at, places| {
                for step in 0..run {
                    assert_eq!(at + step, found.len());
                    found
                        .push([0, 1].map(|input: usize| places[input] + if moves[input] { step } else { 0 }));
                }
            });
            let all = output.iter().product::<usize>();
            let expected: Vec<_> =
                (0..all).map(|at| [left, right].map(|own| place(at, &output, own))).collect();
            assert_eq!(found, expected, "{left:?} and {right:?}");
        }
        let problem = shape(&[&[2, 3], &[2]]).unwrap_err();
        assert!(problem.0.contains("[2, 3], [2]"), "{}", problem.0);
    }

    /// The place in `own` of element `at` of `output`.
    fn place(mut at: usize, output: &[usize], own: &[usize]) -> usize {
        let (mut place, mut stride) = (0, 1);
        for behind in 0..output.len() {
            let index = at % output[output.len() - 1 - behind];
            at /= output[output.len() - 1 - behind];
            if behind < own.len() {
                let size = own[own.len() - 1 - behind];
                place += if size == 1 { 0 } else { index * stride };
                stride *= size;
            }
        }
        place
    }
}
