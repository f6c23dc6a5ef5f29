use super::*;

/// Numbers like noise, by a fixed rule: from -1 to 1, and different for each call.
fn noise(state: &mut u32) -> f32 {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*state >> 8) as f32 / 8_388_608.0 - 1.0
}

/// `rows` of four features, of which the second follows the first, the third never changes, and the last
/// wanders.
fn machine(rows: usize) -> Vec<[f32; 4]> {
    let (mut seed, mut walk) = (7, 20.0);
    let mut row = || {
        let first = noise(&mut seed);
        walk += 0.05 * noise(&mut seed);
        [first, 0.9 * first + 0.2 * noise(&mut seed), 3.0, walk + 0.05 * noise(&mut seed)]
    };
    (0..rows).map(|_| row()).collect()
}

/// Scores each row and learns while that is below `quiet`; 0 during the warm-up.
fn scores(t2: &T2, rows: &[[f32; 4]], quiet: f32, state: &mut [Word]) -> Vec<f32> {
    let mut one = |features: &[f32; 4]| {
        let row = Row { features, network: None, timestamp_us: None };
        let score = t2.score(&row, state);
        if score.is_none_or(|score| score < quiet) {
            t2.learn(&row, state);
        }
        score.unwrap_or(0.0)
    };
    rows.iter().map(&mut one).collect()
}

fn t2() -> (T2, Vec<Word>) {
    let t2 = T2::new(4, 30, 400);
    let state = vec![0; t2.words()];
    (t2, state)
}

#[test]
fn nothing_is_said_in_the_warm_up_and_little_after_it() {
    let (t2, mut state) = t2();
    let found = scores(&t2, &machine(4_000), 2.0, &mut state);
    assert!(found[..400].iter().all(|score| *score == 0.0));
    assert!(found[400..].iter().all(|score| *score < 2.0), "{:?}", found.iter().copied().fold(0.0, f32::max));
}

#[test]
fn a_small_lasting_shift_is_found_and_lasts() {
    let (t2, mut state) = t2();
    let mut rows = machine(1_500);
    // Both still look like themselves alone: what is wrong is that they do not go together.
    for row in &mut rows[800..1_200] {
        row[0] += 0.5;
        row[1] -= 0.5;
    }
    let found = scores(&t2, &rows, 1.5, &mut state);
    assert!(found[400..800].iter().all(|score| *score < 1.5));
    assert!(found[850..1_200].iter().all(|score| *score >= 1.5));
    assert!(found[1_260..].iter().all(|score| *score < 1.5));
}

#[test]
fn contributions_name_what_is_wrong_and_add_up() {
    let (t2, mut state) = t2();
    let mut rows = machine(600);
    rows[500..].iter_mut().for_each(|row| row[1] += 2.0);
    let found = scores(&t2, &rows, 1.5, &mut state);
    let mut contributions = [0.0; 4];
    let row = Row { features: &rows[599], network: None, timestamp_us: None };
    t2.contributions(&row, &mut state, &mut contributions);
    assert!((contributions.iter().sum::<f32>().sqrt() - found[599]).abs() < 1e-4);
    assert!(contributions[1] > 0.6 * contributions.iter().sum::<f32>(), "{contributions:?}");
}

#[test]
fn one_row_however_wrong_is_no_alarm() {
    let t2 = T2 { window: 60, ..t2().0 };
    let mut state = vec![0; t2.words()];
    let mut rows = machine(600);
    rows[500] = [1e9, 1e9, 3.0, 1e9];
    let found = scores(&t2, &rows, 10.0, &mut state);
    assert!(found[400..].iter().all(|score| *score < 2.0), "{:?}", &found[500..510]);
}

#[test]
fn outliers_in_the_warm_up_do_not_blind() {
    let (t2, mut state) = t2();
    let mut rows = machine(1_000);
    for at in [60, 61, 140, 300] {
        rows[at] = [500.0, -500.0, 3.0, 400.0];
    }
    rows[700..].iter_mut().for_each(|row| row[0] += 1.5);
    let found = scores(&t2, &rows, 1.5, &mut state);
    assert!(found[400..700].iter().all(|score| *score < 1.5));
    assert!(found[800..].iter().all(|score| *score > 1.5));
}

#[test]
fn a_wandering_feature_may_wander_on_and_a_steady_one_may_not() {
    let (t2, mut state) = t2();
    let rows = machine(400);
    scores(&t2, &rows, 1.5, &mut state);
    let mut one = rows[399];
    // Where it was at the end of the warm-up lies within its noise; by so much it went there.
    one[3] += 0.5;
    let moved = scores(&t2, &[one; 200], 0.0, &mut state.clone());
    one = rows[399];
    one[0] += 2.0;
    let shifted = scores(&t2, &[one; 200], 0.0, &mut state);
    assert!(moved[199] < 3.0 && shifted[199] > 12.0, "{} {}", moved[199], shifted[199]);
}

#[test]
fn fewer_rows_than_features_and_copies_are_taken() {
    let t2 = T2::new(40, 8, 16);
    let mut state = vec![0; t2.words()];
    let mut seed = 1;
    for at in 0..200 {
        let mut features = [0.0; 40];
        features[..20].iter_mut().for_each(|feature| *feature = noise(&mut seed));
        // Twenty more that are copies, at another scale.
        features.copy_within(..20, 20);
        features[20..].iter_mut().for_each(|feature| *feature *= 1_000.0);
        let row = Row { features: &features, network: None, timestamp_us: None };
        let score = t2.score(&row, &mut state);
        assert_eq!(score.is_some(), at >= 16);
        assert!(score.is_none_or(|score| score.is_finite() && score < 5.0), "{score:?}");
        t2.learn(&row, &mut state);
    }
}

#[test]
fn a_warm_up_shorter_than_a_window_still_tells_far_from_near() {
    let t2 = T2::new(4, 60, 40);
    let mut rows = machine(400);
    rows[200..].iter_mut().for_each(|row| row[0] += 4.0);
    let found = scores(&t2, &rows, 1.5, &mut vec![0; t2.words()]);
    let largest = found[40..200].iter().copied().fold(0.0, f32::max);
    assert!(found[300..].iter().all(|score| *score > 1.5 * largest), "{largest} {}", found[300]);
}

#[test]
fn numbers_too_large_to_be_squared_do_no_harm() {
    let (t2, mut state) = t2();
    let mut rows = machine(600);
    rows[3] = [3e38, -3e38, 3e38, 1e-38];
    rows[450] = [3e38, -3e38, 3e38, -3e38];
    let found = scores(&t2, &rows, 1.5, &mut state);
    assert!(found.iter().all(|score| score.is_finite()));
}

#[test]
fn a_device_of_32_features_takes_less_than_5_kb() {
    assert!(T2::new(32, 60, 400).words() * size_of::<Word>() <= 5_000);
}

#[test]
fn training_says_what_scores_are_like_and_leaves_out_what_is_wrong() {
    let healthy = machine(3_000);
    let mut contaminated = healthy.clone();
    contaminated[2_000..2_060].iter_mut().for_each(|row| row[0] += 3.0);
    let (one, calibration) = fit(&t2().0, &[healthy.as_flattened()]).expect("3,000 rows are enough");
    let (_, other) = fit(&t2().0, &[contaminated.as_flattened()]).expect("3,000 rows are enough");
    let surprisal = |calibration: &crate::detection::Calibration| calibration.rarity(2.0).surprisal;
    assert!(surprisal(&calibration) > 4.0, "{}", surprisal(&calibration));
    assert!((surprisal(&calibration) / surprisal(&other) - 1.0).abs() < 0.5, "{}", surprisal(&other));
    assert!(one.wander[0] < 0.05 && one.wander[3] > 0.5, "{:?}", one.wander);
    assert!(fit(&t2().0, &[&[0.0; 40]]).is_none());
}
