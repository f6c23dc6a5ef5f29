//! What is usual when.

use super::*;

const HALF_HOURS: Seasonal = Seasonal { features: 1, period_s: DAY_S, buckets: 48 };

fn row(features: &[f32], minutes: i64) -> Row<'_> {
    Row { features, network: None, timestamp_us: Some(minutes * 60_000_000) }
}

/// By day 3, by night 0, with a little that wavers.
fn usual_at(minutes: i64) -> f32 {
    let by_day = (480..1200).contains(&minutes.rem_euclid(1440));
    (if by_day { 3.0 } else { 0.0 }) + if minutes / 10 % 2 == 0 { 0.1 } else { -0.1 }
}

fn learnt(seasonal: &Seasonal, days: i64) -> Vec<Word> {
    let mut state = vec![0; seasonal.words()];
    for minutes in (0..days * 1440).step_by(10) {
        let features = vec![usual_at(minutes); seasonal.features];
        seasonal.learn(&row(&features, minutes), &mut state);
    }
    state
}

#[test]
fn what_is_usual_at_noon_is_rare_at_midnight() {
    let mut state = learnt(&HALF_HOURS, 14);
    let mut score = |value: f32, minutes| HALF_HOURS.score(&row(&[value], minutes), &mut state).unwrap();
    let noon = 14 * 1440 + 720;
    assert!(score(3.0, noon) < 1.0 && score(0.0, noon) > 5.0);
    assert!(score(0.0, noon + 720) < 1.0 && score(3.0, noon + 720) > 5.0);
    // Before 1970 there were days too.
    assert!(score(3.0, -720) < 1.0 && score(3.0, -1) > 5.0);
}

#[test]
fn a_time_of_which_little_was_seen_is_judged_by_the_whole() {
    let mut state = learnt(&HALF_HOURS, 1);
    let mut score = |value: f32, minutes| HALF_HOURS.score(&row(&[value], minutes), &mut state).unwrap();
    assert!(score(0.0, 1440 + 720) < 3.0);
    assert!(score(20.0, 1440 + 720) > 5.0);
}

#[test]
fn a_row_without_a_time_is_not_judged_and_teaches_nothing() {
    let mut state = learnt(&HALF_HOURS, 3);
    let before = state.clone();
    let row = Row { features: &[99.0], network: None, timestamp_us: None };
    assert_eq!(HALF_HOURS.score(&row, &mut state), None);
    HALF_HOURS.learn(&row, &mut state);
    assert_eq!(state, before);
}

#[test]
fn features_share_a_kilobyte() {
    for (features, period, buckets) in
        [(1, DAY_S, 48), (1, WEEK_S, 56), (2, WEEK_S, 28), (4, DAY_S, 16), (32, DAY_S, 1)]
    {
        let seasonal = Seasonal::within(features, period, 1024);
        assert_eq!(seasonal.buckets, buckets, "{features}");
        assert!(seasonal.words() * 8 <= 1024);
    }
}

#[test]
fn the_feature_that_is_off_contributes() {
    let two = Seasonal { features: 2, ..HALF_HOURS };
    let mut state = learnt(&two, 5);
    let mut into = [0.0; 2];
    two.contributions(&row(&[0.0, 3.0], 5 * 1440 + 720), &mut state, &mut into);
    assert!(into[0] > 20.0 * into[1], "{into:?}");
}
