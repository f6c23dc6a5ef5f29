//! A row's way, at its public edge: within the budget on any stream, and what learns when.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::{Budget, Span};
use super::*;

/// The row's first feature is its score.
struct Level;

impl Detect for Level {
    fn words(&self) -> usize {
        0
    }

    fn score(&self, row: &Row<'_>, _: &mut [Word]) -> Option<f32> {
        Some(row.features[0].abs())
    }

    fn learn(&self, _: &Row<'_>, _: &mut [Word]) {}

    fn contributions(&self, row: &Row<'_>, _: &mut [Word], into: &mut [f32]) {
        into.copy_from_slice(row.features);
    }
}

const WARM_UP: u64 = 500;

fn parts(budget: &str, window: usize) -> Parts {
    Parts {
        detectors: vec![(Box::new(Level), Tail { window, ..Tail::default() })],
        fusion: Fusion::Any,
        warm_up: WARM_UP,
        controller: Controller::new(budget.parse::<Budget>().unwrap()),
        is_together: false,
        episode: EpisodeRule::new(1, 1),
        running: None,
        adopt_after: 0,
    }
}

struct Device {
    detection: Detection,
    block: Vec<Word>,
}

impl Device {
    fn new(parts: Parts) -> Self {
        let detection = Detection::new(parts);
        let mut block = vec![1; detection.words()];
        detection.begin(&mut block);
        Self { detection, block }
    }

    fn see(&mut self, features: &[f32]) -> Seen {
        self.see_at(features, None)
    }

    fn see_at(&mut self, features: &[f32], timestamp_us: Option<i64>) -> Seen {
        self.detection.see(&Row { features, network: None, timestamp_us }, &mut self.block)
    }

    fn warm(&mut self, random: &mut ChaCha8Rng) {
        for _ in 0..WARM_UP + 1000 {
            let value = exponential(random);
            self.see(&[value]);
        }
    }
}

fn exponential(random: &mut ChaCha8Rng) -> f32 {
    -(1.0 - random.random::<f32>()).ln()
}

fn normal(random: &mut ChaCha8Rng) -> f32 {
    (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0
}

fn cauchy(random: &mut ChaCha8Rng) -> f32 {
    (std::f32::consts::PI * (random.random::<f32>() - 0.5)).tan()
}

/// The next value: of so many rows, the state of whatever moves, and what was said of the row before.
type Stream = fn(usize, &mut f32, &Seen, &mut ChaCha8Rng) -> f32;

const STREAMS: [(&str, Stream); 12] = [
    ("constant", |_, _, _, _| 1.0),
    ("constant, then nothing", |at, _, _, _| if at < 2000 { 1.0 } else { 0.0 }),
    ("rising ramp", |at, _, _, _| at as f32),
    ("growing without end", |at, _, _, random| (at as f32 / 300.0).exp().min(1e30) * exponential(random)),
    ("random walk", |_, walk, _, random| {
        *walk += normal(random);
        *walk
    }),
    ("heavy tails", |_, _, _, random| cauchy(random)),
    ("heavier tails", |_, _, _, random| cauchy(random).powi(3)),
    ("bursts each 100 rows", |at, _, _, random| exponential(random) + if at % 100 < 5 { 50.0 } else { 0.0 }),
    ("a fault that comes and goes", |at, _, _, random| {
        exponential(random) + if at / 37 % 2 == 0 { 0.0 } else { 1e3 }
    }),
    ("one that scores high whenever no alarm is on", |_, _, before, random| {
        if before.state == State::Alarm { 0.0 } else { 1e20 * exponential(random) }
    }),
    ("one just above the threshold", |_, level, before, random| {
        // It feels its way up until an alarm begins, and stays there.
        *level = if before.begins { *level } else { *level * 1.01 + 1e-3 };
        if before.state == State::Alarm { 0.0 } else { *level + exponential(random) }
    }),
    ("autoregressive", |_, level, _, random| {
        *level = 0.9 * *level + normal(random);
        *level
    }),
];

#[test]
fn on_any_stream_episodes_stay_within_the_budget() {
    const ROWS: usize = 20_000;
    for (name, next) in STREAMS {
        for (window, adopt_after) in [(0, 0), (0, 50), (100, 0), (100, 50)] {
            let mut parts = parts("1/1000 rows", window);
            parts.adopt_after = adopt_after;
            // The shortest of all episodes, so that as many as possible can begin.
            parts.episode.clear_after = Span::Rows(1);
            parts.episode.silence = Span::Rows(0);
            let (mut device, mut random) = (Device::new(parts), ChaCha8Rng::seed_from_u64(1));
            let (mut seen, mut state) = (Seen::default(), 0.0);
            let mut begun = Vec::new();
            for at in 0..ROWS {
                seen = device.see(&[next(at, &mut state, &seen, &mut random)]);
                if seen.begins {
                    begun.push(at);
                }
            }
            // Not only from the beginning: in any stretch of time.
            for (first, from) in begun.iter().enumerate() {
                for (more, to) in begun[first..].iter().enumerate() {
                    let allowed = (to - from) as f64 / 1000.0 + 3.0;
                    assert!((more + 1) as f64 <= allowed + 1e-6, "{name}, {window}: {begun:?}");
                }
            }
        }
    }
}

#[test]
fn on_quiet_streams_a_fair_share_of_the_budget_is_used() {
    const ROWS: usize = 60_000;
    let streams: [(&str, Stream); 4] = [
        ("exponential", |_, _, _, random| exponential(random)),
        ("normal", |_, _, _, random| normal(random)),
        STREAMS[11],
        STREAMS[5],
    ];
    for (name, next) in streams {
        for window in [0, 300] {
            let (mut device, mut random) =
                (Device::new(parts("1/1000 rows", window)), ChaCha8Rng::seed_from_u64(2));
            let (mut seen, mut state, mut begun) = (Seen::default(), 0.0, 0);
            for at in 0..ROWS {
                seen = device.see(&[next(at, &mut state, &seen, &mut random)]);
                begun += usize::from(seen.begins);
            }
            assert!((12..=62).contains(&begun), "{name}, {window}: {begun} of 60");
        }
    }
}

#[test]
fn a_large_change_is_found_at_once_and_is_one_alarm() {
    for window in [0, 200, 1000] {
        let (mut device, mut random) =
            (Device::new(parts("1/10000 rows", window)), ChaCha8Rng::seed_from_u64(3));
        device.warm(&mut random);
        assert_eq!(device.see(&[1.0]).state, State::Normal);
        let mut begun = 0;
        for at in 0..5000 {
            let seen = device.see(&[40.0 + exponential(&mut random)]);
            assert_eq!((seen.state, seen.begins), (State::Alarm, at == 0), "{window}: {at}");
            assert!(seen.score > 0.5 && seen.is_extrapolated);
            begun += u32::from(seen.begins);
        }
        // What is no alarm any more is over after ten quiet rows.
        let after: Vec<_> = (0..10).map(|_| device.see(&[0.5]).state).collect();
        assert_eq!(after[8..], [State::Alarm, State::Normal]);
        assert_eq!(begun, 1);
    }
}

#[test]
fn a_new_level_is_adopted_only_where_that_was_asked_for() {
    for (adopt_after, ends) in [(0, false), (100, true)] {
        let mut parts = parts("1/1000 rows", 500);
        parts.adopt_after = adopt_after;
        let (mut device, mut random) = (Device::new(parts), ChaCha8Rng::seed_from_u64(4));
        device.warm(&mut random);
        let states: Vec<_> =
            (0..1000).map(|_| device.see(&[60.0 + exponential(&mut random)]).state).collect();
        assert!(states[..100].iter().all(|state| *state == State::Alarm));
        assert_eq!(states[500..].iter().all(|state| *state == State::Normal), ends, "{adopt_after}");
    }
}

#[test]
fn a_machine_that_stands_still_leaves_all_as_it_was() {
    let mut parts = parts("1/1000 rows", 200);
    parts.running = Some(Running { feature: 1, above: 0.1 });
    let (mut device, mut random) = (Device::new(parts), ChaCha8Rng::seed_from_u64(5));
    for _ in 0..2000 {
        device.see(&[exponential(&mut random), 1.0]);
    }
    let before = device.block.clone();
    for features in [[1e9, 0.0], [1e9, 0.1], [f32::NAN, 1.0], [1.0, f32::INFINITY]] {
        let seen = device.see_at(&features, Some(1));
        assert_eq!(seen, Seen { state: State::Stopped, ..Seen::default() });
    }
    assert_eq!(device.block, before);
    assert_eq!(device.see(&[1e9, 1.0]).state, State::Alarm);
}

#[test]
fn relearning_begins_again_but_for_the_budget() {
    let (mut device, mut random) = (Device::new(parts("1/1000 rows", 200)), ChaCha8Rng::seed_from_u64(6));
    device.warm(&mut random);
    assert!(device.see(&[99.0]).begins);
    device.detection.relearn(&mut device.block);
    for _ in 0..WARM_UP {
        assert_eq!(device.see(&[99.0]).state, State::Learning);
    }
    assert_eq!(device.see(&[99.0]).state, State::Normal);
    let again = Device::new(parts("1/1000 rows", 200)).block;
    device.detection.relearn(&mut device.block);
    let control = Head::WORDS..Head::WORDS + 3;
    assert_ne!(device.block[control.clone()], again[control.clone()]);
    device.block[control.clone()].copy_from_slice(&again[control]);
    assert_eq!(device.block, again);
}

#[test]
fn a_budget_of_time_goes_by_the_clock_of_the_device() {
    const HOUR_US: i64 = 3_600_000_000;
    let count = |interval_us: i64, clock: fn(i64) -> Option<i64>| {
        let mut parts = parts("1/day", 200);
        parts.episode.clear_after = Span::Rows(1);
        parts.episode.silence = Span::Rows(0);
        let (mut device, mut random) = (Device::new(parts), ChaCha8Rng::seed_from_u64(7));
        let mut begun = 0;
        for at in 0..24_000 {
            let wild = if at % 10 == 0 && at > 2000 { 1e6 } else { exponential(&mut random) };
            begun += u32::from(device.see_at(&[wild], clock(at * interval_us)).begins);
        }
        begun
    };
    // Six minutes are a hundred days, an hour a thousand; bursts are far more frequent than either.
    assert!((85..=103).contains(&count(HOUR_US / 10, Some)));
    assert!((850..=1003).contains(&count(HOUR_US, Some)));
    // Without a clock there is no budget of time, and so no alarm.
    assert_eq!(count(HOUR_US, |_| None), 0);
    // A clock that goes to and fro does not make time.
    let to_and_fro = |at: i64| Some(at + if at / HOUR_US % 2 == 0 { 0 } else { -50 * HOUR_US });
    assert!(count(HOUR_US, to_and_fro) <= 1003);
    let stands = |at: i64| Some(at.min(3000 * HOUR_US));
    assert!(count(HOUR_US, stands) <= 128);
}

#[test]
fn the_largest_contributions_come_first_with_their_shares() {
    let (mut device, mut random) = (Device::new(parts("1/1000 rows", 200)), ChaCha8Rng::seed_from_u64(8));
    device.warm(&mut random);
    let seen = device.see(&[50.0, 10.0, 30.0, 0.0, 10.0]);
    assert_eq!(seen.contributions.map(|(feature, _)| feature), [0, 2, 1]);
    for ((_, share), expected) in seen.contributions.into_iter().zip([0.5, 0.3, 0.1]) {
        assert!((share - expected).abs() < 1e-6);
    }
    assert_eq!(device.see(&[0.1]).contributions, [(0, 1.0), (0, 0.0), (0, 0.0)]);
}

#[test]
fn the_same_rows_are_answered_by_the_same_bits() {
    let answers = || {
        let (mut device, mut random) = (Device::new(parts("1/100 rows", 200)), ChaCha8Rng::seed_from_u64(9));
        (0..5000).map(|_| device.see(&[cauchy(&mut random)])).collect::<Vec<_>>()
    };
    assert_eq!(answers(), answers());
}

#[test]
fn a_budget_of_all_together_is_kept_by_all_together() {
    let mut parts = parts("1/1000 rows", 100);
    parts.episode.clear_after = Span::Rows(1);
    parts.episode.silence = Span::Rows(0);
    parts.is_together = true;
    let detection = Detection::new(parts);
    let mut common = detection.common().unwrap();
    let mut blocks = vec![vec![0; detection.words()]; 10];
    blocks.iter_mut().for_each(|block| detection.begin(block));
    let mut random = ChaCha8Rng::seed_from_u64(10);
    let mut begun = 0;
    for at in 0..30_000 {
        let wild = if at > 10_000 && random.random::<f32>() < 0.02 { 1e6 } else { exponential(&mut random) };
        let row = Row { features: &[wild], network: None, timestamp_us: None };
        begun += u32::from(detection.see_together(&row, &mut blocks[at % 10], &mut common).begins);
    }
    assert!((15..=27).contains(&begun), "{begun}");
}
