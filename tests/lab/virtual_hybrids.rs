//! Hybrids on a simulated clock: who answers, why and after exactly how long, as a node would have it.

use std::fmt::Write;
use std::time::Duration;

use nearfar::inference::{Decision, Reason, Site};
use nearfar::lab::experiment::{Due, Group, Pace};
use nearfar::lab::scenario::{Arrivals, Document, Scenario};
use nearfar::network::{Lost, Profile};
use nearfar::trial::virtual_time::{
    CostModel, End, Experiment, Hybrid, Path, Record, Totals, WorkerModel, simulate,
};

const MS: Duration = Duration::from_millis(1);
const THRESHOLDS: [f32; 2] = [0.5, 0.5];

/// A pass takes 1 ms at the edge and 2 ms at the cloud, which is 50 ms away each way.
const EDGE: Duration = Duration::from_millis(1);
const CLOUD: Duration = Duration::from_millis(102);

/// The scenario with one hybrid whose cloud is described so.
fn scenario(networks: &str, cloud: &str) -> Scenario {
    let text = format!(
        "simulation: {{duration_s: 60, seed: 1}}\nnetworks: {{{networks}}}\n\
         placements: [{{name: both, model: m, cloud: {{{cloud}}}}}]\nsensors: [{{id: press}}]\n"
    );
    Document::parse("test.yaml", &text).unwrap().scenario(&|_| Ok(None)).unwrap()
}

fn worker(pass: Duration) -> WorkerModel {
    let cost = CostModel { per_batch: pass, per_row: Duration::ZERO };
    WorkerModel { batch_max: 1, ..WorkerModel::like_a_node(cost) }
}

/// One device that asks `count` times, once every `every`.
fn asks(count: u32, every: Duration) -> Group {
    Group { devices: 1, pace: Pace::At((0..count).map(|number| number * every).collect()) }
}

/// A hybrid of an edge without a network and a cloud that is described so.
fn hybrid(networks: &str, cloud: &str, deadline: Option<Duration>, groups: Vec<Group>) -> Experiment {
    let scenario = scenario(networks, cloud);
    let placement = &scenario.placements[0];
    let cloud = placement.hybrid.as_ref().unwrap();
    let experiment = Experiment {
        groups,
        arrivals: Arrivals::Regular,
        duration: scenario.duration,
        seed: scenario.seed,
        network: Profile::NONE,
        worker: worker(EDGE),
        path: Path::default(),
        hybrid: None,
        request_bytes: 400,
        answer_bytes: 300,
    };
    experiment.with_cloud(Hybrid::of(cloud, worker(2 * MS), THRESHOLDS, deadline))
}

/// Both models say the same.
fn half(_: Site, _: &Due) -> Option<f32> {
    Some(0.5)
}

/// What became of every request, in the order of their numbers; each has one end.
fn records_of(experiment: &Experiment, score: &dyn Fn(Site, &Due) -> Option<f32>) -> (Vec<Record>, Totals) {
    let mut records = Vec::new();
    let totals = simulate(experiment, score, &mut |record| records.push(*record));
    assert!(totals.is_conserved() && totals.copies == 0, "{totals:?}");
    records.sort_by_key(|record| record.number);
    let numbers: Vec<_> = records.iter().map(|record| record.number).collect();
    assert_eq!(numbers, (0..totals.sent).collect::<Vec<_>>());
    (records, totals)
}

fn records(experiment: &Experiment) -> Vec<Record> {
    records_of(experiment, &half).0
}

/// Site, reason and total of a request, and how many in a row have the same.
type Run = (Site, Reason, Duration, usize);

fn runs(records: &[Record]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for record in records {
        let Some(Decision { site, reason }) = record.made else { panic!("{record:?}") };
        let total = record.ended_at - record.sent_at;
        match runs.last_mut() {
            Some((of, why, took, count)) if (*of, *why, *took) == (site, reason, total) => *count += 1,
            _ => runs.push((site, reason, total, 1)),
        }
    }
    runs
}

use Site::{Cloud as C, Edge as E};

#[test]
fn by_the_deadline_the_cloud_answers_once_it_is_known_and_as_long_as_it_is_in_time() {
    let of = |deadline: Duration| {
        let experiment = hybrid("", "policy: deadline", Some(deadline), vec![asks(25, 200 * MS)]);
        runs(&records(&experiment))
    };
    assert_eq!(of(CLOUD), [(E, Reason::Probe, EDGE, 20), (C, Reason::InTime, CLOUD, 5)]);
    // Without a probe for a second, the next request is one.
    assert_eq!(
        of(CLOUD - MS),
        [(E, Reason::Probe, EDGE, 20), (E, Reason::Deadline, EDGE, 4), (E, Reason::Probe, EDGE, 1)]
    );
}

#[test]
fn an_unsure_score_of_the_edge_is_escalated_and_the_legs_follow_one_another() {
    let experiment = hybrid("", "policy: confidence", None, vec![asks(4, 200 * MS)]);
    let score = |site, due: &Due| Some(if site == E && due.row < 2 { 0.9 } else { 0.5 });
    let (records, _) = records_of(&experiment, &score);
    let expected = [(E, Reason::Confident, EDGE, 2), (C, Reason::Escalated, EDGE + CLOUD, 2)];
    assert_eq!(runs(&records), expected);
    // The parts are those of the leg that made the result.
    let Record { uplink, queue, inference, downlink, .. } = records[3];
    assert_eq!([uplink, queue, inference, downlink], [50 * MS, Duration::ZERO, 2 * MS, 50 * MS]);
}

#[test]
fn requests_say_nothing_of_urgency_and_go_to_the_default_site() {
    let of = |policy: &str| runs(&records(&hybrid("", policy, None, vec![asks(3, 200 * MS)])));
    assert_eq!(of("policy: urgency"), [(C, Reason::DefaultSite, CLOUD, 3)]);
    let edge = "policy: {name: urgency, default_site: edge}";
    assert_eq!(of(edge), [(E, Reason::DefaultSite, EDGE, 3)]);
}

#[test]
fn of_a_hedge_the_first_answer_counts_and_the_second_site_is_asked_after_the_wait() {
    let of = |policy: &str| runs(&records(&hybrid("", policy, None, vec![asks(3, 200 * MS)])));
    assert_eq!(of("policy: hedged"), [(E, Reason::Hedge, EDGE, 3)]);
    let edge_first = "policy: {name: hedged, hedge_after_ms: 20}";
    assert_eq!(of(edge_first), [(E, Reason::InTime, EDGE, 3)]);
    let cloud_first = "policy: {name: hedged, first: cloud, hedge_after_ms: 20}";
    assert_eq!(of(cloud_first), [(E, Reason::Hedge, 20 * MS + EDGE, 3)]);
}

#[test]
fn a_shadow_answers_nothing_and_the_cloud_works_for_it_all_the_same() {
    let experiment = hybrid("", "policy: shadow", None, vec![asks(3, 200 * MS)]);
    let (records, totals) = records_of(&experiment, &half);
    assert_eq!(runs(&records), [(E, Reason::Shadow, EDGE, 3)]);
    assert_eq!(totals.batches, 6);
}

#[test]
fn copies_are_sent_while_few_requests_are_held() {
    let three = vec![Group { devices: 3, pace: Pace::At([Duration::ZERO].into()) }];
    let mut experiment = hybrid("", "policy: shadow", None, three);
    experiment.hybrid.as_mut().unwrap().in_flight_max = 2;
    let (records, totals) = records_of(&experiment, &half);
    assert!(records.iter().all(|record| record.made == Some(Decision { site: E, reason: Reason::Shadow })));
    assert_eq!(totals.batches, 3 + 2);
}

#[test]
fn a_silent_cloud_opens_the_breaker_which_closes_after_the_outage() {
    let gone = "gone: {uplink: {delay: {model: constant, ms: 50}, outages: {policy: fail, schedule: [{at_s: 5, for_s: 5}]}}, \
                downlink: {delay: {model: constant, ms: 50}}}";
    let cloud = "network: gone, policy: urgency, cloud_timeout_ms: 300, breaker: {wait_ms: 1000}";
    let records = records(&hybrid(gone, cloud, None, vec![asks(150, 100 * MS)]));
    let silent = 300 * MS + EDGE;
    let expected = [
        (C, Reason::DefaultSite, CLOUD, 50),
        // The fifth of them fails at 5.7 s.
        (E, Reason::CloudSilent, silent, 7),
        // Three of these come at the moment when one of those does, and wait for it.
        (E, Reason::BreakerOpen, 2 * EDGE, 3),
        (E, Reason::BreakerOpen, EDGE, 7),
        // A probe is answered by the edge. It fails after 0.3 s, and the next one comes 2 s
        // later, and then 4 s.
        (E, Reason::Probe, EDGE, 1),
        (E, Reason::BreakerOpen, EDGE, 22),
        (E, Reason::Probe, EDGE, 1),
        (E, Reason::BreakerOpen, EDGE, 42),
        // This one is answered after 102 ms.
        (E, Reason::Probe, EDGE, 1),
        (E, Reason::BreakerOpen, EDGE, 1),
        (C, Reason::DefaultSite, CLOUD, 15),
    ];
    assert_eq!(runs(&records), expected);
}

#[test]
fn what_is_known_to_be_lost_goes_to_the_edge_at_once() {
    let told = "told: {lost: report, uplink: {delay: {model: constant, ms: 30}, loss: {probability: 1}}}";
    let cloud = "network: told, policy: urgency, breaker: {failures_max: 100}";
    let records = records(&hybrid(told, cloud, None, vec![asks(3, 200 * MS)]));
    assert_eq!(runs(&records), [(E, Reason::CloudSilent, 30 * MS + EDGE, 3)]);
}

#[test]
fn a_late_answer_of_the_cloud_is_taken_while_the_edge_has_none() {
    let experiment = hybrid("", "policy: urgency, cloud_timeout_ms: 60", None, vec![asks(3, 500 * MS)]);
    let slow = Experiment { worker: worker(80 * MS), ..experiment };
    assert_eq!(runs(&records(&slow)), [(C, Reason::DefaultSite, CLOUD, 3)]);
}

#[test]
fn a_cloud_that_is_full_or_says_no_number_is_answered_for_by_the_edge() {
    // Five devices at the same moment, of which the cloud has one in work and keeps one.
    let five = vec![Group { devices: 5, pace: Pace::At([Duration::ZERO].into()) }];
    let mut full = hybrid("", "policy: urgency", None, five);
    full.worker.batch_max = 128;
    let cloud = full.hybrid.as_mut().unwrap();
    cloud.worker.queue_requests_max = 1;
    let (answered, totals) = records_of(&full, &half);
    let by_edge = answered.iter().filter(|record| record.made.unwrap().site == E);
    let made = Decision { site: E, reason: Reason::CloudRefused };
    assert!(by_edge.clone().all(|record| record.made == Some(made)), "{answered:?}");
    assert_eq!((by_edge.count(), totals.answered), (3, 5));

    let no_number = hybrid("", "policy: urgency", None, vec![asks(3, 200 * MS)]);
    let (records, _) = records_of(&no_number, &|site, _| (site == E).then_some(0.5));
    assert_eq!(runs(&records), [(E, Reason::CloudRefused, CLOUD + EDGE, 3)]);
    let (records, totals) = records_of(&no_number, &|_, _| None);
    assert!(records.iter().all(|record| record.end == End::NonFinite));
    assert_eq!(totals.non_finite, 3);
}

#[test]
fn what_cannot_begin_in_time_is_refused_at_its_deadline() {
    let five = vec![Group { devices: 5, pace: Pace::At([Duration::ZERO].into()) }];
    let experiment = hybrid("", "policy: deadline", Some(50 * MS), five.clone());
    // The edge begins at 0, at 40 and would at 80 ms.
    let (records, totals) = records_of(&Experiment { worker: worker(40 * MS), ..experiment.clone() }, &half);
    let mut totals_ms: Vec<_> =
        records.iter().map(|record| (record.end, (record.ended_at - record.sent_at).as_millis())).collect();
    totals_ms.sort_by_key(|(end, ms)| (*end != End::Answered, *ms));
    let expired = (End::Expired, 50);
    assert_eq!(totals_ms, [(End::Answered, 40), (End::Answered, 80), expired, expired, expired]);
    assert_eq!(totals.expired, 3);
    // Or its deadline passes on the way.
    let far = Experiment { network: Profile::constant(60 * MS), ..experiment };
    let (records, _) = records_of(&far, &half);
    let ends = records.iter().map(|record| (record.end, record.ended_at));
    assert_eq!(ends.collect::<Vec<_>>(), [(End::Expired, 50 * MS); 5]);
}

#[test]
fn the_way_through_client_and_broker_is_that_of_the_site_that_answers() {
    let mut experiment = hybrid("", "policy: confidence", None, vec![asks(2, 200 * MS)]);
    experiment.path = Path::new(vec![3 * MS]);
    experiment.hybrid.as_mut().unwrap().path = Path::new(vec![7 * MS]);
    let score = |_, due: &Due| Some(if due.row == 0 { 0.9 } else { 0.5 });
    let (records, _) = records_of(&experiment, &score);
    assert_eq!(
        runs(&records),
        [(E, Reason::Confident, EDGE + 3 * MS, 1), (C, Reason::Escalated, EDGE + CLOUD + 7 * MS, 1)]
    );
}

/// Networks with everything in them, at both sites, in which losses are told or not.
const ROUGH: &str = "\
quiet: {uplink: {delay: {model: lognormal, mean_ms: 20, sd_ms: 15}, loss: {probability: 0.2}, duplicates: 0.2}, \
        downlink: {loss: {probability: 0.2}, duplicates: 0.2}}, \
told: {lost: report, uplink: {delay: {model: lognormal, mean_ms: 20, sd_ms: 15}, loss: {probability: 0.2}, duplicates: 0.2}, \
       downlink: {loss: {probability: 0.2}, duplicates: 0.2}}";

const POLICIES: [&str; 8] = [
    "deadline",
    "{name: confidence, band: 0.3}",
    "urgency",
    "{name: urgency, default_site: edge}",
    "hedged",
    "{name: hedged, hedge_after_ms: 20}",
    "{name: hedged, first: cloud, hedge_after_ms: 20}",
    "shadow",
];

#[test]
fn whatever_networks_do_every_request_ends_once_and_two_runs_are_the_same() {
    for policy in POLICIES {
        for (at_edge, at_cloud) in [("quiet", "told"), ("told", "quiet"), ("quiet", "quiet")] {
            for deadline in [None, Some(30 * MS)] {
                let cloud = |network: &str| {
                    format!(
                        "network: {network}, policy: {policy}, cloud_timeout_ms: 40, breaker: {{wait_ms: 100}}"
                    )
                };
                let groups = vec![Group { devices: 20, pace: Pace::Every { rate_hz: 10.0 } }];
                let edge = hybrid(ROUGH, &cloud(at_edge), None, Vec::new()).hybrid.unwrap().network;
                let experiment = Experiment {
                    network: edge,
                    arrivals: Arrivals::Poisson,
                    duration: Duration::from_secs(5),
                    ..hybrid(ROUGH, &cloud(at_cloud), deadline, groups)
                };
                let experiment = Experiment { worker: worker(3 * MS), ..experiment };
                let text = || {
                    let score =
                        |site, due: &Due| Some((due.row % 10) as f32 / 10.0 + site as u8 as f32 / 20.0);
                    let (records, totals) = records_of(&experiment, &score);
                    assert!(totals.sent > 900 && totals.answered > 0, "{policy} {totals:?}");
                    let lost = |of: Lost| records.iter().any(|record| record.end == End::Lost(of));
                    // What both sites keep quiet about nobody hears of; what one of them tells is told.
                    assert!(at_edge == "told" || lost(Lost::Silence) || policy.contains("first: cloud"));
                    let mut text = String::new();
                    records.iter().for_each(|record| writeln!(text, "{record:?}").unwrap());
                    text
                };
                assert!(text() == text(), "{policy}");
            }
        }
    }
}
