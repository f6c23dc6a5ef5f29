//! What an autoregression expects, and what surprises it.

use super::*;

fn row(features: &[f32]) -> Row<'_> {
    Row { features, network: None, timestamp_us: None }
}

/// Scores and learns from all values but those that are kept from learning.
fn scores(
    linear: &Linear,
    rows: usize,
    value: impl Fn(usize) -> f32,
    learns: impl Fn(usize) -> bool,
) -> Vec<f32> {
    let mut state = vec![0; linear.words()];
    linear.begin(&mut state);
    let mut see = |at| {
        let features = vec![value(at); linear.features];
        let score = linear.score(&row(&features), &mut state);
        if learns(at) {
            linear.learn(&row(&features), &mut state);
        }
        score.unwrap_or(f32::NAN)
    };
    (0..rows).map(&mut see).collect()
}

fn noise(at: usize) -> f32 {
    // A hash, as numbers from -0.5 to 0.5.
    let mut hash = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (hash >> 40) as f32 / (1 << 24) as f32 - 0.5
}

const SIX: Linear = Linear { features: 1, order: 6, keeps: 0.999 };

#[test]
fn a_wave_is_expected_and_a_step_of_its_own_size_is_not() {
    let wave = |at: usize| (at as f32 * 0.3).sin() + 0.02 * noise(at);
    let found = scores(&SIX, 3000, |at| wave(at) + if at == 2500 { 0.3 } else { 0.0 }, |_| true);
    assert!(found[1000..2500].iter().all(|one| *one < 5.0));
    // The wave passes through values between -1 and 1 all the time, so that 0.3 is nothing for itself.
    assert!(found[2500] > 10.0, "{}", found[2500]);
}

#[test]
fn the_weights_are_those_of_the_process() {
    let linear = Linear { features: 1, order: 2, keeps: 0.9999 };
    let mut state = vec![0; linear.words()];
    linear.begin(&mut state);
    let (mut one, mut two) = (0.0f64, 0.0f64);
    for at in 0..20_000 {
        let value = 0.5 + 1.2 * one - 0.5 * two + f64::from(noise(at));
        (two, one) = (one, value);
        linear.score(&row(&[value as f32]), &mut state);
        linear.learn(&row(&[value as f32]), &mut state);
    }
    let own = linear.split(&mut doubles(&mut state[HEAD..])[..]);
    for (weight, expected) in own.weights.iter().zip([1.2, -0.5, 0.5]) {
        assert!((weight - expected).abs() < 0.03, "{weight}, not {expected}");
    }
    // The variance of what is evenly spread over an interval of 1.
    assert!((own.own[0] - 1.0 / 12.0).abs() < 0.01);
}

#[test]
fn constants_and_outliers_leave_it_sound_for_long() {
    let values: [fn(usize) -> f32; 4] = [
        |_| 0.0,
        |_| 7.5,
        |at| if at % 1000 == 0 { 1e6 } else { noise(at) },
        |at| (at / 10_000) as f32 * 100.0,
    ];
    for (at, value) in values.into_iter().enumerate() {
        let found = scores(&SIX, 100_000, value, |_| true);
        assert!(found[100..].iter().all(|one| one.is_finite()), "{at}");
        assert!(found[99_900..].iter().all(|one| *one < 6.0), "{at}");
    }
}

#[test]
fn values_move_on_where_nothing_is_learnt() {
    let wave = |at: usize| (at as f32 * 0.3).sin();
    let found = scores(&SIX, 2000, wave, |at| at < 1000);
    assert!(found[1000..].iter().all(|one| *one < 3.0));
}

#[test]
fn a_feature_takes_its_share_and_half_a_kilobyte_at_most() {
    assert!(Linear { order: ORDER_MAX, ..SIX }.words() * 8 <= 600);
    assert!(Linear { features: 2, ..SIX }.words() * 8 <= 1000);
    let two = Linear { features: 2, order: 2, keeps: 0.99 };
    let mut state = vec![0; two.words()];
    two.begin(&mut state);
    for at in 0..500 {
        let features = [noise(at), noise(at + 7777)];
        two.score(&row(&features), &mut state);
        two.learn(&row(&features), &mut state);
    }
    two.score(&row(&[0.0, 5.0]), &mut state);
    let mut into = [0.0; 2];
    two.contributions(&row(&[0.0, 5.0]), &mut state, &mut into);
    assert!(into[1] > 100.0 * into[0], "{into:?}");
}
