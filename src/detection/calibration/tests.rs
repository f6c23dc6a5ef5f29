//! A calibration beside the distribution it was made of.

use super::*;

fn of_ranks(rows: usize, quantiles_max: usize) -> Calibration {
    // The exponential distribution's own quantiles, in an order that is not theirs.
    let scores: Vec<f32> =
        (0..rows).map(|at| -((((at * 7919) % rows) as f32 + 0.5) / rows as f32).ln()).collect();
    Calibration::of_scores(&scores, quantiles_max).unwrap()
}

#[test]
fn few_quantiles_say_what_all_scores_say() {
    let (all, few) = (of_ranks(5000, 5000), of_ranks(5000, 200));
    assert_eq!((few.quantiles().len(), few.rows()), (200, 5000));
    for score in [0.1, 0.5, 1.0, 2.0, 4.0] {
        let (all, few) = (all.rarity(score), few.rarity(score));
        assert!((all.surprisal - f64::from(score)).abs() < 0.02, "{score}: {}", all.surprisal);
        assert!((few.surprisal - f64::from(score)).abs() < 0.05, "{score}: {}", few.surprisal);
    }
}

#[test]
fn a_rarer_score_is_never_less_surprising() {
    let calibration = of_ranks(1000, 100);
    let mut before = 0.0;
    for at in 0..3000 {
        let surprisal = calibration.rarity(at as f32 * 0.01).surprisal;
        assert!(surprisal >= before, "{at}");
        before = surprisal;
    }
    assert!((20.0..45.0).contains(&before), "{before}");
}

#[test]
fn what_was_kept_comes_back_and_nonsense_does_not() {
    let one = of_ranks(1000, 100);
    let again = Calibration::of_parts(one.quantiles().to_vec(), one.rows(), one.excess());
    assert_eq!(again, Some(one.clone()));
    assert_eq!(Calibration::of_parts(vec![2.0, 1.0], 2, one.excess()), None);
    assert_eq!(Calibration::of_parts(vec![1.0, f32::NAN], 2, one.excess()), None);
    assert_eq!(Calibration::of_scores(&[1.0, f32::NAN], 10), None);
    let constant = Calibration::of_scores(&[1.0; 50], 10).unwrap();
    assert!(constant.rarity(1.0).surprisal < 0.1);
}
