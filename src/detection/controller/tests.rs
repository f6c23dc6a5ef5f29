//! The threshold as episodes come and go.

use super::*;

fn controller(budget: &str) -> (Controller, Vec<Word>) {
    let controller = Controller::new(budget.parse().unwrap());
    let mut state = vec![0; controller.words()];
    controller.begin(&mut state);
    (controller, state)
}

#[test]
fn it_begins_at_the_share_of_a_row() {
    let (controller, mut state) = controller("1/1000 rows");
    assert!((controller.threshold(false, &mut state) - 1000f64.ln()).abs() < 1e-9);
}

#[test]
fn a_budget_smaller_than_the_data_can_know_is_left_to_the_purse() {
    let (mut controller, mut state) = controller("1/1000000 rows");
    controller.surprisal_max = 5.0;
    assert!((controller.threshold(false, &mut state) - 5.0).abs() < 1e-9);
    for _ in 0..controller.burst as usize {
        controller.judged(1e-6, true, &mut state);
    }
    assert!(!controller.allows(&mut state));
}

#[test]
fn an_episode_raises_it_and_quiet_lowers_it_to_a_bound() {
    let (controller, mut state) = controller("1/1000 rows");
    let before = controller.threshold(false, &mut state);
    controller.judged(1e-3, true, &mut state);
    let raised = controller.threshold(false, &mut state);
    assert!(raised > 1.2 * before);
    // An alarm that is on has to do with what it began at.
    let on = controller.threshold(true, &mut state);
    assert!(on > before && on < 1.1 * before);
    for _ in 0..20_000 {
        controller.fill(1e-3, &mut state);
        controller.judged(1e-3, false, &mut state);
    }
    assert!((controller.threshold(false, &mut state) - (before - controller.below_max)).abs() < 1e-9);
}

#[test]
fn the_purse_holds_what_it_may() {
    let (controller, mut state) = controller("1/100 rows");
    for _ in 0..3 {
        assert!(controller.allows(&mut state));
        controller.judged(0.01, true, &mut state);
    }
    for _ in 0..100 {
        assert!(!controller.allows(&mut state));
        controller.fill(0.010_000_1, &mut state);
    }
    assert!(controller.allows(&mut state));
}

#[test]
fn how_densely_rows_come_is_learnt_from_their_times() {
    let (controller, mut state) = controller("1/day");
    assert_eq!(controller.threshold(false, &mut state), f64::INFINITY);
    for at in 0..1000 {
        // An hour each, and once two months.
        controller.fill(if at == 990 { 60.0 } else { 1.0 / 24.0 }, &mut state);
    }
    assert!((controller.threshold(false, &mut state) - 24f64.ln()).abs() < 0.15);
}

#[test]
fn spot_keeps_its_threshold_and_no_budget() {
    let (mut controller, mut state) = controller("1/1000 rows");
    controller.rule = Rule::Spot;
    for _ in 0..10 {
        assert!(controller.allows(&mut state));
        assert_eq!(controller.threshold(false, &mut state), 1000f64.ln());
        controller.judged(1e-3, true, &mut state);
    }
}
