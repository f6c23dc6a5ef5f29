//! What tests share, of which each binary includes all of it once. In this file: a sensor that speaks MQTT 5
//! over TCP, and small builders.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod certificates;
pub mod experiments;
pub mod gate;
pub mod http;
pub mod models;
pub mod mosquitto;
pub mod mqtt;
pub mod process;
pub mod prometheus;
pub mod raw_broker;
pub mod waiting;
pub mod websocket;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nearfar::inference::ErrorCode;
use nearfar::mqtt::Qos;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
use rumqttc::v5::{Client, Event, MqttOptions};
use serde_json::{Value, json};

/// The shipped detector: 32 features of vibration.
pub const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/anomaly_detector");
/// Its number of features.
pub const INPUTS: usize = 32;

/// No test waits longer for anything; reaching it is a failure, never a pace.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A message that a sensor received.
#[derive(Debug)]
pub struct Received {
    pub topic: String,
    pub payload: Vec<u8>,
    pub retain: bool,
    pub properties: Option<PublishProperties>,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).expect("answers are JSON")
    }
}

/// An MQTT client on a thread of its own.
pub struct Sensor {
    client: Client,
    received: Receiver<Received>,
    acknowledged: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// Messages that may wait in a sensor.
const RECEIVED_MAX: usize = 65_536;

impl Sensor {
    pub fn connect(address: SocketAddr) -> Self {
        let id = format!("sensor-{:016x}", rand::random::<u64>());
        let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
        options.set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(Some(1 << 20));
        let (client, mut connection) = Client::new(options, RECEIVED_MAX);
        let (messages, received) = sync_channel(RECEIVED_MAX);
        let (acks, acknowledged) = sync_channel(64);
        let (connected, is_connected) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            for event in connection.iter() {
                let going_on = match event {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => connected.try_send(()).is_ok(),
                    Ok(Event::Incoming(Packet::SubAck(_))) => acks.send(()).is_ok(),
                    Ok(Event::Incoming(Packet::Publish(publish))) => messages
                        .send(Received {
                            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                            payload: publish.payload.to_vec(),
                            retain: publish.retain,
                            properties: publish.properties,
                        })
                        .is_ok(),
                    Ok(_) => true,
                    Err(_) => false,
                };
                if !going_on {
                    return;
                }
            }
        });
        is_connected.recv_timeout(PATIENCE).expect("the broker accepts the sensor");
        Self { client, received, acknowledged, thread: Some(thread) }
    }

    /// Connects and subscribes.
    pub fn listening(address: SocketAddr, filters: &[&str]) -> Self {
        let sensor = Self::connect(address);
        for filter in filters {
            sensor.subscribe(filter, Qos::AtLeastOnce);
        }
        sensor
    }

    pub fn subscribe(&self, filter: &str, qos: Qos) {
        self.client.subscribe(filter, quality(qos)).expect("the sensor's connection takes requests");
        self.acknowledged.recv_timeout(PATIENCE).expect("the broker acknowledges the subscription");
    }

    pub fn publish(&self, topic: &str, qos: Qos, payload: impl Into<Vec<u8>>) {
        let payload: Vec<u8> = payload.into();
        self.client
            .publish(topic, quality(qos), false, payload)
            .expect("the sensor's connection takes requests");
    }

    /// Publishes for whoever subscribes later too.
    pub fn publish_retained(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        let payload: Vec<u8> = payload.into();
        self.client
            .publish(topic, QoS::AtLeastOnce, true, payload)
            .expect("the sensor's connection takes requests");
    }

    pub fn publish_with(&self, topic: &str, payload: impl Into<Vec<u8>>, properties: PublishProperties) {
        let payload: Vec<u8> = payload.into();
        self.client
            .publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties)
            .expect("the sensor's connection takes requests");
    }

    /// The next message.
    #[track_caller]
    pub fn next(&self) -> Received {
        self.received.recv_timeout(PATIENCE).expect("a message arrives")
    }

    /// The next `count` messages.
    #[track_caller]
    pub fn take(&self, count: usize) -> Vec<Received> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Sends one request and waits for the next message.
    #[track_caller]
    pub fn ask(&self, topic: &str, payload: impl Into<Vec<u8>>) -> Received {
        self.publish(topic, Qos::AtLeastOnce, payload);
        self.next()
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        // The connection may be gone already, and then there is nothing to end.
        self.client.disconnect().ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn quality(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// A valid request of `device`; `number` is its timestamp and shifts its features.
pub fn request(device: &str, number: i64) -> String {
    let features: Vec<f64> =
        (0..INPUTS).map(|at| 0.1 + 0.01 * at as f64 + 0.001 * (number % 97) as f64).collect();
    json!({ "device_id": device, "timestamp_us": number, "features": features }).to_string()
}

/// Asserts that `answer` is the error `code` on `topic`.
#[track_caller]
pub fn assert_error(answer: &Received, topic: &str, code: ErrorCode) {
    let body = answer.json();
    assert_eq!(body["code"], json!(code.as_str()), "{body}");
    // Of a fault, whose it is decides.
    if code != ErrorCode::Internal {
        assert_eq!(body["retryable"], json!(code.retryable()), "{body}");
    }
    assert_eq!(answer.topic, topic, "{body}");
}
