//! Hybrid placements in an experiment, on either clock.

use serde_json::Value;

use super::{Place, RefusedAfterRemarks, files, made};
use crate::support::process::run;

/// Hybrids whose choices do not depend on how fast the machine is, and clouds that no score is too low for.
const HYBRIDS: &str = "\
simulation: {duration_s: 1, seed: 7}
networks: {gone: {lost: report, uplink: {outages: {policy: fail, schedule: [{at_s: 0, for_s: 3000}]}}}}
placements:
  - {name: edge, model: models/anomaly_detector}
  - name: shadow
    model: models/anomaly_detector
    cloud: {threshold: 0, network: lan, policy: shadow, cloud_timeout_ms: 60000}
  - name: far
    model: models/anomaly_detector
    cloud: {model: models/anomaly_detector.onnx, threshold: 0, network: lan, policy: urgency, cloud_timeout_ms: 60000}
  - {name: cut, model: models/anomaly_detector, cloud: {network: gone, policy: urgency, cloud_timeout_ms: 60000}}
sensors: [{id: press, count: 4, rate_hz: 5}]
sweep: [{key: placements.far.cloud.threshold, values: [0, 1]}]
";

#[test]
fn a_hybrid_says_where_and_why_each_result_was_made_and_whose_threshold_counts() {
    let place = Place::with(HYBRIDS);
    let ended = place.run(&["--out", "out"]);
    for remark in [
        "placement far: models/anomaly_detector.onnx is not there: the shipped model is taken",
        "placement far: requests of an experiment do not say how urgent they are: all go to its default site, the cloud",
    ] {
        assert!(ended.stderr.contains(remark), "{remark}: {}", ended.stderr);
    }
    for placement in ["edge", "shadow", "far", "cut"] {
        let begins = format!("{placement}: sent 20, answered 20, silent 0");
        let points = ended.lines.iter().filter(|line| line.starts_with(&begins)).count();
        assert_eq!(points, 2, "{:?}", ended.lines);
    }
    let made = made(&place, "out/observations.parquet");
    assert_eq!(made.len(), 2 * 4 * 20);
    for [point, placement, made_by, reason, is_anomaly] in &made {
        let found = (made_by.as_str(), reason.as_str(), is_anomaly.as_str());
        let is_as_expected = match (placement.as_str(), point.as_str()) {
            ("edge", _) => found == ("null", "null", "false"),
            // The cloud would call everything an anomaly, and is only compared.
            ("shadow", _) => found == ("edge", "shadow", "false"),
            ("far", "0") => found == ("cloud", "default_site", "true"),
            ("far", _) => found == ("cloud", "default_site", "false"),
            // What the breaker lets through to a cloud that is gone is lost.
            _ => made_by == "edge" && ["cloud_silent", "breaker_open", "probe"].contains(&reason.as_str()),
        };
        assert!(is_as_expected, "{point} {placement} {found:?}");
    }
    let count = |wanted: &str| made.iter().filter(|[.., reason, _]| reason == wanted).count();
    assert!(count("cloud_silent") >= 2 && count("breaker_open") >= 2, "{made:?}");
    let summary = std::fs::read_to_string(place.path("out/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let of = |placement: usize, member: &str| summary["points"][0]["placements"][placement][member].clone();
    let chosen =
        |by: &str, reason: &str| serde_json::json!([{ "made_by": by, "reason": reason, "count": 20 }]);
    let found = [0, 1, 2].map(|placement| of(placement, "choices"));
    assert_eq!(found, [serde_json::json!([]), chosen("edge", "shadow"), chosen("cloud", "default_site")]);
    // A shadow's answers come over the network, too.
    for placement in [1, 2] {
        let used = of(placement, "consumption");
        let bytes = |member: &str| used[member].as_u64().unwrap();
        assert_eq!(bytes("network_bytes"), bytes("request_bytes") + bytes("answer_bytes"), "{used}");
    }
    let marks = summary["marks"].as_array().unwrap();
    let whose =
        |mark: &Value| [&mark["placement"], &mark["what"]].map(|text| text.as_str().unwrap().to_owned());
    let marked: Vec<_> = marks.iter().map(whose).collect();
    assert_eq!(marked, vec![["cut", "outage of the cloud's uplink"]; 2]);
}

#[test]
fn a_hybrid_by_the_deadline_has_the_experiment_s_and_others_do_without() {
    let scenario = "\
simulation: {duration_s: 1, seed: 7}
deadline_ms: 2000
networks: {moon: {uplink: {delay: {model: constant, ms: 60}}}}
placements:
  - {name: moon, model: models/anomaly_detector, network: moon}
  - name: by-deadline
    model: models/anomaly_detector
    network: moon
    cloud: {network: moon, policy: deadline}
  - name: by-urgency
    model: models/anomaly_detector
    network: moon
    cloud: {network: moon, policy: urgency, cloud_timeout_ms: 60000}
sensors: [{id: press, count: 4, rate_hz: 5}]
";
    let ended = run(&mut Place::with(scenario).command(&["--json", "--deadline-ms", "50"]));
    assert!(
        ended.stderr.contains(
            "placement by-deadline: its cloud may be silent for 1000 ms (cloud_timeout_ms), and the deadline is 50 ms: what the \
             cloud loses ends as DEADLINE_EXCEEDED"
        ),
        "{}",
        ended.stderr
    );
    let value: Value = serde_json::from_str(&ended.lines.join("\n")).unwrap();
    let placements = value["points"][0]["placements"].as_array().unwrap();
    let [moon, by_deadline, by_urgency] = [0, 1, 2].map(|at| &placements[at]["requests"]);
    // Nothing arrives at any model in time.
    assert_eq!((&moon["answered"], &by_urgency["answered"]), (&20.into(), &20.into()));
    assert_eq!(by_deadline["refused"], serde_json::json!({ "DEADLINE_EXCEEDED": 20 }));
}

#[test]
fn a_dry_run_says_what_a_hybrid_consists_of() {
    let ended = Place::with(HYBRIDS).run(&["--dry-run"]);
    for line in [
        "placement shadow: hybrid, policy shadow; edge: the shipped model, threshold 0.9, network: none; cloud: the shipped model, \
         threshold 0, network: lan (uplink: delay; downlink: delay)",
        "placement cut: hybrid, policy urgency (edge from high, otherwise cloud); edge: the shipped model, threshold 0.9, network: \
         none; cloud: the shipped model, threshold 0.9, network: gone (uplink: outages; downlink: nothing)",
    ] {
        assert!(ended.lines.iter().any(|printed| printed == line), "{line}: {:?}", ended.lines);
    }
}

#[test]
fn on_either_clock_the_same_sites_answer_for_the_same_reasons() {
    // Whatever the machine does, the edge is before a cloud that is gone, and no score is within no band.
    let scenario = "\
simulation: {duration_s: 1, seed: 7}
networks:
  far: {uplink: {delay: {model: constant, ms: 50}}}
  gone: {uplink: {loss: {probability: 1}}}
placements:
  - {name: sure, model: models/anomaly_detector, cloud: {network: far, policy: {name: confidence, band: 0}, cloud_timeout_ms: 60000}}
  - {name: unsure, model: models/anomaly_detector, cloud: {network: far, policy: {name: confidence, band: 1}, cloud_timeout_ms: 60000}}
  - {name: first, model: models/anomaly_detector, cloud: {network: gone, policy: hedged, cloud_timeout_ms: 60000}}
  - {name: waits, model: models/anomaly_detector, cloud: {network: far, policy: {name: hedged, hedge_after_ms: 60000}}}
  - {name: shadow, model: models/anomaly_detector, cloud: {threshold: 0, network: far, policy: shadow, cloud_timeout_ms: 60000}}
  - {name: far, model: models/anomaly_detector, cloud: {threshold: 0, network: far, policy: urgency, cloud_timeout_ms: 60000}}
sensors: [{id: press, count: 4, rate_hz: 5, noise_level: 2}]
";
    let place = Place::with(scenario);
    place.run(&["--out", "real"]);
    place.run(&["--out", "virtual", "--virtual", "--cost", "20,2"]);
    let [real, simulated] =
        ["real", "virtual"].map(|out| made(&place, &format!("{out}/observations.parquet")));
    assert_eq!((real.len(), &real), (6 * 20, &simulated));
    let of = |wanted: &str| {
        let [_, _, made_by, reason, _] = real.iter().find(|[_, placement, ..]| placement == wanted).unwrap();
        format!("{made_by} {reason}")
    };
    assert_eq!(
        ["sure", "unsure", "first", "waits", "shadow", "far"].map(of),
        [
            "edge confident",
            "cloud escalated",
            "edge hedge",
            "edge in_time",
            "edge shadow",
            "cloud default_site"
        ]
    );
    // Both reckon a leg's bytes in the same way.
    let network_bytes = |out: &str, placement: usize| {
        let summary = std::fs::read_to_string(place.path(&format!("{out}/summary.json"))).unwrap();
        let summary: Value = serde_json::from_str(&summary).unwrap();
        summary["points"][0]["placements"][placement]["consumption"]["network_bytes"].as_u64().unwrap()
    };
    for (placement, is_carried) in [(0, false), (1, true), (2, true), (3, false), (4, true), (5, true)] {
        let bytes = ["real", "virtual"].map(|out| network_bytes(out, placement));
        assert_eq!(bytes.map(|bytes| bytes > 0), [is_carried; 2], "{placement}: {bytes:?}");
    }
}

#[test]
fn in_virtual_time_a_hybrid_s_sites_have_costs_and_ways_of_their_own() {
    let place = Place::with(HYBRIDS);
    let flags = [
        "--virtual",
        "--cost",
        "20,2",
        "--cost",
        "far/cloud=70,5",
        "--path",
        "100",
        "--path",
        "far/cloud=300",
    ];
    let one = place.run(&[&flags[..], &["--out", "one"]].concat());
    let said = std::fs::read_to_string(place.path("one/cost.txt")).unwrap();
    for line in [
        "--cost edge=20,2",
        "--cost far=20,2",
        "--cost far/cloud=70,5",
        "--path cut/cloud=100",
        "--path far/cloud=300",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }
    // Twice a pass and a way for each of three hybrids.
    assert_eq!(said.lines().count(), 14, "{said}");
    let flags: Vec<_> = ["--virtual"].into_iter().chain(said.split_whitespace()).collect();
    let two = place.run(&[&flags[..], &["--out", "two"]].concat());
    assert_eq!(one.lines, two.lines);
    assert!(files(&place.path("one")) == files(&place.path("two")));
    // Passes of one row, and the way: at the edge and at the cloud.
    for (placement, beyond) in [("shadow", "0.122000"), ("far", "0.375000")] {
        let rows = place.rows("one/metrics-1.csv");
        let times = rows.iter().filter(|row| row[2] == placement);
        let beyond_network = |row: &Vec<String>| {
            format!("{:.6}", row[5].parse::<f64>().unwrap() - row[4].parse::<f64>().unwrap())
        };
        assert_eq!(times.map(beyond_network).collect::<Vec<_>>(), vec![beyond; 20], "{placement}");
    }
    let summary = std::fs::read_to_string(place.path("one/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let costs = &summary["run"]["clock"]["cost_models"];
    assert_eq!((&costs[0]["cloud"], &costs[2]["cloud"]["per_batch_us"]), (&Value::Null, &70.0.into()));
    let page = std::fs::read_to_string(place.path("one/report.html")).unwrap();
    assert!(page.contains("far, edge: 20") && page.contains("far, cloud: 70"), "both costs are on the page");
    let marks: Vec<_> = summary["marks"].as_array().unwrap().iter().map(|mark| &mark["what"]).collect();
    assert_eq!(marks, ["outage of the cloud's uplink"; 2]);
    run(&mut place.command(&["--virtual", "--cost", "edge/cloud=1,1"])).assert_refused_after_remarks(
        "--cost: there is no placement \"edge/cloud\", expected one of edge, shadow, shadow/cloud, far, far/cloud, cut, cut/cloud",
    );
}

#[test]
fn in_virtual_time_a_hybrid_goes_by_the_deadline_too() {
    let scenario = "\
simulation: {duration_s: 1, seed: 7}
networks: {moon: {uplink: {delay: {model: constant, ms: 60}}}}
placements:
  - {name: moon, model: models/anomaly_detector, network: moon}
  - {name: by-deadline, model: models/anomaly_detector, network: moon, cloud: {network: moon, policy: deadline}}
  - {name: by-urgency, model: models/anomaly_detector, network: moon, cloud: {network: moon, policy: urgency}}
sensors: [{id: press, count: 4, rate_hz: 5}]
";
    let flags = ["--virtual", "--cost", "20,2", "--json", "--deadline-ms", "50"];
    let ended = Place::with(scenario).run(&flags);
    let value: Value = serde_json::from_str(&ended.lines.join("\n")).unwrap();
    let placements = value["points"][0]["placements"].as_array().unwrap();
    let [moon, by_deadline, by_urgency] = [0, 1, 2].map(|at| &placements[at]["requests"]);
    assert_eq!((&moon["answered"], &by_urgency["answered"]), (&20.into(), &20.into()));
    assert_eq!(by_deadline["refused"], serde_json::json!({ "DEADLINE_EXCEEDED": 20 }));
}
