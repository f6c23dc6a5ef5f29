//! Experiments that end before they are over: what was measured is kept.

use std::time::Instant;

use super::{OWN, Place, made};
use crate::support::PATIENCE;
use crate::support::process::{Process, nearfar, nearfar_on_a_small_disk, run};

/// [`OWN`] for a minute, with one device and without a warm-up.
fn long() -> String {
    OWN.replace("duration_s: 2", "duration_s: 60").replace(", warm_up_s: 1", "").replace("count: 4, ", "")
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
    place.run(&["--out", "out", "--force", "--virtual", "--cost", "5,5"]);
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
    place.run(&["--out", "out", "--force", "--virtual", "--cost", "5,5"]);
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
