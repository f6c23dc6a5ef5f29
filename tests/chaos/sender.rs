//! A sender that never gives up: what is not acknowledged it sends again on its next
//! connection, as MQTT wants.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

use crate::ledger::Ledger;
use crate::support::mqtt::{Client, Connect, Packet};

/// Requests that it has unacknowledged at most.
const WINDOW: usize = 16;
/// Requests without an answer at most, whoever acknowledges them.
const UNANSWERED_MAX: u64 = 64;
const QOS_1: u8 = 0b0010;
const DUP: u8 = 0b1000;
const PUBACK: u8 = 0x40;
const SESSION_PRESENT: u8 = 1;

/// A running sender.
pub struct Sender {
    pub ledger: Arc<Ledger>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the sender's thread has.
struct Device {
    name: String,
    address: SocketAddr,
    ledger: Arc<Ledger>,
    /// Whether its acknowledgements come behind its answers, because one connection brings both.
    answers_first: bool,
    /// Not acknowledged: the numbers.
    unacknowledged: VecDeque<u64>,
    next: u64,
}

impl Sender {
    /// Starts one that sends as `device` until it is told to stop.
    pub fn start(device: &str, address: SocketAddr, answers_first: bool) -> Self {
        let (ledger, is_over) = (Arc::new(Ledger::default()), Arc::new(AtomicBool::new(false)));
        let mut sender = Device {
            name: device.to_owned(),
            address,
            ledger: Arc::clone(&ledger),
            answers_first,
            unacknowledged: VecDeque::new(),
            next: 1,
        };
        let over = Arc::clone(&is_over);
        let thread = thread::Builder::new().name(device.to_owned());
        let thread = thread.spawn(move || sender.run(&over)).unwrap();
        Self { ledger, is_over, thread: Some(thread) }
    }

    /// Sends nothing new any more, and ends once everything has been acknowledged and
    /// answered. Returns what came: acknowledged, repeated, out of order.
    pub fn finish(mut self) -> (u64, u64, u64) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().expect("the sender found nothing wrong");
        self.ledger.settle()
    }

    pub fn is_well(&self) -> bool {
        !self.thread.as_ref().unwrap().is_finished()
    }
}

/// The connection is gone.
struct Gone;

impl From<std::io::Error> for Gone {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Device {
    fn run(&mut self, is_over: &AtomicBool) {
        // An error means that the connection is gone: there will be another.
        while self.serve(is_over).is_err() {
            thread::yield_now();
        }
    }

    /// One connection; ends well when everything has been acknowledged and nothing new is to be sent.
    fn serve(&mut self, is_over: &AtomicBool) -> Result<(), Gone> {
        let mut client = Line::open(self.address)?;
        let connect = Connect { keep_alive_s: 5, ..Connect::v5(&self.name) }.persistent();
        client.stream.write_all(&connect.bytes())?;
        let connack = client.receive()?;
        assert_eq!((connack.first, connack.body[1]), (0x20, 0), "{connack:?}");
        let is_known = connack.body[0] & SESSION_PRESENT != 0;
        if !is_known {
            let topic = format!("ml/inference/+/{}", self.name);
            client.stream.write_all(&client.writer.subscribe_bytes(&topic, 1, 1, &[]))?;
            while client.receive().map(|packet| self.take(&mut client.stream, &packet))??.first != 0x90 {}
        }
        for &number in &self.unacknowledged {
            client.stream.write_all(&self.request(&client.writer, number, DUP))?;
        }
        loop {
            while self.may_send() && !is_over.load(Ordering::Relaxed) {
                client.stream.write_all(&self.request(&client.writer, self.next, 0))?;
                self.unacknowledged.push_back(self.next);
                self.next += 1;
            }
            if self.unacknowledged.is_empty() && self.ledger.is_settled() {
                client.stream.write_all(&[0xe0, 0])?;
                return Ok(());
            }
            let packet = client.receive()?;
            self.take(&mut client.stream, &packet)?;
        }
    }

    fn may_send(&self) -> bool {
        let unanswered = self.next - 1 - self.ledger.answered_count();
        self.unacknowledged.len() < WINDOW && unanswered < UNANSWERED_MAX
    }

    /// Deals with a packet, and gives it back.
    fn take(&mut self, stream: &mut TcpStream, packet: &Packet) -> Result<Packet, Gone> {
        if packet.kind() == 3 {
            self.ledger.answered(packet.payload5());
            if packet.qos() > 0 {
                let [high, low] = packet.packet_id().to_be_bytes();
                stream.write_all(&[PUBACK, 2, high, low])?;
            }
        } else if packet.first == PUBACK {
            let reason = packet.body.get(2).copied().unwrap_or(0);
            assert!(reason < 0x80, "a request was refused: {packet:?}");
            let number = *self.unacknowledged.front().expect("one waits");
            assert_eq!(packet.packet_id(), packet_id(number), "acknowledgements keep the order");
            if self.answers_first {
                assert!(
                    self.ledger.is_answered(number),
                    "request {number} is acknowledged without an answer"
                );
            }
            self.unacknowledged.pop_front();
            self.ledger.acknowledged(number);
        }
        Ok(packet.clone())
    }

    /// Its device's clock jumps: only the request's name is what it is.
    fn request(&self, writer: &Client, number: u64, flags: u8) -> Vec<u8> {
        let timestamp_us = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as i64 - (1 << 42);
        let features = vec![(number % 97) as f64 / 97.0; crate::support::INPUTS];
        let body = json!({
            "device_id": self.name, "timestamp_us": timestamp_us, "request_id": number.to_string(), "features": features,
        });
        let body = body.to_string();
        writer.publish_bytes("ml/inference/request", body.as_bytes(), QOS_1 | flags, packet_id(number), &[])
    }
}

fn packet_id(number: u64) -> u16 {
    (number % 60_000) as u16 + 1
}

/// A connection whose loss is an error and no panic.
struct Line {
    stream: TcpStream,
    /// Says packets.
    writer: Client,
}

/// A connection on which nothing comes for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(5);

impl Line {
    fn open(address: SocketAddr) -> Result<Self, Gone> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let writer = Client { stream: stream.try_clone()?, is_v5: true };
        Ok(Self { stream, writer })
    }

    fn receive(&mut self) -> Result<Packet, Gone> {
        let mut first = [0];
        self.read(&mut first)?;
        let (mut length, mut shift, mut byte) = (0, 0, [0x80]);
        while byte[0] & 0x80 != 0 {
            self.read(&mut byte)?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
        }
        let mut body = vec![0; length];
        self.read(&mut body)?;
        Ok(Packet { first: first[0], body })
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), Gone> {
        match self.stream.read_exact(bytes) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::InvalidInput => panic!("{error}"),
            Err(_) => Err(Gone),
        }
    }
}
