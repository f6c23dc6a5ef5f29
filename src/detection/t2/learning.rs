//! From a device's first rows to what is normal for it: sums, and what is made of them at the end.

use super::state::{VECTORS, View};
use super::whitening::stride;
use super::{T2, whitening};

/// Rows beyond so many deviations from the mean are drawn to there: an outlier in the warm-up neither blinds
/// the detector nor is learnt as normal (P. J. Huber, "Robust statistics", 1981).
const OUTLIER: f32 = 5.0;
/// What is larger is no measurement; its square's square is still a number.
const VALUE_MAX: f32 = 1e9;
/// So many rows make a first mean and deviation to tell outliers by.
const ROWS_MIN: f32 = 8.0;
/// A deviation below this share of the mean is rounding, as of a column that never changes.
const DEVIATION_MIN: f32 = 1e-6;
/// The variance of a random walk of N steps about its own mean is N/6 of a step's, in the long run: what
/// strays by a variance v within N rows grows by 6 v / N with each row.
const WALK: f32 = 6.0;

/// Takes a row of the warm-up.
pub fn take(t2: &T2, row: &[f32], view: &mut View<'_>) {
    let [before, mean, variance, window, window_mean, window_variance] = &mut view.vectors;
    *view.rows += 1.0;
    let n = *view.rows;
    let share = 1.0 / n;
    let window_rate = t2.rate().max(share);
    // What a window is before it is full says little of windows; where the warm-up is short, it must do.
    let windows = n - t2.window.min(t2.warm_up / 2) as f32;
    let mut length = 0.0;
    let mut differences = [0.0; super::WIDE];
    for at in 0..t2.features {
        let reach =
            if n > ROWS_MIN && variance[at] > 0.0 { OUTLIER * variance[at].sqrt() } else { VALUE_MAX };
        let value = row[at].clamp(-VALUE_MAX, VALUE_MAX).clamp(mean[at] - reach, mean[at] + reach);
        differences[at] = if n > 1.0 { value - before[at] } else { 0.0 };
        before[at] = value;
        let from_mean = value - mean[at];
        mean[at] += share * from_mean;
        // B. P. Welford, 1962, as a mean and not a sum, which f32 would run out of digits for.
        variance[at] += share * (from_mean * (value - mean[at]) - variance[at]);
        window[at] += window_rate * (value - window[at]);
        if windows >= 1.0 {
            let from_mean = window[at] - window_mean[at];
            window_mean[at] += from_mean / windows;
            window_variance[at] +=
                (from_mean * (window[at] - window_mean[at]) - window_variance[at]) / windows;
        }
    }
    if n < 2.0 {
        return;
    }
    let share = 1.0 / (n - 1.0);
    for one in 0..t2.features {
        let products = &mut view.matrix[one * stride(t2.features)..][..=one];
        for (product, other) in products.iter_mut().zip(&differences) {
            *product += share * (differences[one] * other - *product);
        }
        length += differences[one] * differences[one] / products[one].max(f32::MIN_POSITIVE);
    }
    if n > ROWS_MIN {
        *view.fourth += length * length;
        *view.fourths += 1.0;
    }
}

/// Turns the sums into what rows are judged by.
pub fn finish(t2: &T2, view: &mut View<'_>) {
    let noise = 1.0 / t2.window as f32;
    let View { age, fourth, fourths, vectors, matrix, .. } = view;
    whitening::finish(matrix, t2.features, f64::from(**fourth), f64::from(**fourths));
    (**age, **fourth, **fourths) = (0.0, 0.0, 0.0);
    for at in 0..t2.features {
        let own = wander(t2, vectors, at);
        let [before, mean, variance, window, window_mean, window_variance] = &mut *vectors;
        let scale = scale(mean[at], variance[at]);
        // A device's own figure is made of a few windows only: what others did tempers it.
        let wander = t2.wander.get(at).map_or(own, |others| f32::midpoint(own, *others));
        let reference = mean[at];
        let last = (window[at] - reference) * scale;
        before[at] = last;
        mean[at] = scale;
        variance[at] = reference;
        // What wanders is where it was last; what does not is where it was on the whole.
        window[at] = last * wander.min(1.0);
        window_mean[at] = noise + wander + t2.deviation_min * t2.deviation_min;
        window_variance[at] = WALK * wander / t2.warm_up as f32;
    }
}

/// By which variance a feature's window mean strayed from its mean beyond what independent rows do, in
/// variances of a row.
pub fn wander(t2: &T2, vectors: &[&mut [f32]; VECTORS], at: usize) -> f32 {
    let [_, mean, variance, _, window_mean, window_variance] = vectors;
    let strays = window_variance[at] + (window_mean[at] - mean[at]).powi(2);
    (strays * scale(mean[at], variance[at]).powi(2) - 1.0 / t2.window as f32).clamp(0.0, 1.0)
}

fn scale(mean: f32, variance: f32) -> f32 {
    1.0 / variance.sqrt().max(DEVIATION_MIN * mean.abs()).max(f32::MIN_POSITIVE.sqrt())
}
