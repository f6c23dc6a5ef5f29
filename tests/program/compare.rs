//! `nearfar compare` on existing measurements: a table for people, JSON for
//! programs, and errors that say where.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use crate::support::process::{nearfar, run};

const HEADER: &str = "timestamp_us,device_id,placement,inference_time_ms,cloud_latency_ms,total_latency_ms\n";

/// Two devices, 300 answers each, as the replaced system wrote them: the total is computed.
fn metrics(placement: &str, cloud_ms: f64) -> String {
    let mut text = HEADER.to_owned();
    for number in 0..600 {
        let (device, at) = (number % 2 + 1, number / 2 * 100_000);
        let inference_ms = 2.0 + f64::from(number * 7_919 % 97) / 50.0;
        let total_ms = inference_ms + cloud_ms;
        let row = format!("{at},sensor{device},{placement},{inference_ms},{cloud_ms},{total_ms}\n");
        text.write_str(&row).expect("memory takes everything");
    }
    text
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("the directory is ours");
    path.display().to_string()
}

#[test]
fn two_files_of_the_replaced_system_become_a_table_and_a_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let edge = write(directory.path(), "edge.csv", &metrics("edge", 0.0));
    let cloud = write(directory.path(), "cloud.csv", &metrics("cloud", 100.0));
    let ended = run(&mut nearfar(&["compare", "--edge", &edge, "--cloud", &cloud, "--deadline-ms", "50"]));
    ended.assert_success();
    let output = ended.lines.join("\n");
    for part in [
        "total_latency_ms     edge                             cloud",
        "  p99.9 ",
        "over 50 ms           0 % [0, 0.6362]                  100.0 % [99.36, 100.0]",
        "cloud is worse than edge: cloud less edge is +100.0 ms on average [+100.0, +100.0] (600 pairs;",
        "95 % intervals by bootstrap, 2000 resamples, seed 0",
        "it was computed, not measured",
    ] {
        assert!(output.contains(part), "{part:?} is not in\n{output}");
    }
}

#[test]
fn one_file_of_both_becomes_json_that_repeats_itself() {
    let directory = tempfile::tempdir().unwrap();
    let both = metrics("edge", 0.0) + &metrics("cloud", 100.0)[HEADER.len()..];
    let file = write(directory.path(), "metrics.csv", &both);
    let json = || {
        let ended = run(&mut nearfar(&["compare", "--csv", &file, "--json", "--seed", "3"]));
        ended.assert_success();
        ended.lines.join("\n")
    };
    let (first, second) = (json(), json());
    assert_eq!(first, second);
    let value: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(value["placements"][1]["placement"], "cloud");
    assert_eq!(value["contrasts"][0]["verdict"], "worse");
    assert_eq!(value["contrasts"][0]["pairs"], 600);
    let p50 = &value["placements"][0]["total_latency_ms"]["p50"];
    let (low, high) = (p50["interval"][0].as_f64().unwrap(), p50["interval"][1].as_f64().unwrap());
    assert!((low..=high).contains(&p50["value"].as_f64().unwrap()));
}

#[test]
fn what_is_wrong_with_a_file_is_named_with_line_and_column() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |flag: &str, text: &str, parts: &[&str]| {
        let file = write(directory.path(), "bad.csv", text);
        run(&mut nearfar(&["compare", flag, &file])).assert_refused(2, &[&[file.as_str()], parts].concat());
    };
    refused(
        "--csv",
        &format!("{HEADER}1,s,edge,1,0,soon\n"),
        &["line 2", "total_latency_ms", "found \"soon\""],
    );
    refused("--csv", "timestamp_us,device\n", &["line 1", "device_id is missing", "is it \"device\"?"]);
    let semicolons = HEADER.replace(',', ";");
    refused("--csv", &semicolons, &["line 1", "names with semicolons between them, expected commas"]);
    let open = format!("{HEADER}1,\"s,edge,1,0,1\n2,s,edge,1,0,1\n");
    refused("--csv", &open, &["line 2: a quote is opened there and not closed"]);
    refused("--csv", &format!("{HEADER}1,s\n"), &["line 2: found 2 cells, expected 6"]);
    refused("--csv", HEADER, &["no measurements"]);
    refused("--cloud", &metrics("edge", 0.0), &["no row has the placement \"cloud\""]);
    let missing = directory.path().join("missing.csv");
    run(nearfar(&["compare", "--csv"]).arg(&missing)).assert_refused(2, &["missing.csv", "cannot be read"]);
    let ended = run(&mut nearfar(&["compare"]));
    assert!(ended.code == Some(2) && ended.stderr.contains("--csv"), "{ended:?}");
}

#[test]
fn measurements_that_are_given_twice_are_refused_and_so_are_flags_that_cannot_be() {
    let directory = tempfile::tempdir().unwrap();
    let both = metrics("edge", 0.0) + &metrics("cloud", 100.0)[HEADER.len()..];
    let file = write(directory.path(), "metrics.csv", &both);
    let link = directory.path().join("link.csv").display().to_string();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let compare = |flags: &[&str]| run(&mut nearfar(&[&["compare"], flags].concat()));
    for twice in [["--csv", &file, "--csv", &link], ["--edge", &file, "--csv", &link]] {
        compare(&twice).assert_refused(2, &["--csv: ", " is given twice, expected each file once"]);
    }
    // One file may have both placements.
    compare(&["--edge", &file, "--cloud", &link]).assert_success();
    let zero = compare(&["--csv", &file, "--deadline-ms", "0"]);
    zero.assert_refused(2, &["--deadline-ms: found 0, expected a number above 0"]);
    let no_scenario = compare(&[&file]);
    no_scenario.assert_refused(2, &["expected a scenario", "measurements are compared with --csv"]);
    assert!(no_scenario.stderr.len() < 500, "{no_scenario:?}");
}
