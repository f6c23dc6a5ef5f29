//! The left discord beside its definition, and what it finds.

use super::*;

const FLOOR: f32 = 0.1;

fn row(features: &[f32]) -> Row<'_> {
    Row { features, network: None, timestamp_us: None }
}

fn scores(discord: &Discord, values: impl IntoIterator<Item = f32>) -> Vec<Option<f32>> {
    let mut state = vec![0; discord.words()];
    discord.begin(&mut state);
    values.into_iter().map(|value| discord.score(&row(&[value]), &mut state)).collect()
}

/// A wave that wanders, with noise that is no more than it looks.
fn wave(at: usize) -> f32 {
    let at = at as f32;
    (at * 0.13).sin() + 0.5 * (at * 0.0371).sin() + 0.3 * (at * at * 0.71).sin()
}

/// By the definition: normalised, and compared with each that does not overlap and is still remembered.
fn by_definition(discord: &Discord, values: &[f32], at: usize) -> Option<f32> {
    let normalised = |end: usize| {
        let one: Vec<f64> =
            values[end + 1 - discord.length..=end].iter().map(|one| f64::from(*one)).collect();
        let mean = one.iter().sum::<f64>() / one.len() as f64;
        let variance = one.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / one.len() as f64;
        let deviation = (variance + f64::from(FLOOR).powi(2)).sqrt();
        one.into_iter().map(|value| (value - mean) / deviation).collect::<Vec<_>>()
    };
    let oldest = (at + discord.length).saturating_sub(discord.samples);
    let newest = (at + 1).checked_sub(discord.length)?;
    let own = normalised(at);
    let nearest = (oldest.max(discord.length - 1)..newest)
        .filter(|end| *end + discord.length <= at && at - end < discord.length + discord.lags())
        .map(|end| normalised(end).iter().zip(&own).map(|(one, own)| (one - own).powi(2)).sum::<f64>())
        .fold(f64::INFINITY, f64::min);
    nearest.is_finite().then(|| (nearest / discord.length as f64).sqrt() as f32)
}

#[test]
fn it_is_what_the_definition_says_however_often_the_ring_turned() {
    for (length, samples) in [(4, 9), (10, 64), (17, 101), (32, 100)] {
        let discord = Discord { feature: 0, length, samples, deviation_floor: FLOOR };
        let values: Vec<f32> = (0..1500).map(wave).collect();
        let found = scores(&discord, values.iter().copied());
        for at in (0..300).chain(1300..1500) {
            match (found[at], by_definition(&discord, &values, at)) {
                (Some(found), Some(expected)) => {
                    assert!(
                        (found - expected).abs() < 0.01,
                        "{length} of {samples}: {at}: {found} {expected}"
                    );
                }
                (found, expected) => assert_eq!(found, expected, "{length} of {samples}: {at}"),
            }
        }
    }
}

#[test]
fn nothing_drifts_in_a_long_life_far_from_zero() {
    let discord = Discord { feature: 0, length: 20, samples: 200, deviation_floor: FLOOR };
    // Period 25: what comes is what was there.
    let found =
        scores(&discord, (0..100_000).map(|at| 5.0 + (at as f32 * std::f32::consts::TAU / 25.0).sin()));
    let largest = found[99_000..].iter().flatten().fold(0f32, |most, one| most.max(*one));
    assert!(largest < 0.06, "{largest}");
}

#[test]
fn a_beat_that_is_missing_or_twice_as_fast_is_what_stands_out() {
    let discord = Discord { feature: 0, length: 50, samples: 1000, deviation_floor: FLOOR };
    let beat = |at: usize| {
        let phase = (at % 50) as f32;
        (-((phase - 20.0) / 3.0).powi(2)).exp() * 3.0 + 0.02 * wave(at * 7)
    };
    for fault in [|_: usize| 0.0, |at: usize| ((at % 25) as f32 * 0.25).sin() * 2.0] {
        let value = |at| if (1500..1550).contains(&at) { fault(at) } else { beat(at) };
        let found = scores(&discord, (0..2000).map(value));
        let at = (300..2000).max_by(|one, other| found[*one].partial_cmp(&found[*other]).unwrap()).unwrap();
        assert!((1500..1600).contains(&at), "{at}");
        let quiet = (300..1500).filter_map(|at| found[at]).fold(0f32, f32::max);
        assert!(found[at].unwrap() > 3.0 * quiet, "{quiet}");
    }
}

#[test]
fn what_hardly_moves_has_no_shape() {
    let discord = Discord { feature: 0, length: 20, samples: 200, deviation_floor: FLOOR };
    let constant = scores(&discord, (0..500).map(|_| 3.0));
    assert!(constant[40..].iter().all(|one| *one == Some(0.0)));
    // Noise of a hundredth is near to a constant, and a line is unlike what always moved.
    let found = scores(&discord, (0..1000).map(|at| if at < 800 { 0.01 * wave(at) } else { wave(at) }));
    assert!(found[100..800].iter().flatten().all(|one| *one < 0.15));
    assert!(found[820].unwrap() > 0.7);
    let flat = scores(&discord, (0..1000).map(|at| if at < 800 { (at as f32 * 0.5).sin() } else { 0.0 }));
    assert!(flat[100..800].iter().flatten().all(|one| *one < 0.2));
    assert!(flat[820].unwrap() > 0.8);
}

#[test]
fn a_thousand_samples_take_fourteen_kilobytes() {
    let discord = Discord { feature: 0, length: 50, samples: 1000, deviation_floor: FLOOR };
    assert!(discord.words() * 8 <= 14_000, "{}", discord.words() * 8);
    // One that is too short for its length says nothing, and does not fall over.
    let short = Discord { feature: 0, length: 50, samples: 100, deviation_floor: FLOOR };
    assert!(scores(&short, (0..500).map(wave)).iter().all(Option::is_none));
    // Values that are beyond 16 bits are as far out as those can say.
    assert!(scores(&discord, (0..3000).map(|at| 1e9 * wave(at))).iter().flatten().all(|one| one.is_finite()));
}

#[test]
fn it_is_about_its_own_feature() {
    let discord = Discord { feature: 1, length: 4, samples: 20, deviation_floor: FLOOR };
    let mut state = vec![0; discord.words()];
    assert_eq!(discord.score(&row(&[1.0]), &mut state), None);
    let mut into = [0.0; 3];
    discord.contributions(&row(&[1.0, 2.0, 3.0]), &mut state, &mut into);
    assert_eq!(into, [0.0, 1.0, 0.0]);
}
