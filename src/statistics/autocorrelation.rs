//! How a series is like itself some steps before, and the period that this shows.

/// The autocorrelation of `values` at each lag up to `lag_max`, from 1 at lag 0; the biased estimate, which
/// falls where pairs become few (G. E. P. Box and G. M. Jenkins, "Time Series Analysis", 1970, chapter 2).
/// All 0 for values that do not differ.
pub fn autocorrelation(values: &[f32], lag_max: usize) -> Vec<f64> {
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len().max(1) as f64;
    let centred: Vec<f32> = values.iter().map(|value| (f64::from(*value) - mean) as f32).collect();
    let product = |lag: usize| {
        let pairs = centred.iter().zip(centred.get(lag..).unwrap_or_default());
        pairs.map(|(one, other)| f64::from(*one) * f64::from(*other)).sum::<f64>()
    };
    let all = product(0);
    (0..=lag_max).map(|lag| if all > 0.0 { product(lag) / all } else { 0.0 }).collect()
}

/// A lag counts as the period if it is as good as this share of the best: the best may be a multiple of it.
const AS_GOOD: f64 = 0.8;
/// The weakest likeness that is called a period.
const LIKENESS_MIN: f64 = 0.2;

/// The dominant period of `values`, in steps, from `least` to `most`: the first peak of the autocorrelation
/// that is nearly as high as its highest one there, after it was below 0 or, where it never is, after its
/// first valley. `None` where nothing comes again.
pub fn dominant_period(values: &[f32], least: usize, most: usize) -> Option<usize> {
    let most = most.min(values.len() / 2);
    let likeness = autocorrelation(values, most + 1);
    let falls_below = likeness.iter().position(|one| *one < 0.0);
    let valley = || likeness.windows(2).position(|pair| pair[1] > pair[0]);
    let from = falls_below.or_else(valley)?.max(least).max(1);
    let is_peak = |lag: &usize| likeness[*lag] >= likeness[lag - 1] && likeness[*lag] > likeness[lag + 1];
    let peaks: Vec<usize> = (from..=most).filter(is_peak).collect();
    let best = peaks.iter().map(|lag| likeness[*lag]).fold(LIKENESS_MIN, f64::max);
    // The highest near the first that is good enough: noise makes small peaks on the way up.
    let first =
        *peaks.iter().find(|lag| likeness[**lag] >= AS_GOOD * best && likeness[**lag] >= LIKENESS_MIN)?;
    peaks
        .into_iter()
        .take_while(|lag| *lag <= first + first / 4)
        .max_by(|one, other| likeness[*one].total_cmp(&likeness[*other]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash of the place, as numbers from -0.5 to 0.5.
    fn noise(at: usize) -> f32 {
        let mut hash = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
        hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (hash >> 40) as f32 / (1 << 24) as f32 - 0.5
    }

    #[test]
    fn a_wave_and_a_beat_have_their_period() {
        let wave = |at: usize| (at as f32 * std::f32::consts::TAU / 47.0).sin() + noise(at);
        let beat = |at: usize| if at % 120 < 6 { 1.0 } else { 0.1 * noise(at) };
        assert_eq!(dominant_period(&(0..3000).map(wave).collect::<Vec<_>>(), 4, 500), Some(47));
        assert_eq!(dominant_period(&(0..3000).map(beat).collect::<Vec<_>>(), 4, 500), Some(120));
    }

    #[test]
    fn noise_constants_and_too_few_values_have_none() {
        assert_eq!(dominant_period(&(0..3000).map(noise).collect::<Vec<_>>(), 4, 500), None);
        assert_eq!(dominant_period(&[1.0; 500], 4, 100), None);
        assert_eq!(dominant_period(&[], 4, 100), None);
        assert_eq!(dominant_period(&[1.0, 2.0, 1.0], 1, 100), None);
    }

    #[test]
    fn it_is_one_at_lag_nought_and_the_weight_at_lag_one() {
        let mut before = 0.0;
        let values: Vec<f32> = (0..50_000)
            .map(|at| {
                before = 0.7 * before + noise(at);
                before
            })
            .collect();
        let found = autocorrelation(&values, 3);
        assert!((found[0] - 1.0).abs() < 1e-12);
        assert!((found[1] - 0.7).abs() < 0.03 && (found[2] - 0.49).abs() < 0.04, "{found:?}");
    }
}
