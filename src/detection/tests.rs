//! Devices, their memory and its record, with a small detection.

use super::*;
use crate::inference::DeviceId;

const FEATURES: usize = 3;

fn detection() -> Detection {
    detection_of(false)
}

fn detection_of(is_together: bool) -> Detection {
    let baseline = Baseline { rate: 0.05, smoothing: 1.0, ..Baseline::new(FEATURES) };
    Detection::new(Parts {
        detectors: vec![(Box::new(baseline), Tail { window: 64, ..Tail::default() })],
        fusion: Fusion::Any,
        warm_up: 80,
        controller: Controller::new("1/1000 rows".parse().unwrap()),
        is_together,
        episode: EpisodeRule::new(2, 3),
        running: None,
        adopt_after: 0,
    })
}

fn memory(devices_max: usize) -> Memory {
    Memory::new(detection(), [7; 32], devices_max)
}

fn device(number: usize) -> DeviceId {
    DeviceId::new(format!("pump-{number}")).unwrap()
}

/// A row that wanders around 0, and is far from it from row 200 on.
fn row(number: u64) -> [f32; FEATURES] {
    let wave = |k: u64| ((number * k) as f32 * 0.618).sin() + if number >= 200 { 40.0 } else { 0.0 };
    [wave(3), wave(5), wave(7)]
}

fn see(memory: &Memory, device: Option<&DeviceId>, number: u64) -> Seen {
    let features = row(number);
    let timestamp_us = Some(number as i64 * 1_000_000);
    memory.see(device, &Row { features: &features, network: None, timestamp_us })
}

#[test]
fn a_device_learns_is_quiet_and_alarms() {
    let (memory, pump) = (memory(10), device(1));
    let states: Vec<_> = (0..210).map(|number| see(&memory, Some(&pump), number).state).collect();
    assert!(states[..80].iter().all(|state| *state == State::Learning));
    assert!(states[80..200].iter().all(|state| *state == State::Normal));
    assert_eq!(states[201], State::Alarm);
}

#[test]
fn saving_anywhere_and_going_on_equals_never_having_stopped() {
    for stop in [0, 1, 50, 79, 80, 150, 199, 201, 205] {
        let (whole, before, after) = (memory(10), memory(10), memory(10));
        for number in 0..stop {
            see(&whole, Some(&device(1)), number);
            see(&before, Some(&device(1)), number);
        }
        let saved = before.save();
        assert_eq!(after.restore(&saved), Ok(usize::from(stop > 0)));
        assert_eq!(after.save(), saved);
        for number in stop..215 {
            let (one, other) = (see(&whole, Some(&device(1)), number), see(&after, Some(&device(1)), number));
            assert_eq!(one, other, "row {number}, stopped at {stop}");
        }
        assert_eq!(whole.save(), after.save());
    }
}

#[test]
fn a_record_that_is_not_whole_or_of_another_detection_is_refused_and_changes_nothing() {
    let one = memory(10);
    for number in 0..3 {
        see(&one, Some(&device(number)), 0);
    }
    let saved = one.save();
    let other = memory(10);
    see(&other, None, 0);
    for length in 0..saved.len() {
        let refused = other.restore(&saved[..length]).unwrap_err();
        let is_said = matches!(refused, RecordError::CutOff { .. } | RecordError::Foreign);
        assert!(is_said, "{length} {refused}");
    }
    for at in 8..saved.len() {
        let mut altered = saved.clone();
        altered[at] ^= 1;
        assert!(other.restore(&altered).is_err(), "byte {at}");
    }
    assert_eq!(other.restore(b"something else entirely"), Err(RecordError::Foreign));
    let foreign = Memory::new(detection(), [8; 32], 10);
    assert_eq!(foreign.restore(&saved), Err(RecordError::OtherDetector));
    assert_eq!(memory(2).restore(&saved), Err(RecordError::Devices { devices: 3, devices_max: 2 }));
    assert_eq!(other.devices(), 1);
}

#[test]
fn the_device_that_was_silent_for_longest_gives_way_and_learns_anew_when_it_comes_back() {
    let memory = memory(3);
    for number in 0..100 {
        for one in 0..3 {
            see(&memory, Some(&device(one)), number);
        }
    }
    see(&memory, Some(&device(0)), 100);
    see(&memory, Some(&device(3)), 0);
    assert_eq!((memory.devices(), memory.forgotten()), (3, 1));
    assert_eq!(see(&memory, Some(&device(0)), 101).state, State::Normal);
    assert_eq!(see(&memory, Some(&device(1)), 100).state, State::Learning);
    assert_eq!(see(&memory, Some(&device(2)), 100).state, State::Learning, "it was the next to go");
}

#[test]
fn whoever_is_told_to_begins_anew() {
    let memory = memory(3);
    for number in 0..100 {
        for one in 0..2 {
            see(&memory, Some(&device(one)), number);
        }
    }
    assert_eq!(memory.relearn(&Which::One(device(9))), 0);
    assert_eq!(memory.relearn(&Which::One(device(1))), 1);
    assert_eq!(see(&memory, Some(&device(0)), 100).state, State::Normal);
    assert_eq!(see(&memory, Some(&device(1)), 100).state, State::Learning);
    assert_eq!(memory.relearn(&Which::All), 2);
    assert_eq!(see(&memory, Some(&device(0)), 101).state, State::Learning);
}

#[test]
fn a_budget_of_all_devices_together_is_one_and_survives_with_them() {
    let together = || Memory::new(detection_of(true), [7; 32], 100);
    let alarms = |memory: &Memory, devices: std::ops::Range<usize>| {
        let mut begun = 0;
        for number in 0..210 {
            for one in devices.clone() {
                begun += usize::from(see(memory, Some(&device(one)), number).begins);
            }
        }
        begun
    };
    assert_eq!(alarms(&memory(100), 0..20), 20, "each has its own budget");
    let one = together();
    let begun = alarms(&one, 0..20);
    // A share of 4,200 rows at 1/1000, and what the purse held.
    assert!((1..=7).contains(&begun), "{begun}");
    let other = together();
    other.restore(&one.save()).unwrap();
    assert_eq!(alarms(&other, 20..25), alarms(&one, 20..25), "what was spent is spent after a restart too");
    assert_eq!(memory(100).restore(&one.save()), Err(RecordError::OtherDetector));
}

#[test]
fn what_learns_apart_knows_nobody_and_teaches_nobody() {
    let (one, pump) = (memory(3), device(1));
    for number in 0..100 {
        see(&one, Some(&pump), number);
    }
    let apart = one.apart();
    assert_eq!((apart.devices(), see(&apart, Some(&pump), 0).state), (0, State::Learning));
    assert_eq!(see(&one, Some(&pump), 100).state, State::Normal);
}
