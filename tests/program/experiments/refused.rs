//! What `compare` refuses, and says before anything runs.

use super::{OWN, Place, RefusedAfterRemarks, files};
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
