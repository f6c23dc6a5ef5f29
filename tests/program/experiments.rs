//! `nearfar compare SCENARIO`: what is asked is done, every request is accounted
//! for, and whatever happens, what was measured is kept.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nearfar::features::FEATURE_NAMES;
use parquet::file::reader::SerializedFileReader;
use parquet::record::Row;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::process::{Ended, Process, nearfar, nearfar_on_a_small_disk, run};

/// A file as the replaced system had it, but for its duration.
const REPLACED: &str = "\
simulation: {duration_s: 1, seed: 42, time_quantum_us: 1000}
ml_inference:
  placement: edge
  edge_config: {model_path: models/anomaly_detector.onnx, broker_host: localhost, broker_port: 1883, threshold: 0.5}
  cloud_config: {model_path: models/anomaly_detector.pt, latency_ms: 20, threshold: 0.5}
network: {model: latency, default_latency_us: 1000}
nodes:
  - {id: sensor1, type: sensor, implementation: python_model, port: 5001, config: {sample_rate_hz: 20}}
  - {id: gateway1, type: gateway, implementation: docker, port: 5002}
";

/// Two placements and four devices.
const OWN: &str = "\
simulation: {duration_s: 2, seed: 7, warm_up_s: 1}
placements:
  - {name: edge, model: models/anomaly_detector}
  - {name: cloud, model: models/anomaly_detector, network: wifi}
sensors: [{id: press, count: 4, rate_hz: 5}]
";

/// The same for a minute, with one device and without a warm-up.
fn long() -> String {
    OWN.replace("duration_s: 2", "duration_s: 60").replace(", warm_up_s: 1", "").replace("count: 4, ", "")
}

/// A directory with a scenario in it, where the command is run.
struct Place(TempDir);

impl Place {
    fn with(scenario: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("scenario.yaml", scenario);
        place
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = nearfar(&["compare", "scenario.yaml"]);
        command.args(["--resamples", "100"]).args(flags).current_dir(self.0.path());
        command
    }

    #[track_caller]
    fn run(&self, flags: &[&str]) -> Ended {
        let ended = run(&mut self.command(flags));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }

    /// The rows of a table without its header.
    fn rows(&self, table: &str) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(self.path(table)).unwrap();
        text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
    }
}

/// Time stamps and devices of each placement's rows, in order.
fn asked(rows: &[Vec<String>]) -> BTreeMap<String, Vec<(String, String)>> {
    let mut asked: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in rows {
        asked.entry(row[2].clone()).or_default().push((row[0].clone(), row[1].clone()));
    }
    asked.values_mut().for_each(|keys| keys.sort_unstable());
    asked
}

#[test]
fn the_replaced_system_s_file_runs_unchanged_and_its_rows_are_pairs() {
    let place = Place::with(REPLACED);
    let ended = place.run(&[]);
    for remark in ["line 1: simulation.time_quantum_us", "node gateway1", "the shipped model is taken"] {
        assert!(ended.stderr.contains(remark), "{remark}: {}", ended.stderr);
    }
    assert!(ended.line_with("edge: sent").starts_with("edge: sent 20, answered 20, silent 0"));
    assert!(ended.line_with("cloud: sent").starts_with("cloud: sent 20, answered 20, silent 0"));
    let text = std::fs::read_to_string(place.path("results/scenario/metrics.csv")).unwrap();
    let header = "timestamp_us,device_id,placement,inference_time_ms,cloud_latency_ms,total_latency_ms\n";
    assert!(text.starts_with(header), "{text}");
    let asked = asked(&place.rows("results/scenario/metrics.csv"));
    assert_eq!((asked["edge"].len(), &asked["edge"]), (20, &asked["cloud"]));
    // Both ways of the network, and the gateway's link.
    let network = |row: &Vec<String>| row[4].parse::<f64>().unwrap();
    let rows = place.rows("results/scenario/metrics.csv");
    assert!(rows.iter().all(|row| network(row) == if row[2] == "cloud" { 42.0 } else { 2.0 }), "{rows:?}");
    assert!(rows.iter().all(|row| row[5].parse::<f64>().unwrap() > network(row)));
    let read =
        run(nearfar(&["compare", "--csv", "results/scenario/metrics.csv"]).current_dir(place.0.path()));
    read.assert_success();
    assert!(read.line_with("on average").contains("20 pairs"));
    let messages = place.rows("results/scenario/metrics_communication.csv");
    let of = |kind: &str| messages.iter().filter(|row| row[1] == kind).count();
    assert_eq!((of("request"), of("result"), of("error"), messages.len()), (40, 40, 0, 80));
    assert!(messages.iter().all(|row| row[3] == if row[1] == "request" { "32" } else { "0" }));
    let copy = std::fs::read_to_string(place.path("results/scenario/scenario.yaml")).unwrap();
    assert_eq!(copy, REPLACED);
    assert!(std::fs::read(place.path("results/scenario/observations.parquet")).unwrap().ends_with(b"PAR1"));
}

#[test]
fn results_losses_and_silence_add_up_to_what_was_sent() {
    let place = Place::with(
        "simulation: {duration_s: 1, seed: 3}
networks:
  quiet: {uplink: {loss: {probability: 0.3}}, downlink: {loss: {probability: 0.3}, duplicates: 0.3}}
  told: {lost: report, uplink: {loss: {probability: 0.3}}, downlink: {loss: {probability: 0.3}}}
placements:
  - {name: edge, model: models/anomaly_detector}
  - {name: quiet, model: models/anomaly_detector, network: quiet}
  - {name: told, model: models/anomaly_detector, network: told}
sensors: [{id: press, count: 5, rate_hz: 20}]
",
    );
    let of = |flags: &[&str]| {
        let ended = place.run(&[flags, &["--json"]].concat());
        let value: Value = serde_json::from_str(&ended.lines.join("\n")).unwrap();
        let placements = value["points"][0]["placements"].as_array().unwrap();
        let requests: Vec<_> = placements.iter().map(|placement| placement["requests"].clone()).collect();
        let count = |of: &Value, key: &str| of[key].as_u64().unwrap();
        for requests in &requests {
            let refused: u64 =
                requests["refused"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
            let ended = count(requests, "answered") + refused + count(requests, "silent");
            assert_eq!((count(requests, "sent"), ended), (100, 100), "{requests}");
        }
        let [edge, quiet, told] = requests.as_slice() else { panic!("three placements") };
        assert_eq!(count(edge, "answered"), 100);
        assert!(count(quiet, "silent") > 20 && quiet["refused"] == serde_json::json!({}), "{quiet}");
        assert!(count(told, "silent") == 0 && count(&told["refused"], "NETWORK_LOST") > 20, "{told}");
        (count(quiet, "silent"), count(told, "answered"))
    };
    // The network decides the same on either clock.
    assert_eq!(of(&[]), of(&["--virtual", "--cost", "5,5"]));
}

#[test]
fn a_scenario_is_the_same_with_a_byte_order_mark_and_other_line_ends() {
    let flags = ["--virtual", "--cost", "5,5"];
    let plain = Place::with(OWN);
    plain.run(&flags);
    let windows = Place::with(&format!("\u{feff}{}", OWN.replace('\n', "\r\n")));
    windows.run(&flags);
    assert_eq!(plain.rows("results/scenario/metrics.csv"), windows.rows("results/scenario/metrics.csv"));
}

#[test]
fn a_full_disk_is_named_and_what_was_measured_is_kept_and_told() {
    // The tables of the second repeat have no room.
    let place = Place::with(&OWN.replace("count: 4, ", "count: 20, "));
    let arguments =
        ["compare", "scenario.yaml", "--out", "out", "--virtual", "--cost", "5,5", "--repeat", "4"];
    let ended = run(nearfar_on_a_small_disk(40, &arguments).current_dir(place.0.path()));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let complaint = ended.stderr.lines().last().unwrap();
    assert!(complaint.starts_with("nearfar: out/") && complaint.contains("cannot be written"), "{complaint}");
    ended.line_with("latency_ms  ");
    let kept = std::fs::read_to_string(place.path("out/metrics.csv")).unwrap();
    assert!(kept.lines().count() > 100 && kept.lines().all(|row| row.split(',').count() == 6), "{kept}");
    // The first repeat's observations are a whole file.
    let observed = made(&place, "out/observations.parquet").len();
    assert!(observed > 100, "{observed} observations");
    // What is there is known as results, and replaced by the next ones.
    place.run(&["--out", "out", "--virtual", "--cost", "5,5"]);
    assert!(made(&place, "out/observations.parquet").len() != observed);
}

#[test]
fn a_crash_leaves_what_was_measured() {
    let place = Place::with(&long());
    let process = Process::start(&mut place.command(&["--out", "out"]));
    wait_for_rows(&place);
    assert!(process.signal("KILL"));
    assert_eq!(process.wait().code, None);
    let read = run(nearfar(&["compare", "--csv", "out/metrics.csv"]).current_dir(place.0.path()));
    read.assert_success();
    assert!(read.line_with("total_latency_ms").contains("edge"));
    assert!(!place.path("out/observations.parquet").exists());
    // What is left is known as results, and replaced by the next ones.
    place.write("scenario.yaml", OWN);
    place.run(&["--out", "out", "--virtual", "--cost", "5,5"]);
}

#[test]
fn ctrl_c_keeps_what_was_measured_and_says_what_it_says() {
    let place = Place::with(&long());
    let process = Process::start(&mut place.command(&["--out", "out", "--repeat", "3"]));
    wait_for_rows(&place);
    assert!(process.signal("INT"));
    let ended = process.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("the experiment was interrupted"), "{}", ended.stderr);
    let sent = ended.line_with("edge: sent");
    assert!(sent.contains("silent 0") && !sent.contains("sent 0"), "{sent}");
    assert!(std::fs::read(place.path("out/observations.parquet")).unwrap().ends_with(b"PAR1"));
}

/// Until both placements have answered.
#[track_caller]
fn wait_for_rows(place: &Place) {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let text = std::fs::read_to_string(place.path("out/metrics.csv")).unwrap_or_default();
        if text.contains(",edge,") && text.contains(",cloud,") {
            return;
        }
        std::thread::yield_now();
    }
    panic!("no answers are written");
}

#[test]
fn a_dry_run_says_what_would_be_run_and_runs_nothing() {
    let text = format!("{OWN}sweep: [{{key: sensors.press.rate_hz, values: [5, 10]}}]\n");
    let place = Place::with(&text.replace("warm_up_s: 1", "warm_up_s: 1, time_quantum_us: 5"));
    let ended = place.run(&["--dry-run", "--repeat", "3", "--seed", "9"]);
    for line in [
        "scenario.yaml, seed 9",
        "placement edge: the shipped model, threshold 0.9, network: none",
        "placement cloud: the shipped model, threshold 0.9, network: wifi (uplink: delay; downlink: delay)",
        "sensor press: 4 simulated, noise level 1, 5 requests a second each",
        "2 points, 3 repeats of 2 s (1 s of them warm-up): some 360 inputs to each of 2 placements, some 12 s",
    ] {
        assert!(ended.lines.iter().any(|printed| printed == line), "{line}: {:?}", ended.lines);
    }
    assert!(ended.stderr.contains("line 1: simulation.time_quantum_us"), "{}", ended.stderr);
    assert!(!place.path("results").exists());
    place.write("scenario.yaml", &OWN.replace("models/anomaly_detector, network", "nowhere, network"));
    let ended = run(&mut place.command(&["--dry-run"]));
    assert_eq!((ended.code, ended.lines.len()), (Some(1), 5), "{ended:?}");
    assert!(ended.stderr.contains("placement \"cloud\": nowhere is neither in"), "{}", ended.stderr);
}

/// Every file in a directory, and its content.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

#[test]
fn in_virtual_time_two_runs_are_byte_for_byte_the_same() {
    let place = Place::with(&OWN.replace("count: 4", "count: 4, noise_level: 2"));
    let flags = ["--virtual", "--cost", "20,2", "--cost", "cloud=10,1", "--repeat", "2", "--out"];
    let one = place.run(&[&flags[..], &["one"]].concat());
    let two = place.run(&[&flags[..], &["two"]].concat());
    assert_eq!(one.lines, two.lines);
    let found = files(&place.path("one"));
    let names: Vec<_> = found.keys().map(String::as_str).collect();
    for name in [
        "cost.txt",
        "latency.svg",
        "metrics.csv",
        "metrics_communication.csv",
        "observations.parquet",
        "report.html",
        "summary.json",
        "scenario.yaml",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(found == files(&place.path("two")));
    assert_eq!(found["cost.txt"], b"--cost edge=20,2\n--cost cloud=10,1\n");
    let other = place.run(&[&flags[..], &["other", "--seed", "8"]].concat());
    assert_ne!(one.lines, other.lines);
    let asked = asked(&place.rows("one/metrics.csv"));
    assert_eq!((asked["edge"].len(), &asked["edge"]), (40, &asked["cloud"]));
}

#[test]
fn a_network_gives_every_request_the_same_delay_on_either_clock() {
    // Each device asks once, so that no message waits for another.
    let once = OWN.replace(", warm_up_s: 1", "").replace("count: 4, rate_hz: 5", "count: 40, rate_hz: 0.5");
    let place = Place::with(&once);
    let delays = |flags: &[&str]| {
        place.run(flags);
        let mut rows = place.rows("out/metrics.csv");
        rows.retain(|row| row[2] == "cloud");
        rows.sort_by_key(|row| row[0].parse::<i64>().unwrap());
        let delay_us = |row: &Vec<String>| (row[4].parse::<f64>().unwrap() * 1e3).round() as u64;
        rows.iter().map(|row| (row[1].clone(), delay_us(row))).collect::<Vec<_>>()
    };
    let by_the_clock = delays(&["--out", "out"]);
    assert_eq!(by_the_clock.len(), 40);
    assert_eq!(by_the_clock, delays(&["--out", "out", "--virtual", "--cost", "20,2"]));
}

#[test]
fn a_measured_cost_can_be_given_back() {
    let place = Place::with(OWN);
    let measured = place.run(&["--virtual", "--out", "measured"]);
    let flags = std::fs::read_to_string(place.path("measured/cost.txt")).unwrap();
    let flags: Vec<_> = flags.split_whitespace().collect();
    assert_eq!(flags.len(), 8, "{flags:?}");
    let given = place.run(&[&flags[..], &["--virtual", "--out", "given"]].concat());
    assert_eq!(measured.lines, given.lines);
    // Page and summary say where the figures are from, which differs.
    let but_basis = |directory: &str| {
        let mut files = files(&place.path(directory));
        let said = ["report.html", "summary.json"].map(|name| files.remove(name));
        assert!(said.iter().all(Option::is_some));
        files
    };
    assert!(but_basis("measured") == but_basis("given"));
}

#[test]
fn the_way_of_a_scenario_that_hardly_asks_is_measured_too() {
    let seldom = OWN.replace(", warm_up_s: 1", "").replace("count: 4, rate_hz: 5", "count: 1, rate_hz: 0.5");
    let place = Place::with(&seldom);
    let ended = place.run(&["--virtual", "--out", "out"]);
    let said = "measuring the way through client and broker, for 2 s by the clock";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    let flags = std::fs::read_to_string(place.path("out/cost.txt")).unwrap();
    let ways: Vec<_> = flags.lines().filter_map(|line| line.strip_prefix("--path ")).collect();
    assert_eq!(ways.len(), 2, "{flags}");
    for way in ways {
        let longest = way.rsplit(',').next().unwrap().parse::<f64>().unwrap();
        assert!(longest > 0.0, "{way}");
    }
}

#[test]
fn what_the_way_takes_is_part_of_every_total() {
    let place = Place::with(OWN);
    place.run(&["--virtual", "--cost", "20,2", "--path", "100", "--path", "edge=300", "--out", "out"]);
    // A pass of one row, and the way.
    let rows = place.rows("out/metrics.csv");
    let edge: Vec<_> = rows.iter().filter(|row| row[2] == "edge").map(|row| row[5].as_str()).collect();
    assert_eq!(edge, vec!["0.322000"; 20]);
    let beyond = |row: &[String]| row[5].parse::<f64>().unwrap() - row[4].parse::<f64>().unwrap();
    assert!(rows.iter().all(|row| row[2] == "edge" || beyond(row) > 0.1219));
}

#[test]
fn in_virtual_time_there_may_be_other_numbers_of_devices_at_every_point() {
    let text = format!("{OWN}sweep: [{{key: sensors.press.rate_hz, values: [1, 2]}}]\n");
    let place = Place::with(&text);
    let ended = place.run(&["--virtual", "--cost", "5,5", "--devices", "1000", "--out", "out"]);
    assert!(ended.lines.iter().any(|line| line == "sensors.press.rate_hz = 2"), "{:?}", ended.lines);
    let sent: Vec<_> = ended.lines.iter().filter(|line| line.starts_with("edge: sent")).collect();
    assert!(sent[0].contains("sent 1000,") && sent[1].contains("sent 2000,"), "{sent:?}");
    for (table, rate) in [("out/metrics-1.csv", 1), ("out/metrics-2.csv", 2)] {
        // Half of the time is warm-up, which does not count.
        assert_eq!(asked(&place.rows(table))["edge"].len(), 1_000 * rate);
    }
    assert!(!place.path("out/metrics.csv").exists());
}

#[test]
fn a_recording_is_replayed_to_every_placement() {
    let mut recording = format!("time_s,{},truth\n", FEATURE_NAMES.join(","));
    for row in 0..20 {
        let features = vec![format!("0.{row:02}"); FEATURE_NAMES.len()].join(",");
        writeln!(recording, "{},{features},{}", f64::from(row) * 0.05, row % 2).unwrap();
    }
    let sensors = "sensors: [{id: mill, file: mill.csv, label: truth, speed: 2}]\n";
    let place = Place::with(
        &OWN.replace("sensors: [{id: press, count: 4, rate_hz: 5}]\n", sensors)
            .replace("warm_up_s: 1", "warm_up_s: 0"),
    );
    let refused = run(&mut place.command(&["--virtual"]));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("sensor \"mill\": mill.csv is neither in"), "{}", refused.stderr);
    place.write("mill.csv", &recording);
    for clock in [&["--out", "real"][..], &["--out", "virtual", "--virtual", "--cost", "5,5"]] {
        let ended = place.run(clock);
        assert!(ended.line_with("cloud: sent").starts_with("cloud: sent 20, answered 20, silent 0"));
    }
    let devices: Vec<_> = place.rows("real/metrics.csv").into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(devices, vec!["mill"; 40]);
}

#[test]
fn a_directory_that_holds_something_else_is_left_alone() {
    let place = Place::with(OWN);
    std::fs::create_dir(place.path("mine")).unwrap();
    place.write("mine/metrics.csv", "precious");
    let flags = ["--virtual", "--cost", "5,5", "--out", "mine"];
    run(&mut place.command(&flags)).assert_refused_after_remarks("mine: the directory is not empty");
    assert_eq!(std::fs::read(place.path("mine/metrics.csv")).unwrap(), b"precious");
    place.write("mine/notes.txt", "kept");
    place.run(&[&flags[..], &["--force"]].concat());
    assert_eq!(place.rows("mine/metrics.csv").len(), 40);
    place.run(&flags);
    assert_eq!(std::fs::read(place.path("mine/notes.txt")).unwrap(), b"kept");
}

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

/// Point, placement, site, reason, and whether it is an anomaly, of every observation.
fn made(place: &Place, file: &str) -> Vec<[String; 5]> {
    let file = std::fs::File::open(place.path(file)).unwrap();
    let rows = SerializedFileReader::new(file).unwrap().into_iter();
    let of = |row: Row| {
        let text = |wanted: &str| {
            let (_, field) = row.get_column_iter().find(|(name, _)| *name == wanted).unwrap();
            field.to_string().replace('"', "")
        };
        ["point", "placement", "made_by", "reason", "is_anomaly"].map(text)
    };
    rows.map(|row| of(row.unwrap())).collect()
}

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

trait RefusedAfterRemarks {
    fn assert_refused_after_remarks(&self, part: &str);
}

impl RefusedAfterRemarks for Ended {
    /// The last sentence on standard error says `part`.
    #[track_caller]
    fn assert_refused_after_remarks(&self, part: &str) {
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(self.code == Some(1) && self.lines.is_empty(), "{self:?}");
        assert!(last.starts_with("nearfar: ") && last.contains(part), "{part:?} is not in {last:?}");
    }
}

#[test]
fn what_is_wrong_with_a_scenario_is_said_before_anything_runs() {
    let refused = |from: &str, to: &str, part: &str| {
        assert!(OWN.contains(from), "{from}");
        let place = Place::with(&OWN.replacen(from, to, 1));
        run(&mut place.command(&[])).assert_refused_after_remarks(part);
        assert!(!place.path("results").exists());
    };
    refused("rate_hz: 5", "rate_hs: 5", "scenario.yaml: line 5, key `sensors.rate_hs`: unknown key");
    refused("network: wifi", "network: wlan", "line 4, key `placements.network`: found \"wlan\"");
    refused("sensors: [{id: press, count: 4, rate_hz: 5}]", "", "sensors: there are none");
    refused("id: press", "id: a/b", "sensor \"a/b-1\": device_id contains '/'");
    refused(
        "count: 4, rate_hz: 5",
        "count: 1000000, rate_hz: 100",
        "observations, expected at most 20000000",
    );
    refused(
        "models/anomaly_detector, network",
        "scenario.yaml, network",
        "placement \"cloud\": scenario.yaml: expected a directory, or a file that ends in",
    );
    refused(
        "network: wifi",
        "cloud: {model: nowhere, policy: shadow}",
        "placement \"cloud\": its cloud: nowhere is neither in",
    );
    let place = Place::with("simulation: {duration_s: 1, seed: 1}\nsensors: [{id: a}]\n");
    run(&mut place.command(&[])).assert_refused_after_remarks("there are no placements");
    let place = Place::with(OWN);
    run(nearfar(&["compare", "nowhere.yaml"]).current_dir(place.0.path()))
        .assert_refused_after_remarks("nowhere.yaml: cannot be read");
    run(&mut place.command(&["--deadline-ms", "1e30"])).assert_refused_after_remarks(
        "--deadline-ms: found 1000000000000000000000000000000, expected at most 3600000",
    );
    run(&mut place.command(&["--virtual", "--cost", "moon=1,1"]))
        .assert_refused_after_remarks("--cost: there is no placement \"moon\", expected one of edge, cloud");
    for (flags, part) in [
        (&["--devices", "5"][..], "--virtual"),
        (&["--virtual", "--cost", "fast"], "expected two numbers of microseconds"),
        (&["--csv", "metrics.csv"], "cannot be used with"),
    ] {
        let ended = run(&mut place.command(flags));
        assert!(ended.code == Some(2) && ended.stderr.contains(part), "{ended:?}");
    }
}
