//! How rare scores are, beside distributions of which that is known.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn exponential(random: &mut ChaCha8Rng) -> f32 {
    -(1.0 - random.random::<f32>()).ln()
}

fn learnt(tail: &Tail, rows: usize, mut next: impl FnMut() -> f32) -> Vec<Word> {
    let mut state = vec![0; tail.words()];
    (0..rows).for_each(|_| tail.learn(next(), &mut state));
    state
}

#[test]
fn within_what_was_seen_it_is_a_rank() {
    let tail = Tail { window: 99, ..Tail::default() };
    let mut next = 0.0;
    // Only the last 99 count: 101 to 199.
    let mut state = learnt(&tail, 199, || {
        next += 1.0;
        next
    });
    for (score, above) in [(199.0, 1.0), (198.5, 1.0), (150.0, 50.0), (101.0, 99.0), (0.0, 99.0)] {
        let rarity = tail.rarity(score, &mut state).unwrap();
        assert!((rarity.surprisal + ((above + 1.0) / 100f64).ln()).abs() < 1e-12, "{score}");
        assert!(!rarity.is_extrapolated);
    }
    let beyond = tail.rarity(200.0, &mut state).unwrap();
    assert!(beyond.is_extrapolated && beyond.surprisal > 100f64.ln());
}

#[test]
fn beyond_it_the_tail_goes_on_as_it_was() {
    let random = &mut ChaCha8Rng::seed_from_u64(1);
    let tail = Tail { window: 1000, ..Tail::default() };
    let mut state = learnt(&tail, 5000, || exponential(random));
    // An exponential score is its own surprisal.
    for score in [12.0, 20.0] {
        let found = tail.rarity(score, &mut state).unwrap().surprisal;
        // From the 64 largest of 1,000, and rather too cautious than too sure.
        assert!((0.5..1.3).contains(&(found / f64::from(score))), "{score}: {found}");
    }
    // One of a heavy tail, 1 / (1 + x)^4, is beyond it by far less.
    let mut state = learnt(&tail, 5000, || (exponential(random) / 4.0).exp_m1());
    let found = tail.rarity((30f32 / 4.0).exp_m1(), &mut state).unwrap().surprisal;
    assert!((15.0..100.0).contains(&found), "{found}");
}

#[test]
fn scores_that_do_not_differ_are_no_reason_for_alarm() {
    let tail = Tail { window: 100, ..Tail::default() };
    let mut state = learnt(&tail, 500, || 5.0);
    assert!(tail.rarity(5.0, &mut state).unwrap().surprisal < 0.1);
    assert!(tail.rarity(5.0001, &mut state).unwrap().surprisal < 5.0);
    assert!(tail.rarity(6.0, &mut state).unwrap().surprisal > 100.0);
    assert!(tail.rarity(f32::INFINITY, &mut state).unwrap().surprisal <= SURPRISAL_MAX);
    assert_eq!(tail.rarity(f32::NAN, &mut state), None);
}

#[test]
fn a_device_without_a_window_knows_its_scale_in_sixteen_bytes() {
    let random = &mut ChaCha8Rng::seed_from_u64(2);
    let training: Vec<f32> = (0..20_000).map(|_| exponential(random)).collect();
    let calibrated = Tail { calibration: Calibration::of_scores(&training, 256), ..Tail::default() };
    assert_eq!(calibrated.words() * 8, 16);
    for scale in [1.0, 3.0] {
        let mut state = learnt(&calibrated, 3000, || scale * exponential(random));
        let found = calibrated.rarity(scale * 9.0, &mut state).unwrap().surprisal;
        assert!((found - 9.0).abs() < 2.0, "{scale}: {found}");
    }
    // Before it has seen anything, it is like all others.
    let found = calibrated.rarity(3.0, &mut [0; 2]).unwrap();
    assert!((found.surprisal - 3.0).abs() < 0.1 && !found.is_extrapolated);

    // Without a calibration it goes by mean and variance: here of the mean of squares of 8 normal features,
    // whose tail is that of chi-squared: 26.12 of 8 has 0.001.
    let alone = Tail { window: 0, ..Tail::default() };
    assert_eq!(alone.rarity(1.0, &mut [0; 2]), None);
    let mut square = || (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0;
    let mut state = learnt(&alone, 5000, || (0..8).map(|_| square().powi(2)).sum::<f32>() / 8.0);
    let found = alone.rarity(26.12 / 8.0, &mut state).unwrap().surprisal;
    assert!((found - 1000f64.ln()).abs() < 0.7, "{found}");
}

#[test]
fn rows_that_count_keep_the_tail_from_ending_at_the_threshold() {
    let tail = Tail { window: 200, ..Tail::default() };
    let random = &mut ChaCha8Rng::seed_from_u64(3);
    let mut state = learnt(&tail, 200, || exponential(random));
    let largest = excess_of(&mut state[..HEAD]).largest;
    for _ in 0..10 {
        tail.learn_censored(1e6, &mut state);
    }
    let rarity = tail.rarity(largest, &mut state).unwrap();
    assert!((rarity.surprisal - (201f64 / 12.0).ln()).abs() < 0.1);
    assert!(tail.rarity(1e6, &mut state).unwrap().surprisal > 20.0);
}

#[test]
fn a_shared_calibration_means_the_same_for_every_device_and_keeps_nothing_of_it() {
    let random = &mut ChaCha8Rng::seed_from_u64(4);
    let training: Vec<f32> = (0..1000).map(|_| exponential(random)).collect();
    let calibration = Calibration::of_scores(&training, 256);
    let tail = Tail { calibration, is_shared: true, ..Tail::default() };
    assert_eq!(tail.words(), 0);
    let before = tail.rarity(3.0, &mut []);
    (0..500).for_each(|_| tail.learn(0.01, &mut []));
    tail.learn_censored(9.0, &mut []);
    assert_eq!(tail.rarity(3.0, &mut []), before);
}

#[test]
fn the_normal_tail_holds_far_out() {
    // By mpmath: -log(erfc(z / sqrt(2)) / 2).
    for (deviation, expected) in [
        (-3.0, 0.00135081),
        (-1.0, 0.1727538),
        (0.0, std::f64::consts::LN_2),
        (1.0, 1.841022),
        (3.0, 6.607726),
        (10.0, 53.23129),
        (30.0, 454.3212),
    ] {
        let found = normal_surprisal(deviation);
        assert!((found - expected).abs() < 0.004, "{deviation}: {found}");
    }
}
