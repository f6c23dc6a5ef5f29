//! Tests of whole decisions.

use super::super::bandwidth::Bandwidth;
use super::super::delay::Delay;
use super::super::loss::Loss;
use super::super::outage::{Outages, Window};
use super::super::profile::Reorder;
use super::*;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn link(uplink: LinkProfile) -> Link {
    seeded(1, "gateway", uplink)
}

fn seeded(seed: u64, name: &str, profile: LinkProfile) -> Link {
    let shape = Shape { seed, link: name.to_owned(), uplink: profile.clone(), downlink: profile };
    Link::new(Arc::new(shape))
}

fn jittery() -> LinkProfile {
    LinkProfile {
        delay: Delay::lognormal(20.0, 20.0).unwrap(),
        loss: Loss::gilbert_elliott(0.02, 0.3, 0.0, 0.8).unwrap(),
        reorder: Some(Reorder::new(0.05, 30.0).unwrap()),
        outages: Some(Outages::random(Policy::Wait, 1.0, 0.1).unwrap()),
        ..LinkProfile::default()
    }
    .duplicating(0.03)
    .unwrap()
}

/// Messages of their own senders, so that order does not matter, a millisecond apart.
fn alone(number: u64) -> Letter {
    Letter { number, party: number, bytes: 100, at: ms(number) }
}

fn verdicts(link: &Link, direction: Direction) -> Vec<Verdict> {
    (0..3_000).map(|number| link.decide(direction, alone(number))).collect()
}

#[test]
fn the_same_seed_decides_the_same_and_another_seed_link_or_direction_does_not() {
    let first = verdicts(&link(jittery()), Direction::Uplink);
    assert_eq!(first, verdicts(&link(jittery()), Direction::Uplink));
    assert_ne!(first, verdicts(&link(jittery()), Direction::Downlink));
    assert_ne!(first, verdicts(&seeded(2, "gateway", jittery()), Direction::Uplink));
    assert_ne!(first, verdicts(&seeded(1, "other", jittery()), Direction::Uplink));
}

#[test]
fn a_decision_does_not_depend_on_which_others_were_asked_for_or_when() {
    let in_order = verdicts(&link(jittery()), Direction::Uplink);
    let other = link(jittery());
    for number in (0..3_000).rev().step_by(7) {
        assert_eq!(other.decide(Direction::Uplink, alone(number)), in_order[number as usize]);
    }
}

#[test]
fn messages_of_one_sender_keep_their_order_and_do_not_wait_for_others() {
    let profile = LinkProfile { delay: Delay::lognormal(20.0, 40.0).unwrap(), ..LinkProfile::default() };
    let (link, free) = (link(profile.clone()), link(profile));
    let mut last = [Duration::ZERO; 3];
    for number in 0..3_000 {
        let letter = Letter { party: number % 3, ..alone(number) };
        let arrives = letter.at + link.decide(Direction::Uplink, letter).delay;
        let unhindered = letter.at + free.decide(Direction::Uplink, alone(number)).delay;
        let last = &mut last[letter.party as usize];
        assert_eq!(arrives, unhindered.max(*last), "{number}");
        *last = arrives;
    }
}

#[test]
fn as_many_messages_are_overtaken_as_are_held_back() {
    let profile = LinkProfile {
        delay: Delay::constant(ms(10)),
        reorder: Some(Reorder::new(0.1, 50.0).unwrap()),
        ..LinkProfile::default()
    };
    let link = link(profile);
    let delays: Vec<_> = (0..10_000)
        .map(|number| link.decide(Direction::Uplink, Letter { party: 0, ..alone(number) }).delay)
        .collect();
    let held_back: Vec<_> = delays.iter().filter(|delay| **delay > ms(10)).collect();
    assert!((900..1_100).contains(&held_back.len()), "{}", held_back.len());
    assert!(held_back.iter().all(|delay| **delay <= ms(60)));
    let mean = held_back.iter().map(|delay| delay.as_secs_f64()).sum::<f64>() / held_back.len() as f64;
    assert!((mean - 0.035).abs() < 0.0025, "{mean}");
}

#[test]
fn duplicates_come_at_their_rate_and_never_before_the_first_copy() {
    let profile = LinkProfile { delay: Delay::uniform(1.0, 9.0).unwrap(), ..LinkProfile::default() };
    let link = link(profile.duplicating(0.2).unwrap());
    let verdicts: Vec<_> = (0..10_000).map(|number| link.decide(Direction::Uplink, alone(number))).collect();
    let seconds: Vec<_> = verdicts.iter().filter_map(|verdict| verdict.duplicate).collect();
    assert!((1_800..2_200).contains(&seconds.len()), "{}", seconds.len());
    // The later of two delays that are uniform between 1 and 9 ms.
    let mean_s = seconds.iter().map(Duration::as_secs_f64).sum::<f64>() / seconds.len() as f64;
    assert!((mean_s - 0.006_333).abs() < 0.000_25, "{mean_s}");
    assert!(verdicts.iter().all(|verdict| verdict.duplicate.is_none_or(|second| second >= verdict.delay)));
}

#[test]
fn an_outage_delays_or_loses_what_is_sent_meanwhile() {
    let during = |policy| {
        let outages = Outages::scheduled(policy, vec![Window::new(1.0, 2.0, None).unwrap()]).unwrap();
        let delay = Delay::constant(ms(10));
        link(LinkProfile { delay, outages: Some(outages), ..LinkProfile::default() })
            .decide(Direction::Downlink, alone(1_500))
    };
    assert_eq!(during(Policy::Wait), Verdict { delay: ms(1_510), lost: None, duplicate: None });
    assert_eq!(during(Policy::Fail), Verdict { delay: ms(10), lost: Some(Lost::Silence), duplicate: None });
}

#[test]
fn a_full_queue_loses_a_message_which_is_reported_when_it_would_have_arrived() {
    let profile = LinkProfile {
        delay: Delay::constant(ms(5)),
        bandwidth: Some(Bandwidth::new(8_000, 200, 0).unwrap()),
        lost: Lost::Report,
        ..LinkProfile::default()
    };
    let link = link(profile);
    let send = |number| link.decide(Direction::Uplink, Letter { at: ms(0), ..alone(number) });
    assert_eq!([0, 1].map(|number| send(number).delay), [ms(105), ms(205)]);
    assert_eq!(send(2), Verdict { delay: ms(305), lost: Some(Lost::Report), duplicate: None });
    assert!(link.weighs(Direction::Uplink));
}

#[test]
fn parties_whose_messages_have_arrived_are_forgotten() {
    let link = link(LinkProfile { delay: Delay::uniform(1.0, 9.0).unwrap(), ..LinkProfile::default() });
    for number in 0..100_000 {
        link.decide(Direction::Uplink, alone(number));
    }
    assert!(lock(&link.uplink.state).arrivals.len() <= PARTIES_MIN);
}

#[test]
fn a_link_that_follows_another_keeps_its_parties_behind_what_that_one_still_carries() {
    let profile = LinkProfile { delay: Delay::constant(ms(10)), ..LinkProfile::default() };
    let shape = Arc::new(Shape { uplink: profile.clone(), downlink: profile, ..Shape::default() });
    let link = Link::following(shape, HashMap::from([(7, ms(500))]), HashMap::new());
    let arrives =
        |direction, party, at| at + link.decide(direction, Letter { number: 0, party, bytes: 1, at }).delay;
    assert_eq!([0, 400, 495].map(|at| arrives(Direction::Uplink, 7, ms(at))), [ms(500), ms(500), ms(505)]);
    assert_eq!(arrives(Direction::Uplink, 8, ms(0)), ms(10));
    assert_eq!(arrives(Direction::Downlink, 7, ms(0)), ms(10));
}
