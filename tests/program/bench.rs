//! `nearfar bench`, as a user runs it.

use base64ct::{Base64, Encoding};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use serde_json::Value;

use crate::support::MODEL;
use crate::support::process::{Process, nearfar, ready_address, run};

/// The figures of a run with `arguments`.
fn bench(arguments: &[&str]) -> Value {
    let ended = run(&mut nearfar(&[&["bench", "--json", "--warm-up", "0.05"], arguments].concat()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.lines[0]).unwrap()
}

fn assert_all_answered(report: &Value, requests: u64) {
    let counts =
        ["sent", "answered", "unanswered", "refused", "strays"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(counts, [requests, requests, 0, 0, 0], "{report}");
    assert_eq!(report["errors"], serde_json::json!({}));
}

#[test]
fn a_node_of_its_own_is_measured_and_its_histogram_told() {
    let report = bench(&["--requests", "500", "--window", "8"]);
    assert_all_answered(&report, 500);
    let latency =
        ["p50", "p90", "p99", "p999", "max"].map(|name| report["latency_ms"][name].as_f64().unwrap());
    assert!(latency[0] > 0.0 && latency.is_sorted(), "{latency:?}");
    let encoded = Base64::decode_vec(report["histogram_v2_base64"].as_str().unwrap()).unwrap();
    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut encoded.as_slice()).unwrap();
    assert_eq!(histogram.len(), 500);
    assert_eq!(histogram.max() as f64 / 1e6, latency[4]);
    assert!(report["ready_after_ms"].as_f64().unwrap() > 0.0);
    if cfg!(target_os = "linux") {
        assert!(report["node"]["resident_mib"].as_f64().unwrap() > 1.0);
        assert!(report["generator"]["cpu_s"].as_f64().unwrap() >= 0.0);
    }
}

#[test]
fn an_echo_takes_the_nodes_place() {
    let report = bench(&[
        "--echo",
        "--requests",
        "300",
        "--payload-bytes",
        "397",
        "--connections",
        "2",
        "--devices",
        "5",
    ]);
    assert_all_answered(&report, 300);
    assert_eq!(report["target"], "echo");
}

#[test]
fn a_schedule_is_kept_whatever_comes_back() {
    // 100 ms to the cloud and back: a closed loop of one would take 20 s for 200 requests.
    let report = bench(&["--cloud-latency", "50", "--rate", "1000", "--requests", "200"]);
    assert_all_answered(&report, 200);
    assert!(report["latency_ms"]["p50"].as_f64().unwrap() >= 100.0, "{report}");
}

#[test]
fn a_running_broker_is_measured_at_every_quality_of_service_and_version() {
    let node = Process::start(&mut nearfar(&["serve", MODEL, "--listen", "127.0.0.1:0"]));
    let address = ready_address(&node.line()).to_string();
    let process = node.id().to_string();
    for (qos, version) in [("0", "3.1.1"), ("1", "3.1.1"), ("2", "3.1.1"), ("1", "5"), ("2", "5")] {
        let report = bench(&[
            "--broker",
            &address,
            "--pid",
            &process,
            "--qos",
            qos,
            "--mqtt",
            version,
            "--requests",
            "700",
            "--window",
            "300",
            "--connections",
            "3",
            "--devices",
            "7",
        ]);
        assert_all_answered(&report, 700);
        assert_eq!(report["target"], format!("broker {address}"));
        assert_eq!(report["node"].is_object(), cfg!(target_os = "linux"));
    }
    assert_eq!(node.terminate().code, Some(0));
}

#[test]
fn errors_are_counted_by_code() {
    let ended = run(&mut nearfar(&["bench", "--features", "31", "--requests", "40", "--warm-up", "0"]));
    assert_eq!(ended.code, Some(1), "nothing was answered: {ended:?}");
    ended.line_with("40 SHAPE_MISMATCH");
    assert!(ended.stderr.contains("no request was answered"), "{}", ended.stderr);
}

#[test]
fn people_get_lines_and_plotters_a_distribution() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("latency.hgrm");
    let arguments =
        ["bench", "--echo", "--requests", "200", "--warm-up", "0", "--hgrm", file.to_str().unwrap()];
    let ended = run(&mut nearfar(&arguments));
    ended.assert_success();
    assert!(ended.line_with("answers").contains(" a second: 200 in "));
    assert!(ended.line_with("latency").starts_with("latency    p50 "));
    let distribution = std::fs::read_to_string(&file).unwrap();
    let rows: Vec<_> =
        distribution.lines().filter(|line| line.contains('.') && !line.starts_with('#')).collect();
    assert!(
        rows.len() >= 2 && rows.last().unwrap().split_whitespace().nth(2) == Some("200"),
        "{distribution}"
    );
    assert!(distribution.contains("Total count    =          200"), "{distribution}");
    // Said before anything is measured.
    run(&mut nearfar(&arguments)).assert_refused(2, &["--hgrm: ", "exists already and is kept", "--force"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), distribution);
    run(&mut nearfar(&[&arguments[..], &["--force"]].concat())).assert_success();
}

#[test]
fn a_distribution_takes_the_place_of_no_file_that_the_node_reads() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("node.toml");
    std::fs::write(&config, "precious").unwrap();
    let config = config.to_str().unwrap();
    let ended = run(&mut nearfar(&["bench", "--config", config, "--hgrm", config, "--force"]));
    ended.assert_refused(2, &["--hgrm: ", "is the same file as", "which is read"]);
    assert_eq!(std::fs::read(config).unwrap(), b"precious");
}

#[test]
fn a_node_that_stops_is_named_and_what_was_measured_before_is_told() {
    let node = Process::start(&mut nearfar(&["serve", MODEL, "--listen", "127.0.0.1:0"]));
    let address = ready_address(&node.line()).to_string();
    let arguments = ["bench", "--broker", &address, "--seconds", "600", "--warm-up", "0", "--json"];
    let bench = Process::start(nearfar(&arguments).args(["--log-format", "json"]));
    let progress: Value = serde_json::from_str(&bench.complaint_with("answers/s")).unwrap();
    assert_eq!(progress["level"], "INFO", "{progress}");
    node.terminate();
    let ended = bench.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.lines[0]).unwrap();
    assert!(report["answered"].as_u64() > Some(0), "{report}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("the run was cut off, and the figures are of the time before: "), "{last}");
}

#[test]
fn a_sweep_tells_what_it_tried_and_the_knee() {
    let ended =
        run(&mut nearfar(&["bench", "sweep", "--echo", "--seconds", "0.1", "--p99-ms", "50", "--json"]));
    // The broker may warn of what it had to drop beyond the knee.
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let found: Value = serde_json::from_str(&ended.lines[0]).unwrap();
    let steps = found["steps"].as_array().unwrap();
    assert!(!steps.is_empty());
    let kept = steps.iter().filter(|step| step["is_kept"] == true);
    assert!(kept.clone().all(|step| step["p99_ms"].as_f64().unwrap() <= 50.0), "{found}");
    let highest = kept.map(|step| step["rate"].as_f64().unwrap()).max_by(f64::total_cmp);
    assert_eq!(found["knee_per_s"].as_f64(), highest);
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_reason() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = taken.local_addr().unwrap().to_string();
    drop(taken);
    run(&mut nearfar(&["bench", "--broker", &nobody])).assert_refused(1, &["cannot connect", &nobody]);
    run(&mut nearfar(&["bench", "--echo", "--connections", "5", "--window", "4"]))
        .assert_refused(2, &["--window 4", "5 connections"]);
    run(&mut nearfar(&["bench", "--echo", "--connections", "5", "--devices", "4"]))
        .assert_refused(2, &["--devices 4"]);
    run(&mut nearfar(&["bench", "--echo", "--payload-bytes", "10"]))
        .assert_refused(2, &["--payload-bytes", "32 features"]);
    run(&mut nearfar(&["bench", "--broker", &nobody, "--username", "u"]))
        .assert_refused(2, &["--username", "NEARFAR_REMOTE_PASSWORD"]);
    for arguments in [["--rate", "1e-300"], ["--seconds", "1e300"], ["--warm-up", "nan"], ["--rate", "0"]] {
        let ended = run(&mut nearfar(&[&["bench", "--echo"], &arguments[..]].concat()));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("expected a number from 0"), "{}", ended.stderr);
    }
    let conflict = run(&mut nearfar(&["bench", "--rate", "5", "--window", "5"]));
    assert_eq!(conflict.code, Some(2), "{conflict:?}");
}

#[test]
fn requests_have_as_many_features_as_the_model_has_inputs() {
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().join("five.safetensors");
    // One linear layer of five inputs: its weights and its bias are zeros.
    let header = r#"{"0.weight":{"dtype":"F32","shape":[1,5],"data_offsets":[0,20]},"0.bias":{"dtype":"F32","shape":[1],"data_offsets":[20,24]}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 24]].concat();
    std::fs::write(&model, file).unwrap();
    let model = model.to_str().unwrap();
    let ended = run(&mut nearfar(&["bench", "--model", model, "--requests", "40", "--warm-up", "0"]));
    ended.assert_success();
    ended.line_with("40 in");
}
