//! The standard normal distribution.

/// The probability of a value of at most `z`.
pub fn cdf(z: f64) -> f64 {
    // By erfc: 1 + erf would have no digits left in the lower tail.
    libm::erfc(-z / std::f64::consts::SQRT_2) / 2.0
}

/// The value that is not exceeded with probability `p`, by halving; exact to some
/// 1e-12. `p` outside (0, 1) is cut to it.
pub fn quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-Z_MAX, Z_MAX);
    // The inverse has no closed form. Halving needs the function alone and no table of coefficients, and is
    // asked for a few values an interval.
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if cdf(middle) < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Beyond it a probability is less than 1e-299.
const Z_MAX: f64 = 37.0;
/// Enough to go from 74 to less than 1e-13.
const HALVINGS: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (p, z) in [(0.5, 0.0), (0.975, 1.959_963_984_540_054), (0.01, -2.326_347_874_040_841)] {
            assert!((quantile(p) - z).abs() < 1e-10, "{p}: {}", quantile(p));
            assert!((cdf(z) - p).abs() < 1e-12);
        }
    }
}
