//! /metrics as Prometheus reads it: true to the format and its naming rules, to the
//! page that lists them, and to the ledger.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use nearfar::broker::{Cause, Dropped, Ended, Limit, MemoryKind};
use nearfar::client::{RemoteConfig, Trouble};
use nearfar::deployment::{Config, Hybrid, Topics};
use nearfar::http::{self, Refusal, Server};
use nearfar::inference::{ErrorCode, Reason, Site};
use nearfar::mqtt::Qos;
use nearfar::network::Profile;
use nearfar::placement::Policy;
use nearfar::{Node, deployment};
use serde_json::Value;

use crate::support::prometheus::{Family, Sample, faults, scrape};
use crate::support::waiting::wait_until;
use crate::support::{MODEL, Sensor, request};

const REQUEST: &str = "ml/inference/request";
const ANSWERS: [&str; 2] = ["ml/inference/result/#", "ml/inference/error/#"];

fn served(node: &Node) -> Server {
    Server::start(http::Config::loopback(), node.observer()).unwrap()
}

fn edge() -> Node {
    Node::builder().deployment(Config::edge(), MODEL).start().unwrap()
}

/// A hybrid beside an edge, of which the cloud has answered once.
fn with_hybrid() -> Node {
    let shadow = Hybrid { network: Profile::NONE, ..Hybrid::new(Policy::Shadow) };
    let hybrid = Config { name: "hybrid".to_owned(), ..Config::edge() };
    let hybrid = hybrid.topics(Topics::under("hybrid/")).hybrid(shadow);
    let node = Node::builder().deployment(Config::edge(), MODEL).deployment(hybrid, MODEL).start().unwrap();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &["hybrid/ml/inference/result/#"]);
    sensor.ask("hybrid/ml/inference/request", request("press", 1));
    wait_until("the cloud never answers", || {
        node.deployment("hybrid").unwrap().statistics().hybrid.unwrap().cloud_p95.is_some()
    });
    node
}

/// A node whose broker elsewhere is not there.
fn without_broker() -> Node {
    // Bound and dropped: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let remote = RemoteConfig::new("127.0.0.1", nobody.port(), "away");
    Node::builder().remote_broker(remote).deployment(Config::edge(), MODEL).start().unwrap()
}

fn family<'a>(families: &'a [Family], name: &str) -> &'a Family {
    families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("there is no {name}"))
}

/// The value of the one sample of `name` whose labels include `labels`.
#[track_caller]
fn value(families: &[Family], name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |sample: &&Sample| {
        let label =
            |(name, value): &(&str, &str)| sample.labels.get(*name).is_some_and(|found| found == value);
        sample.name == name && labels.iter().all(label)
    };
    let samples = families.iter().flat_map(|family| &family.samples);
    let found: Vec<_> = samples.filter(has).map(|sample| sample.value).collect();
    assert_eq!(found.len(), 1, "samples of {name} with {labels:?}");
    found[0]
}

fn samples_sum(families: &[Family], name: &str) -> f64 {
    family(families, name).samples.iter().map(|sample| sample.value).sum()
}

#[test]
fn names_types_and_help_keep_prometheus_rules() {
    let node = edge();
    let server = served(&node);
    let families = scrape(server.address());
    let faults: Vec<_> = families.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let names: BTreeSet<_> = families.iter().map(|family| &family.name).collect();
    assert_eq!(names.len(), families.len(), "a metric comes twice");
}

#[test]
fn every_request_is_accounted_for_in_every_scrape() {
    const REQUESTS: usize = 3_000;
    let node = edge();
    let server = served(&node);
    let address = server.address();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &ANSWERS);
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            for number in 0..REQUESTS {
                // Every third one is refused.
                let payload = if number % 3 == 0 { "[]".to_owned() } else { request("press", number as i64) };
                sensor.publish(REQUEST, Qos::AtLeastOnce, payload);
            }
            sensor.take(REQUESTS);
        });
        while !sending.is_finished() {
            assert_conserved(&scrape(address));
        }
    });
    let families = scrape(address);
    assert_conserved(&families);
    let of_edge = [("deployment", "edge")];
    assert_eq!(value(&families, "nearfar_requests_received_total", &of_edge), REQUESTS as f64);
    assert_eq!(value(&families, "nearfar_requests_answered_total", &of_edge), 2_000.0);
    let invalid = [("deployment", "edge"), ("code", "INVALID_JSON")];
    assert_eq!(value(&families, "nearfar_request_errors_total", &invalid), 1_000.0);
    for histogram in ["queue_seconds", "request_seconds", "simulated_network_seconds"] {
        assert_eq!(value(&families, &format!("nearfar_{histogram}_count"), &of_edge), 2_000.0, "{histogram}");
    }
    assert_eq!(value(&families, "nearfar_batch_requests_sum", &of_edge), 2_000.0);
    let passes = value(&families, "nearfar_batch_requests_count", &of_edge);
    assert!((1.0..=2_000.0).contains(&passes), "{passes}");
    assert_eq!(value(&families, "nearfar_inference_seconds_count", &of_edge), passes);
}

#[track_caller]
fn assert_conserved(families: &[Family]) {
    let received = samples_sum(families, "nearfar_requests_received_total");
    let ended = ["requests_answered_total", "request_errors_total", "requests_in_flight"];
    let accounted: f64 = ended.iter().map(|name| samples_sum(families, &format!("nearfar_{name}"))).sum();
    assert_eq!(received, accounted);
}

#[test]
fn each_deployment_has_its_own_series_and_the_simulated_delay_is_exact() {
    let far = Config { name: "far".to_owned(), ..Config::cloud() }
        .network(Profile::constant(std::time::Duration::from_millis(5)))
        .topics(Topics::under("far/"));
    let node = Node::builder().deployment(Config::edge(), MODEL).deployment(far, MODEL).start().unwrap();
    let server = served(&node);
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &["far/ml/inference/result/#"]);
    sensor.ask("far/ml/inference/request", request("press", 1));
    let families = scrape(server.address());
    assert_eq!(value(&families, "nearfar_requests_answered_total", &[("deployment", "edge")]), 0.0);
    let far = [("deployment", "far")];
    assert_eq!(value(&families, "nearfar_requests_answered_total", &far), 1.0);
    assert_eq!(value(&families, "nearfar_simulated_network_seconds_sum", &far), 0.01);
    let bucket = |le| value(&families, "nearfar_simulated_network_seconds_bucket", &[far[0], ("le", le)]);
    assert_eq!((bucket("0.005"), bucket("0.01"), bucket("+Inf")), (0.0, 1.0, 1.0));
    assert!(value(&families, "nearfar_request_seconds_sum", &far) >= 0.01);
    let model =
        [("deployment", "far"), ("placement", "cloud"), ("model", "anomaly_detector"), ("version", "1.0.0")];
    assert_eq!(value(&families, "nearfar_model_info", &model), 1.0);
}

#[test]
fn a_hybrid_tells_which_site_answered_and_why() {
    let node = with_hybrid();
    let server = served(&node);
    let families = scrape(server.address());
    let faults: Vec<_> = families.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let hybrid = ("deployment", "hybrid");
    let results = family(&families, "nearfar_placement_results_total");
    assert_eq!(results.samples.len(), Site::ALL.len() * Reason::ALL.len());
    assert!(results.samples.iter().all(|sample| sample.labels["deployment"] == "hybrid"));
    let by_shadow = [hybrid, ("site", "edge"), ("reason", "shadow")];
    assert_eq!(value(&families, "nearfar_placement_results_total", &by_shadow), 1.0);
    for site in ["edge", "cloud"] {
        assert_eq!(value(&families, "nearfar_placement_asked_total", &[hybrid, ("site", site)]), 1.0);
        assert_eq!(value(&families, "nearfar_model_info", &[hybrid, ("placement", site)]), 1.0);
    }
    let agreed = [hybrid, ("outcome", "agreed")];
    assert_eq!(value(&families, "nearfar_placement_shadows_total", &agreed), 1.0);
    assert_eq!(value(&families, "nearfar_breaker_state", &[hybrid]), 0.0);
    assert_eq!(value(&families, "nearfar_requests_received_total", &[hybrid]), 1.0);
}

#[test]
fn labels_have_no_other_values_than_those_of_the_configuration_and_the_code() {
    let node = edge();
    let server = served(&node);
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &ANSWERS);
    let before = series(server.address());
    for device in 0..50 {
        sensor.ask(REQUEST, request(&format!("device-{device}"), 1));
        sensor.ask(
            REQUEST,
            format!(r#"{{"device_id": "device-{device}", "timestamp_us": 1, "features": []}}"#),
        );
    }
    assert_eq!(series(server.address()), before, "a series more than before");
    let families = scrape(server.address());
    let codes = family(&families, "nearfar_request_errors_total").samples.iter();
    let codes: Vec<_> = codes.map(|sample| sample.labels["code"].clone()).collect();
    assert_eq!(codes, ErrorCode::ALL.map(|code| code.to_string()));
}

fn series(address: SocketAddr) -> BTreeSet<String> {
    let families = scrape(address);
    families
        .iter()
        .flat_map(|family| &family.samples)
        .map(|one| format!("{}{:?}", one.name, one.labels))
        .collect()
}

#[test]
fn a_deployment_may_be_called_what_it_likes() {
    let name = "a \"b\"\\c, d=\"e\"}";
    let config = deployment::Config { name: name.to_owned(), ..Config::edge() };
    let node = Node::builder().deployment(config, MODEL).start().unwrap();
    let server = served(&node);
    let families = scrape(server.address());
    assert_eq!(value(&families, "nearfar_requests_received_total", &[("deployment", name)]), 0.0);
}

#[test]
fn the_broker_and_the_process_are_there_too() {
    let node = edge();
    let server = served(&node);
    let sensor = Sensor::connect(node.mqtt_address().unwrap());
    let families = scrape(server.address());
    assert_eq!(value(&families, "nearfar_broker_connections", &[]), 1.0);
    // The node's own status.
    assert_eq!(value(&families, "nearfar_broker_retained_messages", &[]), 1.0);
    assert_eq!(value(&families, "nearfar_ready", &[]), 1.0);
    assert_eq!(value(&families, "nearfar_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    let limits = family(&families, "nearfar_broker_limits_reached_total").samples.len();
    assert_eq!(limits, nearfar::broker::Limit::ALL.len());
    if cfg!(target_os = "linux") {
        assert!(value(&families, "process_resident_memory_bytes", &[]) > 1e6);
        assert!(value(&families, "process_open_fds", &[]) > 3.0);
        let started_at = value(&families, "process_start_time_seconds", &[]);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - started_at).abs() < 3_600.0, "started at {started_at}, now {now}");
    }
    drop(sensor);
    // Counts outlive the node; the broker does not.
    let observer = node.observer();
    node.stop();
    let after = Server::start(http::Config::loopback(), observer).unwrap();
    let families = scrape(after.address());
    assert_eq!(value(&families, "nearfar_ready", &[]), 0.0);
    assert_eq!(value(&families, "nearfar_requests_received_total", &[("deployment", "edge")]), 0.0);
    assert!(families.iter().all(|family| !family.name.starts_with("nearfar_broker_")));
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn a_broker_that_cannot_be_reached_is_counted_by_that_reason() {
    let node = without_broker();
    let server = served(&node);
    let failures = |trouble: Trouble| {
        let families = scrape(server.address());
        value(&families, "nearfar_remote_failures_total", &[("reason", trouble.name())])
    };
    wait_until("nothing is counted", || failures(Trouble::Unreachable) > 0.0);
    assert_eq!(failures(Trouble::Tls), 0.0);
}

#[test]
fn the_page_lists_every_metric_with_type_labels_and_meaning() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let node = with_hybrid();
    let server = served(&node);
    let page = read("docs/metrics.md");
    let rows: BTreeSet<_> = page.lines().filter(|line| is_row(line)).collect();
    let away = without_broker();
    let mut families = scrape(served(&away).address());
    families.retain(|family| family.name.starts_with("nearfar_remote_"));
    families.extend(scrape(server.address()));
    let expected: BTreeSet<_> = families.iter().map(row).collect();
    let expected_rows: BTreeSet<_> = expected.iter().map(String::as_str).collect();
    let missing: Vec<_> = expected_rows.difference(&rows).collect();
    let too_many: Vec<_> = rows.difference(&expected_rows).collect();
    assert!(
        missing.is_empty() && too_many.is_empty(),
        "docs/metrics.md lacks {missing:#?} and has {too_many:#?}"
    );
}

#[test]
fn the_page_lists_every_reason_for_a_refusal_with_its_meaning() {
    let page = read("docs/metrics.md");
    for cause in Cause::ALL {
        let row = format!("| `{}` | `{}` | {} |", cause.what().name(), cause.name(), cause.why());
        assert!(page.lines().any(|line| line == row), "docs/metrics.md lacks {row}");
    }
    let rows = ["connection", "publish", "subscription", "retain"].map(|what| format!("| `{what}` | `"));
    let listed = page.lines().filter(|line| rows.iter().any(|row| line.starts_with(row))).count();
    assert_eq!(listed, Cause::ALL.len(), "docs/metrics.md has reasons that there are not");
}

#[test]
fn the_page_lists_every_limit_with_the_key_that_sets_it() {
    let page = read("docs/metrics.md");
    let section = page.split("### Which key a limit is\n").nth(1).unwrap().split("\n##").next().unwrap();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(rows.len(), Limit::ALL.len());
    let own_file = read("docs/configuration.md");
    for (row, limit) in rows.into_iter().zip(Limit::ALL) {
        let key = limit.key();
        let named = key.as_ref().map_or("none: [bounds.md](bounds.md)".to_owned(), |key| format!("`{key}`"));
        assert_eq!(row, format!("| `{}` | {named} |", limit.name()));
        // As the page of keys has it: with its table, or in the list of limits by itself.
        if let Some(key) = key {
            let (table, name) = key.split_once('.').unwrap();
            assert!(
                [format!("`{key}`"), format!("`.{key}`"), format!("`{name}`")]
                    .iter()
                    .any(|one| own_file.contains(one)),
                "{table}.{name}"
            );
        }
    }
}

#[test]
fn the_page_lists_every_other_reason_with_its_meaning() {
    let page = read("docs/metrics.md");
    let listed = |title: &str| -> Vec<String> {
        let section = page.split(&format!("### {title}\n")).nth(1).unwrap().split("\n##").next().unwrap();
        section.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect()
    };
    let row = |name, meaning| format!("| `{name}` | {meaning} |");
    let dropped = Dropped::ALL.map(|reason| row(reason.name(), reason.meaning()));
    assert_eq!(listed("Why deliveries are dropped"), dropped);
    let ended = Ended::ALL.map(|reason| row(reason.name(), reason.meaning()));
    assert_eq!(listed("Why connections end"), ended);
    let kinds = MemoryKind::ALL.map(|kind| row(kind.name(), kind.meaning()));
    assert_eq!(listed("What memory is for"), kinds);
    let failed = Trouble::ALL.map(|trouble| row(trouble.name(), trouble.meaning()));
    assert_eq!(listed("Why the connection to a broker elsewhere fails"), failed);
    let refused = Refusal::ALL.map(|refusal| row(refusal.name(), refusal.meaning()));
    assert_eq!(listed("Why HTTP is refused"), refused);
}

fn is_row(line: &str) -> bool {
    ["| `nearfar_", "| `process_"].iter().any(|start| line.starts_with(start))
}

fn row(family: &Family) -> String {
    let labels: Vec<_> = family.labels().into_iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {} | {} | {} |", family.name, family.kind, labels.join(", "), family.help)
}

#[test]
fn page_dashboard_and_autoscaler_ask_for_metrics_that_exist() {
    let page = read("docs/metrics.md");
    let known: BTreeSet<_> =
        page.lines().filter(|line| is_row(line)).filter_map(|line| line.split('`').nth(1)).collect();
    for file in [
        "docs/metrics.md",
        "docs/operations.md",
        "deploy/grafana/nearfar.json",
        "deploy/kubernetes/prometheus-adapter.yaml",
    ] {
        let text = read(file);
        let asked = names_in(&text);
        assert!(!asked.is_empty(), "{file} asks for nothing");
        let unknown: Vec<_> = asked.iter().filter(|name| !is_known(name, &known)).collect();
        assert!(unknown.is_empty(), "{file} asks for what does not exist: {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_json_whose_panels_all_have_a_query() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/nearfar.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "an id comes twice: {panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && targets.iter().all(|target| target["expr"].is_string()), "{panel}");
    }
    assert!(ids.len() >= 10, "{}", ids.len());
}

#[test]
fn the_dashboard_shows_everything_that_hybrids_count() {
    let page = read("docs/metrics.md");
    let hybrids = page.split("### Hybrid deployments").nth(1).unwrap().split("\n##").next().unwrap();
    let counted: BTreeSet<_> = hybrids
        .lines()
        .filter(|line| is_row(line))
        .filter_map(|line| line.split('`').nth(1))
        .map(str::to_owned)
        .collect();
    assert!(counted.contains("nearfar_breaker_state") && counted.len() >= 12, "{counted:?}");
    let shown = names_in(&read("deploy/grafana/nearfar.json"));
    assert_eq!(counted.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn panels_of_the_dashboard_cover_no_others() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/nearfar.json")).unwrap();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{}", panel["title"]);
        for y in place("y")..place("y") + place("h") {
            assert!((0..place("w")).all(|x| taken.insert((y, place("x") + x))), "{}", panel["title"]);
        }
    }
}

/// Whatever looks like one of our metrics.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("nearfar_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

fn is_known(name: &str, known: &BTreeSet<&str>) -> bool {
    let suffixes = ["_bucket", "_sum", "_count"];
    known.contains(name)
        || suffixes.iter().filter_map(|end| name.strip_suffix(end)).any(|name| known.contains(name))
}
