//! A covariance that can be inverted, however few rows there are.

/// By how much a covariance matrix is to be drawn towards a multiple of the identity so that it comes closest
/// to the true one (O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional covariance
/// matrices", Journal of Multivariate Analysis 88, 2004): 0 for not at all, 1 for the identity alone.
///
/// `trace` is the covariance's, `squares` the sum of the squares of all its elements, `size` how many rows it
/// has; `fourth` is the sum over the `rows` it was made of, each taken from the mean, of their squared
/// lengths' squares. So it can be had from sums alone, and no row is kept.
pub fn shrinkage(trace: f64, squares: f64, size: usize, fourth: f64, rows: f64) -> f64 {
    let mean = trace / size as f64;
    let distance = squares - size as f64 * mean * mean;
    let noise = (fourth / rows - squares) / rows;
    // Not a number where there are no rows, or the matrix is 0.
    if distance > 0.0 && noise.is_finite() { (noise / distance).clamp(0.0, 1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinkage_is_that_of_scikit_learn() {
        // sklearn.covariance.ledoit_wolf_shrinkage of the rows below, scikit-learn 1.9.1.
        let rows: Vec<[f64; 3]> = (0..12)
            .map(|at| {
                let at = f64::from(at);
                [at * at % 7.0, (at * 3.0 % 5.0) * 0.5, at * at % 7.0 * 0.8 + at % 2.0]
            })
            .collect();
        let n = rows.len() as f64;
        let mean = |of: usize| rows.iter().map(|row| row[of]).sum::<f64>() / n;
        let means = [mean(0), mean(1), mean(2)];
        let (mut squares, mut trace) = (0.0, 0.0);
        for (one, other) in (0..3).flat_map(|one| (0..3).map(move |other| (one, other))) {
            let products = rows.iter().map(|row| (row[one] - means[one]) * (row[other] - means[other]));
            let covariance = products.sum::<f64>() / n;
            squares += covariance * covariance;
            trace += if one == other { covariance } else { 0.0 };
        }
        let length =
            |row: &[f64; 3]| row.iter().zip(means).map(|(value, mean)| (value - mean).powi(2)).sum::<f64>();
        let fourth = rows.iter().map(|row| length(row).powi(2)).sum();
        let found = shrinkage(trace, squares, 3, fourth, n);
        assert!((found - EXPECTED).abs() < 1e-12, "{found}");
        assert_eq!(shrinkage(0.0, 0.0, 3, 0.0, 0.0), 1.0);
    }

    const EXPECTED: f64 = 0.202_301_086_683_046_83;
}
