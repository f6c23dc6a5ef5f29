//! What `compare` refuses, and says before anything runs.

use super::{OWN, Place, RefusedAfterRemarks, files};
use crate::support::models::ModelDirectory;
use crate::support::process::{nearfar, nearfar_on_a_small_disk, run};

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
    place.run(&[&flags[..], &["--force"]].concat());
    assert_eq!(std::fs::read(place.path("mine/notes.txt")).unwrap(), b"kept");
}

#[test]
fn the_results_of_an_experiment_are_kept_unless_forced_and_until_there_are_others() {
    let place = Place::with(OWN);
    let flags = ["--virtual", "--cost", "5,5"];
    place.run(&flags);
    let results = place.path("results/scenario");
    let before = files(&results);
    for out in [&[][..], &["--out", "results/scenario"]] {
        let refused = run(&mut place.command(&[&flags[..], out].concat()));
        assert!(refused.code == Some(2) && refused.lines.is_empty(), "{refused:?}");
        for part in ["--out: results/scenario has the results of an experiment", "--force"] {
            assert!(refused.stderr.contains(part), "{}", refused.stderr);
        }
    }
    let scenario = std::fs::read(place.path("scenario.yaml")).unwrap();
    assert_eq!(files(&results), before);
    // One that has no room leaves what it was to replace.
    let mut arguments = vec!["compare", "scenario.yaml", "--force", "--repeat", "9"];
    arguments.extend(flags);
    let full = run(nearfar_on_a_small_disk(40, &arguments).current_dir(place.0.path()));
    assert_eq!(full.code, Some(1), "{full:?}");
    let replaced = results.join("replaced-results");
    let said = full.stderr.lines().last().unwrap();
    assert!(said.contains("there before are in results/scenario/replaced-results"), "{said}");
    assert_eq!(files(&replaced), before);
    place.run(&[&flags[..], &["--force"]].concat());
    assert!(!replaced.exists());
    assert_eq!(files(&results)["metrics.csv"], before["metrics.csv"]);
    // The scenario is one of the results.
    let mut command = nearfar(&["compare", "results/scenario/scenario.yaml", "--force"]);
    let refused = run(command.args(["--out", "results/scenario"]).current_dir(place.0.path()));
    let said = "would replace results/scenario/scenario.yaml, which is read";
    assert!(refused.code == Some(2) && refused.stderr.contains(said), "{refused:?}");
    assert_eq!(std::fs::read(results.join("scenario.yaml")).unwrap(), scenario);
}

#[test]
fn what_is_wrong_with_a_scenario_is_said_before_anything_runs() {
    let refused = |from: &str, to: &str, part: &str| {
        assert!(OWN.contains(from), "{from}");
        let place = Place::with(&OWN.replacen(from, to, 1));
        run(&mut place.command(&[])).assert_refused_after_remarks(part);
        assert!(!place.path("results").exists());
    };
    refused("rate_hz: 5", "rate_hs: 5", "scenario.yaml, line 5, key `sensors[0].rate_hs`: unknown key");
    refused("network: wifi", "network: wlan", "line 4, key `placements[1].network`: found \"wlan\"");
    refused("sensors: [{id: press, count: 4, rate_hz: 5}]", "", "sensors: there are none");
    let number = "found 7, expected a number between 0 and 1";
    refused("network: wifi", "threshold: 7", &format!("key `placements[1].threshold`: {number}"));
    let begins = "key `simulation.warm_up_s`: found 2, expected a number of at least 0 and less than 2";
    refused("warm_up_s: 1", "warm_up_s: 2", begins);
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

/// A placement whose model takes power and temperature, and a recording of them.
fn pump(sensor: &str, recording: &str) -> (Place, ModelDirectory) {
    let model = ModelDirectory::random(&[2], 1);
    model.edit(|config| {
        config["features"] = serde_json::json!([{"name": "power"}, {"name": "temperature"}]);
    });
    let place = Place::with(&format!(
        "simulation: {{duration_s: 10, seed: 7}}\nplacements:\n  - {{name: edge, model: {0}}}\n  - {{name: cloud, model: {0}, \
         network: wifi}}\nsensors: [{{id: pump, file: pump.csv, {sensor}}}]\n",
        model.path().display()
    ));
    place.write("pump.csv", recording);
    (place, model)
}

#[test]
fn a_recording_that_would_not_be_replayed_as_it_is_written_is_refused() {
    let rows = "time_s,power,temperature,state\n0,1,2,ok\n1,1,2,ok\n2,1,2,kaputt\n";
    for (sensor, recording, said) in [
        ("label: state, anomaly: [kaputte]", rows.to_owned(), "no row has the label \"kaputte\""),
        (
            "label: state, anomaly: [kaputte]",
            rows.to_owned(),
            "there are \"kaputt\", \"ok\"; did you mean \"kaputt\"?",
        ),
        (
            "speed: 1",
            rows.replace("2,1,2", "0.5,1,2"),
            "line 4: its time is 0.5 s before that of the row above",
        ),
        (
            "speed: 1",
            rows.replace("1,1,2,ok", "1,1,2,\"ok"),
            "line 3: a quote is opened there and not closed",
        ),
        (
            "speed: 1",
            rows.replace("time_s", "time"),
            "its recording has no times, expected them in a column time_s",
        ),
        ("speed: 1", rows.replace("power", "leistung"), "`features: {INPUT: COLUMN}` beside `file`"),
        ("features: {powr: leistung}", rows.to_owned(), "has no input \"powr\"; did you mean \"power\"?"),
    ] {
        let (place, _model) = pump(sensor, &recording);
        for flags in [&["--dry-run"][..], &["--virtual", "--cost", "5,5"]] {
            let ended = run(&mut place.command(flags));
            assert!(ended.code == Some(2) && ended.stderr.contains(said), "{said}: {ended:?}");
        }
        assert!(!place.path("results").exists());
    }
}

#[test]
fn what_was_left_out_of_a_recording_is_said_and_columns_may_have_other_names() {
    let rows = "time_s,leistung,temperature,state\n0,1,2,ok\n1,nan,2,ok\n2,1,2,kaputt\n";
    let sensor = "features: {power: leistung}, skip_bad_rows: true, label: state, anomaly: [outer]";
    let (place, _model) = pump(sensor, rows);
    let ended = place.run(&["--virtual", "--cost", "5,5", "--out", "out"]);
    let skipped = "pump.csv: 1 rows that cannot be used were left out, the first: ";
    ended.line_with(skipped);
    ended.line_with("no row that is sent has the label \"outer\"; there are \"kaputt\", \"ok\"");
    assert!(
        std::fs::read_to_string(place.path("out/report.html"))
            .unwrap()
            .contains("1 rows that cannot be used")
    );
    assert_eq!(place.rows("out/metrics.csv").len(), 4);
    let dry = run(&mut place.command(&["--dry-run"]));
    assert!(dry.code == Some(0) && dry.stderr.contains(skipped), "{dry:?}");
}
