//! What `t2` learns from many devices before it meets a new one: how much each feature wanders, and what its
//! scores are like where all is well.

use super::state::View;
use super::{T2, learning};
use crate::detection::block::Word;
use crate::detection::calibration::Calibration;
use crate::detection::detect::{Detect, Row};
use crate::statistics::normal::quantile;

/// Of a device that has fewer rows than the warm-up and a quarter more, so much is the warm-up in training:
/// what is left must say what scores of rows are like that were not learnt from.
const WARM_UP_SHARE: f64 = 0.75;
/// A score so many times as far beyond the median as the upper quartile is of something wrong: neither it nor
/// the row is learnt from in the second pass. For normal scores that is beyond 4 deviations.
const TRIM: f32 = 6.0;
/// Scores of rows that share a window are one observation, nearly: a hundred rows behind a warm-up of one
/// device say hardly anything of what is rare. So many windows of what theory expects are put to them; the
/// more devices there are, the less they matter.
const EXPECTED_WINDOWS: usize = 5;
/// How many quantiles of the scores are kept.
const QUANTILES_MAX: usize = 256;

/// Fits `t2` to the rows of `devices`, each row-major with `t2.features` numbers a row, in the order of their
/// time and after the model's normalisation. Returns it with what its devices have in common, and its
/// calibration; `None` where no device has enough rows.
///
/// The calibration is made of scores from behind each device's warm-up, so that no row was learnt from before
/// it was scored. What is contaminated there is found by a first pass and left out in a second one; single
/// outliers in a warm-up are drawn in by the detector itself.
pub fn fit(t2: &T2, devices: &[&[f32]]) -> Option<(T2, Calibration)> {
    let mut wander = vec![0.0; t2.features];
    let mut count = 0.0;
    for rows in devices {
        if let Some(own) = own_wander(t2, rows) {
            count += 1.0;
            wander.iter_mut().zip(own).for_each(|(mean, own)| *mean += (own - *mean) / count);
        }
    }
    let fitted = T2 { wander, ..t2.clone() };
    let all = |quiet_below: f32| -> Vec<f32> {
        devices.iter().flat_map(|rows| out_of_sample(&fitted, rows, quiet_below)).collect()
    };
    let mut scores = all(f32::INFINITY);
    scores.sort_unstable_by(f32::total_cmp);
    let (median, quartile) = (scores.get(scores.len() / 2)?, scores.get(scores.len() * 3 / 4)?);
    let limit = median + TRIM * (quartile - median);
    if scores.last().is_some_and(|largest| *largest > limit) {
        scores = all(limit);
        scores.retain(|score| *score <= limit);
    }
    scores.extend(expected_scores(&fitted));
    Some((fitted, Calibration::of_scores(&scores, QUANTILES_MAX)?))
}

/// What scores would be if all were independent and normal: the root of chi-squared by its degrees of
/// freedom, at evenly spaced probabilities, by E. B. Wilson and M. M. Hilferty, 1931.
fn expected_scores(t2: &T2) -> impl Iterator<Item = f32> {
    let count = EXPECTED_WINDOWS * t2.window as usize;
    let spread = 2.0 / (9.0 * t2.features as f64);
    (0..count).map(move |at| {
        let z = quantile((at as f64 + 0.5) / count as f64);
        (1.0 - spread + z * spread.sqrt()).max(0.0).powf(1.5) as f32
    })
}

/// The warm-up that so many rows allow in training; `None` for too few.
fn warm_up(t2: &T2, rows: usize) -> Option<u32> {
    let most = (rows as f64 * WARM_UP_SHARE) as u32;
    (most >= T2::WARM_UP_MIN.max(2 * t2.window)).then_some(most.min(t2.warm_up))
}

fn own_wander(t2: &T2, rows: &[f32]) -> Option<Vec<f32>> {
    let count = rows.len() / t2.features;
    warm_up(t2, count)?;
    let mut state: Vec<Word> = vec![0; t2.words()];
    let mut view = View::of(&mut state, t2.features);
    for row in rows.chunks_exact(t2.features).take(t2.warm_up as usize) {
        learning::take(t2, row, &mut view);
    }
    Some((0..t2.features).map(|at| learning::wander(t2, &view.vectors, at)).collect())
}

fn out_of_sample(t2: &T2, rows: &[f32], quiet_below: f32) -> Vec<f32> {
    let Some(warm_up) = warm_up(t2, rows.len() / t2.features) else { return Vec::new() };
    let t2 = T2 { warm_up, ..t2.clone() };
    let mut state = vec![0; t2.words()];
    let mut scores = Vec::new();
    for features in rows.chunks_exact(t2.features) {
        let row = Row { features, network: None, timestamp_us: None };
        let score = t2.score(&row, &mut state);
        if score.is_none_or(|score| score <= quiet_below) {
            t2.learn(&row, &mut state);
        }
        scores.extend(score);
    }
    scores
}
