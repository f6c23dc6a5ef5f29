//! Tests of plans: pairs, an open loop, repetition.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::lab::scenario::{Arrivals, Document, Scenario, Sensor, Source};
use crate::sensors::recorded::{Columns, Labels};

fn scenario(text: &str) -> Scenario {
    let text = format!("simulation: {{duration_s: 3, seed: 9}}\n{text}");
    Document::parse("s.yaml", &text).unwrap().scenario(&|_| Ok(None)).unwrap()
}

fn table(fleet: &Fleet, duration: Duration, seed: u64) -> Vec<Due> {
    Timetable::new(&fleet.groups, fleet.arrivals, duration, seed).collect()
}

proptest! {
    #[test]
    fn requests_are_due_in_order_at_their_rates_and_nothing_else_matters(
        devices in 1u32..20, rate_hz in 0.5f64..50.0, is_poisson: bool, seed: u64,
    ) {
        let groups = [Group { devices, pace: Pace::Every { rate_hz } }];
        let arrivals = if is_poisson { Arrivals::Poisson } else { Arrivals::Regular };
        let duration = Duration::from_secs(20);
        let plan = || Timetable::new(&groups, arrivals, duration, seed).collect::<Vec<_>>();
        let due = plan();
        prop_assert_eq!(&due, &plan());
        prop_assert!(due.is_sorted_by_key(|due| due.at) && due.iter().all(|due| due.at < duration));
        let expected = requests_expected(&groups, duration);
        let tolerance = if is_poisson { 6.0 * expected.sqrt() } else { f64::from(devices) };
        prop_assert!((due.len() as f64 - expected).abs() <= tolerance, "{} {}", due.len(), expected);
        for device in 0..devices {
            let own: Vec<_> = due.iter().filter(|due| due.device == device).collect();
            prop_assert!(own.iter().enumerate().all(|(row, due)| due.row as usize == row));
            // An open loop: when a request is due depends on the one before it and on nothing that came back.
            if !is_poisson {
                let gap_s = |pair: &[&Due]| (pair[1].at - pair[0].at).as_secs_f64();
                prop_assert!(own.windows(2).all(|pair| (gap_s(pair) - 1.0 / rate_hz).abs() < 1e-6));
            }
        }
    }

    #[test]
    fn every_input_goes_to_every_placement_once_and_none_is_always_first(
        placements in 1usize..6, seed: u64,
    ) {
        let mut turns = Turns::new(seed, placements);
        let mut first = vec![0u32; placements];
        for _ in 0..600 {
            let order = turns.next_order();
            first[order[0]] += 1;
            let mut sorted = order.to_vec();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..placements).collect::<Vec<_>>());
        }
        // Seven standard deviations.
        let expected = 600.0 / placements as f64;
        prop_assert!(first.iter().all(|first| (f64::from(*first) - expected).abs() <= 7.0 * expected.sqrt()));
    }

    #[test]
    fn other_numbers_of_devices_keep_the_shares(counts in prop::collection::vec(1u32..50, 1..6), devices in 1u32..10_000) {
        let source = Source::Bearing { rate_hz: 1.0, noise_level: 1.0 };
        let sensor = |count: &u32| Sensor { id: count.to_string(), count: *count, source: source.clone() };
        let sensors: Vec<_> = counts.iter().map(sensor).collect();
        let scaled = with_devices(&sensors, devices);
        prop_assert_eq!(scaled.iter().map(|sensor| sensor.count).sum::<u32>(), devices);
        let all: u32 = counts.iter().sum();
        for (before, after) in counts.iter().zip(&scaled) {
            let exact = f64::from(*before) * f64::from(devices) / f64::from(all);
            prop_assert!((f64::from(after.count) - exact).abs() <= 1.0);
        }
    }
}

#[test]
fn devices_of_one_sensor_have_inputs_of_their_own_that_repeat_with_the_seed() {
    let scenario =
        scenario("sensors: [{id: a, count: 3, rate_hz: 2}, {id: b, rate_hz: 1, noise_level: 3}]\n");
    let fleet = Fleet::of(&scenario, &[]).unwrap();
    let ids: Vec<_> = fleet.devices.iter().map(|id| &**id).collect();
    assert_eq!(ids, ["a-1", "a-2", "a-3", "b"]);
    let inputs = Inputs::of(&scenario, &fleet, &[]).unwrap();
    // Six requests of each of three, and three of the fourth.
    assert_eq!(inputs.len(), 3 * 6 + 3);
    let due = table(&fleet, scenario.duration, scenario.seed);
    let mut seen: Vec<_> = due.iter().map(|due| inputs.index(due.device, due.row)).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..21).collect::<Vec<_>>());
    // The one whose noise is three times as loud shakes more.
    assert!(inputs.features(inputs.index(3, 0))[0] > 2.0 * inputs.features(0)[0]);
    assert_eq!(inputs, Inputs::of(&scenario, &fleet, &[]).unwrap());
    let other = Scenario { seed: 10, ..scenario.clone() };
    assert_ne!(inputs, Inputs::of(&other, &fleet, &[]).unwrap());
}

#[test]
fn many_devices_share_a_bounded_number_of_windows() {
    let text = "sensors: [{id: a, count: 100000, rate_hz: 0.1}, {id: b, count: 7, rate_hz: 0.1}]\n";
    let scenario = scenario(text);
    let fleet = Fleet::of(&scenario, &[]).unwrap();
    let inputs = Inputs::of(&scenario, &fleet, &[]).unwrap();
    assert_eq!(inputs.len(), 64 + 7);
    assert!((0..100_007).all(|device| inputs.index(device, device) < 71));
    assert_eq!((inputs.index(63, 5), inputs.index(64, 0), inputs.index(100_000, 0)), (63, 0, 64));
}

#[test]
fn a_recording_is_due_at_its_own_times_with_its_truths() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mill.csv");
    std::fs::write(&file, "time_s,x,truth\n5,1,0\n6,2,1\n7,3,\n60,4,0\n").unwrap();
    let columns = Columns::named(["x"]).label("truth");
    let rows = read_recording(&file, &columns, 2.0, Duration::from_secs(3)).unwrap().rows;
    assert_eq!(rows.len(), 3);
    let truths: Vec<_> = rows.iter().map(|row| row.truth).collect();
    assert_eq!(truths, [Some(false), Some(true), None]);
    let recordings = [Some(Arc::from(rows))];
    let scenario = scenario("sensors: [{id: mill, count: 2, file: mill.csv, speed: 2}]\n");
    let fleet = Fleet::of(&scenario, &recordings).unwrap();
    let due: Vec<_> =
        table(&fleet, scenario.duration, 1).into_iter().map(|due| (due.at, due.device)).collect();
    let at = |ms| Duration::from_millis(ms);
    assert_eq!(due, [(at(0), 0), (at(0), 1), (at(500), 0), (at(500), 1), (at(1000), 0), (at(1000), 1)]);
    let inputs = Inputs::of(&scenario, &fleet, &recordings).unwrap();
    assert_eq!((inputs.len(), inputs.features(inputs.index(1, 1))), (3, &[2.0][..]));
}

#[test]
fn sensors_that_cannot_be_had_are_named() {
    let refused = |text: &str| Fleet::of(&scenario(text), &[Some(Arc::from([]))]).unwrap_err().to_string();
    assert!(refused("placements: []\n").contains("there are none"));
    assert!(refused("sensors: [{id: a/b}]\n").contains("sensor \"a/b\": device_id contains '/'"));
    let twice = "sensors: [{id: a, count: 2}, {id: a-2}]\n";
    assert_eq!(refused(twice), "sensors: there are two devices called \"a-2\", expected ids that differ");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m.csv");
    std::fs::write(&file, "x,truth\n5,perhaps\n").unwrap();
    let columns = Columns::named(["x"]).label("truth");
    let fault = read_recording(&file, &columns, 1.0, Duration::from_secs(3)).unwrap_err().to_string();
    assert!(fault.contains("line 2, column truth: found \"perhaps\""), "{fault}");
    std::fs::write(&file, "date,x,truth\n2026-12-01,5,perhaps\n2026-12-02,6,FAILING\n2026-12-03,7,0\n")
        .unwrap();
    let labels = Labels { anomalies: vec!["perhaps".to_owned()], model: None };
    let days = Duration::from_secs(200_000);
    let rows = read_recording(&file, &columns.clone().labels(labels), 1.0, days).unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.truth).collect::<Vec<_>>(), [Some(true), Some(false), Some(false)]);
    assert_eq!(rows[2].at, Some(Duration::from_secs(172_800)));
    let labels = Labels { anomalies: Vec::new(), model: Some(["perhaps".to_owned(), "surely".to_owned()]) };
    let rows = read_recording(&file, &columns.labels(labels), 1.0, days).unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.truth).collect::<Vec<_>>(), [Some(false), Some(true), Some(false)]);
    std::fs::write(&file, "x\n5\n").unwrap();
    let rows = read_recording(&file, &Columns::named(["x"]), 1.0, Duration::from_secs(3)).unwrap().rows;
    let untimed = Fleet::of(&scenario("sensors: [{id: m, file: m.csv}]\n"), &[Some(Arc::from(rows))]);
    assert!(
        untimed.unwrap_err().to_string().contains("no times, expected them in a column time_s (seconds)")
    );
}
