//! Products of kinds that nobody multiplies often: doubles and whole numbers, without an arrangement of
//! weights.

use pulp::Arch;

use super::blocks::Once;

/// What can be multiplied and added: whole numbers wrap around, as they do elsewhere.
pub trait Number: Copy + Send + Sync + 'static {
    const ZERO: Self;
    /// `self * factor + sum`.
    fn multiply_add(self, factor: Self, sum: Self) -> Self;
    fn from_f32(value: f32) -> Self;
}

macro_rules! whole {
    ($($type:ty),+) => {
        $(impl Number for $type {
            const ZERO: Self = 0;

            #[inline(always)]
            fn multiply_add(self, factor: Self, sum: Self) -> Self {
                self.wrapping_mul(factor).wrapping_add(sum)
            }

            fn from_f32(value: f32) -> Self {
                value as Self
            }
        })+
    };
}
whole!(i32, i64);

macro_rules! real {
    ($($type:ty),+) => {
        $(impl Number for $type {
            const ZERO: Self = 0.0;

            #[inline(always)]
            fn multiply_add(self, factor: Self, sum: Self) -> Self {
                self * factor + sum
            }

            fn from_f32(value: f32) -> Self {
                value.into()
            }
        })+
    };
}
real!(f32, f64);

/// A matrix `(depth, outputs)`: element `(at, output)` is `values[at * down + output * across]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    pub values: &'a [T],
    pub down: usize,
    pub across: usize,
}

/// Adds the products of rows of `depth` numbers with `right` to `products`, which has `outputs` numbers for
/// each row.
pub fn add_products<T: Number>(
    rows: &[T],
    depth: usize,
    right: Matrix<'_, T>,
    outputs: usize,
    products: &mut [T],
) {
    if depth == 0 || outputs == 0 {
        return;
    }
    let once = Once;
    Arch::new().dispatch(
        #[inline(always)]
        || {
            once.spend();
            for (row, products) in rows.chunks_exact(depth).zip(products.chunks_exact_mut(outputs)) {
                if right.across == 1 {
                    for (at, &x) in row.iter().enumerate() {
                        let weights = &right.values[at * right.down..][..outputs];
                        for (sum, &weight) in products.iter_mut().zip(weights) {
                            *sum = x.multiply_add(weight, *sum);
                        }
                    }
                } else {
                    for (output, sum) in products.iter_mut().enumerate() {
                        let weights = right.values[output * right.across..].iter().step_by(right.down);
                        *sum = row.iter().zip(weights).fold(*sum, |sum, (&x, &w)| x.multiply_add(w, sum));
                    }
                }
            }
        },
    );
}
