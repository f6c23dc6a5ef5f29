//! Experiments in virtual time: repeatable to the byte, with costs that are measured or given.

use super::{OWN, Place, asked, files};

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
    // What is said repeats it, from where it was run; the page does not know where it is.
    let page = String::from_utf8(found["report.html"].clone()).unwrap();
    let again = "nearfar compare scenario.yaml --seed 7 --repeat 2 --resamples 100 --virtual $(cat RESULTS/cost.txt) --out AGAIN";
    assert!(page.contains(again), "{page}");
    let repeats = one.stderr.lines().find_map(|line| line.strip_prefix("to repeat it: ")).unwrap();
    assert_eq!(repeats, again.replace("RESULTS", "one").replace("AGAIN", "one-again"));
    let mut shell = std::process::Command::new("sh");
    let command = repeats.replacen("nearfar", env!("CARGO_BIN_EXE_nearfar"), 1);
    assert!(shell.args(["-c", &command]).current_dir(place.0.path()).output().unwrap().status.success());
    assert!(files(&place.path("one-again"))["metrics.csv"] == found["metrics.csv"]);
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
    assert_eq!(by_the_clock, delays(&["--out", "out", "--force", "--virtual", "--cost", "20,2"]));
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
