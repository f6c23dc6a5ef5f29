//! Axes that are walked through in an order, and the places of their elements.

/// Some axes of a value, the innermost first: how many places each has, and how far apart their elements are.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    axes: Vec<(usize, isize)>,
    counters: Vec<usize>,
}

impl Walk {
    /// Walks through `axes`, given the outermost first, as if neighbours that lie in one line were one.
    pub fn new(axes: &[(usize, isize)]) -> Self {
        let mut merged: Vec<(usize, isize)> = Vec::with_capacity(axes.len());
        for &(size, stride) in axes.iter().rev().filter(|(size, _)| *size != 1) {
            match merged.last_mut() {
                Some(inner) if inner.1.checked_mul(inner.0 as isize) == Some(stride) => inner.0 *= size,
                _ => merged.push((size, stride)),
            }
        }
        if merged.iter().any(|(size, _)| *size == 0) {
            merged = vec![(0, 0)];
        }
        Self { counters: vec![0; merged.len()], axes: merged }
    }

    /// The innermost axis, which is taken out; one place where there is none.
    pub fn take_innermost(&mut self) -> (usize, isize) {
        if self.axes.is_empty() {
            return (1, 1);
        }
        self.counters.pop();
        self.axes.remove(0)
    }

    /// How many places there are.
    pub fn places(&self) -> usize {
        self.axes.iter().map(|(size, _)| size).product()
    }

    /// Calls `each` with the place of each element, from `start` on, in order.
    #[inline(always)]
    pub fn each(&mut self, start: usize, mut each: impl FnMut(usize)) {
        if self.axes.first().is_some_and(|(size, _)| *size == 0) {
            return;
        }
        self.counters.fill(0);
        let mut place = start;
        'places: loop {
            each(place);
            for (&(size, stride), counter) in self.axes.iter().zip(&mut self.counters) {
                *counter += 1;
                place = place.wrapping_add_signed(stride);
                if *counter < size {
                    continue 'places;
                }
                *counter = 0;
                place = place.wrapping_add_signed(-(stride * size as isize));
            }
            return;
        }
    }
}

/// How far apart the elements of each axis of `shape` are, row-major.
pub fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1) as isize;
    }
    strides
}

/// The elements before `axis`, of it, and behind it.
pub fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}
