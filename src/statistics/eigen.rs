//! Eigenvalues and eigenvectors of a symmetric matrix.

/// A symmetric matrix as `vectors · diag(values) · vectorsᵀ`.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigen {
    /// The eigenvalues, the largest first.
    pub values: Vec<f64>,
    /// The eigenvectors in the same order, one after the other, each of length 1.
    pub vectors: Vec<f64>,
}

/// Sweeps over all pairs; each squares what is left off the diagonal, so that 8 are enough in practice (Golub
/// and Van Loan, "Matrix Computations", section 8.5).
const SWEEPS_MAX: usize = 30;
/// What is left off the diagonal, relative to all, when nothing more can be gained.
const OFF_DIAGONAL: f64 = 1e-24;

/// The eigen-decomposition of the symmetric `matrix` of `size` rows, row-major; only its upper triangle is
/// read.
///
/// Jacobi's method (C. G. J. Jacobi, 1846), cyclic by rows: slower than reduction to tridiagonal form for
/// large matrices, but it finds small eigenvalues to high relative accuracy, and it is short.
pub fn symmetric(matrix: &[f64], size: usize) -> Eigen {
    let mut a = matrix.to_vec();
    for row in 0..size {
        for column in 0..row {
            a[row * size + column] = a[column * size + row];
        }
    }
    let mut vectors = vec![0.0; size * size];
    for at in 0..size {
        vectors[at * size + at] = 1.0;
    }
    let all: f64 = a.iter().map(|value| value * value).sum();
    for _ in 0..SWEEPS_MAX {
        let pairs = (0..size).flat_map(|p| (p + 1..size).map(move |q| (p, q)));
        let off: f64 = pairs.clone().map(|(p, q)| a[p * size + q].powi(2)).sum();
        if off <= OFF_DIAGONAL * all {
            break;
        }
        for (p, q) in pairs {
            rotate(&mut a, &mut vectors, size, p, q);
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|one, other| a[other * size + other].total_cmp(&a[one * size + one]));
    Eigen {
        values: order.iter().map(|at| a[at * size + at]).collect(),
        vectors: order.iter().flat_map(|at| vectors[at * size..(at + 1) * size].to_vec()).collect(),
    }
}

/// Turns rows and columns `p` and `q` so that the element at their crossing becomes 0.
fn rotate(a: &mut [f64], vectors: &mut [f64], size: usize, p: usize, q: usize) {
    let crossing = a[p * size + q];
    if crossing == 0.0 {
        return;
    }
    let theta = (a[q * size + q] - a[p * size + p]) / (2.0 * crossing);
    // The smaller of the two angles.
    let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    for at in 0..size {
        let (one, other) = (a[at * size + p], a[at * size + q]);
        a[at * size + p] = cosine * one - sine * other;
        a[at * size + q] = sine * one + cosine * other;
    }
    for at in 0..size {
        let (one, other) = (a[p * size + at], a[q * size + at]);
        a[p * size + at] = cosine * one - sine * other;
        a[q * size + at] = sine * one + cosine * other;
        let (one, other) = (vectors[p * size + at], vectors[q * size + at]);
        vectors[p * size + at] = cosine * one - sine * other;
        vectors[q * size + at] = sine * one + cosine * other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvalues_come_in_falling_order_and_give_the_matrix_back() {
        let size = 12;
        // Without a pattern, and singular: the last row and column are twice the first.
        let mut matrix = vec![0.0; size * size];
        for (row, column) in (0..size).flat_map(|row| (0..size).map(move |column| (row, column))) {
            let from = |at: usize| if at == size - 1 { (0, 2.0) } else { (at, 1.0) };
            let ((row_from, row_by), (column_from, column_by)) = (from(row), from(column));
            let (low, high) = (row_from.min(column_from), row_from.max(column_from));
            matrix[row * size + column] = row_by * column_by * ((low * 31 + high * 17) % 11) as f64;
        }
        let Eigen { values, vectors } = symmetric(&matrix, size);
        assert!(values.is_sorted_by(|one, other| one >= other), "{values:?}");
        assert!(values.iter().any(|value| value.abs() < 1e-12), "{values:?}");
        for (row, column) in (0..size).flat_map(|row| (0..size).map(move |column| (row, column))) {
            let of = |which: usize, at: usize| vectors[which * size + at];
            let again: f64 = (0..size).map(|which| values[which] * of(which, row) * of(which, column)).sum();
            assert!((again - matrix[row * size + column]).abs() < 1e-11, "{row}, {column}: {again}");
            let product: f64 = (0..size).map(|at| of(row, at) * of(column, at)).sum();
            assert!((product - f64::from(u8::from(row == column))).abs() < 1e-12);
        }
    }

    #[test]
    fn a_diagonal_matrix_is_only_sorted() {
        let Eigen { values, vectors } = symmetric(&[1.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 3.0], 3);
        assert_eq!(values, [5.0, 3.0, 1.0]);
        assert_eq!(vectors, [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(symmetric(&[0.0; 4], 2).values, [0.0, 0.0]);
    }
}
