//! The baseline's scores on noise that is the same each time.

use super::*;

/// Noise from -1 to 1, the same each time.
fn noise(at: usize) -> f32 {
    let mixed = (at as u32).wrapping_add(1).wrapping_mul(2_654_435_761);
    let mixed = (mixed ^ mixed >> 15).wrapping_mul(2_246_822_519);
    (mixed >> 8) as f32 / 8_388_608.0 - 1.0
}

fn row_at(at: usize, features: usize) -> Vec<f32> {
    (0..features).map(|feature| noise(at * features + feature)).collect()
}

fn row(features: &[f32]) -> Row<'_> {
    Row { features, network: None, timestamp_us: None }
}

fn taught(baseline: &Baseline, rows: usize) -> Vec<Word> {
    let mut state = vec![0; baseline.words()];
    for at in 0..rows {
        let features = row_at(at, baseline.features);
        baseline.score(&row(&features), &mut state);
        baseline.learn(&row(&features), &mut state);
    }
    state
}

/// The score after rows that are off by so much in their second feature.
fn score_after(baseline: &Baseline, off: f32, rows: usize) -> (f32, Vec<Word>) {
    let mut state = taught(baseline, 500);
    let mut last = 0.0;
    for at in 500..500 + rows {
        let mut features = row_at(at, baseline.features);
        features[1] += off;
        last = baseline.score(&row(&features), &mut state).unwrap();
    }
    (last, state)
}

#[test]
fn a_device_has_264_bytes_at_32_features() {
    assert_eq!(Baseline::new(32).words() * size_of::<Word>(), 264);
}

#[test]
fn a_small_shift_that_stays_adds_up_and_its_feature_is_named() {
    let baseline = Baseline::new(4);
    let (one, _) = score_after(&baseline, 1.2, 1);
    let (many, mut state) = score_after(&baseline, 1.2, 30);
    assert!(one < 2.0 && many > 4.0, "{one} {many}");
    let mut shares = [0.0; 4];
    baseline.contributions(&row(&[0.0; 4]), &mut state, &mut shares);
    assert!(shares[1] > 0.8 * shares.iter().sum::<f32>(), "{shares:?}");
}

#[test]
fn one_sided_it_is_silent_about_what_falls() {
    let baseline = Baseline { two_sided: false, ..Baseline::new(4) };
    let (below, _) = score_after(&baseline, -3.0, 30);
    let (above, _) = score_after(&baseline, 3.0, 30);
    assert!(below < 2.0 && above > 8.0, "{below} {above}");
}

#[test]
fn each_row_alone_is_its_root_mean_square_deviation() {
    let baseline = Baseline { smoothing: 1.0, ..Baseline::new(2) };
    let mut state = taught(&baseline, 3000);
    // The standard deviation of this noise is 1 / sqrt(3).
    let score = baseline.score(&row(&[3.0, 0.0]), &mut state).unwrap();
    assert!((score - 3.0 * 3.0f32.sqrt() / 2.0f32.sqrt()).abs() < 0.4, "{score}");
}

#[test]
fn normal_rows_score_about_one_however_long_they_last() {
    let baseline = Baseline::new(32);
    let mut state = taught(&baseline, 20_000);
    let scores = (20_000..21_000).map(|at| {
        let features = row_at(at, 32);
        let score = baseline.score(&row(&features), &mut state).unwrap();
        baseline.learn(&row(&features), &mut state);
        score
    });
    let mean = scores.sum::<f32>() / 1000.0;
    assert!((mean - 1.0).abs() < 0.1, "{mean}");
}

#[test]
fn a_constant_feature_and_enormous_values_do_no_harm() {
    let baseline = Baseline::new(2);
    let mut state = vec![0; baseline.words()];
    for _ in 0..100 {
        baseline.learn(&row(&[5.0, 1e30]), &mut state);
    }
    let score = baseline.score(&row(&[5.0, -1e30]), &mut state).unwrap();
    assert!(score.is_finite() && score > 50.0, "{score}");
    assert!(baseline.score(&row(&[5.0, 1e30]), &mut state).unwrap().is_finite());
}

#[test]
fn a_variance_in_16_bits_is_right_to_a_four_thousandth() {
    for variance in [1e-5f32, 0.33, 1.0, 97.0, 4000.0] {
        let error = (narrow::read(narrow::write(variance)) / variance - 1.0).abs();
        assert!(error <= 1.0 / 4096.0, "{variance}: {error}");
    }
    assert!(narrow::read(narrow::write(0.0)) > 0.0);
    assert!(narrow::read(narrow::write(f32::INFINITY)).is_finite());
}
