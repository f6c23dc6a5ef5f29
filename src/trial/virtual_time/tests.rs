//! Tests of whole experiments: theory, repetition, growth.

use std::fmt::Write;

use super::*;
use crate::inference::Site;
use crate::lab::experiment::{Due, Pace};
use crate::network::{Bandwidth, Delay, LinkProfile, Loss, Lost, Shape};

fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

fn every(devices: u32, rate_hz: f64) -> Group {
    Group { devices, pace: Pace::Every { rate_hz } }
}

/// One worker that takes one request after the other, 1 ms each, and `devices` that
/// together send `load` of what it can do.
fn experiment(devices: u32, load: f64, duration_s: u64) -> Experiment {
    Experiment {
        groups: vec![every(devices, load * 1_000.0 / f64::from(devices))],
        arrivals: Arrivals::Poisson,
        duration: Duration::from_secs(duration_s),
        seed: 1,
        network: Profile::NONE,
        worker: WorkerModel {
            cost: CostModel { per_batch: us(1_000), per_row: us(0) },
            workers: 1,
            batch_max: 1,
            queue_requests_max: 1_000_000,
            queue_policy: QueuePolicy::Refuse,
        },
        path: Path::default(),
        hybrid: None,
        request_bytes: 400,
        answer_bytes: 200,
    }
}

/// A model that says the same to everything.
fn sure(_: Site, _: &Due) -> Option<f32> {
    Some(0.1)
}

fn records(experiment: &Experiment) -> (Vec<Record>, Totals) {
    let mut records = Vec::new();
    let totals = simulate(experiment, &sure, &mut |record| records.push(*record));
    assert!(totals.is_conserved(), "{totals:?}");
    (records, totals)
}

fn mean_s(records: &[Record], of: impl Fn(&Record) -> Duration) -> f64 {
    records.iter().map(|record| of(record).as_secs_f64()).sum::<f64>() / records.len() as f64
}

#[test]
fn waiting_is_what_queueing_theory_says() {
    // M/D/1: the mean wait is D * rho / (2 (1 - rho)), by Pollaczek and Khinchine (L.
    // Kleinrock, Queueing Systems 1, 1975).
    for (load, tolerance) in [(0.3, 0.03), (0.6, 0.04), (0.8, 0.08)] {
        let (records, totals) = records(&experiment(100, load, 120));
        let expected_s = 1e-3 * load / (2.0 * (1.0 - load));
        let found_s = mean_s(&records, |record| record.queue);
        assert!((found_s / expected_s - 1.0).abs() < tolerance, "{load}: {found_s} {expected_s}");
        let sent = load * 1_000.0 * 120.0;
        assert!((totals.sent as f64 / sent - 1.0).abs() < 0.02, "{}", totals.sent);
        assert_eq!(totals.batches, totals.answered);
    }
}

#[test]
fn what_else_takes_time_is_added_and_changes_nothing_else() {
    let near = experiment(20, 0.5, 5);
    let longer = Experiment { path: Path::new(vec![us(100), us(300)]), ..near.clone() };
    let (near, longer) = (records(&near).0, records(&longer).0);
    assert!(near.iter().zip(&longer).all(|(one, other)| {
        (us(100)..=us(300)).contains(&other.path) && other.ended_at == one.ended_at + other.path
    }));
    let mean_us = mean_s(&longer, |record| record.path) * 1e6;
    assert!((mean_us - 200.0).abs() < 5.0, "{mean_us}");
}

#[test]
fn two_workers_wait_less_than_one_of_twice_the_load() {
    // M/M/2 and the like have no simple form for a constant service; that sharing helps is certain.
    let one = experiment(100, 0.7, 60);
    let worker = WorkerModel { workers: 2, ..one.worker };
    let two = Experiment { worker, ..experiment(100, 1.4, 60) };
    let (one, two) = (records(&one).0, records(&two).0);
    assert!(mean_s(&two, |record| record.queue) < mean_s(&one, |record| record.queue));
}

#[test]
fn a_worker_takes_what_has_come_while_it_was_busy() {
    let overloaded = experiment(1_000, 20.0, 2);
    let worker = WorkerModel { batch_max: 128, ..overloaded.worker };
    let (_, totals) = records(&Experiment { worker, ..overloaded });
    // Some 20 requests come during each pass.
    let rows = totals.answered as f64 / totals.batches as f64;
    assert!((15.0..30.0).contains(&rows), "{rows}");
}

#[test]
fn a_full_queue_refuses() {
    let overloaded = experiment(10, 2.0, 2);
    let worker = WorkerModel { queue_requests_max: 50, ..overloaded.worker };
    let (records, totals) = records(&Experiment { worker, ..overloaded });
    assert!(totals.overloaded > totals.sent / 3, "{totals:?}");
    // With 50 before it, in the order of turns, a request waits some 50 ms on average.
    let answered: Vec<_> = records.into_iter().filter(|record| record.end == End::Answered).collect();
    let mean_s = mean_s(&answered, |record| record.queue);
    assert!((0.04..0.055).contains(&mean_s), "{mean_s}");
}

#[test]
fn a_device_within_its_share_of_a_full_queue_loses_nothing() {
    // One device asks for twice of what can be done, nine for a tenth together.
    let calm = every(9, 100.0 / 9.0);
    let flooded = Experiment { groups: vec![every(1, 2_000.0), calm], ..experiment(1, 0.1, 2) };
    for policy in QueuePolicy::ALL {
        let worker = WorkerModel { queue_requests_max: 40, queue_policy: policy, ..flooded.worker };
        let (records, totals) = records(&Experiment { worker, ..flooded.clone() });
        let refused = |record: &&Record| record.end == End::Overloaded;
        assert!(records.iter().filter(refused).all(|record| record.device == 0), "{policy:?}");
        assert!(totals.overloaded + totals.superseded > 1_000, "{policy:?} {totals:?}");
        assert_eq!(totals.superseded > 0, policy == QueuePolicy::LatestPerDevice);
    }
}

/// A network with everything in it.
fn rough() -> Profile {
    let link = LinkProfile {
        delay: Delay::lognormal(20.0, 10.0).unwrap(),
        loss: Loss::gilbert_elliott(0.02, 0.2, 0.0, 0.9).unwrap(),
        lost: Lost::Report,
        bandwidth: Some(Bandwidth::new(4_000_000, 200_000, 40).unwrap()),
        ..LinkProfile::default()
    };
    let link = link.duplicating(0.05).unwrap();
    Profile::shaped(Shape { seed: 5, link: "rough".to_owned(), uplink: link.clone(), downlink: link })
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let bytes = |seed| {
        let experiment = Experiment { network: rough(), seed, ..experiment(50, 0.5, 5) };
        let mut text = String::new();
        let totals = simulate(&experiment, &sure, &mut |record| writeln!(text, "{record:?}").unwrap());
        assert!(totals.is_conserved() && totals.copies > 0 && totals.lost > 0, "{totals:?}");
        text
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn every_network_sees_the_same_requests_and_times_add_up() {
    let near = experiment(20, 0.4, 5);
    let far = Experiment { network: Profile::CLOUD, ..near.clone() };
    let lossy = Experiment { network: rough(), ..near.clone() };
    let sent = |experiment: &Experiment| {
        let mut sent: Vec<_> = records(experiment)
            .0
            .iter()
            .map(|record| (record.number, record.device, record.sent_at))
            .collect();
        sent.sort_unstable();
        sent.dedup();
        sent
    };
    assert_eq!(sent(&near), sent(&far));
    assert_eq!(sent(&near), sent(&lossy));
    for record in records(&far).0 {
        assert_eq!((record.uplink, record.downlink), (us(50_000), us(50_000)));
        let parts = record.uplink + record.queue + record.inference + record.downlink;
        assert_eq!(record.ended_at - record.sent_at, parts);
    }
}

#[test]
fn events_and_memory_grow_with_devices_and_memory_not_with_time() {
    let of = |devices: u32, duration_s| {
        let worker = WorkerModel { cost: CostModel::default(), ..experiment(1, 0.1, 1).worker };
        let groups = vec![every(devices, 1.0)];
        let arrivals = Arrivals::Regular;
        simulate(
            &Experiment { groups, arrivals, worker, ..experiment(1, 0.1, duration_s) },
            &sure,
            &mut |_| {},
        )
    };
    let (small, large, long) = (of(1_000, 3), of(10_000, 3), of(1_000, 30));
    assert_eq!((small.sent, large.sent, long.sent), (3_000, 30_000, 30_000));
    assert_eq!(large.events, 10 * small.events);
    assert!(large.pending_max <= 10_100 && long.pending_max <= 1_100, "{large:?} {long:?}");
}

#[test]
fn a_scenario_becomes_an_experiment() {
    let text = "simulation: {duration_s: 3, seed: 9}\nplacements: [{name: a, model: m, network: geo}]\n\
                sensors: [{id: x, count: 4, rate_hz: 2}, {id: y, rate_hz: 5}]\n";
    let document = crate::lab::scenario::Document::parse("s.yaml", text).unwrap();
    let scenario = document.scenario(&|_| Ok(None)).unwrap();
    let worker = experiment(1, 0.1, 1).worker;
    let fleet = Fleet::of(&scenario, &[]).unwrap();
    let experiment = Experiment::of(&scenario, &fleet, &scenario.placements[0], worker);
    let groups = [every(4, 2.0), every(1, 5.0)];
    assert_eq!(experiment.groups, groups);
    let (records, totals) = records(&experiment);
    assert_eq!((totals.sent, totals.answered), (39, 39));
    assert!(records.iter().all(|record| record.uplink > us(239_000)));
}
