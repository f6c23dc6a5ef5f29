use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::inference::{Decision, PerSite, Reason};

const MS: Duration = Duration::from_millis(1);
const THRESHOLDS: PerSite<f32> = PerSite { edge: 0.5, cloud: 0.6 };
const LOST: LegEnd = LegEnd::Lost { is_told: false };
const REFUSED: LegEnd = LegEnd::Refused { blames_site: true };

fn chooser(policy: Policy) -> Chooser {
    Chooser::new(Config::new(policy), None)
}

fn answered(site: Site, value: f32) -> LegEnd {
    LegEnd::Answered(Score { value, threshold: THRESHOLDS[site] })
}

fn asked(deadline: Option<Instant>) -> Asked {
    Asked { deadline, urgency: None, may_copy: true }
}

fn answer(site: Site, reason: Reason) -> Step {
    Step::Answer(Decision { site, reason })
}

/// A request of which the cloud makes `took`, whatever the policy has it do, and whose edge answers at once.
fn cloud_answers_in(chooser: &mut Chooser, now: Instant, took: Duration) -> Step {
    let (mut course, sites) = chooser.begin(asked(None), now);
    match sites {
        Sites::One(Site::Cloud) => {
            chooser.ended(&mut course, Site::Cloud, answered(Site::Cloud, 0.9), now + took)
        }
        Sites::One(Site::Edge) => panic!("the cloud was not asked"),
        Sites::Both => {
            let step = chooser.ended(&mut course, Site::Edge, answered(Site::Edge, 0.9), now);
            chooser.ended(&mut course, Site::Cloud, answered(Site::Cloud, 0.9), now + took);
            step
        }
    }
}

/// Twenty answers of 50 ms each.
fn know_the_cloud(chooser: &mut Chooser, now: Instant) {
    for _ in 0..20 {
        assert_eq!(cloud_answers_in(chooser, now, 50 * MS), answer(Site::Edge, Reason::Probe));
    }
}

#[test]
fn the_p95_is_that_of_a_bounded_sliding_window() {
    let (mut recent, start) = (Recent::new(Duration::from_secs(10), 20), Instant::now());
    assert_eq!(recent.p95(start), None);
    (1..=20).for_each(|took| recent.add(start, Some(took * MS)));
    assert_eq!(recent.p95(start), Some(19 * MS));
    recent.add(start, None);
    assert_eq!((recent.len(start), recent.p95(start)), (20, Some(20 * MS)), "one in twenty may be missing");
    recent.add(start, None);
    assert_eq!(recent.p95(start), Some(Duration::MAX));
    assert_eq!(recent.p95(start + Duration::from_secs(11)), None);
}

#[test]
fn without_knowledge_of_the_cloud_every_request_is_a_probe_that_the_edge_answers() {
    let mut chooser = chooser(Policy::Deadline(Probing::default()));
    let now = Instant::now();
    know_the_cloud(&mut chooser, now);
    let (_, sites) = chooser.begin(asked(Some(now + 50 * MS)), now + 50 * MS - 50 * MS);
    assert_eq!(sites, Sites::One(Site::Cloud));
}

#[test]
fn the_edge_answers_what_the_cloud_would_be_late_with() {
    let mut chooser = chooser(Policy::Deadline(Probing::default()));
    let now = Instant::now();
    know_the_cloud(&mut chooser, now);
    let later = now + 50 * MS;
    let (mut course, sites) = chooser.begin(asked(Some(later + 51 * MS)), later);
    assert_eq!(sites, Sites::One(Site::Cloud));
    let step = chooser.ended(&mut course, Site::Cloud, answered(Site::Cloud, 0.1), later);
    assert_eq!(step, answer(Site::Cloud, Reason::InTime));
    let (mut course, sites) = chooser.begin(asked(Some(later + 49 * MS)), later);
    assert_eq!(sites, Sites::One(Site::Edge));
    let step = chooser.ended(&mut course, Site::Edge, answered(Site::Edge, 0.1), later);
    assert_eq!(step, answer(Site::Edge, Reason::Deadline));
}

#[test]
fn while_the_edge_answers_one_request_in_so_many_is_a_probe_and_one_after_so_long() {
    let probing = Probing { share: 0.1, every: Duration::from_secs(1), ..Probing::default() };
    let mut chooser = chooser(Policy::Deadline(probing));
    let now = Instant::now();
    know_the_cloud(&mut chooser, now);
    let mut probes = |at: Instant, requests: usize| {
        let begun = (0..requests).map(|_| chooser.begin(asked(Some(at + MS)), at).1);
        begun.filter(|sites| *sites == Sites::Both).count()
    };
    assert_eq!(probes(now, 100), 10);
    assert_eq!(probes(now + 999 * MS, 1), 0);
    assert_eq!(probes(now + 1_000 * MS, 1), 1);
}

#[test]
fn a_score_near_the_threshold_is_escalated_and_any_other_is_not() {
    let mut chooser = chooser(Policy::CONFIDENCE);
    let now = Instant::now();
    let mut begin = |score| {
        let (mut course, sites) = chooser.begin(asked(None), now);
        assert_eq!(sites, Sites::One(Site::Edge));
        let step = chooser.ended(&mut course, Site::Edge, answered(Site::Edge, score), now);
        (course, step)
    };
    assert_eq!(begin(0.39).1, answer(Site::Edge, Reason::Confident));
    assert_eq!(begin(0.61).1, answer(Site::Edge, Reason::Confident));
    let (mut escalated, step) = begin(0.45);
    assert_eq!(step, Step::Ask(Site::Cloud));
    let [(mut refused, _), (mut lost, _), (mut silent, _)] = [begin(0.5), begin(0.5), begin(0.5)];
    let mut end = |course: &mut Course, end| chooser.ended(course, Site::Cloud, end, now);
    assert_eq!(end(&mut escalated, answered(Site::Cloud, 0.9)), answer(Site::Cloud, Reason::Escalated));
    assert_eq!(end(&mut refused, REFUSED), answer(Site::Edge, Reason::CloudRefused));
    assert_eq!(end(&mut lost, LOST), answer(Site::Edge, Reason::CloudSilent));
    let due = chooser.next_due(&silent).unwrap();
    assert_eq!(due, now + Duration::from_secs(1));
    assert_eq!(chooser.timed_out(&mut silent, due), answer(Site::Edge, Reason::CloudSilent));
    let late = chooser.ended(&mut silent, Site::Cloud, answered(Site::Cloud, 0.9), due);
    assert_eq!((late, chooser.counts().dropped), (Step::Wait, PerSite { edge: 0, cloud: 1 }));
}

#[test]
fn an_escalation_ends_at_the_request_s_deadline_with_the_edge_s_answer() {
    let mut chooser = chooser(Policy::CONFIDENCE);
    let now = Instant::now();
    let (mut course, _) = chooser.begin(asked(Some(now + 80 * MS)), now);
    assert_eq!(
        chooser.ended(&mut course, Site::Edge, answered(Site::Edge, 0.5), now + MS),
        Step::Ask(Site::Cloud)
    );
    assert_eq!(chooser.next_due(&course), Some(now + 80 * MS));
    assert_eq!(chooser.timed_out(&mut course, now + 80 * MS), answer(Site::Edge, Reason::CloudSilent));
}

#[test]
fn urgency_decides_by_a_word_and_the_default_site_has_the_rest() {
    let mut chooser = chooser(Policy::URGENCY);
    let now = Instant::now();
    let mut site = |urgency| chooser.begin(Asked { urgency, ..asked(None) }, now).1;
    for urgency in [Urgency::High, Urgency::Critical] {
        assert_eq!(site(Some(urgency)), Sites::One(Site::Edge));
    }
    for urgency in [Some(Urgency::Normal), Some(Urgency::Low), None] {
        assert_eq!(site(urgency), Sites::One(Site::Cloud));
    }
}

#[test]
fn the_first_answer_of_a_hedge_wins_and_the_other_is_counted() {
    let now = Instant::now();
    for winner in Site::ALL {
        let mut chooser = chooser(Policy::HEDGED);
        let (mut course, sites) = chooser.begin(asked(None), now);
        assert_eq!(sites, Sites::Both);
        let step = chooser.ended(&mut course, winner, answered(winner, 0.1), now);
        assert_eq!(step, answer(winner, Reason::Hedge));
        assert_eq!(course.is_over(), winner == Site::Cloud, "the cloud's answer is measured");
        assert_eq!(
            chooser.ended(&mut course, winner.other(), answered(winner.other(), 0.1), now),
            Step::Wait
        );
        let counts = chooser.counts();
        assert_eq!(counts.hedges_won + counts.hedges_lost, 1);
        assert_eq!(
            (counts.hedges_won == 1, counts.dropped.edge + counts.dropped.cloud),
            (winner == Site::Cloud, 1)
        );
    }
}

#[test]
fn a_hedge_waits_before_it_asks_the_other_and_does_not_when_the_first_has_failed() {
    let now = Instant::now();
    let mut chooser = chooser(Policy::Hedged { first: Site::Edge, after: 20 * MS });
    let (mut course, sites) = chooser.begin(asked(None), now);
    assert_eq!((sites, chooser.next_due(&course)), (Sites::One(Site::Edge), Some(now + 20 * MS)));
    assert_eq!(chooser.timed_out(&mut course, now + 20 * MS), Step::Ask(Site::Cloud));
    let (mut course, _) = chooser.begin(asked(None), now);
    let step = chooser.ended(&mut course, Site::Edge, answered(Site::Edge, 0.1), now);
    assert_eq!((step, chooser.next_due(&course)), (answer(Site::Edge, Reason::InTime), None));
    let (mut course, _) = chooser.begin(asked(None), now);
    assert_eq!(chooser.ended(&mut course, Site::Edge, REFUSED, now), Step::Ask(Site::Cloud));
    let step = chooser.ended(&mut course, Site::Cloud, answered(Site::Cloud, 0.1), now);
    assert_eq!(step, answer(Site::Cloud, Reason::Hedge));
}

#[test]
fn a_hedge_without_any_answer_ends_in_the_word_of_one_site_or_in_silence() {
    let now = Instant::now();
    let mut chooser = chooser(Policy::HEDGED);
    let (mut course, _) = chooser.begin(asked(None), now);
    assert_eq!(chooser.ended(&mut course, Site::Edge, LOST, now), Step::Wait);
    assert_eq!(chooser.ended(&mut course, Site::Cloud, REFUSED, now), answer(Site::Cloud, Reason::Hedge));
    let (mut course, _) = chooser.begin(asked(None), now);
    assert_eq!(chooser.ended(&mut course, Site::Edge, LOST, now), Step::Wait);
    let due = chooser.next_due(&course).unwrap();
    assert_eq!(chooser.timed_out(&mut course, due), Step::Lose);
}

#[test]
fn a_shadow_is_compared_at_each_model_s_own_threshold() {
    let now = Instant::now();
    let mut chooser = chooser(Policy::Shadow);
    for (edge, cloud) in [(0.55, 0.65), (0.45, 0.55), (0.55, 0.55)] {
        let (mut course, sites) = chooser.begin(asked(None), now);
        assert_eq!(sites, Sites::Both);
        assert_eq!(chooser.ended(&mut course, Site::Cloud, answered(Site::Cloud, cloud), now), Step::Wait);
        let step = chooser.ended(&mut course, Site::Edge, answered(Site::Edge, edge), now);
        assert_eq!(step, answer(Site::Edge, Reason::Shadow));
    }
    let (mut course, _) = chooser.begin(asked(None), now);
    chooser.ended(&mut course, Site::Edge, answered(Site::Edge, 0.1), now);
    let due = chooser.next_due(&course).unwrap();
    assert_eq!(chooser.timed_out(&mut course, due), Step::Wait);
    let counts = chooser.counts();
    assert_eq!((counts.shadow_agreed, counts.shadow_disagreed, counts.shadow_unanswered), (2, 1, 1));
}

#[test]
fn the_breaker_opens_after_failures_in_a_row_and_closes_after_a_probe() {
    let mut breaker = Breaker::new(BreakerConfig { failures_max: 2, ..BreakerConfig::default() });
    let now = Instant::now();
    let Pass::Free(permit) = breaker.pass(now) else { panic!("it is closed") };
    breaker.failed(permit, now);
    breaker.succeeded(permit);
    breaker.failed(permit, now);
    assert_eq!(breaker.state(), BreakerState::Closed, "not in a row");
    breaker.failed(permit, now);
    let change = BreakerChange { to: BreakerState::Open, wait: Duration::from_secs(5) };
    assert_eq!(breaker.take_change(), Some(change));
    breaker.succeeded(permit);
    assert_eq!((breaker.state(), breaker.pass(now + 4_999 * MS)), (BreakerState::Open, Pass::No));
    let Pass::Probe(probe) = breaker.pass(now + 5_000 * MS) else { panic!("it is time for a probe") };
    assert_eq!(breaker.pass(now + 5_000 * MS), Pass::No, "a single one");
    breaker.succeeded(probe);
    assert_eq!((breaker.state(), breaker.openings()), (BreakerState::Closed, 1));
}

#[test]
fn a_probe_that_fails_doubles_the_wait_up_to_a_bound_and_one_without_an_end_is_followed_by_another() {
    let config = BreakerConfig { failures_max: 1, wait: 10 * MS, wait_max: 40 * MS };
    let (mut breaker, mut now) = (Breaker::new(config), Instant::now());
    let Pass::Free(permit) = breaker.pass(now) else { panic!("it is closed") };
    breaker.failed(permit, now);
    for wait in [10 * MS, 20 * MS, 40 * MS, 40 * MS] {
        assert_eq!(breaker.take_change(), Some(BreakerChange { to: BreakerState::Open, wait }));
        now += wait;
        let Pass::Probe(probe) = breaker.pass(now) else { panic!("it is time for a probe") };
        breaker.failed(probe, now);
    }
    now += 40 * MS;
    let Pass::Probe(never_ends) = breaker.pass(now) else { panic!("it is time for a probe") };
    assert_eq!(breaker.pass(now + 39 * MS), Pass::No);
    now += 40 * MS;
    let Pass::Probe(probe) = breaker.pass(now) else { panic!("it is time for another") };
    breaker.failed(never_ends, now);
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "nobody waits for it any more");
    breaker.succeeded(probe);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn an_open_breaker_sends_everything_to_the_edge_and_tries_the_cloud_with_copies() {
    for policy in [Policy::URGENCY, Policy::HEDGED, Policy::Shadow, Policy::CONFIDENCE] {
        let (mut chooser, now) = (chooser(policy), Instant::now());
        for _ in 0..5 {
            let (mut course, _) = chooser.begin(asked(None), now);
            chooser.ended(&mut course, Site::Edge, answered(Site::Edge, 0.5), now);
            chooser.ended(&mut course, Site::Cloud, REFUSED, now);
        }
        assert_eq!(chooser.breaker(), (BreakerState::Open, 1), "{policy:?}");
        let (mut course, sites) = chooser.begin(asked(None), now);
        assert_eq!(sites, Sites::One(Site::Edge), "{policy:?}");
        let step = chooser.ended(&mut course, Site::Edge, answered(Site::Edge, 0.5), now);
        assert_eq!(step, answer(Site::Edge, Reason::BreakerOpen), "{policy:?}");
        let later = now + Duration::from_secs(5);
        let (mut course, _) = chooser.begin(asked(None), later);
        chooser.ended(&mut course, Site::Edge, answered(Site::Edge, 0.5), later);
        chooser.ended(&mut course, Site::Cloud, answered(Site::Cloud, 0.5), later);
        assert_eq!(chooser.breaker(), (BreakerState::Closed, 1), "{policy:?}");
    }
}

#[test]
fn a_sender_s_own_short_deadline_is_not_the_cloud_s_fault() {
    let (mut chooser, now) = (chooser(Policy::URGENCY), Instant::now());
    for _ in 0..10 {
        let (mut course, _) = chooser.begin(asked(Some(now + MS)), now);
        let step = chooser.ended(&mut course, Site::Cloud, LegEnd::Expired, now + MS);
        assert_eq!(step, answer(Site::Cloud, Reason::DefaultSite));
    }
    assert_eq!(chooser.breaker().0, BreakerState::Closed);
    for _ in 0..5 {
        let (mut course, _) = chooser.begin(asked(Some(now + 1_000 * MS)), now);
        chooser.ended(&mut course, Site::Cloud, LegEnd::Expired, now + 1_000 * MS);
    }
    assert_eq!(chooser.breaker().0, BreakerState::Open);
}

#[test]
fn a_cloud_that_is_silent_until_the_deadline_opens_the_breaker() {
    let now = Instant::now();
    for policy in [Policy::CONFIDENCE, Policy::URGENCY] {
        let mut chooser = Chooser::new(Config::new(policy), Some(100 * MS));
        for _ in 0..5 {
            // It was admitted a moment after it arrived, and the edge took a moment, too.
            let (mut course, _) = chooser.begin(asked(Some(now + 100 * MS)), now + MS);
            if policy == Policy::CONFIDENCE {
                chooser.ended(&mut course, Site::Edge, answered(Site::Edge, 0.5), now + 2 * MS);
                chooser.timed_out(&mut course, now + 100 * MS);
            } else {
                chooser.ended(&mut course, Site::Cloud, LegEnd::Expired, now + 100 * MS);
            }
            assert!(course.is_over());
        }
        assert_eq!(chooser.breaker(), (BreakerState::Open, 1), "{policy:?}");
    }
}

fn policies() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(Policy::Deadline(Probing { answers_min: 3, ..Probing::default() })),
        Just(Policy::CONFIDENCE),
        Just(Policy::URGENCY),
        Just(Policy::HEDGED),
        Just(Policy::Hedged { first: Site::Edge, after: 5 * MS }),
        Just(Policy::Hedged { first: Site::Cloud, after: 5 * MS }),
        Just(Policy::Shadow),
    ]
}

fn ends() -> impl Strategy<Value = LegEnd> {
    prop_oneof![
        4 => (0.0f32..1.0).prop_map(|value| answered(Site::Edge, value)),
        1 => Just(REFUSED),
        1 => Just(LegEnd::Expired),
        1 => any::<bool>().prop_map(|is_told| LegEnd::Lost { is_told }),
    ]
}

/// A request as a test plays it: when each leg ends and how, from being asked; the cloud's may never.
#[derive(Debug, Clone)]
struct Play {
    edge: (u32, LegEnd),
    cloud: Option<(u32, LegEnd)>,
    deadline_ms: Option<u32>,
    urgency: usize,
    may_copy: bool,
    /// Of each leg to the cloud, made by the network.
    copies: u32,
}

fn plays() -> impl Strategy<Value = Play> {
    let cloud = prop::option::weighted(0.8, (0u32..1_500, ends()));
    (0u32..200, ends(), cloud, prop::option::of(0u32..200), 0usize..5, any::<bool>(), 0u32..2).prop_map(
        |(edge_ms, edge, cloud, deadline_ms, urgency, may_copy, copies)| Play {
            edge: (edge_ms, edge),
            cloud,
            deadline_ms,
            urgency,
            may_copy,
            copies,
        },
    )
}

/// Plays a request from `now` on, and returns how often it was answered or lost, and
/// how often each site was asked.
fn play(chooser: &mut Chooser, play: &Play, mut now: Instant) -> (u32, PerSite<u32>) {
    let deadline = play.deadline_ms.map(|ms| now + ms * MS);
    let urgency = Urgency::ALL.get(play.urgency).copied();
    let (mut course, sites) = chooser.begin(Asked { deadline, urgency, may_copy: play.may_copy }, now);
    let (mut ended, mut asked, mut events) = (0, PerSite::default(), Vec::new());
    let mut ask = |site: Site, now: Instant, events: &mut Vec<(Instant, Site, LegEnd)>| {
        asked[site] += 1;
        let end = if site == Site::Edge { Some(play.edge) } else { play.cloud };
        events.extend(end.map(|(ms, end)| (now + ms * MS, site, end)));
    };
    match sites {
        Sites::One(site) => ask(site, now, &mut events),
        Sites::Both => Site::ALL.into_iter().for_each(|site| ask(site, now, &mut events)),
    }
    loop {
        events.sort_by_key(|(at, ..)| *at);
        let due = chooser.next_due(&course);
        let step = match (events.first().copied(), due) {
            (Some((at, site, end)), due) if due.is_none_or(|due| at <= due) => {
                events.remove(0);
                now = now.max(at);
                chooser.ended(&mut course, site, end, now)
            }
            (_, Some(due)) => {
                now = now.max(due);
                chooser.timed_out(&mut course, now)
            }
            (None, None) => break,
            (Some(_), None) => unreachable!("an event without a time-out is the first arm's"),
        };
        match step {
            Step::Wait => {}
            Step::Ask(site) => ask(site, now, &mut events),
            Step::Answer(_) | Step::Lose => ended += 1,
        }
    }
    assert!(course.is_over());
    (ended, asked)
}

/// A request of a [`Table`] with the way it goes, and its legs as they set out.
struct Played {
    number: u64,
    begun: Instant,
    play: Play,
}

impl Request for Played {
    type Leg = (u64, Site);
    type Said = ();
    type Answer = u64;

    fn number(&self) -> u64 {
        self.number
    }

    fn deadline(&self) -> Option<Instant> {
        self.play.deadline_ms.map(|ms| self.begun + ms * MS)
    }

    fn urgency(&self) -> Option<Urgency> {
        Urgency::ALL.get(self.play.urgency).copied()
    }

    fn leg(&self, site: Site, _: Option<Instant>, _: Instant) -> Self::Leg {
        (self.number, site)
    }

    fn answer(self, (): (), _: Decision) -> u64 {
        self.number
    }
}

/// Plays requests side by side, the next one so many milliseconds after the one
/// before, and returns how often each ended.
fn play_together(table: &mut Table<Played>, plays: &[(u32, Play)]) -> Vec<u32> {
    let mut now = Instant::now();
    let mut next_at = now;
    let mut coming = plays.iter().enumerate().peekable();
    // What the network still carries. The first word of a site counts, and a copy may come in its place.
    let mut legs: Vec<(Instant, u64, Site)> = Vec::new();
    let mut ended = vec![0; plays.len()];
    loop {
        if let Some((_, (gap, _))) = coming.peek() {
            next_at = next_at.max(now) + *gap * MS;
        }
        legs.sort_by_key(|(at, ..)| *at);
        let arrives = coming.peek().map(|_| next_at);
        let due = table.next_due();
        let Some(at) = [arrives, due, legs.first().map(|(at, ..)| *at)].into_iter().flatten().min() else {
            return ended;
        };
        now = now.max(at);
        let (mut ends, mut setting_out) = (Ends::default(), PerSite::of(|_| Vec::new()));
        if arrives == Some(at)
            && let Some((number, (_, play))) = coming.next()
        {
            let request = Played { number: number as u64, begun: now, play: play.clone() };
            table.begin(request, now, &mut setting_out);
        } else if due == Some(at) {
            table.look(now, &mut ends);
        } else {
            let (_, number, site) = legs.remove(0);
            let play = &plays[number as usize].1;
            match if site == Site::Edge { Some(play.edge.1) } else { play.cloud.map(|(_, end)| end) } {
                Some(LegEnd::Lost { is_told: false }) | None => {
                    table.leg_lost(site, number, false, now, &mut ends);
                }
                Some(end) => table.leg_ended(site, number, (end, ()), now, &mut ends),
            }
        }
        let follow = table.take_outgoing();
        for (number, site) in [setting_out, follow].into_iter().flat_map(PerSite::into_array).flatten() {
            let play = &plays[number as usize].1;
            let (ms, copies) = match site {
                Site::Edge => (play.edge.0, 0),
                Site::Cloud => (play.cloud.map_or(0, |(ms, _)| ms), play.copies),
            };
            legs.push((now + ms * MS, number, site));
            for copy in 1..=copies {
                table.leg_copied(site);
                legs.push((now + (ms + 7 * copy) * MS, number, site));
            }
        }
        ends.answers
            .into_iter()
            .chain(ends.lost.into_iter().map(|request| request.number))
            .for_each(|number| ended[number as usize] += 1);
    }
}

proptest! {
    #[test]
    fn requests_side_by_side_end_once_each_and_nothing_of_them_is_kept(
        policy in policies(),
        in_flight_max in 0usize..20,
        plays in prop::collection::vec((0u32..40, plays()), 1..40),
    ) {
        let mut table = Table::new(Chooser::new(Config::new(policy), Some(100 * MS)), in_flight_max);
        let ended = play_together(&mut table, &plays);
        prop_assert!(ended.iter().all(|count| *count == 1), "{ended:?}");
        prop_assert!(table.is_empty() && table.next_due().is_none() && !table.has_outgoing());
        prop_assert!(!Site::ALL.iter().any(|site| table.has_legs(*site)));
    }

    #[test]
    fn every_request_ends_once_and_asks_each_site_at_most_once(
        policy in policies(),
        plays in prop::collection::vec(plays(), 1..60),
    ) {
        let mut chooser = Chooser::new(Config::new(policy), Some(100 * MS));
        let mut now = Instant::now();
        let mut sent = PerSite::default();
        for one in &plays {
            let (ended, asked) = play(&mut chooser, one, now);
            prop_assert_eq!(ended, 1);
            prop_assert!(asked.edge <= 1 && asked.cloud <= 1 && asked != PerSite::default());
            sent.edge += u64::from(asked.edge);
            sent.cloud += u64::from(asked.cloud);
            now += 300 * MS;
        }
        prop_assert_eq!(chooser.counts().asked, sent);
    }

    #[test]
    fn the_p95_is_what_a_sorted_list_says(times in prop::collection::vec(0u32..1_000, 1..300)) {
        let (mut recent, now) = (Recent::new(Duration::from_secs(1), 100), Instant::now());
        times.iter().for_each(|ms| recent.add(now, Some(*ms * MS)));
        let mut last = times[times.len().saturating_sub(100)..].to_vec();
        last.sort_unstable();
        prop_assert_eq!(recent.p95(now), Some(last[(last.len() * 95).div_ceil(100) - 1] * MS));
    }

    #[test]
    fn an_open_breaker_lets_one_probe_through_per_wait(
        gaps in prop::collection::vec(0u32..30, 1..200),
        fails in prop::collection::vec(any::<bool>(), 200),
    ) {
        let config = BreakerConfig { failures_max: 3, wait: 10 * MS, wait_max: 40 * MS };
        let (mut breaker, mut now) = (Breaker::new(config), Instant::now());
        let mut opened_at = now;
        for (gap, fails) in gaps.iter().zip(fails) {
            now += *gap * MS;
            let before = breaker.state();
            let permit = match breaker.pass(now) {
                Pass::No => {
                    prop_assert_ne!(before, BreakerState::Closed);
                    prop_assert!(now < opened_at + config.wait_max);
                    continue;
                }
                Pass::Free(permit) => permit,
                Pass::Probe(permit) => {
                    prop_assert!(now >= opened_at + config.wait);
                    permit
                }
            };
            if fails { breaker.failed(permit, now) } else { breaker.succeeded(permit) }
            if breaker.state() == BreakerState::Open {
                opened_at = now;
            }
        }
    }
}
