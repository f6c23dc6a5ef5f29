//! The library without the command line: one node serves a model at the edge and in
//! the cloud, a client asks both.
//!
//! ```text
//! cargo run --example edge_vs_cloud
//! ```
//! Nothing else has to run. The same request gives the same prediction at both; only the way there
//! differs. To ask a node that runs by itself (`nearfar serve models/anomaly_detector`), see `sensor.rs`.

use std::error::Error;
use std::time::Duration;

use nearfar::deployment::{Config, Topics};
use nearfar::features::{Extractor, SAMPLE_RATE_HZ, WINDOW_SAMPLES};
use nearfar::sensors::bearing::{self, Bearing};
use nearfar::{Node, node::NodeError};
use rumqttc::{Client, Connection, Event, MqttOptions, NetworkOptions, Packet, QoS};
use serde_json::{Value, json};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/anomaly_detector");
const PLACEMENTS: [&str; 2] = ["edge", "cloud"];
const REQUESTS: u32 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let node = start()?;
    let address = node.mqtt_address().ok_or("an embedded broker has an address")?;
    let mut options = MqttOptions::new("comparison", address.ip().to_string(), address.port());
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut connection) = Client::new(options, 8);
    // A packet leaves at once, also behind one that the broker has not acknowledged.
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    connection.eventloop.set_network_options(network);
    for placement in PLACEMENTS {
        client.subscribe(format!("{placement}/ml/inference/+/comparison"), QoS::AtLeastOnce)?;
        await_packet(&mut connection, |packet| matches!(packet, Packet::SubAck(_)).then_some(()))?;
    }

    let mut bearing = Bearing::new(bearing::Config::default(), 1);
    let mut extractor = Extractor::new(WINDOW_SAMPLES, SAMPLE_RATE_HZ)?;
    println!("{:>8}  {:>10}  {:>8}  {:>8}  equal", "severity", "prediction", "edge ms", "cloud ms");
    for number in 0..REQUESTS {
        let severity = f64::from(number) / f64::from(REQUESTS - 1);
        let window = bearing.window(severity);
        let features = extractor.extract(&window.h, &window.v)?;
        let request =
            json!({ "device_id": "comparison", "timestamp_us": number, "features": features }).to_string();
        let edge = ask(&client, &mut connection, "edge", &request)?;
        let cloud = ask(&client, &mut connection, "cloud", &request)?;
        let (prediction, is_equal) =
            (number_of(&edge, "prediction")?, edge["prediction"] == cloud["prediction"]);
        let [edge_ms, cloud_ms] =
            [number_of(&edge, "total_latency_ms")?, number_of(&cloud, "total_latency_ms")?];
        println!("{severity:>8.2}  {prediction:>10.4}  {edge_ms:>8.3}  {cloud_ms:>8.3}  {is_equal}");
    }
    client.disconnect()?;
    node.stop();
    Ok(())
}

/// One node, two deployments: they differ in their topics and in the network between.
fn start() -> Result<Node, NodeError> {
    Node::builder()
        .deployment(Config::edge().topics(Topics::under("edge/")), MODEL)
        .deployment(Config::cloud().topics(Topics::under("cloud/")), MODEL)
        .start()
}

fn ask(
    client: &Client,
    connection: &mut Connection,
    placement: &str,
    request: &str,
) -> Result<Value, Box<dyn Error>> {
    client.publish(format!("{placement}/ml/inference/request"), QoS::AtLeastOnce, false, request)?;
    let payload = await_packet(connection, |packet| match packet {
        Packet::Publish(answer) => Some(answer.payload),
        _ => None,
    })?;
    Ok(serde_json::from_slice(&payload)?)
}

fn number_of(answer: &Value, member: &str) -> Result<f64, String> {
    answer[member].as_f64().ok_or_else(|| format!("expected a result, got {answer}"))
}

/// The first packet that `choose` takes.
fn await_packet<T>(
    connection: &mut Connection,
    choose: impl Fn(Packet) -> Option<T>,
) -> Result<T, Box<dyn Error>> {
    for event in connection.iter() {
        if let Event::Incoming(packet) = event?
            && let Some(chosen) = choose(packet)
        {
            return Ok(chosen);
        }
    }
    Err("the connection ended".into())
}
