//! Tests of trials on either clock: every request is accounted for, and what was measured is kept.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::virtual_time::Path;
use super::*;
use crate::inference::{Reason, Site};
use crate::lab::CostModel;
use crate::lab::observation::{Clock, End, Observation, Run, Stages};
use crate::lab::scenario::Scenario;

/// Two placements and four devices.
const TWO: &str = "\
simulation: {duration_s: 2, seed: 7, warm_up_s: 1}
placements:
  - {name: edge, model: models/anomaly_detector}
  - {name: cloud, model: models/anomaly_detector, network: wifi}
sensors: [{id: press, count: 4, rate_hz: 5}]
";

/// Losses that are told and losses that are not.
const LOSSES: &str = "\
simulation: {duration_s: 1, seed: 3}
networks:
  quiet: {uplink: {loss: {probability: 0.3}}, downlink: {loss: {probability: 0.3}, duplicates: 0.3}}
  told: {lost: report, uplink: {loss: {probability: 0.3}}, downlink: {loss: {probability: 0.3}}}
placements:
  - {name: edge, model: models/anomaly_detector}
  - {name: quiet, model: models/anomaly_detector, network: quiet}
  - {name: told, model: models/anomaly_detector, network: told}
sensors: [{id: press, count: 5, rate_hz: 20}]
";

/// Hybrids whose choices do not depend on how fast anything is, and clouds that no score is too low for.
const HYBRIDS: &str = "\
simulation: {duration_s: 1, seed: 7}
placements:
  - name: shadow
    model: models/anomaly_detector
    cloud: {threshold: 0, network: lan, policy: shadow, cloud_timeout_ms: 60000}
  - name: far
    model: models/anomaly_detector
    cloud: {model: models/anomaly_detector.onnx, threshold: 0, network: lan, policy: urgency, cloud_timeout_ms: 60000}
sensors: [{id: press, count: 4, rate_hz: 5}]
";

fn plan(scenario: &str, changes: Changes) -> Result<Plan, TrialError> {
    Plan::parse("s.yaml", scenario, changes)
}

fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

/// A simulated clock on which a pass takes 20 microseconds and 2 a row, and the way nothing.
fn given() -> Timing {
    let cost = CostModel { per_batch: us(20), per_row: us(2) };
    Timing::Virtual(Given { costs: vec![Said::of_all(cost)], paths: Vec::new() })
}

fn trial(scenario: &str, timing: Timing) -> Trial {
    Trial::prepare(plan(scenario, Changes::default()).unwrap(), timing).unwrap()
}

fn never() -> AtomicBool {
    AtomicBool::new(false)
}

fn run(scenario: &str, timing: Timing) -> Run {
    trial(scenario, timing).run(&mut (), &mut (), &never()).whole().unwrap()
}

fn of(run: &Run, placement: usize) -> Vec<&Observation> {
    run.observations.iter().filter(|seen| usize::from(seen.placement) == placement).collect()
}

#[test]
fn in_virtual_time_the_same_seed_gives_the_same_run_and_another_one_another() {
    let one = run(TWO, given());
    assert_eq!(one, run(TWO, given()));
    assert_eq!((of(&one, 0).len(), of(&one, 1).len(), one.devices.len()), (40, 40, 4));
    let pairs = of(&one, 0).into_iter().zip(of(&one, 1));
    assert!(pairs.into_iter().all(|(edge, cloud)| (edge.input, edge.due) == (cloud.input, cloud.due)));
    assert!(matches!(&one.clock, Clock::Virtual(costs) if costs.len() == 2));
    let other = Changes { seed: Some(8), ..Changes::default() };
    let other = Trial::prepare(plan(TWO, other).unwrap(), given()).unwrap();
    assert_ne!(one.observations, other.run(&mut (), &mut (), &never()).run.observations);
}

#[test]
fn results_losses_and_silence_add_up_to_what_was_sent_on_either_clock() {
    let counts = |timing| {
        let run = run(LOSSES, timing);
        let count =
            |placement, wanted: End| of(&run, placement).iter().filter(|seen| seen.end == wanted).count();
        let lost = End::Refused("NETWORK_LOST");
        let all = [0, 1, 2].map(|at| [End::Answered, lost, End::Silent].map(|end| count(at, end)));
        assert_eq!(all.map(|ends| ends.iter().sum::<usize>()), [100; 3]);
        assert_eq!((all[0], all[1][1], all[2][2]), ([100, 0, 0], 0, 0));
        assert!(all[1][2] > 20 && all[2][1] > 20, "{all:?}");
        all
    };
    // The network decides the same on either clock.
    assert_eq!(counts(Timing::Real), counts(given()));
}

#[test]
fn what_the_way_takes_is_part_of_every_total() {
    let Timing::Virtual(mut said) = given() else { panic!("the clock is a simulated one") };
    said.paths = vec![Said::of_all(Path::new(vec![us(100)])), Said::of("edge", Path::new(vec![us(300)]))];
    let run = run(TWO, Timing::Virtual(said));
    // A pass of one row, and the way.
    assert!(of(&run, 0).iter().all(|seen| seen.total == Some(us(322))));
    assert!(of(&run, 1).iter().all(|seen| seen.total.unwrap() - seen.stages.network >= us(122)));
}

#[test]
fn a_hybrid_says_where_and_why_each_result_was_made_and_whose_threshold_counts() {
    let (edge, cloud) = (Site::Edge.as_str(), Site::Cloud.as_str());
    for timing in [Timing::Real, given()] {
        let run = run(HYBRIDS, timing);
        // The cloud would call everything an anomaly; a shadow's is only compared.
        let expected = [(edge, Reason::Shadow, false), (cloud, Reason::DefaultSite, true)];
        for (placement, (site, reason, is_anomaly)) in expected.into_iter().enumerate() {
            let seen = of(&run, placement);
            assert_eq!(seen.len(), 20);
            for one in seen {
                let choice = one.choice.as_ref().unwrap();
                assert_eq!((choice.made_by.as_str(), choice.reason.as_str()), (site, reason.as_str()));
                assert_eq!(one.is_anomaly, Some(is_anomaly));
            }
        }
    }
}

#[test]
fn a_plan_says_what_does_not_mean_what_one_may_think() {
    let remarks = plan(HYBRIDS, Changes::default()).unwrap().remarks();
    let expected = [
        "placement far: models/anomaly_detector.onnx is not there, models/anomaly_detector is taken",
        "placement far: requests of an experiment do not say how urgent they are: all go to its default site, the cloud",
    ];
    assert_eq!(remarks, expected);
}

/// Keeps what it is told, and has no room for a repeat beyond the first so many.
#[derive(Default)]
struct Kept {
    messages: Vec<MessageType>,
    counted: usize,
    costs: String,
    repeats: usize,
    repeats_max: Option<usize>,
}

impl Results for Kept {
    fn costs(&mut self, flags: &str) -> io::Result<()> {
        self.costs.push_str(flags);
        Ok(())
    }
    fn message(&mut self, _: i64, kind: MessageType, _: usize, _: usize) -> io::Result<()> {
        self.messages.push(kind);
        Ok(())
    }
    fn answer(&mut self, _: i64, _: &str, _: &str, _: &Stages, _: Duration) -> io::Result<()> {
        self.counted += 1;
        Ok(())
    }
    fn end_repeat(&mut self, _: &Scenario, _: &[Arc<str>], _: &[Observation]) -> io::Result<()> {
        if self.repeats_max == Some(self.repeats) {
            return Err(io::Error::other("there is no room"));
        }
        self.repeats += 1;
        Ok(())
    }
}

#[test]
fn results_come_as_they_are_measured_and_those_of_the_warm_up_do_not_count() {
    for timing in [Timing::Real, given()] {
        let is_virtual = timing != Timing::Real;
        let mut kept = Kept::default();
        trial(TWO, timing).run(&mut kept, &mut (), &never()).whole().unwrap();
        let count = |wanted: MessageType| kept.messages.iter().filter(|kind| **kind == wanted).count();
        assert_eq!(
            (count(MessageType::Request), count(MessageType::Result), kept.messages.len()),
            (80, 80, 160)
        );
        assert_eq!((kept.counted, kept.repeats), (40, 1));
        let costs = if is_virtual { "--cost edge=20,2\n--cost cloud=20,2\n" } else { "" };
        assert_eq!(kept.costs, costs);
    }
}

#[test]
fn what_was_measured_before_results_could_not_be_kept_is_in_the_run() {
    let changes = Changes { repeats: Some(4), ..Changes::default() };
    let mut kept = Kept { repeats_max: Some(2), ..Kept::default() };
    let trial = Trial::prepare(plan(TWO, changes).unwrap(), given()).unwrap();
    let ended = trial.run(&mut kept, &mut (), &never());
    assert_eq!(ended.fault.unwrap().to_string(), "there is no room");
    // The repeat that could not be kept was measured all the same.
    assert_eq!((ended.run.observations.len(), ended.run.usages.len()), (3 * 80, 6));
}

/// Notes the parts, and interrupts the trial at its first answer.
struct Heard<'a> {
    parts: Vec<String>,
    answers: usize,
    interrupt: &'a AtomicBool,
}

impl Progress for Heard<'_> {
    fn begin(&mut self, part: &Part) {
        self.parts.push(part.what.clone());
    }
    fn answered(&mut self) {
        self.answers += 1;
        self.interrupt.store(true, Ordering::Release);
    }
}

#[test]
fn an_interrupted_trial_waits_for_what_is_under_way_and_begins_no_other_repeat() {
    let long = TWO.replace("duration_s: 2", "duration_s: 60").replace(", warm_up_s: 1", "");
    let changes = Changes { repeats: Some(3), ..Changes::default() };
    let interrupt = never();
    let mut heard = Heard { parts: Vec::new(), answers: 0, interrupt: &interrupt };
    let trial = Trial::prepare(plan(&long, changes).unwrap(), Timing::Real).unwrap();
    let run = trial.run(&mut (), &mut heard, &interrupt).whole().unwrap();
    assert_eq!(heard.parts, ["repeat 1 of 3: 2400 requests"]);
    assert!((1..2400).contains(&run.observations.len()), "{}", run.observations.len());
    assert!(run.observations.iter().all(|seen| seen.end == End::Answered));
    assert_eq!(heard.answers, run.observations.len());
}

#[test]
fn each_point_of_a_sweep_is_a_part_and_may_have_devices_of_its_own_pace() {
    let sweep = format!("{TWO}sweep: [{{key: sensors.press.rate_hz, values: [1, 2]}}]\n");
    let changes = Changes { devices: Some(100), ..Changes::default() };
    let interrupt = never();
    let mut heard = Heard { parts: Vec::new(), answers: 0, interrupt: &interrupt };
    let trial = Trial::prepare(plan(&sweep, changes).unwrap(), given()).unwrap();
    let run = trial.run(&mut (), &mut heard, &interrupt).whole().unwrap();
    assert_eq!(
        heard.parts,
        [
            "point 1 of 2 (sensors.press.rate_hz = 1), repeat 1 of 1: 400 requests",
            "point 2 of 2 (sensors.press.rate_hz = 2), repeat 1 of 1: 800 requests",
        ]
    );
    let sent = |point| of(&run, 0).iter().filter(|seen| seen.point == point).count();
    assert_eq!((sent(0), sent(1), run.devices.len()), (200, 400, 100));
}

#[test]
fn what_is_wrong_with_a_scenario_is_said_before_anything_runs() {
    let fault = |from: &str, to: &str| {
        assert!(TWO.contains(from), "{from}");
        let plan = plan(&TWO.replacen(from, to, 1), Changes::default());
        plan.and_then(|plan| Trial::prepare(plan, Timing::Real)).err().unwrap().to_string()
    };
    for (from, to, part) in [
        ("rate_hz: 5", "rate_hs: 5", "s.yaml, line 5, key `sensors[0].rate_hs`: unknown key"),
        ("network: wifi", "network: wlan", "line 4, key `placements[1].network`: found \"wlan\""),
        ("sensors: [{id: press, count: 4, rate_hz: 5}]", "", "sensors: there are none"),
        ("id: press", "id: a/b", "sensor \"a/b-1\": device_id contains '/'"),
        ("count: 4, rate_hz: 5", "count: 1000000, rate_hz: 100", "observations, expected at most 20000000"),
        (
            "{id: press, count: 4, rate_hz: 5}",
            "{id: mill, file: no.csv}",
            "sensor \"mill\": no.csv is neither in",
        ),
        (
            "models/anomaly_detector, network",
            "Cargo.toml, network",
            "placement \"cloud\": Cargo.toml: expected a directory, or a file that ends in",
        ),
        (
            "network: wifi",
            "cloud: {model: nowhere, policy: shadow}",
            "placement \"cloud\": its cloud: nowhere is neither in",
        ),
    ] {
        let fault = fault(from, to);
        assert!(fault.contains(part), "{part:?} is not in {fault:?}");
    }
    let nothing = plan("simulation: {duration_s: 1, seed: 1}\nsensors: [{id: a}]\n", Changes::default());
    assert!(matches!(nothing, Err(TrialError::NoPlacements { .. })));
    let Err(nowhere) = Plan::read("nowhere.yaml".as_ref(), Changes::default()) else {
        panic!("it is nowhere")
    };
    assert!(nowhere.to_string().starts_with("nowhere.yaml: cannot be read"), "{nowhere}");
    let moon = Given { costs: vec![Said::of("moon", CostModel::default())], paths: Vec::new() };
    let moon = Trial::prepare(plan(TWO, Changes::default()).unwrap(), Timing::Virtual(moon)).err().unwrap();
    assert_eq!(moon.to_string(), "cost: there is no placement \"moon\", expected one of edge, cloud");
}

#[test]
fn a_directory_that_holds_something_else_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let precious = place.path().join("metrics.csv");
    std::fs::write(&precious, "precious").unwrap();
    let run_into = |foreign| {
        let trial = trial(TWO, given());
        let mut results = ResultsDirectory::create(place.path(), trial.plan(), foreign)?;
        trial.run(&mut results, &mut (), &never()).whole()?;
        results.finish().map_err(TrialError::Results)
    };
    assert!(matches!(run_into(Foreign::Refused), Err(TrialError::ForeignDirectory(_))));
    assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
    run_into(Foreign::Allowed).unwrap();
    let table = std::fs::read_to_string(&precious).unwrap();
    assert_eq!(table.lines().count(), 41, "{table}");
    // What is there now are results, which the next ones replace.
    run_into(Foreign::Refused).unwrap();
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), table);
}
