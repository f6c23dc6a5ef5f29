//! One connection that keeps a fixed number of requests in flight, without an MQTT library that would be the bottleneck.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Every request has 397 bytes, like those that the replaced system was measured with.
const PAYLOAD_BYTES: usize = 397;
/// What [`Load::run_wide`] writes at once.
const BURST: usize = 250;
const TOPIC: &str = "ml/inference/request";

/// What of an answer tells the measured delay.
#[derive(serde::Deserialize)]
struct Delayed {
    stages_ms: DelayedStages,
}

#[derive(serde::Deserialize)]
struct DelayedStages {
    uplink: f64,
    downlink: f64,
}

/// A connected load generator.
pub struct Load {
    stream: TcpStream,
    request: Vec<u8>,
    received: Vec<u8>,
    block: Vec<u8>,
    sent: usize,
}

/// What a run gave.
#[derive(Clone)]
pub struct Measured {
    requests: usize,
    took: Duration,
    latency_ns: Histogram<u64>,
}

impl Measured {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64()
    }

    /// A quantile of the time from sending a request to reading its answer.
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latency_ns.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The run with the median rate.
    pub fn median(runs: &[Self]) -> Self {
        let mut runs = runs.to_vec();
        runs.sort_by(|one, other| one.rate().total_cmp(&other.rate()));
        runs[runs.len() / 2].clone()
    }
}

impl Load {
    pub fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).expect("the child listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let connect = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05bench";
        stream.write_all(connect).expect("the child reads");
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).expect("the child accepts");
        assert_eq!(connack, [0x20, 2, 0, 0]);
        let filter = "ml/inference/result/bench";
        let mut subscribe = vec![0x82, (5 + filter.len()) as u8, 0, 1, 0, filter.len() as u8];
        subscribe.extend_from_slice(filter.as_bytes());
        subscribe.push(0);
        stream.write_all(&subscribe).expect("the child reads");
        let mut suback = [0; 5];
        stream.read_exact(&mut suback).expect("the child subscribes");
        assert_eq!(suback, [0x90, 3, 0, 1, 0]);
        Self { stream, request: request(), received: Vec::new(), block: vec![0; 256 * 1024], sent: 0 }
    }

    /// Requests sent so far.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Sends `requests`, never more than `window` in flight, and reads all answers.
    pub fn run(&mut self, requests: usize, window: usize) -> Measured {
        let mut latency_ns = Histogram::new(3).expect("three digits are possible");
        let started = Instant::now();
        self.drive(requests, window, |latency| {
            latency_ns.record(latency.as_nanos() as u64).expect("the histogram grows");
        });
        Measured { requests, took: started.elapsed(), latency_ns }
    }

    /// The measured network delay of each answer, in milliseconds: uplink plus downlink.
    ///
    /// Requests leave evenly, `per_ms` a millisecond, whatever comes back (an open loop).
    pub fn delays_ms(&mut self, requests: usize, per_ms: usize) -> Vec<f64> {
        let mut writer = self.stream.try_clone().expect("a socket has two ends");
        let burst = self.request.repeat(per_ms);
        let mut delays = Vec::with_capacity(requests);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let started = Instant::now();
                for number in 0..requests / per_ms {
                    let due = started + Duration::from_millis(number as u64);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    writer.write_all(&burst).expect("the child reads");
                }
            });
            while delays.len() < requests {
                self.read_answers(|_, payload| {
                    let answer: Delayed = serde_json::from_slice(payload).expect("answers tell their stages");
                    delays.push(answer.stages_ms.uplink + answer.stages_ms.downlink);
                });
            }
        });
        delays
    }

    /// The same for a window of many milliseconds' worth. One thread writes while another reads: answers that are not read
    /// while a large burst is written would fall behind the broker's log.
    pub fn run_wide(&mut self, requests: usize, window: usize) -> Measured {
        let mut writer = self.stream.try_clone().expect("a socket has two ends");
        let burst = self.request.repeat(BURST);
        // Send times; each one stands for a request of the window.
        let (departures, departed) = sync_channel::<Instant>(window);
        let mut latency_ns = Histogram::new(3).expect("three digits are possible");
        let started = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..requests / BURST {
                    // Waits while the window is full.
                    let now = Instant::now();
                    (0..BURST).for_each(|_| departures.send(now).expect("the reader lives"));
                    writer.write_all(&burst).expect("the child reads");
                }
            });
            let mut unanswered = requests / BURST * BURST;
            while unanswered > 0 {
                self.read_answers(|now, _| {
                    let sent_at = departed.recv().expect("an answer to a request");
                    latency_ns.record((now - sent_at).as_nanos() as u64).expect("the histogram grows");
                    unanswered -= 1;
                });
            }
        });
        let requests = requests / BURST * BURST;
        self.sent += requests;
        Measured { requests, took: started.elapsed(), latency_ns }
    }

    fn drive(&mut self, requests: usize, window: usize, mut on_answer: impl FnMut(Duration)) {
        let mut in_flight = VecDeque::with_capacity(window);
        let (mut unsent, mut unanswered) = (requests, requests);
        let mut burst = Vec::new();
        while unanswered > 0 {
            let count = unsent.min(window - in_flight.len());
            if count > 0 {
                burst.clear();
                (0..count).for_each(|_| burst.extend_from_slice(&self.request));
                let now = Instant::now();
                in_flight.extend(std::iter::repeat_n(now, count));
                self.stream.write_all(&burst).expect("the child reads");
                unsent -= count;
                self.sent += count;
            }
            self.read_answers(|now, _| {
                // One device on one connection: answers come in the order of requests.
                let sent_at: Instant = in_flight.pop_front().expect("an answer to a request");
                on_answer(now - sent_at);
                unanswered -= 1;
            });
        }
    }

    /// Waits for bytes and calls `on_answer` for every answer that they complete.
    fn read_answers(&mut self, mut on_answer: impl FnMut(Instant, &[u8])) {
        let count = self.stream.read(&mut self.block).expect("the child answers");
        assert!(count > 0, "the child closed the connection");
        let now = Instant::now();
        self.received.extend_from_slice(&self.block[..count]);
        let mut at = 0;
        while let Some((payload, end)) = publish(&self.received[at..]) {
            on_answer(now, payload);
            at += end;
        }
        self.received.drain(..at);
    }
}

/// The payload of the PUBLISH at the head of `bytes` and the packet's length, once it is complete.
fn publish(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (mut length, mut header) = (0usize, 1);
    loop {
        let byte = *bytes.get(header)?;
        length |= usize::from(byte & 0x7f) << (7 * (header - 1));
        header += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let packet = bytes.get(..header + length)?;
    assert_eq!(packet[0] & 0xf0, 0x30, "only PUBLISH is expected");
    let topic = usize::from(u16::from_be_bytes([packet[header], packet[header + 1]]));
    Some((&packet[header + 2 + topic..], packet.len()))
}

/// A whole PUBLISH of one request.
fn request() -> Vec<u8> {
    let features: Vec<String> = (0..32).map(|at| format!("0.{:07}", 1_234_567 + at * 54_321)).collect();
    let mut payload = format!(
        r#"{{"device_id":"bench","timestamp_us":1700000000000000,"features":[{}]"#,
        features.join(",")
    );
    let padding = PAYLOAD_BYTES - payload.len() - 1;
    payload.push_str(&" ".repeat(padding));
    payload.push('}');
    assert_eq!(payload.len(), PAYLOAD_BYTES);
    let length = 2 + TOPIC.len() + payload.len();
    let mut packet = vec![0x30, (length % 128) as u8 | 0x80, (length / 128) as u8, 0, TOPIC.len() as u8];
    packet.extend_from_slice(TOPIC.as_bytes());
    packet.extend_from_slice(payload.as_bytes());
    packet
}
