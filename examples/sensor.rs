//! The smallest sensor: sends one request, prints its answer, exits.
//!
//! ```text
//! nearfar serve models/anomaly_detector      # in one terminal
//! cargo run --example sensor                 # in another; -- HOST PORT for a broker elsewhere
//! ```

use std::error::Error;
use std::time::{Duration, SystemTime};

use rumqttc::{Client, Event, MqttOptions, NetworkOptions, Packet, QoS};
use serde_json::json;

const DEVICE: &str = "example-sensor";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let host = arguments.next().unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = arguments.next().map_or(Ok(1883), |port| port.parse())?;
    let mut options = MqttOptions::new(DEVICE, host, port);
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut connection) = Client::new(options, 8);
    // A packet leaves at once, also behind one that the broker has not acknowledged.
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    connection.eventloop.set_network_options(network);
    client.subscribe(format!("ml/inference/result/{DEVICE}"), QoS::AtLeastOnce)?;
    client.subscribe(format!("ml/inference/error/{DEVICE}"), QoS::AtLeastOnce)?;

    let mut subscriptions = 0;
    for event in connection.iter() {
        match event? {
            Event::Incoming(Packet::SubAck(_)) => {
                subscriptions += 1;
                // Asking before both are in place could miss the answer.
                if subscriptions == 2 {
                    client.publish("ml/inference/request", QoS::AtLeastOnce, false, request()?)?;
                }
            }
            Event::Incoming(Packet::Publish(answer)) => {
                println!("{}: {}", answer.topic, String::from_utf8_lossy(&answer.payload));
                return Ok(());
            }
            _ => {}
        }
    }
    Err("the connection ended before the answer came".into())
}

/// The shipped model takes 32 features of vibration; `vibration_sensor.rs` computes real ones.
fn request() -> Result<String, Box<dyn Error>> {
    let timestamp_us = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros() as u64;
    let features = [0.5; 32];
    Ok(json!({ "device_id": DEVICE, "timestamp_us": timestamp_us, "features": features }).to_string())
}
