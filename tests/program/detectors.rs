//! `nearfar train` and `nearfar judge` as a user calls them: rows become a detector that serves, and the page
//! says how good it is.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nearfar::Node;
use nearfar::deployment::Config;
use nearfar::inference::{DeviceId, Request};
use serde_json::Value;

use crate::support::process::{Ended, nearfar, run};

/// Rows of a pump every ten seconds; where it is `faulty`, something is wrong from row 700 to 800.
fn pump(path: &Path, seed: usize, faulty: bool) -> PathBuf {
    let noise = |at: usize, of: usize| {
        let mut hash = ((at * 4 + of + seed * 100_003 + 1) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
        hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (hash >> 40) as f64 / f64::from(1 << 24) - 0.5
    };
    let mut text = "time_s,snapshot,power,temperature,note,fault\n".to_owned();
    for at in 0..1_000 {
        let is_wrong = faulty && (700..800).contains(&at);
        let power = 3.0 + noise(at, 0) + if is_wrong { 2.0 } else { 0.0 };
        let temperature = 60.0 + (at as f64 * 0.02).sin() + 0.3 * noise(at, 1);
        let fault = u8::from(is_wrong);
        writeln!(text, "{},{at},{power:.4},{temperature:.4},P7,{fault}", at * 10).unwrap();
    }
    std::fs::write(path, text).unwrap();
    path.to_owned()
}

fn train(arguments: &[&str], files: &[&Path], out: &Path) -> Ended {
    run(nearfar(&["train"]).args(files).args(arguments).arg("--out").arg(out))
}

#[test]
fn a_healthy_recording_becomes_a_detector_that_serves_and_is_judged() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (healthy, other) = (pump(&at("a.csv"), 1, false), pump(&at("b.csv"), 2, false));
    let ended = train(&["--detector", "t2,baseline", "--label", "fault"], &[&healthy, &other], &at("pumps"));
    ended.assert_success();
    ended.line_with("2000 rows of 2 devices, 2 features");
    ended.line_with("column snapshot is left out");
    ended.line_with("column note is left out: it holds no numbers");
    ended.line_with("next: nearfar serve");
    let unsaid = train(&["--detector", "baseline"], &[&healthy], &at("unsaid"));
    unsaid.assert_success();
    unsaid.line_with("column fault is left out: it looks like a label");
    ended.line_with("detector t2 and baseline, 1/1000 rows false alarms allowed");
    run(nearfar(&["inspect"]).arg(at("pumps"))).assert_success();
    let again = train(&["--detector", "t2,baseline", "--label", "fault"], &[&healthy, &other], &at("again"));
    again.assert_success();
    let weights = |name: &str| std::fs::read(at(name).join("model.safetensors")).unwrap();
    assert!(weights("pumps") == weights("again"), "the same rows give the same bytes");
    let judged = pump(&at("judged.csv"), 3, true);
    let page = at("page");
    let ended =
        run(nearfar(&["judge"]).arg(at("pumps")).arg(&judged).args(["--label", "fault", "--out"]).arg(&page));
    ended.assert_success();
    ended.line_with("the one event is found");
    let json: Value = serde_json::from_slice(&std::fs::read(page.join("judgement.json")).unwrap()).unwrap();
    let text = json.to_string();
    for control in ["never", "always", "row number", "every 5 %", "second half"] {
        assert!(text.contains(control), "{control}");
    }
    assert!(std::fs::read_to_string(page.join("judgement.html")).unwrap().contains("<svg"));
    let rows = std::fs::read_to_string(page.join("rows.csv")).unwrap();
    assert_eq!(rows.lines().count(), 1_001);
    assert!(
        rows.lines().any(|row| row.contains(",alarm,1,") && row.contains("power=")),
        "the fault is named"
    );
    let ended = run(nearfar(&["judge"]).arg(at("pumps")).arg(&judged));
    ended.assert_said(2, "--label is missing");
}

#[test]
fn what_cannot_be_trained_is_said_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let write = |name: &str, text: &str| {
        std::fs::write(at(name), text).unwrap();
        at(name)
    };
    let few = write("few.csv", "a,b\n1,2\n2,3\n3,1\n");
    let constant = write("constant.csv", &format!("a,b\n{}", "1,2\n".repeat(200)));
    let words = write("words.csv", "a,b\nx,y\nz,w\n");
    let healthy = pump(&at("healthy.csv"), 1, false);
    let broken = write("broken.csv", "power,temperature\n1,2\n3,nan\n");
    for (file, arguments, part) in [
        (&few, &[][..], "there are 3 rows without an anomaly, expected at least 100"),
        (&constant, &[], "all 2 features are constant"),
        (&words, &[], "found no column of numbers"),
        (&broken, &[], "line 3"),
        (&healthy, &["--label", "falt"], "falt"),
        (&healthy, &["--label", "note"], "found the label"),
        (&healthy, &["--features", "power,pressure"], "pressure"),
        (&healthy, &["--detector", "seasonal"], "needs at least two days"),
        (&healthy, &["--detector", "discord"], "rows of one feature, and these have 2"),
        (&healthy, &["--detector", "network", "--label", "fault"], "the network: "),
        (&healthy, &["--detector", "magic"], "expected auto, or some of baseline, t2"),
        (&healthy, &["--false-alarms", "1/fortnight"], "1/week"),
    ] {
        let ended = train(arguments, &[file], &at("out"));
        ended.assert_said(2, part);
        assert!(!at("out").exists(), "nothing is written");
    }
}

#[test]
fn a_device_of_a_running_node_learns_anew_by_command() {
    let directory = tempfile::tempdir().unwrap();
    let healthy = pump(&directory.path().join("a.csv"), 1, false);
    let model = directory.path().join("pumps");
    train(&["--detector", "baseline", "--label", "fault"], &[&healthy], &model).assert_success();
    let node = Node::builder().relearn_topic("relearn").deployment(Config::edge(), &model).start().unwrap();
    let request = Request::new([3.0, 60.0]).of(DeviceId::new("pump-7").unwrap());
    node.ask(request, Duration::from_secs(60)).unwrap();
    let port = node.mqtt_address().unwrap().port().to_string();
    let relearn = |arguments: &[&str]| {
        let topic = ["relearn", "--topic", "relearn", "--broker-port", &port];
        run(nearfar(&topic).args(arguments))
    };
    let ended = relearn(&["--device", "pump-7"]);
    ended.assert_success();
    ended.line_with("pump-7 learns anew");
    relearn(&["--device", "pump-8"]).line_with("pump-8 is not known");
    relearn(&["--all"]).line_with("1 device learns anew");
}
