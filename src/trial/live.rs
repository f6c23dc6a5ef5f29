//! A repeat by the clock: one node in this process, a deployment for each placement,
//! and one MQTT connection over TCP that asks all of them.

mod collector;
mod generator;

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::collector::{Collector, Setup};
use self::generator::Generator;
use super::models::Placed;
use super::repeat::{Measured, Repeat};
use super::{Progress, Results, TrialError, cpu, hybrids};
use crate::deployment::{Config, Topics};
use crate::lab::observation::Usage;
use crate::node::Node;
use crate::requester::Requester;

/// From the moment when everything stands to the first moment at which a request may
/// be due: both threads are there by then.
const LEAD: Duration = Duration::from_millis(50);
/// Requests that were sent and that the collector has not seen yet.
const SENT_MAX: usize = 65_536;

/// The repeat's clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
    began_us: i64,
}

impl Clock {
    fn start() -> Result<Self, TrialError> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(Self { began: Instant::now() + LEAD, began_us: (since_epoch + LEAD).as_micros() as i64 })
    }

    /// Microseconds since 1970.
    fn timestamp_us(&self, since: Duration) -> i64 {
        self.began_us + since.as_micros() as i64
    }
}

/// Runs `repeat`. Answers are written to `results` as they come. When the user
/// `is_stopping`, no more requests are sent, and what is under way is waited for.
///
/// # Errors
/// When the node does not start, the connection breaks, or results cannot be written.
pub fn run(
    repeat: &Repeat,
    placed: Vec<Placed>,
    results: &mut dyn Results,
    progress: &mut dyn Progress,
    is_stopping: &AtomicBool,
) -> Result<Measured, TrialError> {
    let topics: Vec<_> = (0..placed.len()).map(|at| Topics::under(&format!("p{at}/"))).collect();
    let node = start(repeat, placed, &topics)?;
    let links_began = Instant::now();
    let address = node.mqtt_address().ok_or(TrialError::NoAddress)?;
    let requester = Requester::connect_to(address, &topics, "+")?;
    let used_before = used(repeat);
    let clock = Clock::start()?;
    let observations = thread::scope(|scope| {
        let (notes, sent) = sync_channel(SENT_MAX);
        let (stop, stopped) = sync_channel(0);
        let generator = Generator { repeat, clock, topics: &topics, sender: requester.sender().clone() };
        let thread = thread::Builder::new().name("generator".to_owned());
        let send = move || generator.run(&stopped, &notes);
        let generator = thread.spawn_scoped(scope, send).map_err(TrialError::Thread)?;
        let setup = Setup { repeat, clock, topics: &topics, requester: &requester, node: &node };
        let collector = Collector::new(setup, results, progress, sent, stop);
        // It lets go of the generator in any case.
        let collected = collector.run(is_stopping);
        generator.join().map_err(|_| TrialError::Panicked)??;
        collected
    })?;
    let usages = usages(repeat, &used_before);
    let marks = repeat.outages(clock.began.saturating_duration_since(links_began));
    drop(requester);
    node.stop();
    Ok(Measured { observations, usages, marks, began_us: clock.began_us })
}

fn start(repeat: &Repeat, placed: Vec<Placed>, topics: &[Topics]) -> Result<Node, TrialError> {
    let mut builder = Node::builder();
    for (at, (placement, placed)) in repeat.scenario.placements.iter().zip(placed).enumerate() {
        let mut config = Config::edge().network(placement.network.clone()).topics(topics[at].clone());
        config.name = deployment_name(at, &placement.name);
        config.placement.clone_from(&placement.name);
        // Where an answer's time went is part of what is measured.
        config.members.stages_ms = true;
        builder = match (&placement.hybrid, placed.cloud) {
            (Some(hybrid), Some(cloud)) => {
                let config = hybrids::deployment(config, hybrid, repeat.scenario.deadline);
                builder.hybrid(config, placed.detector, cloud)
            }
            _ => builder.deployment(config, placed.detector),
        };
    }
    Ok(builder.start()?)
}

/// Begins with the placement's number: names of threads are cut, and still tell the placements apart.
fn deployment_name(at: usize, placement: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
    format!("{}{}", thread_prefix(at), placement.chars().filter(fits).collect::<String>())
}

fn thread_prefix(at: usize) -> String {
    format!("{at}-")
}

/// Processor time of each placement's threads so far.
fn used(repeat: &Repeat) -> Vec<Option<Duration>> {
    (0..repeat.scenario.placements.len()).map(|at| cpu::of_threads(&thread_prefix(at))).collect()
}

fn usages(repeat: &Repeat, before: &[Option<Duration>]) -> Vec<Usage> {
    let usage = |(at, (before, after)): (usize, (&Option<Duration>, Option<Duration>))| Usage {
        point: repeat.point,
        repeat: repeat.number,
        placement: at as u16,
        cpu: after.zip(*before).map(|(after, before)| after.saturating_sub(before)),
    };
    before.iter().zip(used(repeat)).enumerate().map(usage).collect()
}

/// What identifies a request in its answer: the input's number and nothing else, because every
/// repeat has a node and a connection of its own, and the answer's topic tells the placement.
fn request_id(input: usize) -> String {
    input.to_string()
}
