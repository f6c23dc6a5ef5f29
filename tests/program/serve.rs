//! `nearfar serve` and `nearfar broker` as a user calls them: what they print, what
//! they answer, how they end, and how they refuse.

mod memory;
mod refused;
mod reload;
mod told;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use nearfar::Detector;
use nearfar::broker::{self, Broker, Listener, Tls, Users};
use nearfar::mqtt::Qos;
use nearfar::node::{BrokerChoice, ServedDeployment};
use nearfar::testing::{read_broker_file, read_node_file, refuse_open_listeners};
use serde_json::json;

use crate::support::http;
use crate::support::mqtt::{Client, Connect};
use crate::support::process::{
    Process, nearfar, nearfar_logging, ready_address, run, without_our_environment,
};
use crate::support::prometheus::scrape;
use crate::support::{self, MODEL, Sensor, request};

const REQUEST: &str = "ml/inference/request";
const RESULTS: &str = "ml/inference/result/#";
const FREE_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("a temporary directory takes files");
    path.to_str().expect("temporary paths are UTF-8").to_owned()
}

fn serve(arguments: &[&str]) -> (Process, String) {
    let process = Process::start(nearfar(&["serve"]).args(arguments));
    let ready = process.line();
    (process, ready)
}

#[test]
fn serve_says_where_it_listens_answers_and_ends_with_statistics() {
    let (process, ready) = serve(&[MODEL, FREE_PORT[0], FREE_PORT[1]]);
    let address = ready_address(&ready);
    assert_eq!(ready, format!("ready mqtt={address} model=anomaly_detector placement=edge"));
    assert!(address.ip().is_loopback() && address.port() != 0, "{address}");
    let sensor = Sensor::listening(address, &[RESULTS]);
    let result = sensor.ask(REQUEST, request("press", 7));
    assert_eq!(result.topic, "ml/inference/result/press");
    assert_eq!(result.json()["cloud_latency_ms"], json!(0.0));
    let ended = process.terminate();
    ended.assert_success();
    assert_eq!(ended.line_with("inferences"), "edge: received 1, inferences 1, errors 0, left behind 0");
    let averages = ended.line_with("average inference time");
    assert!(averages.contains("average total latency"), "{averages}");
    assert!(!ended.lines.iter().any(|line| line.starts_with("ready")), "{ended:?}");
}

#[test]
fn the_ready_line_names_every_listener_by_its_scheme() {
    let directory = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    write(directory.path(), "server.pem", &own.cert.pem());
    write(directory.path(), "server.key", &own.signing_key.serialize_pem());
    let listen = "listen = \"127.0.0.1:0\"\n";
    let tls = "tls = { certpath = \"server.pem\", keypath = \"server.key\" }\n";
    let text =
        format!("[v4.1]\n{listen}[v4.2]\n{listen}{tls}[v5.1]\n{listen}[ws.1]\n{listen}[ws.2]\n{listen}{tls}");
    let file = write(directory.path(), "broker.toml", &text);
    let (process, ready) = serve(&[MODEL, "--broker-config", &file]);
    let parts: Vec<_> = ready.split(' ').map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
    let keys: Vec<_> = parts.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, ["ready", "mqtt", "mqtts", "ws", "wss", "model", "placement"], "{ready}");
    for (at, count) in [(1, 2), (2, 1), (3, 1), (4, 1)] {
        let addresses: Result<Vec<SocketAddr>, _> = parts[at].1.split(',').map(str::parse).collect();
        assert_eq!(addresses.unwrap().len(), count, "{ready}");
    }
    process.terminate().assert_success();
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(
        directory.path(),
        "nearfar.toml",
        &format!(
            "shutdown_grace_ms = 3600000\n[broker]\nlisten = \"127.0.0.1:0\"\n\
             [deployments.far]\nmodel = {MODEL:?}\none_way_latency_ms = 60000\n"
        ),
    );
    let process = Process::start(&mut nearfar_logging("warn", &["serve", "--config", &file]));
    let sensor = Sensor::listening(ready_address(&process.line()), &[REQUEST]);
    sensor.publish(REQUEST, Qos::AtLeastOnce, request("press", 7));
    // The sensor sees its own request, so the node has it too.
    assert_eq!(sensor.next().topic, REQUEST);
    let ended = process.terminate_impatiently();
    assert_eq!(ended.code, Some(130));
    let line = ended.stderr.lines().last().unwrap_or_default();
    assert!(line.contains("WARN") && line.contains("ended by a second signal"), "{ended:?}");
    assert!(line.contains("left_behind=1"), "{ended:?}");
}

#[test]
fn what_a_stop_leaves_behind_is_counted_and_the_exit_status_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(
        directory.path(),
        "nearfar.toml",
        &format!(
            "shutdown_grace_ms = 1\n[broker]\nlisten = \"127.0.0.1:0\"\n\
             [deployments.far]\nmodel = {MODEL:?}\none_way_latency_ms = 60000\n"
        ),
    );
    let (process, ready) = serve(&["--config", &file]);
    let sensor = Sensor::listening(ready_address(&ready), &[REQUEST]);
    sensor.publish(REQUEST, Qos::AtLeastOnce, request("press", 7));
    assert_eq!(sensor.next().topic, REQUEST);
    let ended = process.terminate();
    assert_eq!(ended.code, Some(75), "{ended:?}");
    assert!(ended.stderr.contains("1 accepted request was not answered"), "{ended:?}");
}

#[test]
fn cloud_latency_answers_in_the_cloud_role() {
    let (process, ready) = serve(&[MODEL, FREE_PORT[0], FREE_PORT[1], "--cloud-latency", "20"]);
    assert!(ready.ends_with(" model=anomaly_detector placement=cloud"), "{ready}");
    let sensor = Sensor::listening(ready_address(&ready), &[RESULTS]);
    let result = sensor.ask(REQUEST, request("press", 7)).json();
    assert_eq!(result["cloud_latency_ms"], json!(40.0));
    assert!(result["total_latency_ms"].as_f64().unwrap() >= 40.0, "{result}");
    process.terminate().assert_success();
}

#[test]
fn a_file_puts_two_deployments_side_by_side() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(
        directory.path(),
        "nearfar.toml",
        &format!(
            "[broker]\nlisten = \"127.0.0.1:0\"\n\
             [deployments.edge]\nmodel = {MODEL:?}\ntopic_prefix = \"edge/\"\nmembers = [\"placement\"]\n\
             [deployments.far]\nmodel = {MODEL:?}\ntopic_prefix = \"far/\"\nplacement = \"cloud\"\n\
             one_way_latency_ms = 10\nmembers = [\"placement\"]\n"
        ),
    );
    let (process, ready) = serve(&["--config", &file]);
    assert!(ready.ends_with(" model=anomaly_detector,anomaly_detector placement=edge,cloud"), "{ready}");
    let sensor = Sensor::listening(ready_address(&ready), &["+/ml/inference/result/#"]);
    let edge = sensor.ask("edge/ml/inference/request", request("press", 7));
    let far = sensor.ask("far/ml/inference/request", request("press", 7));
    assert_eq!(
        [edge.topic.as_str(), far.topic.as_str()],
        ["edge/ml/inference/result/press", "far/ml/inference/result/press"]
    );
    let (edge, far) = (edge.json(), far.json());
    assert_eq!([&edge["placement"], &far["placement"]], [&json!("edge"), &json!("cloud")]);
    assert_eq!([&edge["cloud_latency_ms"], &far["cloud_latency_ms"]], [&json!(0.0), &json!(20.0)]);
    assert_eq!(edge["prediction"], far["prediction"]);
    let ended = process.terminate();
    ended.assert_success();
    for name in ["edge", "far"] {
        ended.line_with(&format!("{name}: received 1, inferences 1"));
    }
}

#[test]
fn serve_answers_behind_a_broker_elsewhere() {
    let broker = Broker::start(broker::Config::loopback()).unwrap();
    let address = broker.addresses()[0].1;
    let port = address.port().to_string();
    let (process, ready) = serve(&[MODEL, "--broker-host", "127.0.0.1", "--broker-port", &port]);
    assert_eq!(ready, format!("ready mqtt={address} model=anomaly_detector placement=edge"));
    let sensor = Sensor::listening(address, &[RESULTS]);
    assert_eq!(sensor.ask(REQUEST, request("press", 7)).topic, "ml/inference/result/press");
    let ended = process.terminate();
    ended.assert_success();
    ended.line_with("inferences 1");
}

#[test]
fn the_environment_names_the_node_and_a_password_disturbs_nobody() {
    let mut command = nearfar(&["serve", MODEL, FREE_PORT[0], FREE_PORT[1]]);
    command.env("NEARFAR_REMOTE_PASSWORD", "secret").env("NEARFAR_NODE_ID", "gateway-7");
    let process = Process::start(&mut command);
    let sensor = Sensor::listening(ready_address(&process.line()), &["ml/inference/status/#"]);
    assert_eq!(sensor.next().topic, "ml/inference/status/gateway-7");
    process.terminate().assert_success();
}

#[test]
fn a_wrong_node_file_is_refused_with_file_line_key_and_suggestion() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |name: &str, text: &str, parts: &[&str]| {
        let file = write(directory.path(), name, text);
        let ended = run(&mut nearfar(&["serve", "--config", &file]));
        ended.assert_refused(2, &[&[file.as_str()], parts].concat());
    };
    refused(
        "misspelt.toml",
        "# comment\n[deployments.edge]\nmodle = \"m\"\n",
        &["line 3", "`deployments.edge.modle`", "did you mean `model`?"],
    );
    refused("type.toml", "[broker]\n\nlisten = 1883\n", &["line 3", "`broker.listen`", "1883"]);
    refused(
        "latency.toml",
        "[deployments.edge]\nmodel = \"m\"\none_way_latency_ms = -5\n",
        &["line 3", "`deployments.edge.one_way_latency_ms`", "found -5", "between 0 and 60000"],
    );
    let network =
        |lines: &str| format!("[deployments.edge]\nmodel = \"m\"\n[deployments.edge.network]\n{lines}");
    refused(
        "preset.toml",
        &network("preset = \"wifii\"\n"),
        &["line 4", "`deployments.edge.network.preset`", "found \"wifii\"", "did you mean `wifi`?"],
    );
    refused(
        "delay.toml",
        &network(
            "[deployments.edge.network.uplink]\n\ndelay = { model = \"normal\", mean_ms = 5, sd_ms = -1 }\n",
        ),
        &["line 6", "`deployments.edge.network.uplink.delay.sd_ms`", "found -1", "between 0 and 60000"],
    );
    refused(
        "foreign.toml",
        &network("[deployments.edge.network.uplink]\ndelay = { model = \"constant\", ms = 5, sd_ms = 1 }\n"),
        &["line 5", "network.uplink.delay.sd_ms`", "unknown key", "expected one of model, ms"],
    );
    refused(
        "misspelt_loss.toml",
        &network("[deployments.edge.network.downlink]\nloss = { probabilty = 0.5 }\n"),
        &["line 5", "network.downlink", "did you mean `probability`?"],
    );
    refused(
        "schedule.toml",
        &network("uplink.outages = { schedule = [{ at_s = 1, for_s = 3, every_s = 2 }] }\n"),
        &["line 4", "network.uplink.outages.schedule[0].every_s`", "more than for_s"],
    );
    refused(
        "loop.toml",
        "[deployments.edge]\nmodel = \"m\"\nrequest_topics = [\"plant/+\", \"ml/#\"]\n",
        &[
            "line 3",
            "`deployments.edge.request_topics`",
            "\"ml/#\"",
            "\"ml/inference/result/+\"",
            "answered in turn",
        ],
    );
    refused(
        "chain.toml",
        "[remote]\nhost = \"h\"\n[deployments.a]\nmodel = \"m\"\ntopic_prefix = \"a/\"\n\
         [deployments.b]\nmodel = \"m\"\ntopic_prefix = \"b/\"\nrequest_topics = [\"a/ml/inference/error\"]\n",
        &["line 9", "`deployments.b.request_topics`", "deployment \"b\"", "errors of deployment \"a\""],
    );
    refused(
        "written_on_requests.toml",
        "[deployments.a]\nmodel = \"m\"\nerror_topic = \"ml/inference/request\"\n",
        &["line 3", "`deployments.a.error_topic`", "\"ml/inference/request\""],
    );
    refused(
        "status.toml",
        "node_id = \"request\"\nstatus_topic = \"ml/inference\"\n[deployments.a]\nmodel = \"m\"\n",
        &["line 2", "`status_topic`", "the node's status"],
    );
    refused(
        "network_topic.toml",
        "network_topic = \"ml/inference/result\"\n[deployments.a]\nmodel = \"m\"\n",
        &["`deployments.a.result_topic`", "changes of the network of deployment \"a\""],
    );
    refused("no_toml.toml", "[broker\n", &["line 1"]);
    refused("empty.toml", "", &["no deployments", "[deployments.edge]"]);
    let missing = directory.path().join("missing.toml");
    let ended = run(nearfar(&["serve", "--config"]).arg(&missing));
    ended.assert_refused(2, &["missing.toml", "cannot be read"]);
}

#[test]
fn a_wrong_broker_file_is_refused_with_file_line_key_and_suggestion() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "broker.toml", "id = 0\n[router]\nmax_conections = 3\n");
    let ended = run(&mut nearfar(&["serve", MODEL, "--broker-config", &file]));
    ended.assert_refused(
        2,
        &[&file, "line 3", "`router.max_conections`", "unknown key", "did you mean `max_connections`?"],
    );
}

#[test]
fn certificates_that_cannot_be_used_are_refused_with_file_line_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let text =
        "[v4.1]\nlisten = \"127.0.0.1:0\"\n[v4.1.tls]\ncertpath = \"none.pem\"\nkeypath = \"none.key\"\n";
    let file = write(directory.path(), "broker.toml", text);
    let missing = directory.path().join("none.pem");
    let ended = run(&mut nearfar(&["serve", MODEL, "--broker-config", &file]));
    ended.assert_refused(2, &[&file, "line 4", "`v4.1.tls.certpath`", missing.to_str().unwrap(), "PEM file"]);
}

#[test]
fn a_listener_that_asks_for_certificates_is_not_open_to_anyone() {
    let mut config = broker::Config::without_listeners();
    config.listeners.push(Listener::new("plant", "0.0.0.0:8883".parse().unwrap()));
    let mut tls =
        Tls { certificate_chain: "a".into(), key: "b".into(), client_authorities: None, identity: None };
    config.listeners[0].tls = Some(tls.clone());
    assert!(refuse_open_listeners(&config, false).is_err(), "TLS alone says nothing of who the clients are");
    tls.client_authorities = Some("c".into());
    config.listeners[0].tls = Some(tls);
    refuse_open_listeners(&config, false).unwrap();
}

#[test]
fn whatever_the_configuration_is_at_fault_for_ends_with_two_and_names_file_line_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    write(directory.path(), "ca.pem", &own.cert.pem());
    write(directory.path(), "acl.toml", "");
    let open = write(
        directory.path(),
        "open.toml",
        "[v4.1]\nlisten = \"127.0.0.1:0\"\n[v4.2]\nlisten = \"0.0.0.0:0\"\n",
    );
    let served = format!("[deployments.edge]\nmodel = {MODEL:?}\n");
    let refused = |text: &str, parts: &[&str]| {
        let file = write(directory.path(), "node.toml", &format!("{text}\n{served}"));
        let ended = run(&mut nearfar(&["serve", "--config", &file]));
        ended.assert_refused(2, parts);
    };
    let remote = |rest: &str| format!("[remote]\nhost = \"localhost\"\n{rest}");
    refused(
        &remote("username = \"u\"\npassword_file = \"none\""),
        &["line 4", "`remote.password_file`", "none cannot be read"],
    );
    refused(&remote("tls = { ca_file = \"none.pem\" }"), &["line 3", "`remote.tls.ca_file`", "none.pem"]);
    refused(
        &remote(
            "[remote.tls]\nca_file = \"ca.pem\"\nclient_certificate = \"ca.pem\"\nclient_key = \"none.key\"",
        ),
        &["line 6", "`remote.tls.client_key`", "none.key"],
    );
    refused(
        &remote("[remote.tls]\nca_file = \"ca.pem\"\nserver_name = \"a b\""),
        &["line 5", "`remote.tls.server_name`", "\"a b\""],
    );
    refused(
        "[broker]\nconfig = \"none.toml\"",
        &["node.toml, line 2", "`broker.config`", "none.toml cannot be read"],
    );
    refused(
        "[broker]\nusers = \"none.txt\"\naccess_rules = \"acl.toml\"",
        &["line 2", "`broker.users`", "none.txt cannot be read"],
    );
    refused(
        "[broker]\nallow_anonymous = true\naccess_rules = \"none.toml\"",
        &["line 3", "`broker.access_rules`", "none.toml cannot be read"],
    );
    refused(
        "[broker]\n\nlisten = \"0.0.0.0:0\"",
        &["line 3", "`broker.listen`", "other machines", "allow_anonymous"],
    );
    refused(
        "[broker]\nconfig = \"open.toml\"",
        &[&open, "line 4", "`v4.2.listen`", "0.0.0.0:0", "allow_anonymous"],
    );
    let second = format!("[deployments.other]\nmodel = {MODEL:?}");
    refused(&second, &["node.toml, line", "`deployments.other`", "same requests", "same topic"]);
}

#[test]
fn a_level_that_there_is_not_is_refused_with_the_levels() {
    let refused = |command: &mut std::process::Command, parts: &[&str]| run(command).assert_refused(2, parts);
    refused(
        &mut nearfar_logging("inf", &["broker"]),
        &["--log", "\"inf\"", "off, error, warn, info, debug, trace", "`info`"],
    );
    refused(&mut nearfar_logging("nearfar=loud", &["broker"]), &["--log", "\"nearfar=loud\"", "debug"]);
    // A word alone would be taken for a target, and all that the program says kept back.
    for (filter, part) in
        [("wran", "`warn`"), ("warning", "`warn`"), ("verbose", "\"verbose\""), ("x[[", "\"x[[\"")]
    {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_nearfar"));
        refused(
            without_our_environment(&mut command).env("RUST_LOG", filter).arg("broker"),
            &["RUST_LOG", part, "off, error, warn, info, debug, trace"],
        );
    }
}

#[test]
fn localhost_is_listened_on() {
    let (process, ready) = serve(&[MODEL, "--listen", "localhost:0", "--http", "localhost:0"]);
    assert!(ready_address(&ready).ip().is_loopback() && ready.contains(" http=127.0.0.1:"), "{ready}");
    process.terminate().assert_success();
}

#[test]
fn a_listener_open_to_anyone_must_be_asked_for() {
    let ended = run(&mut nearfar(&["serve", MODEL, "--listen", "0.0.0.0:0"]));
    ended.assert_refused(2, &["0.0.0.0:0", "no users", "127.0.0.1", "--allow-anonymous"]);
}

/// A users file and rules that let `user` do everything.
fn access_files(directory: &Path, user: &str) -> (String, String) {
    let users = Users::with_password("", user, "secret").expect("the name and the password can be stored");
    let rules = "[[rules]]\nallow = [\"publish\", \"subscribe\", \"will\"]\ntopics = [\"#\"]\n";
    (write(directory, "users.txt", &users), write(directory, "acl.toml", rules))
}

fn may_connect(address: SocketAddr, user: &str) -> bool {
    let connect = Connect { login: Some((user, "secret")), ..Connect::v3("") };
    Client::connect(address, &connect).1.body == [0, 0]
}

#[test]
fn secrets_that_every_user_of_the_machine_can_read_are_warned_of_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(directory.path(), 0o755);
    let (users, rules) = access_files(directory.path(), "press");
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let authority = write(directory.path(), "server.pem", &own.cert.pem());
    let key = write(directory.path(), "server.key", &own.signing_key.serialize_pem());
    let password = write(directory.path(), "password", "secret\n");
    let tls =
        "[v4.1]\nlisten = \"127.0.0.1:0\"\ntls = { certpath = \"server.pem\", keypath = \"server.key\" }\n";
    let listeners = write(directory.path(), "broker.toml", tls);
    let remote = format!(
        "[remote]\nhost = \"127.0.0.1\"\nport = 1\nusername = \"u\"\npassword_file = \"password\"\n\
         tls = {{ ca_file = {authority:?}, client_certificate = {authority:?}, client_key = {key:?} }}\n\
         [deployments.edge]\nmodel = {MODEL:?}\n"
    );
    let elsewhere = write(directory.path(), "nearfar.toml", &remote);
    let broker = ["broker", "--broker-config", &listeners, "--users", &users, "--acl", &rules];
    for (arguments, open, mode) in [
        (&broker[..], vec![&users], 0o644),
        (&broker, vec![&key], 0o604),
        (&["serve", "--config", &elsewhere], vec![&password, &key], 0o644),
    ] {
        let secrets = [&users, &key, &password];
        for secret in secrets {
            set(Path::new(secret), if open.contains(&secret) { mode } else { 0o640 });
        }
        let process = Process::start(&mut nearfar_logging("warn", arguments));
        for secret in &open {
            let line = process.complaint_with("every user of this machine can read it");
            assert!(line.contains(secret.as_str()) && line.contains("`chmod o= "), "{secret}: {line}");
        }
        // Signals are listened for by now.
        match arguments[0] {
            "broker" => process.line(),
            _ => process.complaint_with("no connection with the broker"),
        };
        let ended = process.terminate();
        let warned = ended.stderr.lines().filter(|line| line.contains("every user of this machine")).count();
        assert_eq!((ended.code, warned), (Some(0), open.len()), "{ended:?}");
    }
}

#[test]
fn files_that_every_user_of_the_machine_can_change_are_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    // Whoever cannot get there can change nothing.
    let set =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    set(directory.path(), 0o755);
    let (users, rules) = access_files(directory.path(), "press");
    let listeners = write(directory.path(), "broker.toml", "[v4.1]\nlisten = \"127.0.0.1:0\"\n");
    let node = format!(
        "[broker]\nconfig = {listeners:?}\nusers = {users:?}\naccess_rules = {rules:?}\n[deployments.edge]\nmodel = {MODEL:?}\n"
    );
    let node = write(directory.path(), "node.toml", &node);
    for open in [&listeners, &rules, &node] {
        for file in [&listeners, &rules, &node, &users] {
            let mode = if file == open { 0o646 } else { 0o640 };
            set(Path::new(file), mode);
        }
        let process = Process::start(&mut nearfar_logging("warn", &["serve", "--config", &node]));
        process.line();
        let ended = process.terminate();
        let line = ended.stderr.lines().next().unwrap_or_default();
        let expected = format!("{open}: every user of this machine can change it (mode 0646): `chmod o-w ");
        assert!(line.contains(&expected) && ended.stderr.lines().count() == 1, "{ended:?}");
    }
}

#[test]
fn with_users_every_address_may_be_listened_on_and_a_reload_changes_them_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let (users, rules) = access_files(directory.path(), "old");
    let arguments = ["serve", MODEL, "--listen", "0.0.0.0:0", "--users", &users, "--acl", &rules];
    let arguments = [&arguments[..], &["--http", "127.0.0.1:0"]].concat();
    let process = Process::start(&mut nearfar_logging("info", &arguments));
    let ready = process.line();
    let listening = ready_address(&ready);
    let http = ready.split(' ').find_map(|part| part.strip_prefix("http=")).unwrap().parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], listening.port()));
    let mut old =
        Client::accepted(address, &Connect { login: Some(("old", "secret")), ..Connect::v3("old") });
    assert!(!may_connect(address, "new"));

    access_files(directory.path(), "broken");
    write(directory.path(), "acl.toml", "[[rules]]\nalow = []\n");
    assert!(process.signal("HUP"));
    process.complaint_with("acl.toml, line 2");
    assert!(may_connect(address, "old") && !may_connect(address, "broken"));
    old.ping();

    let both =
        Users::with_password(&Users::with_password("", "old", "secret").unwrap(), "new", "secret").unwrap();
    access_files(directory.path(), "new");
    write(directory.path(), "users.txt", &both);
    assert!(process.signal("HUP"));
    process.complaint_with("read again");
    assert!(may_connect(address, "new") && may_connect(address, "old"));
    old.ping();
    access_files(directory.path(), "new");
    assert!(process.signal("HUP"));
    let line = process.complaint_with("not among the users any more");
    assert!(line.contains("user=\"old\"") && line.contains("address=127.0.0.1"), "{line}");
    old.last();
    assert!(!may_connect(address, "old"));
    let line = process.complaint_with("there is no such user, or not any more");
    assert!(line.contains("user=\"old\"") && line.contains("address=127.0.0.1"), "{line}");
    let deadline = Instant::now() + support::PATIENCE;
    loop {
        let page = http::get(http, "/metrics").body;
        let count = |(outcome, count)| format!("\nnearfar_reloads_total{{outcome=\"{outcome}\"}} {count}\n");
        if [("succeeded", 2), ("failed", 1)].into_iter().all(|outcome| page.contains(&count(outcome))) {
            break;
        }
        assert!(Instant::now() < deadline, "{page}");
    }
    assert_eq!(process.terminate().code, Some(0));
}

#[test]
fn features_far_from_what_the_model_was_normalised_with_are_warned_of_once_and_in_a_metric() {
    let arguments = ["serve", MODEL, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let process = Process::start(&mut nearfar_logging("warn", &arguments));
    let ready = process.line();
    let http = ready.split(' ').find_map(|part| part.strip_prefix("http=")).unwrap().parse().unwrap();
    let sensor = Sensor::listening(ready_address(&ready), &["ml/inference/result/#"]);
    let detector = Detector::load(MODEL).unwrap();
    let golden = &detector.info().golden.as_ref().unwrap().input;
    let ask_until = |features: &[f32], shown: &str| {
        let deadline = Instant::now() + support::PATIENCE;
        for number in 0.. {
            // The same question again would be answered without the model.
            let id = format!("{shown} {number}");
            let body =
                json!({"device_id": "p", "timestamp_us": number, "request_id": id, "features": features});
            sensor.ask("ml/inference/request", body.to_string());
            let page = http::get(http, "/metrics").body;
            let line = page.lines().find(|line| line.starts_with("nearfar_model_features_far{"));
            if line.is_some_and(|line| line.ends_with(shown)) {
                return;
            }
            assert!(Instant::now() < deadline, "{page}");
        }
    };
    ask_until(&[1e30; 32], " 32");
    ask_until(golden, " 0");
    ask_until(&[1e29; 32], " 32");
    let ended = process.terminate();
    assert_eq!(ended.code, Some(0));
    let said: Vec<_> = ended.stderr.lines().filter(|line| line.contains("other units?")).collect();
    assert!(
        said.len() == 1 && said[0].contains("WARN") && said[0].contains("32 of 32 features (h_rms"),
        "{ended:?}"
    );
}

#[cfg(unix)]
#[test]
fn with_few_open_files_fewer_clients_are_let_in_and_health_reload_and_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let (users, rules) = access_files(directory.path(), "press");
    let mut command = std::process::Command::new("sh");
    without_our_environment(&mut command)
        .args(["-c", "ulimit -n 128 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_nearfar")])
        .args(["--log", "info", "broker", "--http", "127.0.0.1:0", "--users", &users, "--acl", &rules])
        .args(FREE_PORT);
    let process = Process::start(&mut command);
    let ready = process.line();
    let warning = process.complaint_with("too few for 1000 clients");
    assert!(warning.contains("48 may be online") && warning.contains("LimitNOFILE=1384"), "{warning}");
    let http: SocketAddr = ready.split_once(" http=").unwrap().1.parse().unwrap();
    let address = ready_address(&ready);
    // Many more than there may be, of an address of their own and silent; and many that ask for nothing.
    let silent: Vec<_> = (0..300).map(|_| Client::open_from(2, address, false)).collect();
    let idle: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(http).unwrap()).collect();
    assert!(may_connect(address, "press"));
    assert_eq!(http::get(http, "/health/ready").status, 200);
    access_files(directory.path(), "lathe");
    assert!(process.signal("HUP"));
    process.complaint_with("read again");
    assert!(may_connect(address, "lathe"));
    drop((silent, idle));
    let ended = process.terminate();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stderr.contains("cannot accept"), "{}", ended.stderr);
}

#[cfg(unix)]
#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_may_be() {
    let mut command = std::process::Command::new("sh");
    without_our_environment(&mut command)
        .args(["-c", "ulimit -Sn 100 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_nearfar")])
        .args(["--log", "warn", "broker", "--http", "127.0.0.1:0"])
        .args(FREE_PORT);
    let process = Process::start(&mut command);
    let ready = process.line();
    let http: SocketAddr = ready.split_once(" http=").unwrap().1.parse().unwrap();
    if cfg!(target_os = "linux") {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let words: Vec<_> = files.split_whitespace().collect();
        assert_eq!(words[3], words[4], "{files}");
    }
    assert_eq!(http::get(http, "/health/live").status, 200);
    assert_eq!(process.terminate().code, Some(0));
}

#[test]
fn a_byte_order_mark_is_left_out_of_every_file_that_serve_reads() {
    let directory = tempfile::tempdir().unwrap();
    let (users, rules) = access_files(directory.path(), "press");
    let model = directory.path().join("model");
    std::fs::create_dir(&model).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(Path::new(MODEL).join(file), model.join(file)).unwrap();
    }
    let delays = write(directory.path(), "delays.txt", "1\n2\n");
    let broker = write(directory.path(), "broker.toml", nearfar::testing::BUILT_IN_BROKER);
    let node = "[broker]\nlisten = \"127.0.0.1:0\"\nconfig = \"broker.toml\"\nusers = \"users.txt\"\naccess_rules = \"acl.toml\"\n\
                [deployments.d]\nmodel = \"model\"\nplacement = \"cloud\"\n[deployments.d.network]\nuplink = { delay = { model = \"empirical\", file = \"delays.txt\" } }\n";
    let node = write(directory.path(), "nearfar.toml", node);
    for file in [&broker, &users, &rules, &delays, &node, &model.join("config.json").display().to_string()] {
        let text = std::fs::read(file).unwrap();
        std::fs::write(file, [b"\xef\xbb\xbf", text.as_slice()].concat()).unwrap();
    }
    let (process, ready) = serve(&["--config", &node]);
    assert!(may_connect(ready_address(&ready), "press"));
    process.terminate().assert_success();
    let utf_16: Vec<u8> = "\u{feff}a".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for file in [&broker, &users, &rules, &delays, &node] {
        let before = std::fs::read(file).unwrap();
        std::fs::write(file, &utf_16).unwrap();
        run(nearfar(&["serve", "--config", &node]).args(FREE_PORT))
            .assert_refused(2, &[file, "UTF-16LE", "expected UTF-8"]);
        std::fs::write(file, before).unwrap();
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_password_at_a_broker_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "password.txt", "\u{feff}secret\r\nand a remark\r\n");
    let node = "[remote]\nhost = \"127.0.0.1\"\nusername = \"press\"\npassword_file = \"password.txt\"\n\
                [deployments.d]\nmodel = \"model\"\n";
    let node = write(directory.path(), "nearfar.toml", node);
    let config = read_node_file(Path::new(&node)).unwrap().into_serve_config().unwrap();
    let BrokerChoice::Elsewhere(remote) = config.node.broker else {
        panic!("a broker elsewhere is configured")
    };
    assert_eq!(remote.credentials, Some(("press".to_owned(), "secret".to_owned())));
}

#[test]
fn a_password_that_nobody_uses_is_warned_of() {
    // Nobody listens there, so that it never says ready.
    let mut command =
        nearfar_logging("warn", &["serve", MODEL, "--broker-host", "[::1]", "--broker-port", "1"]);
    let process = Process::start(command.env("NEARFAR_REMOTE_PASSWORD", "SECRET"));
    let said = process.complaint_with("no connection with the broker");
    assert!(said.contains("[::1]:1"), "{said}");
    let ended = process.terminate();
    let part = "NEARFAR_REMOTE_PASSWORD is set and not used: there is no user name for it";
    assert!(ended.stderr.contains(part) && !ended.stderr.contains("SECRET"), "{ended:?}");
}

#[test]
fn half_of_an_access_configuration_is_refused_with_what_to_write() {
    let directory = tempfile::tempdir().unwrap();
    let (users, rules) = access_files(directory.path(), "user");
    let refused = |arguments: &[&str], parts: &[&str]| {
        run(nearfar(&["serve", MODEL]).args(FREE_PORT).args(arguments)).assert_refused(2, parts);
    };
    refused(&["--users", &users], &["--users: ", "--acl", "[[rules]]"]);
    refused(&["--acl", &rules], &["--acl: ", "--users"]);
    refused(
        &["--users", &users, "--acl", &rules, "--allow-anonymous"],
        &["--allow-anonymous: ", "remove it"],
    );
    let broken = write(directory.path(), "broken.txt", "\nuser:secret\n");
    refused(&["--users", &broken, "--acl", &rules], &["broken.txt, line 2", "$argon2id$"]);
    let broken =
        write(directory.path(), "broken.toml", "[[rules]]\nallow = [\"publish\"]\ntopics = [\"a/x%u\"]\n");
    refused(
        &["--users", &users, "--acl", &broken],
        &["broken.toml, line 3", "`rules[0].topics[0]`", "whole levels"],
    );
    refused(
        &["--users", "/no/such/file", "--acl", &rules],
        &["/no/such/file", "cannot be read", "`nearfar passwd FILE USER` makes it"],
    );
}

#[test]
fn a_negative_latency_is_refused() {
    let ended = run(&mut nearfar(&["serve", MODEL, "--cloud-latency", "-1"]));
    ended.assert_refused(2, &["--cloud-latency", "found -1", "between 0 and 60000"]);
}

#[test]
fn a_key_with_a_wrong_value_in_the_environment_is_refused_with_the_variable_s_name() {
    let refused = |variable: &str, parts: &[&str]| {
        let ended = run(nearfar(&["serve", MODEL]).env(variable, "x"));
        ended.assert_refused(2, &[&[variable], parts].concat());
    };
    refused("NEARFAR_BROKER__LISTEN", &["found \"x\"", "an address with a port"]);
    refused("NEARFAR_SHUTDOWN_GRACE_MS", &["found \"x\"", "expected a number"]);
}

#[test]
fn variables_of_a_service_called_nearfar_are_passed_over_and_others_are_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "nearfar.toml", &format!("[deployments.press]\nmodel = {MODEL:?}\n"));
    let mut command = nearfar_logging("info", &["serve", "--config", &file, FREE_PORT[0], FREE_PORT[1]]);
    for (name, value) in [
        ("NEARFAR_SERVICE_HOST", "10.96.0.17"),
        ("NEARFAR_SERVICE_PORT", "9464"),
        ("NEARFAR_SERVICE_PORT_METRICS", "9464"),
        ("NEARFAR_PORT", "tcp://10.96.0.17:9464"),
        ("NEARFAR_PORT_9464_TCP", "tcp://10.96.0.17:9464"),
        ("NEARFAR_PORT_9464_TCP_PROTO", "tcp"),
        ("NEARFAR_PORT_9464_TCP_PORT", "9464"),
        ("NEARFAR_PORT_9464_TCP_ADDR", "10.96.0.17"),
        ("NEARFAR_MQTT_SERVICE_HOST", "fd00::11"),
        ("NEARFAR_MQTT_PORT", "tcp://[fd00::11]:1883"),
        ("NEARFAR_NODE_IDD", "SECRET"),
        ("NEARFAR_BROKER__LISTN", "127.0.0.1:0"),
        ("NEARFAR_DEPLOYMENTS__PRES__BATCH_MAX", "1"),
        ("NEARFAR_DEPLOYMENTS__PRESS__NETWORK__UPLINK__DELY__MS", "1"),
        ("NEARFAR_DEPLOYMENTS__PRESS__CLOUD__POLCY", "shadow"),
    ] {
        command.env(name, value);
    }
    let process = Process::start(&mut command);
    let sensor = Sensor::listening(ready_address(&process.line()), &[RESULTS]);
    sensor.ask(REQUEST, request("press", 7));
    let ended = process.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for meant in [
        "NODE_ID",
        "BROKER__LISTEN",
        "DEPLOYMENTS__PRESS__BATCH_MAX",
        "DEPLOYMENTS__PRESS__NETWORK__UPLINK__DELAY__MS",
        "DEPLOYMENTS__PRESS__CLOUD__POLICY",
    ] {
        let part = format!("did you mean `NEARFAR_{meant}`?");
        assert!(ended.stderr.contains(&part), "{part}: {}", ended.stderr);
    }
    for part in ["SERVICE_", "NEARFAR_PORT", "NEARFAR_MQTT", "SECRET"] {
        assert!(!ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn a_model_that_cannot_be_had_ends_with_one() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("no_such_model");
    let ended = run(nearfar(&["serve"]).arg(&missing).args(FREE_PORT));
    ended.assert_refused(1, &["no_such_model", "No such file"]);
    let broken = write(directory.path(), "broken.safetensors", "no tensors");
    let ended = run(nearfar(&["serve", &broken]).args(FREE_PORT));
    ended.assert_refused(1, &["broken.safetensors", "no valid safetensors"]);
}

#[test]
fn an_address_in_use_ends_with_one_and_advice() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let ended = run(&mut nearfar(&["serve", MODEL, "--listen", &address]));
    ended.assert_refused(1, &[&address, "in use", "choose another port"]);
}

#[test]
fn the_shipped_files_are_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = read_node_file(&root.join("nearfar.toml")).unwrap();
    let serve = file.into_serve_config().unwrap();
    let names: Vec<_> = serve.node.deployments.iter().map(|one| one.config.name.as_str()).collect();
    assert_eq!(names, ["cloud", "edge"]);
    for ServedDeployment { model, .. } in &serve.node.deployments {
        assert_eq!(model.path().unwrap(), Path::new(MODEL));
    }
    assert!(matches!(serve.node.broker, BrokerChoice::Embedded(_)));
    let broker = read_broker_file(&root.join("rumqttd.toml")).unwrap();
    let expected: SocketAddr = "127.0.0.1:1883".parse().unwrap();
    assert_eq!(broker.listeners.iter().map(|listener| listener.address).collect::<Vec<_>>(), [expected]);
}

#[test]
fn answers_that_cannot_be_delivered_are_counted_each_and_warned_of_now_and_then() {
    const LOST: usize = 1_000;
    let directory = tempfile::tempdir().unwrap();
    // A topic has 65,535 bytes at most, so there is room for the names of short devices alone.
    let results = "r".repeat(65_525);
    let broker = write(
        directory.path(),
        "broker.toml",
        "[v4.1]\nlisten = \"127.0.0.1:0\"\n[limits]\ntopic_bytes_max = 65535\n",
    );
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join(MODEL);
    let config = write(
        directory.path(),
        "node.toml",
        &format!(
            "[broker]\nconfig = {broker:?}\n[deployments.edge]\nmodel = {model:?}\nresult_topic = {results:?}\n"
        ),
    );
    let process = Process::start(&mut nearfar_logging("warn", &["serve", "--config", &config]));
    let mut client = Client::v3(ready_address(&process.line()), "c");
    client.subscribe(&format!("{results}/known"), 0);
    for number in 0..LOST as i64 {
        client.publish(REQUEST, request("known", number).as_bytes(), 0);
        client.receive();
        client.publish(REQUEST, request(&format!("a-long-name-{number}"), 1).as_bytes(), 0);
    }
    client.disconnect();
    let ended = process.terminate();
    ended.line_with(&format!("answers that could not be delivered {LOST}"));
    let warnings = ended.stderr.lines().filter(|line| line.contains("could not be handed")).count();
    assert!((1..=10).contains(&warnings), "{warnings} warnings");
}

fn broker(arguments: &[&str]) -> (Process, SocketAddr, String) {
    let process = Process::start(nearfar(&["broker"]).args(arguments));
    let ready = process.line();
    (process, ready_address(&ready), ready)
}

#[test]
fn a_broker_alone_carries_messages_and_says_nothing_of_its_own() {
    let (process, address, ready) = broker(&FREE_PORT);
    assert_eq!(ready, format!("ready mqtt={address}"));
    let mut all = Client::v5(address, "all");
    assert_eq!(all.subscribe("#", 1), 1);
    Client::v3(address, "sensor").publish_acked("plant/7", b"23", true);
    let received = all.receive();
    assert_eq!((received.topic().as_str(), received.payload5()), ("plant/7", &b"23"[..]));
    let mut late = Client::v3(address, "late");
    late.subscribe("#", 0);
    let retained: Vec<_> = late.until_pong().iter().map(|packet| packet.topic()).collect();
    assert_eq!(retained, ["plant/7"], "no model's status is among them");
    let ended = process.terminate();
    ended.assert_success();
    assert_eq!(ended.lines, Vec::<String>::new());
}

#[test]
fn a_broker_alone_tells_health_and_metrics_over_http() {
    let (process, address, ready) = broker(&[FREE_PORT[0], FREE_PORT[1], "--http", "127.0.0.1:0"]);
    let (_, http) = ready.split_once(" http=").expect("the ready line has http=");
    let http: SocketAddr = http.parse().unwrap();
    let asked = run(&mut nearfar(&["health", &http.to_string()]));
    asked.assert_success();
    assert_eq!(asked.lines, ["ready"]);
    let _client = Client::v3(address, "c");
    let families = scrape(http);
    let value = |name: &str| {
        let family = families.iter().find(|family| family.name == name);
        family.unwrap_or_else(|| panic!("no {name}")).samples[0].value
    };
    assert_eq!((value("nearfar_ready"), value("nearfar_broker_connections")), (1.0, 1.0));
    assert!(!families.iter().any(|family| family.name == "nearfar_requests_received_total"));
    process.terminate().assert_success();
}

#[test]
fn a_broker_alone_reads_its_users_and_its_file_again() {
    let directory = tempfile::tempdir().unwrap();
    let (users, rules) = access_files(directory.path(), "old");
    let text = format!(
        "[broker]\nlisten = \"127.0.0.1:0\"\nusers = {users:?}\naccess_rules = {rules:?}\n[http]\nlisten = \"127.0.0.1:0\"\n"
    );
    let file = write(directory.path(), "nearfar.toml", &text);
    let process = Process::start(&mut nearfar_logging("info", &["broker", "--config", &file]));
    let address = ready_address(&process.line());
    assert!(may_connect(address, "old") && !may_connect(address, "new"));
    access_files(directory.path(), "new");
    write(directory.path(), "nearfar.toml", &format!("{text}\n[deployments.edge]\nmodel = \"m\"\n"));
    assert!(process.signal("HUP"));
    process.complaint_with("read again");
    process.complaint_with("only a restart helps");
    assert!(may_connect(address, "new") && !may_connect(address, "old"));
    assert_eq!(process.terminate().code, Some(0));
}

#[test]
fn a_broker_alone_tells_its_status_where_it_is_given_a_topic() {
    let directory = tempfile::tempdir().unwrap();
    let text = "status_topic = \"plant/brokers\"\n[broker]\nlisten = \"127.0.0.1:0\"\n";
    let file = write(directory.path(), "nearfar.toml", text);
    let (process, address, _) = broker(&["--config", &file, "--node-id", "hall-2"]);
    let mut client = Client::v3(address, "c");
    client.subscribe("#", 0);
    assert_eq!(client.receive().topic(), "plant/brokers/hall-2");
    process.terminate().assert_success();
}

#[test]
fn serve_and_broker_name_one_another_where_the_other_one_is_meant() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |command: &str, text: &str, parts: &[&str]| {
        let file = write(directory.path(), "node.toml", text);
        run(&mut nearfar(&[command, "--config", &file]))
            .assert_refused(2, &[&[file.as_str()], parts].concat());
    };
    refused("serve", "[broker]\n", &["no deployments", "[deployments.edge]", "nearfar broker --config"]);
    refused("broker", "[deployments.edge]\nmodel = \"m\"\n", &["[deployments]", "nearfar serve --config"]);
    refused("broker", "[remote]\nhost = \"h\"\n", &["[remote]", "nearfar serve --config"]);
    refused("broker", "network_topic = \"n\"\n", &["network_topic", "nearfar serve --config"]);
    let file = write(directory.path(), "node.toml", "[broker]\n");
    let mut set_elsewhere = nearfar(&["broker", "--config", &file]);
    let ended = run(set_elsewhere.env("NEARFAR_NETWORK_TOPIC", "n"));
    ended.assert_refused(2, &["environment (NEARFAR_*)", "network_topic"]);
    assert!(!ended.stderr.contains(&file), "the file does not say it: {}", ended.stderr);
    for command in ["serve", "broker"] {
        refused(command, "[v4.1]\nlisten = \"127.0.0.1:0\"\n", &["line 1", "`v4`", "--broker-config"]);
    }
    let open = run(&mut nearfar(&["broker", "--listen", "0.0.0.0:0"]));
    open.assert_refused(2, &["0.0.0.0:0", "no users", "--allow-anonymous"]);
}

/// The configuration of docs/conformance.md, started by the command that its script prints.
fn broker_for_conformance(directory: &Path) -> (Process, SocketAddr) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance_configuration.sh");
    let written = std::process::Command::new(script).arg(directory).arg("127.0.0.1:0").output().unwrap();
    assert!(written.status.success(), "{written:?}");
    let command = String::from_utf8(written.stdout).unwrap();
    let (program, arguments) = command.trim_end().split_once(' ').unwrap();
    assert_eq!(program, "nearfar");
    let process = Process::start(nearfar(&[]).args(arguments.split(' ')));
    let address = ready_address(&process.line());
    (process, address)
}

#[test]
fn the_conformance_configuration_gives_the_paho_suite_what_it_asks_for() {
    let directory = tempfile::tempdir().unwrap();
    let (_process, address) = broker_for_conformance(directory.path());
    let asks_for_120_s = Connect { keep_alive_s: 120, ..Connect::v5("server keep alive") };
    let (mut flood, connack) = Client::connect(address, &asks_for_120_s);
    let says = |property: [u8; 3]| connack.body.windows(3).any(|bytes| bytes == property);
    assert!(says([19, 0, 60]) && says([33, 0, 20]), "{connack:?}");
    for mut client in [Client::v3(address, "old"), Client::v5(address, "new")] {
        assert_eq!(client.subscribe("test/nosubscribe", 2), 0x80);
        assert_eq!(client.subscribe("+/+", 2), 2);
        assert_eq!(client.subscribe("#", 2), 2);
        client.publish("test/nosubscribe", b"withheld", 0);
        client.publish("TopicA/B", b"seen", 0);
        assert_eq!(client.receive().topic(), "TopicA/B");
    }
    for id in 1..=21 {
        flood.send(&flood.publish_bytes("TopicA", b"never released", 4, id, &[]));
    }
    let told: Vec<_> = std::iter::from_fn(|| flood.next()).collect();
    let last = told.last().map(|packet| (packet.first, packet.body[0]));
    assert_eq!(last, Some((0xe0, 0x93)), "one more than the receive maximum ends the connection: {told:?}");
}
