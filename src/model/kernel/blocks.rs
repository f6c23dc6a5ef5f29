//! Sums and the like over a block of numbers, written so that they become vector instructions where the
//! compiler may use them: inside `pulp::Arch::dispatch`. Several sums are taken side by side, in an order
//! that depends on the block's size alone.

/// Sums that are taken side by side.
const SUMS: usize = 32;

/// Makes a closure for `pulp::Arch::dispatch` one that can be called once only, when it is spent in there:
/// others are called through a function of the compiler's, which is not inlined where vectors are wide.
pub struct Once;

impl Once {
    #[inline(always)]
    pub fn spend(self) {}
}

/// Whatever blocks are made of here.
pub trait Real: Copy + PartialOrd + Send + Sync + 'static {
    const ZERO: Self;
    const LEAST: Self;
    fn real(value: f64) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn sqrt(self) -> Self;
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn abs(self) -> Self;
    fn powf(self, exponent: Self) -> Self;
}

macro_rules! real {
    ($type:ty, $exp:expr) => {
        impl Real for $type {
            const ZERO: Self = 0.0;
            const LEAST: Self = <$type>::NEG_INFINITY;

            #[inline(always)]
            fn real(value: f64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }

            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self - other
            }

            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self * other
            }

            #[inline(always)]
            fn div(self, other: Self) -> Self {
                self / other
            }

            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }

            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }

            #[inline(always)]
            fn ln(self) -> Self {
                self.ln()
            }

            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }

            #[inline(always)]
            fn powf(self, exponent: Self) -> Self {
                self.powf(exponent)
            }
        }
    };
}
real!(f32, super::functions::exp);
real!(f64, f64::exp);

/// What `join` makes of all `values`, of each of which `part` is taken.
#[inline(always)]
pub fn fold<T: Copy>(values: &[T], start: T, part: impl Fn(T) -> T, join: impl Fn(T, T) -> T) -> T {
    let (blocks, rest) = values.as_chunks::<SUMS>();
    let mut all = start;
    if !blocks.is_empty() {
        let mut sums = [start; SUMS];
        for block in blocks {
            for at in 0..SUMS {
                sums[at] = join(sums[at], part(block[at]));
            }
        }
        // Halves, so that this is done in vectors too.
        let mut width = SUMS / 2;
        while width > 0 {
            for at in 0..width {
                sums[at] = join(sums[at], sums[at + width]);
            }
            width /= 2;
        }
        all = join(all, sums[0]);
    }
    rest.iter().fold(all, |all, &value| join(all, part(value)))
}

/// The sum of what `part` makes of each of `values`.
#[inline(always)]
pub fn sum_of<T: Real>(values: &[T], part: impl Fn(T) -> T) -> T {
    // A closure, for a function's name would be called and not become vector instructions.
    fold(
        values,
        T::ZERO,
        part,
        #[inline(always)]
        |a: T, b| a.add(b),
    )
}

#[inline(always)]
pub fn sum<T: Real>(values: &[T]) -> T {
    sum_of(
        values,
        #[inline(always)]
        |value| value,
    )
}

/// The largest; numbers that are not any are passed over.
#[inline(always)]
pub fn max<T: Real>(values: &[T]) -> T {
    fold(
        values,
        T::LEAST,
        #[inline(always)]
        |value| value,
        #[inline(always)]
        |most, value| if value > most { value } else { most },
    )
}

/// The mean and the variance.
#[inline(always)]
pub fn moments<T: Real>(values: &[T]) -> (T, T) {
    let count = T::real(values.len() as f64);
    let mean = sum(values).div(count);
    let squares = sum_of(
        values,
        #[inline(always)]
        |value| value.sub(mean).mul(value.sub(mean)),
    );
    (mean, squares.div(count))
}
