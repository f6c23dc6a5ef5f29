//! Traces: what a request says of its own comes back with its answer, and its span tells what became of it.

use nearfar::{Node, deployment};
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use serde_json::Value;

use crate::support::process::{Process, nearfar_logging, ready_address};
use crate::support::{MODEL, Sensor, request};

const REQUEST: &str = "ml/inference/request";
const ANSWERS: [&str; 2] = ["ml/inference/result/#", "ml/inference/error/#"];
const PARENT: (&str, &str) = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
const STATE: (&str, &str) = ("tracestate", "vendor=1");

fn with(pairs: &[(&str, &str)]) -> PublishProperties {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    PublishProperties { user_properties: pairs.collect(), ..PublishProperties::default() }
}

#[test]
fn a_trace_context_comes_back_with_result_and_error_and_nothing_else_does() {
    let node = Node::builder().deployment(deployment::Config::edge(), MODEL).start().unwrap();
    let sensor = Sensor::listening(node.mqtt_address().unwrap(), &ANSWERS);
    let long = "x".repeat(513);
    for (sent, expected) in [
        (vec![("a", "b"), STATE, PARENT, ("traceparent", "second")], vec![PARENT, STATE]),
        (vec![("tracestate", &long), PARENT], vec![PARENT]),
        (vec![("Traceparent", "other")], vec![]),
        (vec![], vec![]),
    ] {
        for payload in [request("press", 1), "[]".to_owned()] {
            sensor.publish_with(REQUEST, payload, with(&sent));
            let found = sensor.next().properties.unwrap_or_default().user_properties;
            assert_eq!(
                PublishProperties { user_properties: found, ..PublishProperties::default() },
                with(&expected)
            );
        }
    }
}

#[test]
fn at_debug_a_span_tells_of_each_request_and_its_stages() {
    let mut command = nearfar_logging("nearfar::deployment=debug", &["--log-format", "json", "serve", MODEL]);
    let process = Process::start(command.args(["--listen", "127.0.0.1:0"]));
    let sensor = Sensor::listening(ready_address(&process.line()), &ANSWERS);
    sensor.publish_with(REQUEST, request("press", 1), with(&[PARENT]));
    let line: Value = serde_json::from_str(&process.complaint_with("\"answered\"")).unwrap();
    let span = &line["span"];
    assert_eq!(span["name"], "request");
    for (field, expected) in [("deployment", "edge"), ("device_id", "press"), PARENT] {
        assert_eq!(span[field], expected, "{line}");
    }
    for stage in ["uplink", "queue", "batch", "inference", "downlink", "total"] {
        assert!(line["fields"][stage].is_string(), "{stage}: {line}");
    }
    sensor.publish_with(REQUEST, "[]", with(&[]));
    let line: Value = serde_json::from_str(&process.complaint_with("\"refused\"")).unwrap();
    assert_eq!(line["fields"]["code"], "INVALID_JSON");
    assert_eq!(line["span"]["device_id"], Value::Null);
    drop(sensor);
    assert_eq!(process.terminate().code, Some(0));
}
