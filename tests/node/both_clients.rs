//! One suite over both local clients: the in-process link, and rumqttc against our own broker.

use std::net::SocketAddr;
use std::time::Duration;

use nearfar::Node;
use nearfar::broker::{self, Broker};
use nearfar::client::RemoteConfig;
use nearfar::deployment::{Config, Topics};
use nearfar::inference::ErrorCode;
use nearfar::mqtt::Qos;
use nearfar::network::Profile;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use serde_json::json;

use crate::support::mqtt;
use crate::support::waiting::wait_until;
use crate::support::{MODEL, PATIENCE, Sensor, assert_error, request};

const REQUEST: &str = "ml/inference/request";
const RESULTS: &str = "ml/inference/result/#";

/// A node, the address its sensors use, and the broker when that is not the node's own.
struct Stage {
    node: Node,
    address: SocketAddr,
    _broker: Option<Broker>,
}

type Build = fn(Vec<Config>) -> Stage;

fn in_process(deployments: Vec<Config>) -> Stage {
    let builder =
        deployments.into_iter().fold(Node::builder(), |builder, config| builder.deployment(config, MODEL));
    let node = builder.start().expect("a node starts");
    let address = node.mqtt_address().expect("it has a broker");
    Stage { node, address, _broker: None }
}

fn elsewhere(deployments: Vec<Config>) -> Stage {
    let broker = Broker::start(broker::Config::loopback()).expect("a broker starts");
    let address = broker.addresses()[0].1;
    let remote = RemoteConfig::new(address.ip().to_string(), address.port(), "node");
    let builder = Node::builder().remote_broker(remote);
    let builder = deployments.into_iter().fold(builder, |builder, config| builder.deployment(config, MODEL));
    let node = builder.start().expect("a node starts");
    node.wait_until_ready(PATIENCE).expect("the node reaches its broker");
    Stage { node, address, _broker: Some(broker) }
}

macro_rules! over_both_clients {
    ($($name:ident)*) => {
        mod in_process { $(#[test] fn $name() { super::$name(super::in_process) })* }
        mod elsewhere { $(#[test] fn $name() { super::$name(super::elsewhere) })* }
    };
}

over_both_clients! {
    a_request_is_answered_at_every_quality_of_service
    a_bad_request_is_answered_with_an_error
    a_thousand_requests_are_all_answered
    a_response_topic_is_answered_too
    a_response_topic_that_is_a_request_topic_brings_one_answer
    two_deployments_answer_side_by_side
    the_node_announces_itself
    a_stopped_node_has_answered_everything
}

fn a_request_is_answered_at_every_quality_of_service(build: Build) {
    let stage = build(vec![Config::edge()]);
    let sensor = Sensor::connect(stage.address);
    sensor.subscribe(RESULTS, Qos::ExactlyOnce);
    for (number, qos) in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce].into_iter().enumerate() {
        sensor.publish(REQUEST, qos, request("s", number as i64));
        assert_eq!(sensor.next().json()["timestamp_us"], number);
    }
}

fn a_bad_request_is_answered_with_an_error(build: Build) {
    let stage = build(vec![Config::edge()]);
    let sensor = Sensor::listening(stage.address, &["ml/inference/error/#"]);
    assert_error(&sensor.ask(REQUEST, "{}"), "ml/inference/error", ErrorCode::InvalidDeviceId);
}

fn a_thousand_requests_are_all_answered(build: Build) {
    let stage = build(vec![Config::cloud().network(Profile::constant(Duration::from_millis(20)))]);
    let sensor = Sensor::listening(stage.address, &[RESULTS]);
    for number in 0..1_000 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", number));
    }
    let order: Vec<_> = sensor
        .take(1_000)
        .iter()
        .map(|a| a.json()["timestamp_us"].as_i64().expect("a timestamp is echoed"))
        .collect();
    assert_eq!(order, (0..1_000).collect::<Vec<_>>());
    let statistics = stage.node.deployment("cloud").expect("the deployment exists").statistics();
    assert!(statistics.is_conserved());
    assert_eq!((statistics.answered, statistics.undelivered), (1_000, 0));
}

fn a_response_topic_is_answered_too(build: Build) {
    let stage = build(vec![Config::edge()]);
    let sensor = Sensor::listening(stage.address, &["reply"]);
    let asked = PublishProperties {
        response_topic: Some("reply".to_owned()),
        correlation_data: Some(vec![1u8, 0, 2].into()),
        ..PublishProperties::default()
    };
    sensor.publish_with(REQUEST, request("s", 5), asked);
    let answer = sensor.next();
    assert_eq!(answer.json()["timestamp_us"], 5);
    assert_eq!(
        answer.properties.expect("the answer has properties").correlation_data.as_deref(),
        Some(&[1u8, 0, 2][..])
    );
}

fn a_response_topic_that_is_a_request_topic_brings_one_answer(build: Build) {
    let stage = build(vec![Config::edge()]);
    let sensor = Sensor::listening(stage.address, &[RESULTS, "ml/inference/error/#"]);
    let asked =
        PublishProperties { response_topic: Some(REQUEST.to_owned()), ..PublishProperties::default() };
    // One after the other: what is refused at once may overtake an answer of the model.
    for (payload, topic) in [
        (request("s", 1), "ml/inference/result/s"),
        (json!({"device_id": "s", "features": 1}).to_string(), "ml/inference/error/s"),
    ] {
        sensor.publish_with(REQUEST, payload, asked.clone());
        assert_eq!(sensor.next().topic, topic);
    }
    let statistics = || stage.node.deployment("edge").expect("the deployment exists").statistics();
    let began = std::time::Instant::now();
    while statistics().answers_dropped < 2 {
        assert!(began.elapsed() < PATIENCE, "{:?}", statistics());
        std::thread::yield_now();
    }
    let asked_once = sensor.ask(REQUEST, request("s", 2));
    assert_eq!(asked_once.json()["timestamp_us"], 2);
    let counts = statistics();
    assert!(counts.is_conserved());
    assert_eq!((counts.received, counts.answered, counts.answers_dropped), (3, 2, 2));
}

fn two_deployments_answer_side_by_side(build: Build) {
    let far = Profile::constant(Duration::from_millis(10));
    let stage = build(vec![
        Config::edge().topics(Topics::under("edge/")),
        Config::cloud().network(far).topics(Topics::under("cloud/")),
    ]);
    let sensor = Sensor::listening(stage.address, &["+/ml/inference/result/#"]);
    for (prefix, network_ms) in [("edge", 0.0), ("cloud", 20.0)] {
        let result = sensor.ask(&format!("{prefix}/ml/inference/request"), request("s", 1));
        assert_eq!(result.topic, format!("{prefix}/ml/inference/result/s"));
        assert_eq!(result.json()["cloud_latency_ms"], network_ms);
    }
}

fn the_node_announces_itself(build: Build) {
    let stage = build(vec![Config::edge()]);
    let sensor = Sensor::listening(stage.address, &["ml/inference/status/nearfar"]);
    let status = sensor.next();
    assert!(status.retain);
    let status = status.json();
    assert_eq!((status["status"].as_str(), status["node_id"].as_str()), (Some("online"), Some("nearfar")));
    let deployment = &status["deployments"][0];
    assert_eq!((&deployment["model"], deployment.get("cloud_model")), (&json!("anomaly_detector"), None));
}

fn a_stopped_node_has_answered_everything(build: Build) {
    let stage = build(vec![Config::cloud().network(Profile::constant(Duration::from_millis(100)))]);
    // Not rumqttc: it drops what it has read together with the broker's goodbye.
    let mut listener = mqtt::Client::v3(stage.address, "listener");
    listener.subscribe(RESULTS, 0);
    let sensor = Sensor::connect(stage.address);
    for number in 0..20 {
        sensor.publish(REQUEST, Qos::AtLeastOnce, request("s", number));
    }
    wait_until("requests never arrive", || {
        stage.node.deployment("cloud").expect("the deployment exists").statistics().received >= 20
    });
    let (_, total) = stage.node.stop()[0].clone();
    assert_eq!((total.answered, total.in_flight), (20, 0));
    for _ in 0..20 {
        assert_eq!(listener.receive().topic(), "ml/inference/result/s");
    }
}
