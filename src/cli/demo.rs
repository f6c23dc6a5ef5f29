//! `nearfar demo`: a broker, an edge and a cloud deployment, and simulated bearings,
//! in one process, for some seconds.

mod devices;
mod metrics_file;
mod summary;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use indicatif::ProgressBar;

use self::devices::{Fleet, Stamp};
use self::metrics_file::MetricsFile;
use self::summary::Summary;
use super::{Unusable, output, overwriting, progress};
use crate::config;
use crate::deployment::{Config, Topics};
use crate::features::FEATURES;
use crate::model::Detector;
use crate::node::Node;
use crate::requester::{Answer, Requester};
use crate::shipped;

#[derive(clap::Args)]
pub struct Args {
    /// How long the sensors send
    #[arg(long, value_name = "S", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Simulated bearings; every second one fails on the way
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u32).range(1..=256))]
    devices: u32,
    /// Requests a second of each device, to each placement
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// One-way milliseconds to the cloud
    #[arg(long, value_name = "MS", allow_negative_numbers = true, default_value = "50")]
    cloud_latency: f64,
    /// The model that both placements serve [default: the shipped detector]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Seed of the simulated bearings
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Where the figures of every request go; a file that exists is kept
    /// [default: metrics.csv, and where that exists metrics-2.csv and so on]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file of --out where it exists
    #[arg(long, requires = "out")]
    force: bool,
}

/// How often the demo may be run in one directory; somebody cleans up before that.
const DEFAULT_FILES_MAX: u32 = 1_000;

/// The two placements, in the order of every table; also the prefixes of their topics.
const PLACEMENTS: [&str; 2] = ["edge", "cloud"];

/// How long answers may take after the last request, beyond the network's delay.
const LAST_ANSWERS_WAIT: Duration = Duration::from_secs(10);

pub fn run(args: &Args) -> anyhow::Result<()> {
    let network = config::network("--cloud-latency", args.cloud_latency)?;
    let out = out(args)?;
    let topics = PLACEMENTS.map(|placement| Topics::under(&format!("{placement}/")));
    let [edge, cloud] = topics.clone();
    let node = Node::builder()
        .deployment(Config::edge().topics(edge), detector(args)?)
        .deployment(Config::cloud().topics(cloud).network(network), detector(args)?)
        .start()?;
    let address = node.mqtt_address().context("the node has no address")?;
    let model = node.deployments().next().context("the node has no deployment")?.model();
    let threshold = model.threshold;
    output::line(&format!(
        "broker on {address}; {} at the edge and {} ms away each way; {} bearings, half of them failing",
        model.name, args.cloud_latency, args.devices
    ))?;
    let requester = Requester::connect_to(address, &topics, "+")?;
    let fleet = Fleet::start(args.devices, args.rate, args.seconds, args.seed, &topics, requester.sender())?;
    let mut watch = Watch {
        threshold,
        rate: args.rate,
        pairs: BTreeMap::new(),
        metrics: MetricsFile::create(&out)?,
        summary: Summary::new(threshold),
        progress: bar(fleet.requests_planned())?,
        answered: 0,
        first_error: String::new(),
    };
    let ran = watch.run(&fleet, &requester);
    // Whatever came in between, what was measured is written.
    let written = if ran.is_ok() { watch.metrics.finish() } else { watch.metrics.flush() };
    ran?;
    let sent = fleet.finish()?;
    watch.progress.finish_and_clear();
    for line in watch.summary.lines() {
        output::line(&line)?;
    }
    let errors = watch.summary.errors();
    output::line(&format!(
        "requests {sent}, answers {}; figures of each in {}",
        watch.answered - errors,
        out.display()
    ))?;
    output::line(FIGURES)?;
    drop(requester);
    node.stop();
    // Said last: the summary is told whether or not there was room for the file.
    written?;
    ensure!(watch.answered == sent, "{} requests went unanswered", sent - watch.answered);
    ensure!(
        errors == 0,
        "{errors} of {sent} requests were answered with errors, the first: {}",
        watch.first_error
    );
    Ok(())
}

/// Why the figures in the file are not those of the table.
const FIGURES: &str = "the table has round trips as the sensors see them; total_latency_ms there is the node's own time, without the way \
                       through client and broker";

/// The model, which takes what a simulated bearing gives.
fn detector(args: &Args) -> anyhow::Result<Detector> {
    let detector = shipped::detector(args.model.as_deref())?;
    let info = detector.info();
    ensure!(
        info.inputs == FEATURES,
        Unusable(format!(
            "--model: model {:?} has {} inputs, expected {FEATURES}, which is what a simulated bearing has; replay a recording \
             of its own inputs: nearfar replay FILE --model MODEL",
            info.name, info.inputs
        ))
    );
    Ok(detector)
}

/// Where the figures go: where the user says, or to the first name that is free.
fn out(args: &Args) -> anyhow::Result<PathBuf> {
    if let Some(out) = &args.out {
        let inputs = args.model.as_deref().map(overwriting::model_files).unwrap_or_default();
        overwriting::check_growing("--out", out, &inputs, args.force)?;
        return Ok(out.clone());
    }
    let later = (2..=DEFAULT_FILES_MAX).map(|number| format!("metrics-{number}.csv"));
    let mut names = std::iter::once("metrics.csv".to_owned()).chain(later).map(PathBuf::from);
    // A link that leads nowhere is somebody's all the same.
    names.find(|name| name.symlink_metadata().is_err()).with_context(|| {
        format!("metrics.csv to metrics-{DEFAULT_FILES_MAX}.csv all exist: name a file with --out")
    })
}

/// What comes back, paired by window.
struct Watch {
    threshold: f32,
    rate: u32,
    /// The first of the two answers to a window, until the other comes.
    pairs: BTreeMap<Stamp, (usize, Answer)>,
    metrics: MetricsFile,
    summary: Summary,
    progress: ProgressBar,
    /// Requests that something came back to.
    answered: u64,
    /// What the first error says.
    first_error: String,
}

impl Watch {
    fn run(&mut self, fleet: &Fleet, requester: &Requester) -> anyhow::Result<()> {
        self.print(&format!(
            "{:<12} {:>10} {:>8} {:>9} {:>9}",
            "device", "prediction", "anomaly", "edge ms", "cloud ms"
        ))?;
        let mut deadline = None;
        loop {
            if fleet.is_done() && self.answered >= fleet.sent() {
                return Ok(());
            }
            if let Some(answer) = requester.next(Duration::from_millis(50))? {
                self.take(fleet, answer)?;
                deadline = None;
            } else if fleet.is_done() {
                let until = *deadline.get_or_insert_with(|| Instant::now() + LAST_ANSWERS_WAIT);
                if Instant::now() >= until {
                    return Ok(());
                }
            }
        }
    }

    fn take(&mut self, fleet: &Fleet, answer: Answer) -> anyhow::Result<()> {
        let placement = PLACEMENTS.iter().position(|name| answer.topic.starts_with(&format!("{name}/")));
        let stamp = answer.body.request_id.as_deref().and_then(Stamp::parse);
        let (Some(placement), Some(stamp)) = (placement, stamp) else { return Ok(()) };
        self.answered += 1;
        self.progress.inc(1);
        let device = fleet.device_id(&stamp);
        let round_trip = answer.received_at.saturating_duration_since(fleet.sent_at(&stamp));
        self.metrics.write(&device, PLACEMENTS[placement], fleet.timestamp_us(&stamp), &answer.body)?;
        self.summary.answer(placement, round_trip, &answer.body);
        if answer.body.prediction.is_none() && self.first_error.is_empty() {
            self.first_error = answer.body.error.clone().unwrap_or_else(|| "no prediction".to_owned());
        }
        let Some((first_placement, first)) = self.pairs.remove(&stamp) else {
            self.pairs.insert(stamp, (placement, answer));
            return Ok(());
        };
        let (edge, cloud) = if first_placement == 0 { (first, answer) } else { (answer, first) };
        self.summary.pair(&stamp, edge.body.prediction, cloud.body.prediction);
        // A row a second for each device is as much as a person reads.
        if stamp.number.is_multiple_of(self.rate) {
            let (prediction, anomaly) = match edge.body.prediction {
                Some(score) if score >= self.threshold => (format!("{score:.4}"), "yes"),
                Some(score) => (format!("{score:.4}"), "no"),
                None => ("error".to_owned(), "-"),
            };
            let [edge_ms, cloud_ms] = [&edge, &cloud].map(|answer| {
                (answer.received_at.saturating_duration_since(fleet.sent_at(&stamp))).as_secs_f64() * 1e3
            });
            self.print(&format!(
                "{device:<12} {prediction:>10} {anomaly:>8} {edge_ms:>9.2} {cloud_ms:>9.2}"
            ))?;
        }
        Ok(())
    }

    fn print(&self, line: &str) -> anyhow::Result<()> {
        // The bar must be out of the way, but only where there is one.
        self.progress.suspend(|| output::line(line))
    }
}

/// A bar on standard error where both it and standard output are a terminal.
fn bar(requests: u64) -> anyhow::Result<ProgressBar> {
    if !(progress::is_seen() && std::io::stdout().is_terminal()) {
        return Ok(ProgressBar::hidden());
    }
    progress::bar(requests, "{bar:40} {pos}/{len} answers, {elapsed}")
}
