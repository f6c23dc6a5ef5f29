//! A well-behaved device: a request now and then, and the time until its answer.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::mqtt::Client;
use crate::support::request;

/// The device's pace.
const EVERY: Duration = Duration::from_millis(2);

pub struct Device(Client);

/// Times from request to answer.
#[derive(Default)]
pub struct Times(Vec<Duration>);

/// A device at work.
pub struct Working {
    stop: SyncSender<()>,
    thread: JoinHandle<(Device, Times)>,
}

impl Device {
    pub fn connect(address: SocketAddr) -> Self {
        let mut client = Client::v3(address, "device");
        assert_eq!(client.subscribe("ml/inference/result/device", 0), 0);
        Self(client)
    }

    /// Asks until told to stop.
    pub fn work(self) -> Working {
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::spawn(move || self.ask_until(&stopped));
        Working { stop, thread }
    }

    fn ask_until(mut self, stopped: &Receiver<()>) -> (Self, Times) {
        let mut times = Times::default();
        let mut number = 0;
        while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            let asked_at = Instant::now();
            self.0.publish("ml/inference/request", request("device", number).as_bytes(), 0);
            let answer = self.0.receive();
            times.0.push(asked_at.elapsed());
            assert_eq!(answer.topic(), "ml/inference/result/device");
            number += 1;
        }
        (self, times)
    }

    /// How long answers take when nothing else is going on.
    pub fn calm(self, requests: usize) -> (Self, Times) {
        let working = self.work();
        // The pace is the device's own; this only says when it is enough.
        let (_never, nothing) = sync_channel::<()>(0);
        nothing.recv_timeout(EVERY * requests as u32).ok();
        working.stop()
    }
}

impl Working {
    pub fn stop(self) -> (Device, Times) {
        // It may have failed already, which joining it tells.
        self.stop.send(()).ok();
        self.thread.join().expect("every request of the device is answered")
    }
}

impl Times {
    pub fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn p99(&self) -> Duration {
        self.quantile(99)
    }

    /// The time that so many of a hundred requests did not exceed.
    pub fn quantile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    }
}
