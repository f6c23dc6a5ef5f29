//! Probabilities of classes from those of pairs of classes.
//!
//! The second method of Wu, Lin and Weng, "Probability estimates for multi-class classification by pairwise
//! coupling" (2004), in `f32` and with the bounds that ONNX Runtime has, so that it stops at the same step.

/// How often the probabilities are improved at most.
const STEPS_MAX: usize = 100;
/// They are good when no error is above this, divided by the number of classes.
const ERROR_MAX: f32 = 0.005;
/// The probability of a pair is at least this, and at most 1 less this.
pub const PAIR_MIN: f32 = 1e-7;

/// What [`couple`] needs to keep on the way, for one number of classes.
pub struct Scratch {
    classes: usize,
    /// The probability of class `i` against class `j`, at `i * classes + j`.
    pub pairs: Vec<f32>,
    products: Vec<f32>,
    errors: Vec<f32>,
}

impl Scratch {
    pub fn new(classes: usize) -> Self {
        let square = vec![0.0; classes * classes];
        Self { classes, pairs: square.clone(), products: square, errors: vec![0.0; classes] }
    }
}

/// Writes the probability of each class into `probabilities`.
pub fn couple(scratch: &mut Scratch, probabilities: &mut [f32]) {
    let Scratch { classes, pairs, products, errors } = scratch;
    let classes = *classes;
    fill(classes, pairs, products);
    probabilities.fill(1.0 / classes as f32);
    let error_max = ERROR_MAX / classes as f32;
    for _ in 0..STEPS_MAX {
        let mut total = 0.0;
        for (i, row) in products.chunks_exact(classes).enumerate() {
            errors[i] = row.iter().zip(&*probabilities).fold(0.0, |sum, (q, p)| sum + q * p);
            total += probabilities[i] * errors[i];
        }
        // NaN is no error that could become less.
        if !errors.iter().any(|error| (error - total).abs() >= error_max) {
            break;
        }
        for (i, row) in products.chunks_exact(classes).enumerate() {
            let change = (total - errors[i]) / row[i];
            probabilities[i] += change;
            let whole = 1.0 + change;
            total = (total + change * (change * row[i] + 2.0 * errors[i])) / whole / whole;
            for ((error, q), p) in errors.iter_mut().zip(row).zip(probabilities.iter_mut()) {
                *error = (*error + change * q) / whole;
                *p /= whole;
            }
        }
    }
}

/// The matrix whose form is least at the probabilities.
fn fill(classes: usize, pairs: &[f32], products: &mut [f32]) {
    for i in 0..classes {
        let mut diagonal = 0.0;
        for j in (0..classes).filter(|&j| j != i) {
            let other = pairs[j * classes + i];
            diagonal += other * other;
            products[i * classes + j] =
                if j < i { products[j * classes + i] } else { -other * pairs[i * classes + j] };
        }
        products[i * classes + i] = diagonal;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_agree_are_coupled_exactly() {
        let expected = [0.2, 0.5, 0.3_f32];
        let mut scratch = Scratch::new(3);
        for i in 0..3 {
            for j in (0..3).filter(|&j| j != i) {
                scratch.pairs[i * 3 + j] = expected[i] / (expected[i] + expected[j]);
            }
        }
        let mut found = [0.0; 3];
        couple(&mut scratch, &mut found);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 2e-3, "{found}, expected {expected}");
        }
    }
}
