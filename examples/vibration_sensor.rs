//! A vibration sensor: raw samples of a bearing become windows, windows become 32
//! features, features a request.
//!
//! The bearing is simulated; put your accelerometer's samples in place of `bearing.window(..)`.
//! ```text
//! nearfar serve models/anomaly_detector                      # in one terminal
//! cargo run --example vibration_sensor -- --fault            # in another: a bearing that fails as one watches
//! ```

use std::error::Error;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use clap::Parser;
use nearfar::features::{Extractor, SAMPLE_RATE_HZ, WINDOW_SAMPLES};
use nearfar::sensors::bearing::{Bearing, Config, FaultProgress};
use rumqttc::{Client, Connection, Event, MqttOptions, NetworkOptions, Packet, QoS};
use serde_json::json;

#[derive(Parser)]
struct Arguments {
    /// The broker's host.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The broker's port.
    #[arg(long, default_value_t = 1883)]
    port: u16,
    /// The sensor's name.
    #[arg(long, default_value = "pump-7")]
    device: String,
    /// How long to measure, in seconds; with --fault also the bearing's life.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Lets the bearing fail.
    #[arg(long)]
    fault: bool,
}

/// Windows taken each second: one follows the other without a gap.
const WINDOWS_PER_S: u32 = 10;
/// Answers that may wait to be printed.
const ANSWERS_MAX: usize = 64;
/// How long the first connection, or an answer, may take.
const PATIENCE: Duration = Duration::from_secs(5);

enum Heard {
    Subscribed,
    Answer(String),
    Lost(String),
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut options = MqttOptions::new(&arguments.device, &arguments.host, arguments.port);
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut connection) = Client::new(options, ANSWERS_MAX);
    // A packet leaves at once, also behind one that the broker has not acknowledged.
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    connection.eventloop.set_network_options(network);
    client.subscribe(format!("ml/inference/+/{}", arguments.device), QoS::AtLeastOnce)?;
    let (sender, events) = sync_channel(ANSWERS_MAX);
    let listener = std::thread::spawn(move || listen(connection, &sender));
    match events.recv_timeout(PATIENCE)? {
        Heard::Subscribed => measure(&arguments, &client, &events)?,
        Heard::Answer(_) => return Err("an answer came before any request".into()),
        Heard::Lost(cause) => return Err(cause.into()),
    }
    client.disconnect()?;
    listener.join().map_err(|_| "the listening thread panicked".into())
}

/// Passes on what the broker says until the connection ends.
fn listen(mut connection: Connection, events: &SyncSender<Heard>) {
    for event in connection.iter() {
        let event = match event {
            Ok(Event::Incoming(Packet::SubAck(_))) => Heard::Subscribed,
            Ok(Event::Incoming(Packet::Publish(answer))) => {
                Heard::Answer(String::from_utf8_lossy(&answer.payload).into_owned())
            }
            Ok(_) => continue,
            Err(cause) => Heard::Lost(cause.to_string()),
        };
        let is_last = matches!(event, Heard::Lost(_));
        if events.send(event).is_err() || is_last {
            return;
        }
    }
}

fn measure(arguments: &Arguments, client: &Client, events: &Receiver<Heard>) -> Result<(), Box<dyn Error>> {
    let mut bearing = Bearing::new(Config::default(), 7);
    let mut extractor = Extractor::new(WINDOW_SAMPLES, SAMPLE_RATE_HZ)?;
    let progress = if arguments.fault { FaultProgress::default() } else { FaultProgress::NONE };
    let (windows, begin) = (arguments.seconds * WINDOWS_PER_S, Instant::now());
    let mut unanswered = 0_usize;
    for window in 1..=windows {
        let severity = progress.severity(f64::from(window) / f64::from(windows));
        let samples = bearing.window(severity);
        let features = extractor.extract(&samples.h, &samples.v)?;
        let timestamp_us = begin.elapsed().as_micros() as u64;
        let request =
            json!({ "device_id": arguments.device, "timestamp_us": timestamp_us, "features": features });
        client.publish("ml/inference/request", QoS::AtLeastOnce, false, request.to_string())?;
        unanswered += 1;
        let next = begin + Duration::from_secs(1) * window / WINDOWS_PER_S;
        unanswered = unanswered.saturating_sub(print_answers(events, next, usize::MAX)?);
    }
    unanswered = unanswered.saturating_sub(print_answers(events, Instant::now() + PATIENCE, unanswered)?);
    if unanswered > 0 {
        return Err(format!("{unanswered} of {windows} requests were not answered").into());
    }
    Ok(())
}

/// Prints what comes until `end`, at most `answers_max` answers; returns how many came.
fn print_answers(
    events: &Receiver<Heard>,
    end: Instant,
    answers_max: usize,
) -> Result<usize, Box<dyn Error>> {
    let mut answers = 0;
    while answers < answers_max {
        match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Heard::Answer(answer)) => {
                println!("{answer}");
                answers += 1;
            }
            Ok(Heard::Subscribed) => {}
            Ok(Heard::Lost(cause)) => return Err(cause.into()),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return Err("the connection ended".into()),
        }
    }
    Ok(answers)
}
