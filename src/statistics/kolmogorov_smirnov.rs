//! The Kolmogorov-Smirnov distance: how far apart two distributions are.

use super::samples::Samples;

/// The two-sample Kolmogorov-Smirnov distance: the greatest difference between the
/// shares of both that are at most some value. Between 0 and 1.
pub fn ks_distance(one: &Samples, other: &Samples) -> f64 {
    let (one, other) = (one.sorted(), other.sorted());
    let (mut i, mut j, mut distance) = (0, 0, 0.0_f64);
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        // Past every sample of this value, in both: between equal samples there is nothing to compare.
        let value = a.min(*b);
        i += one[i..].iter().take_while(|sample| **sample <= value).count();
        j += other[j..].iter().take_while(|sample| **sample <= value).count();
        distance = distance.max((i as f64 / one.len() as f64 - j as f64 / other.len() as f64).abs());
    }
    distance
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples(samples: &[f64]) -> Samples {
        Samples::new(samples.to_vec()).unwrap()
    }

    #[test]
    fn distances_with_and_without_ties() {
        let distance = |one: &[f64], other: &[f64]| ks_distance(&samples(one), &samples(other));
        assert_eq!(distance(&[1.0, 2.0, 3.0], &[3.0, 1.0, 2.0]), 0.0);
        assert_eq!(distance(&[1.0, 2.0], &[3.0, 4.0]), 1.0);
        assert_eq!(distance(&[1.0, 1.0, 1.0, 2.0], &[1.0, 2.0, 2.0, 2.0]), 0.5);
        // scipy.stats.ks_2samp([0.1, 0.4, 0.7], [0.2, 0.3, 0.8, 0.9]).statistic.
        assert!((distance(&[0.1, 0.4, 0.7], &[0.2, 0.3, 0.8, 0.9]) - 0.5).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_distance_is_that_of_the_definition(
            one in prop::collection::vec(0_u8..20, 1..40), other in prop::collection::vec(0_u8..20, 1..40),
        ) {
            let (one, other) = ([one, other]).map(|values| values.into_iter().map(f64::from).collect::<Vec<_>>()).into();
            let share = |samples: &[f64], value: f64| {
                samples.iter().filter(|sample| **sample <= value).count() as f64 / samples.len() as f64
            };
            let differences = (0..20).map(|value| (share(&one, f64::from(value)) - share(&other, f64::from(value))).abs());
            let expected = differences.fold(0.0, f64::max);
            prop_assert!((ks_distance(&samples(&one), &samples(&other)) - expected).abs() < 1e-12);
        }
    }
}
