//! A reload of `nearfar serve` that brings other simulated networks; with other users it is in `serve.rs`.

use serde_json::{Value, json};

use crate::support::process::{Process, nearfar_logging};
use crate::support::waiting::wait_until;
use crate::support::{MODEL, Sensor, request};

/// The result of a request: the delay that the network gave it, and the network's number.
fn result(sensor: &Sensor, number: i64) -> (f64, Value) {
    let body = sensor.ask("ml/inference/request", request("s", number)).json();
    (body["cloud_latency_ms"].as_f64().unwrap(), body["network"].clone())
}

#[test]
fn a_reload_changes_networks_and_names_what_needs_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nearfar.toml");
    let write = |rest: &str| {
        let text = format!(
            "[broker]\nlisten = \"127.0.0.1:0\"\n[deployments.cloud]\nmodel = {MODEL:?}\nmembers = [\"network\"]\n{rest}"
        );
        std::fs::write(&path, text).unwrap();
    };
    write("one_way_latency_ms = 2\n");
    let process =
        Process::start(&mut nearfar_logging("info", &["serve", "--config", path.to_str().unwrap()]));
    let ready = process.line();
    let address = ready.split_whitespace().find_map(|word| word.strip_prefix("mqtt=")).unwrap();
    let sensor = Sensor::listening(address.parse().unwrap(), &["ml/inference/result/#"]);
    assert_eq!(result(&sensor, 1), (4.0, json!(0)));

    write("[deployments.cloud.network]\nuplink = { delay = { model = \"constant\", ms = 3 } }\n");
    assert!(process.signal("HUP"));
    process.complaint_with("the simulated network was changed");
    assert_eq!(result(&sensor, 2), (3.0, json!(1)));

    write("batch_max = 3\n[deployments.cloud.network]\npreset = \"6g\"\n");
    assert!(process.signal("HUP"));
    process.complaint_with("key `deployments.cloud.network.preset`");
    assert_eq!(result(&sensor, 3), (3.0, json!(1)));

    write("batch_max = 3\none_way_latency_ms = 1\n");
    assert!(process.signal("HUP"));
    assert!(process.complaint_with("only a restart helps").contains("deployments.cloud"));
    wait_until("the network is changed", || result(&sensor, 4) == (2.0, json!(2)));
    assert_eq!(process.terminate().code, Some(0));
}
