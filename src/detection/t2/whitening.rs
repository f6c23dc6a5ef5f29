//! T² and Q as one matrix: the symmetric root of the form that both are.
//!
//! With P the eigenvectors of most of the variance, Λ their eigenvalues and R the other eigenvectors,
//! `T² = dᵀ P Λ⁻¹ Pᵀ d` and `Q = dᵀ R Rᵀ d`. They add up to `dᵀ Φ d` (H. H. Yue and S. J. Qin,
//! "Reconstruction-based fault identification using a combined index", Industrial & Engineering Chemistry
//! Research 40, 2001), here with Q scaled so that its limit is that of a T² of as many directions: theirs
//! gives Q one half of all, be it of one direction. The score is the length of `Φ^½ d`, and its elements are
//! the features' contributions. It is scaled so that its square is 1 on average where d has a variance of 1.

use crate::statistics::{eigen, ledoit_wolf};

/// The share of the variance that T² is of; Q is of the rest.
const VARIANCE_SHARE: f64 = 0.9;
/// Both limits are exceeded by 1 % of normal rows: this many deviations of the normal distribution.
const LIMIT: f64 = 2.326_347_874_040_841;

/// Replaces a covariance, of which only the lower triangle is read, by the root of the form. `fourth` is the
/// sum of the squares of so many standardised rows' squared lengths.
pub fn finish(covariance: &mut [f32], size: usize, fourth: f64, rows: f64) {
    let deviation = |at: usize| f64::from(covariance[at * stride(size) + at]).sqrt();
    let mut matrix = vec![0.0; size * size];
    let mut squares = size as f64;
    for row in 0..size {
        matrix[row * size + row] = 1.0;
        for column in 0..row {
            let product =
                f64::from(covariance[row * stride(size) + column]) / (deviation(row) * deviation(column));
            // A column that never changes goes together with none.
            let correlation = if product.is_finite() { product.clamp(-1.0, 1.0) } else { 0.0 };
            matrix[column * size + row] = correlation;
            squares += 2.0 * correlation * correlation;
        }
    }
    let shrinkage = ledoit_wolf::shrinkage(size as f64, squares, size, fourth, rows);
    for row in 0..size {
        for column in row + 1..size {
            matrix[row * size + column] *= 1.0 - shrinkage;
        }
    }
    let root = root(&eigen::symmetric(&matrix, size), size);
    for (into, root) in covariance.chunks_exact_mut(stride(size)).zip(root.chunks_exact(size)) {
        into.fill(0.0);
        into.iter_mut().zip(root).for_each(|(into, element)| *into = *element as f32);
    }
}

/// The symmetric root of the combined form.
fn root(eigen: &eigen::Eigen, size: usize) -> Vec<f64> {
    // Shrinkage leaves none at 0 but where columns are copies of each other and nothing else.
    let values: Vec<f64> = eigen.values.iter().map(|value| value.max(1e-6)).collect();
    let all: f64 = values.iter().sum();
    let before = values.iter().scan(0.0, |sum, value| Some(std::mem::replace(sum, *sum + value)));
    let kept = before.take_while(|before| *before < VARIANCE_SHARE * all).count();
    let (main, rest) = values.split_at(kept);
    // What makes Q's limit that of as many independent directions: each direction has one vote, as in T².
    let rest_weight = limit(&vec![1.0; rest.len()]) / limit(rest);
    let expected = if rest.is_empty() { 0.0 } else { rest_weight * rest.iter().sum::<f64>() } + kept as f64;
    let weights = main.iter().map(|value| 1.0 / value).chain(rest.iter().map(|_| rest_weight));
    let mut root = vec![0.0; size * size];
    for (vector, weight) in eigen.vectors.chunks_exact(size).zip(weights) {
        let weight = (weight / expected).sqrt();
        for row in 0..size {
            for column in 0..size {
                root[row * size + column] += weight * vector[row] * vector[column];
            }
        }
    }
    root
}

/// The limit of a sum of squares of independent normal variables that have these variances (Jackson and
/// Mudholkar 1979). With variances of 1 it is that of the chi-squared distribution by E. B. Wilson and M. M.
/// Hilferty, 1931, so that T² and Q have theirs by the same rule.
fn limit(variances: &[f64]) -> f64 {
    let sum = |power: i32| variances.iter().map(|value| value.powi(power)).sum::<f64>();
    let (first, second, third) = (sum(1), sum(2), sum(3));
    if first == 0.0 {
        return 0.0;
    }
    let h = 1.0 - 2.0 * first * third / (3.0 * second * second);
    let inner =
        LIMIT * (2.0 * second * h * h).sqrt() / first + 1.0 + second * h * (h - 1.0) / (first * first);
    first * inner.max(0.0).powf(1.0 / h)
}

/// Numbers that are worked on side by side.
const LANES: usize = 8;

/// How long a row of the matrix is: filled up with zeros to whole [`LANES`], so that none is left over that
/// would be worked on alone.
pub fn stride(size: usize) -> usize {
    size.next_multiple_of(LANES)
}

/// Multiplies a symmetric matrix by `vector`.
///
/// It is kept whole although one half would do: from rows alone eight sums go on side by side and none is
/// waited for, which takes half of the time.
pub fn apply<const N: usize>(matrix: &[f32], size: usize, vector: &[f32; N]) -> [f32; N] {
    let mut into = [0.0; N];
    for (block, into) in into.as_chunks_mut::<LANES>().0.iter_mut().enumerate().take(size.div_ceil(LANES)) {
        let mut sums = [0.0_f32; LANES];
        for (row, value) in matrix.as_chunks::<LANES>().0.chunks_exact(size.div_ceil(LANES)).zip(vector) {
            for lane in 0..LANES {
                sums[lane] += row[block][lane] * value;
            }
        }
        *into = sums;
    }
    into
}

/// How long a vector is.
pub fn length<const N: usize>(vector: &[f32; N]) -> f32 {
    let mut sums = [0.0; LANES];
    for values in vector.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            sums[lane] += values[lane] * values[lane];
        }
    }
    sums.iter().sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_tables() {
        // The 99 % points of chi-squared with 5 and 30 degrees of freedom: 15.086 and 50.892.
        assert!((limit(&[1.0; 5]) - 15.086).abs() < 0.05, "{}", limit(&[1.0; 5]));
        assert!((limit(&[1.0; 30]) - 50.892).abs() < 0.05);
        assert_eq!(limit(&[]), 0.0);
    }

    #[test]
    fn rows_that_are_no_whole_lanes_are_multiplied_too() {
        for size in [1, 2, 8, 9, 13, 32] {
            let element =
                |row: usize, column: usize| ((row.min(column) * 7 + row.max(column) * 3) % 5) as f32 - 1.5;
            let mut matrix = vec![0.0; size * stride(size)];
            for (row, into) in matrix.chunks_exact_mut(stride(size)).enumerate() {
                into[..size].iter_mut().enumerate().for_each(|(column, into)| *into = element(row, column));
            }
            let vector: [f32; 32] =
                std::array::from_fn(|at| if at < size { at as f32 * 0.25 - 1.0 } else { 0.0 });
            let into = apply(&matrix, size, &vector);
            for (row, found) in into.iter().enumerate().take(size) {
                let expected: f32 = (0..size).map(|column| element(row, column) * vector[column]).sum();
                assert!((found - expected).abs() < 1e-3, "{size}: {row}");
            }
        }
    }
}
