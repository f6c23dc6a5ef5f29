//! Round trips of one request at a time through rumqttc as it comes: without
//! TCP_NODELAY. For `round_trips.py`.
//!
//! Usage: `round_trips PORT QOS REQUESTS`, with a node or an echo behind the port. Prints each round trip in
//! milliseconds.

use std::error::Error;
use std::time::{Duration, Instant};

use rumqttc::{Client, Connection, Event, MqttOptions, Packet, QoS};
use serde_json::json;

const DEVICE: &str = "round-trips";

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` adds a flag of its own.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [port, qos, requests] = arguments.as_slice() else {
        println!("skipped: round_trips.py runs it");
        return Ok(());
    };
    let qos = if qos == "2" { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
    let mut options = MqttOptions::new("round-trips-rumqttc", "127.0.0.1", port.parse()?);
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut connection) = Client::new(options, 8);
    client.subscribe(format!("ml/inference/result/{DEVICE}"), qos)?;
    until(&mut connection, |packet| matches!(packet, Packet::SubAck(_)))?;
    let features = [0.5; 32];
    let request = json!({ "device_id": DEVICE, "timestamp_us": 1, "features": features }).to_string();
    for _ in 0..requests.parse()? {
        let begun = Instant::now();
        client.publish("ml/inference/request", qos, false, request.as_bytes())?;
        until(&mut connection, |packet| matches!(packet, Packet::Publish(_)))?;
        println!("{:.3}", begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}

/// Lets the client work until it has received such a packet.
fn until(connection: &mut Connection, is_it: impl Fn(&Packet) -> bool) -> Result<(), Box<dyn Error>> {
    for event in connection.iter() {
        if let Event::Incoming(packet) = event?
            && is_it(&packet)
        {
            return Ok(());
        }
    }
    Err("the connection has ended".into())
}
