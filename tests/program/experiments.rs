//! `nearfar compare SCENARIO`: what is asked is done, and every request is accounted for.

mod hybrids;
mod interrupted;
mod refused;
mod virtual_time;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use nearfar::features::FEATURE_NAMES;
use parquet::file::reader::SerializedFileReader;
use parquet::record::Row;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::models::fixture;
use crate::support::process::{Ended, nearfar, run};

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

/// Every file in a directory, and its content.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

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

trait RefusedAfterRemarks {
    fn assert_refused_after_remarks(&self, part: &str);
}

impl RefusedAfterRemarks for Ended {
    /// The last sentence on standard error says `part`.
    #[track_caller]
    fn assert_refused_after_remarks(&self, part: &str) {
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(self.code == Some(2) && self.lines.is_empty(), "{self:?}");
        assert!(last.starts_with("nearfar: ") && last.contains(part), "{part:?} is not in {last:?}");
    }
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
fn the_replaced_system_s_edge_runs_its_own_onnx_file() {
    let place = Place::with(&REPLACED.replace("models/anomaly_detector.onnx", "models/edge.onnx"));
    std::fs::create_dir(place.path("models")).unwrap();
    std::fs::copy(fixture("onnx/replaced_system.onnx"), place.path("models/edge.onnx")).unwrap();
    let ended = place.run(&[]);
    assert!(ended.line_with("edge: sent").starts_with("edge: sent 20, answered 20, silent 0"));
    assert!(!ended.stderr.contains(".onnx"), "{}", ended.stderr);
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
        let ended = place.run(&[flags, &["--json", "--force"]].concat());
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
    assert_eq!((ended.code, ended.lines.len()), (Some(2), 5), "{ended:?}");
    assert!(ended.stderr.contains("placement \"cloud\": nowhere is neither in"), "{}", ended.stderr);
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
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("sensor \"mill\": mill.csv is neither in"), "{}", refused.stderr);
    place.write("mill.csv", &recording.replace(',', ";").replace('.', ","));
    run(&mut place.command(&["--virtual"])).assert_refused_after_remarks("`delimiter: \";\"` beside `file`");
    let german = "file: mill.csv, delimiter: ;, decimal: \",\", skip_bad_rows: true";
    let as_it_was = std::fs::read_to_string(place.path("scenario.yaml")).unwrap();
    place.write("scenario.yaml", &as_it_was.replace("file: mill.csv", german));
    let ended = place.run(&["--out", "german", "--virtual", "--cost", "5,5"]);
    assert!(ended.line_with("cloud: sent").starts_with("cloud: sent 20, answered 20, silent 0"));
    place.write("scenario.yaml", &as_it_was);
    place.write("mill.csv", &recording);
    for clock in [&["--out", "real"][..], &["--out", "virtual", "--virtual", "--cost", "5,5"]] {
        let ended = place.run(clock);
        assert!(ended.line_with("cloud: sent").starts_with("cloud: sent 20, answered 20, silent 0"));
    }
    let devices: Vec<_> = place.rows("real/metrics.csv").into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(devices, vec!["mill"; 40]);
}
