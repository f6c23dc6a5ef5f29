//! The program as a user runs it: ready line, drain, exit statuses, replay and demo.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use nearfar::features::{Extractor, FEATURE_NAMES, SAMPLE_RATE_HZ, WINDOW_SAMPLES};
use nearfar::sensors::bearing::{self, Bearing};
use support::{MODEL, Sensor, request};

fn nearfar() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearfar"));
    command
        .args(["--log", "off"])
        .stdin(Stdio::null())
        .env("NEARFAR_REMOTE_PASSWORD", "is no configuration key");
    command
}

fn output(arguments: &[&str]) -> Output {
    nearfar().args(arguments).output().expect("the program starts")
}

/// Runs to the end and returns standard error; the exit status must be `status`.
#[track_caller]
fn fails(arguments: &[&str], status: i32) -> String {
    let output = output(arguments);
    let stderr = String::from_utf8(output.stderr).expect("messages are UTF-8");
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    stderr
}

/// `serve` in a child process, past its ready line; killed when dropped.
struct Serving {
    child: Child,
    stdout: BufReader<ChildStdout>,
    ready: String,
}

impl Serving {
    fn start(arguments: &[&str]) -> Self {
        let mut child = nearfar()
            .arg("serve")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut ready = String::new();
        stdout.read_line(&mut ready).expect("it prints a line");
        Self { child, stdout, ready: ready.trim_end().to_owned() }
    }

    fn address(&self) -> SocketAddr {
        let after = self.ready.split_once("mqtt=").expect("the ready line names the address").1;
        after.split(' ').next().and_then(|address| address.parse().ok()).expect("an address")
    }

    /// Ends it as a supervisor does; what it printed after the ready line.
    fn terminate(mut self) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill is there").success());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("it ends");
        (self.child.wait().expect("it ends").code(), rest)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already where a test terminated it.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn write(directory: &Path, name: &str, content: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, content).expect("a temporary file can be written");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is UTF-8")
}

#[test]
fn serve_says_when_it_is_ready_answers_and_drains_on_sigterm() {
    let serving = Serving::start(&[MODEL, "--listen", "127.0.0.1:0"]);
    let address = serving.address();
    assert_eq!(serving.ready, format!("ready mqtt={address} model=anomaly_detector placement=edge"));
    let sensor = Sensor::listening(address, &["ml/inference/result/#"]);
    sensor.ask("ml/inference/request", request("s", 1));
    let (status, printed) = serving.terminate();
    assert_eq!(status, Some(0));
    for part in ["inferences 1,", "average inference time", "average total latency", "errors 0"] {
        assert!(printed.contains(part), "{printed:?} does not say {part:?}");
    }
}

#[test]
fn serve_plays_the_cloud() {
    let serving = Serving::start(&[MODEL, "--listen", "127.0.0.1:0", "--cloud-latency", "20"]);
    assert!(serving.ready.ends_with("placement=cloud"), "{}", serving.ready);
    let sensor = Sensor::listening(serving.address(), &["ml/inference/result/#"]);
    assert_eq!(sensor.ask("ml/inference/request", request("s", 1)).json()["cloud_latency_ms"], 40.0);
}

#[test]
fn serve_reaches_a_broker_elsewhere() {
    let broker = Serving::start(&[MODEL, "--listen", "127.0.0.1:0"]);
    let (host, port) = ("127.0.0.1", broker.address().port().to_string());
    let far = Serving::start(&[MODEL, "--broker-host", host, "--broker-port", &port, "--node-id", "far"]);
    assert_eq!(far.address(), broker.address());
    let sensor = Sensor::listening(broker.address(), &["ml/inference/result/#"]);
    sensor.publish("ml/inference/request", nearfar::mqtt::Qos::AtLeastOnce, request("s", 1));
    // The broker's own node answers, and the one that reached it from elsewhere.
    assert_eq!(sensor.take(2).len(), 2);
}

#[test]
fn the_shipped_configuration_serves_edge_and_cloud_side_by_side() {
    let directory = tempfile::tempdir().unwrap();
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/nearfar.toml")).unwrap();
    let config = shipped.replace("models/anomaly_detector", MODEL).replace("127.0.0.1:1883", "127.0.0.1:0");
    let config = write(directory.path(), "nearfar.toml", &config);
    let serving = Serving::start(&["--config", text(&config)]);
    assert!(serving.ready.ends_with("placement=cloud,edge"), "{}", serving.ready);
    let sensor = Sensor::listening(serving.address(), &["+/ml/inference/result/#"]);
    for (placement, network_ms) in [("edge", 0.0), ("cloud", 100.0)] {
        let body = sensor.ask(&format!("{placement}/ml/inference/request"), request("s", 1)).json();
        assert_eq!(
            (body["placement"].as_str(), body["cloud_latency_ms"].as_f64()),
            (Some(placement), Some(network_ms))
        );
    }
}

#[test]
fn bad_configuration_exits_2_and_names_file_line_key_and_suggestion() {
    let directory = tempfile::tempdir().unwrap();
    let model = format!("[deployments.edge]\nmodel = {MODEL:?}\n");
    let cases = [
        ("a.toml", format!("{model}plcement = \"x\"\n"), vec!["a.toml", "line 3", "plcement", "`placement`"]),
        ("b.toml", format!("{model}batch_max = \"many\"\n"), vec!["line 3", "batch_max", "many"]),
        (
            "c.toml",
            format!("{model}one_way_latency_ms = -1\n"),
            vec!["line 3", "one_way_latency_ms", "-1", "between"],
        ),
        ("d.toml", format!("{model}request_topics = [\"a#\"]\n"), vec!["line 3", "request_topics", "a#"]),
        ("e.toml", "node_id = \"a\"\n".to_owned(), vec!["no deployments"]),
        ("f.toml", format!("x = [\n{model}"), vec!["f.toml", "line"]),
        ("g.toml", format!("[broker]\nconfig = \"no.toml\"\n{model}"), vec!["no.toml", "cannot be read"]),
    ];
    for (name, content, says) in &cases {
        let path = write(directory.path(), name, content);
        let stderr = fails(&["serve", "--config", text(&path)], 2);
        for part in says {
            assert!(stderr.contains(part), "{name}: {stderr:?} does not say {part:?}");
        }
        assert_eq!(stderr.trim_end().lines().count(), 1, "{name}: {stderr}");
    }
}

#[test]
fn a_bad_broker_file_exits_2_and_names_file_line_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/rumqttd.toml")).unwrap();
    let cases = [
        (shipped.replace("max_connections", "max_conections"), "max_connections"),
        (format!("{shipped}\n[console]\nlisten = \"127.0.0.1:3030\"\n"), "console"),
        (shipped.replace("max_segment_size = 1048576", "max_segment_size = 0"), "max_segment_size"),
    ];
    for (content, says) in &cases {
        let path = write(directory.path(), "rumqttd.toml", content);
        let stderr = fails(&["serve", MODEL, "--broker-config", text(&path)], 2);
        assert!(
            stderr.contains("rumqttd.toml") && stderr.contains("line ") && stderr.contains(says),
            "{stderr}"
        );
    }
}

#[test]
fn bad_flags_and_variables_exit_2() {
    let open = fails(&["serve", MODEL, "--listen", "0.0.0.0:0"], 2);
    assert!(open.contains("--allow-anonymous") && open.contains("127.0.0.1"), "{open}");
    assert!(fails(&["serve", MODEL, "--cloud-latency", "nan"], 2).contains("--cloud-latency"));
    assert!(fails(&["serve"], 2).contains("MODEL"));
    let misspelt = nearfar().args(["serve", MODEL]).env("NEARFAR_NODE_IDD", "x").output().unwrap();
    assert_eq!(misspelt.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&misspelt.stderr).contains("node_idd"));
}

#[test]
fn what_cannot_be_used_exits_1_with_one_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let broken = write(directory.path(), "broken.safetensors", "not weights");
    let holder = Serving::start(&[MODEL, "--listen", "127.0.0.1:0"]);
    let taken = holder.address().to_string();
    for (arguments, says) in [
        (vec!["serve", "no/such/model"], "no/such/model"),
        (vec!["serve", text(&broken)], "broken.safetensors"),
        (vec!["serve", MODEL, "--listen", &taken], "in use"),
    ] {
        let stderr = fails(&arguments, 1);
        assert!(stderr.contains(says), "{stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    }
}

/// A recording of one simulated bearing whose fault grows over `rows` rows.
fn recording(rows: u32) -> String {
    let mut extractor = Extractor::new(WINDOW_SAMPLES, SAMPLE_RATE_HZ).expect("an ordinary window");
    let mut bearing = Bearing::new(bearing::Config::default(), 7);
    let mut csv = format!("time_s,{},truth\n", FEATURE_NAMES.join(","));
    for row in 0..rows {
        let severity = if row < rows / 2 { 0.0 } else { 1.0 };
        let window = bearing.window(severity);
        let features = extractor.extract(&window.h, &window.v).expect("simulated samples are finite");
        let features: Vec<_> = features.iter().map(f32::to_string).collect();
        let truth = if severity > 0.0 { "failing" } else { "healthy" };
        csv.push_str(&format!("{},{},{truth}\n", row * 10, features.join(",")));
    }
    csv
}

#[test]
fn replay_writes_the_answers_beside_the_rows_and_finds_the_alarm() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "bearing.csv", &recording(20));
    let output = output(&["replay", text(&file), "--label", "truth"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for says in
        ["rows 20, answered 20", "from row 11 (50.0 %", "label failing: 10 of 10", "label healthy: 0 of 10"]
    {
        assert!(printed.contains(says), "{printed:?} does not say {says:?}");
    }
    let answers = std::fs::read_to_string(directory.path().join("bearing.answers.csv")).unwrap();
    let lines: Vec<_> = answers.lines().collect();
    assert_eq!(lines.len(), 21);
    assert!(
        lines[0]
            .ends_with("truth,prediction,anomaly,inference_time_ms,cloud_latency_ms,total_latency_ms,error")
    );
    assert!(lines[20].starts_with("190,"));
}

#[test]
fn replay_names_line_and_column_of_what_it_cannot_use() {
    let directory = tempfile::tempdir().unwrap();
    let good = recording(3);
    let bad = good.replacen("\n10,", "\n10,oops", 1);
    let file = write(directory.path(), "bad.csv", &bad);
    let stderr = fails(&["replay", text(&file)], 1);
    assert!(stderr.contains("line 3") && stderr.contains("h_rms") && stderr.contains("oops"), "{stderr}");
    let file = write(directory.path(), "good.csv", &good);
    let stderr = fails(&["replay", text(&file), "--features", "h_rmss..v_band_9k6_12k8"], 1);
    assert!(stderr.contains("h_rmss") && stderr.contains("h_rms"), "{stderr}");
}

#[test]
fn replay_raises_the_alarm_before_a_real_bearing_ends() {
    let data = std::env::var_os("NEARFAR_BEARINGS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/bearings"), PathBuf::from);
    let file = data.join("Bearing1_3.csv");
    if !file.is_file() {
        eprintln!("SKIPPED: no recorded bearings in {} (set NEARFAR_BEARINGS)", data.display());
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("answers.csv");
    let output = output(&["replay", text(&file), "--out", text(&out)]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        printed.contains("answered 2375, refused 0") && printed.contains("alarm: the score first stayed"),
        "{printed}"
    );
}

#[test]
fn demo_compares_edge_and_cloud_and_leaves_no_request_unanswered() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("metrics.csv");
    let arguments = ["demo", "--seconds", "2", "--devices", "2", "--rate", "10", "--out", text(&out)];
    let output = output(&arguments);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    for says in ["predictions equal: 40 of 40", "false alarms: 0 of 1", "requests 80, answers 80"] {
        assert!(printed.contains(says), "{printed:?} does not say {says:?}");
    }
    let metrics = std::fs::read_to_string(&out).unwrap();
    let header = "timestamp_us,device_id,placement,inference_time_ms,cloud_latency_ms,total_latency_ms";
    assert_eq!((metrics.lines().next(), metrics.lines().count()), (Some(header), 81));
}
