//! What classifiers and regressors do with their scores at the end: `post_transform`.

/// A function of the scores of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    None,
    Softmax,
    Logistic,
    /// A softmax in which scores of zero stay zero.
    SoftmaxZero,
    /// The quantile of the normal distribution.
    Probit,
}

/// Scores nearer to zero than this count as zero in [`Transform::SoftmaxZero`], as in ONNX Runtime.
const ZERO: f32 = 1e-7;

impl Transform {
    /// Every one with its name in files; the first is the default.
    pub const NAMES: &[(&str, Self)] = &[
        ("NONE", Self::None),
        ("SOFTMAX", Self::Softmax),
        ("LOGISTIC", Self::Logistic),
        ("SOFTMAX_ZERO", Self::SoftmaxZero),
        ("PROBIT", Self::Probit),
    ];

    /// Applies it to the scores of a row.
    pub fn apply(self, scores: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Softmax => softmax(scores),
            Self::Logistic => scores.iter_mut().for_each(|score| *score = logistic(*score)),
            Self::SoftmaxZero => softmax_zero(scores),
            Self::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
        }
    }
}

/// `1 / (1 + e^-x)`, which does not overflow.
pub fn logistic(score: f32) -> f32 {
    let upper = 1.0 / (1.0 + (-score.abs()).exp());
    if score < 0.0 { 1.0 - upper } else { upper }
}

/// The greatest score, so that no power overflows.
fn greatest(scores: &[f32]) -> f32 {
    scores.iter().fold(f32::MIN, |most, &score| if score > most { score } else { most })
}

fn softmax(scores: &mut [f32]) {
    let most = greatest(scores);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - most).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

fn softmax_zero(scores: &mut [f32]) {
    let most = greatest(scores);
    let scale = (-most).exp();
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        if *score > ZERO || *score < -ZERO {
            *score = (*score - most).exp();
            sum += *score;
        } else {
            *score *= scale;
        }
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// `sqrt(2) erfinv(2p - 1)`, by Winitzki's approximation of erfinv ("A handy approximation for the error
/// function and its inverse", 2008) with a = 0.147, as ONNX Runtime and the reference evaluator have it.
fn probit(score: f32) -> f32 {
    const A: f32 = 0.147;
    let x = 2.0 * score - 1.0;
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let half = 2.0 / (std::f32::consts::PI * A) + 0.5 * log;
    let root = (half * half - 1.0 / A * log).sqrt() - half;
    std::f32::consts::SQRT_2 * sign * root.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(transform: Transform, scores: &[f32]) -> Vec<f32> {
        let mut scores = scores.to_vec();
        transform.apply(&mut scores);
        scores
    }

    #[test]
    fn transforms_are_what_they_are_elsewhere() {
        let cases: &[(Transform, &[f32], &[f32])] = &[
            (Transform::None, &[1.0, -2.0], &[1.0, -2.0]),
            (Transform::Logistic, &[0.0, 2.0, -100.0], &[0.5, 0.880_797, 0.0]),
            (Transform::Softmax, &[1.0, 1.0, 1000.0], &[0.0, 0.0, 1.0]),
            (Transform::SoftmaxZero, &[0.0, 1.0, 1.0], &[0.0, 0.5, 0.5]),
            (Transform::Probit, &[0.5, 0.975], &[0.0, 1.96]),
        ];
        for (transform, scores, expected) in cases {
            let found = applied(*transform, scores);
            for (found, expected) in found.iter().zip(*expected) {
                assert!(
                    (found - expected).abs() < 5e-3,
                    "{transform:?} of {scores:?}: {found}, expected {expected}"
                );
            }
        }
    }
}
