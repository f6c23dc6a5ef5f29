//! The simulated fleet: each device on its own thread makes raw vibration, computes
//! features and asks both placements.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};

use crate::deployment::Topics;
use crate::features::{Extractor, SAMPLE_RATE_HZ, WINDOW_SAMPLES};
use crate::requester::Sender;
use crate::sensors::bearing::{self, Bearing, FaultProgress};
use crate::wire::client::RequestBody;

/// What a request's id says: which window of which device it is, when it left, and whether
/// the bearing was sound. It comes back with the answer, so nothing has to be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    pub device: u32,
    pub number: u32,
    pub sent_us: u64,
    pub faulty: bool,
}

impl Stamp {
    fn to_request_id(self) -> String {
        format!("{}.{}.{}.{}", self.device, self.number, self.sent_us, u8::from(self.faulty))
    }

    pub fn parse(request_id: &str) -> Option<Self> {
        let mut parts = request_id.split('.');
        let stamp = Self {
            device: parts.next()?.parse().ok()?,
            number: parts.next()?.parse().ok()?,
            sent_us: parts.next()?.parse().ok()?,
            faulty: parts.next()? == "1",
        };
        parts.next().is_none().then_some(stamp)
    }
}

/// Whether bearing number `device` fails before the demo ends.
pub fn fails(device: u32) -> bool {
    device % 2 == 1
}

/// The devices' threads.
pub struct Fleet {
    started_at: Instant,
    started_us: i64,
    planned: u64,
    sent: Arc<AtomicU64>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Fleet {
    pub fn start(
        devices: u32,
        rate: u32,
        seconds: u32,
        seed: u64,
        topics: &[Topics; 2],
        sender: &Sender,
    ) -> anyhow::Result<Self> {
        let sent = Arc::new(AtomicU64::new(0));
        let (started_at, since_epoch) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH)?);
        let mut threads = Vec::new();
        for number in 0..devices {
            let device = Device {
                number,
                windows: rate * seconds,
                period: Duration::from_secs(1) / rate,
                seed: seed.wrapping_add(u64::from(number)),
                started_at,
                started_us: since_epoch.as_micros() as i64,
                request_topics: topics.clone().map(|topics| topics.request[0].clone()),
                sender: sender.clone(),
                sent: Arc::clone(&sent),
            };
            let thread = std::thread::Builder::new().name(device_id(number));
            threads.push(thread.spawn(move || device.run()).context("a device's thread")?);
        }
        let planned = u64::from(devices) * u64::from(rate) * u64::from(seconds) * topics.len() as u64;
        Ok(Self { started_at, started_us: since_epoch.as_micros() as i64, planned, sent, threads })
    }

    /// How many requests there will be.
    pub fn requests_planned(&self) -> u64 {
        self.planned
    }

    /// How many requests there were so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Whether every device has sent its last request.
    pub fn is_done(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    pub fn device_id(&self, stamp: &Stamp) -> String {
        device_id(stamp.device)
    }

    pub fn sent_at(&self, stamp: &Stamp) -> Instant {
        self.started_at + Duration::from_micros(stamp.sent_us)
    }

    pub fn timestamp_us(&self, stamp: &Stamp) -> i64 {
        self.started_us + stamp.sent_us as i64
    }

    /// Waits for the devices; the number of requests they sent.
    pub fn finish(self) -> anyhow::Result<u64> {
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a device's thread panicked"))??;
        }
        Ok(self.sent.load(Ordering::Acquire))
    }
}

fn device_id(number: u32) -> String {
    format!("bearing-{number:03}")
}

struct Device {
    number: u32,
    windows: u32,
    period: Duration,
    seed: u64,
    started_at: Instant,
    started_us: i64,
    request_topics: [String; 2],
    sender: Sender,
    sent: Arc<AtomicU64>,
}

/// The share of the demo after which a failing bearing's fault begins to grow.
const FAULT_ONSET: f64 = 0.3;
/// How severe it is then. The detector finds the simulated faults from about 0.5 on,
/// so the last quarter shows them.
const FAULT_ONSET_SEVERITY: f64 = 0.1;

impl Device {
    fn run(self) -> anyhow::Result<()> {
        let mut extractor = Extractor::new(WINDOW_SAMPLES, SAMPLE_RATE_HZ)?;
        let mut bearing = Bearing::new(bearing::Config::default(), self.seed);
        let fault = FaultProgress { onset_fraction: FAULT_ONSET, onset_severity: FAULT_ONSET_SEVERITY };
        for number in 0..self.windows {
            // A sensor samples by its own clock: what is late is sent at once, and nothing is skipped.
            let due = self.started_at + self.period * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let life = f64::from(number) / f64::from(self.windows);
            let severity = if fails(self.number) { fault.severity(life) } else { 0.0 };
            let window = bearing.window(severity);
            let features = extractor.extract(&window.h, &window.v)?;
            self.ask(number, severity > 0.0, &features)?;
        }
        Ok(())
    }

    fn ask(&self, number: u32, faulty: bool, features: &[f32]) -> anyhow::Result<()> {
        let sent_us = self.started_at.elapsed().as_micros() as u64;
        let stamp = Stamp { device: self.number, number, sent_us, faulty };
        let request_id = stamp.to_request_id();
        let request = RequestBody {
            device_id: &device_id(self.number),
            timestamp_us: Some(self.started_us + sent_us as i64),
            request_id: Some(&request_id),
            features,
            ..RequestBody::default()
        };
        for topic in &self.request_topics {
            self.sent.fetch_add(1, Ordering::AcqRel);
            self.sender.send(topic, &request)?;
        }
        Ok(())
    }
}
