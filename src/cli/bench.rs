//! `nearfar bench`: how many answers a second, how late, and at what cost.

pub mod echo;
mod handshake;
mod load;
mod packets;
mod report;
mod session;
mod sweep;
mod target;
mod ticker;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::ValueEnum;

use self::load::{Length, Outcome, Pace, Plan, Run};
use self::packets::Version;
use self::report::{Report, Used};
use self::target::{Choice, Target, Usage};
use crate::cli::{Unusable, output, overwriting};
use crate::config::PASSWORD_VARIABLE;
use crate::deployment::Topics;

/// Inputs of the shipped detector.
const SHIPPED_INPUTS: usize = 32;
/// Requests in flight when nothing else is said.
const WINDOW: u32 = 100;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(flatten)]
    bench: BenchArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Find the knee: the highest rate at which the p99 stays within a bound
    Sweep(sweep::Args),
}

#[derive(clap::Args)]
struct BenchArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    load: LoadArgs,
    /// Closed loop: as many requests in flight as this, over all connections [default: 100]
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    window: Option<u32>,
    /// Open loop: as many requests a second as this, whatever comes back; latency counts
    /// from when a request was due
    #[arg(long, value_name = "R", value_parser = positive)]
    rate: Option<f64>,
    /// How long to measure [default: 10]
    #[arg(long, value_name = "S", conflicts_with = "requests", value_parser = positive)]
    seconds: Option<f64>,
    /// How many requests to measure instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// What goes before, at the same pace, and does not count
    #[arg(long, value_name = "S", default_value = "1", value_parser = not_negative)]
    warm_up: f64,
    /// Print the figures as one JSON object, with the whole histogram
    #[arg(long)]
    json: bool,
    /// Write the percentile distribution to this file, in the format of HdrHistogram's plotter;
    /// a file that exists is kept
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Replace the file of --hgrm where it exists
    #[arg(long, requires = "hgrm")]
    force: bool,
}

/// What is measured.
#[derive(clap::Args)]
struct TargetArgs {
    /// A broker that runs already, with a node behind it [default: a node of our own, in
    /// a process of its own]
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with_all = ["echo", "model", "config", "cloud_latency", "broker_config"])]
    broker: Option<String>,
    /// The process whose processor time and memory are reported with --broker
    #[arg(long, value_name = "PID", requires = "broker")]
    pid: Option<u32>,
    /// User at that broker; the password is read from NEARFAR_REMOTE_PASSWORD
    #[arg(long, value_name = "NAME", requires = "broker")]
    username: Option<String>,
    /// An echo in the node's place: what carrying costs without thinking
    #[arg(long, conflicts_with_all = ["model", "config", "cloud_latency", "broker_config"])]
    echo: bool,
    /// The model that our node serves [default: the shipped detector]
    #[arg(long, value_name = "MODEL", conflicts_with = "config")]
    model: Option<PathBuf>,
    /// Our node is this many milliseconds away each way
    #[arg(long, value_name = "MS", conflicts_with = "config", value_parser = not_negative)]
    cloud_latency: Option<f64>,
    /// Our node's broker's configuration, in rumqttd's own format
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    broker_config: Option<PathBuf>,
    /// Our node's configuration (see nearfar.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Who asks.
#[derive(clap::Args)]
struct LoadArgs {
    /// Connections to the broker
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    connections: u32,
    /// Devices, dealt out over the connections [default: one for each connection]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    devices: Option<u32>,
    /// Quality of service of requests and of answers
    #[arg(long, value_name = "QOS", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Version of MQTT
    #[arg(long, value_enum, default_value_t)]
    mqtt: VersionArg,
    /// Numbers in a request [default: as many as --model has inputs, or 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    features: Option<u32>,
    /// Bytes of a request's payload, filled up with blanks [default: what it takes]
    #[arg(long, value_name = "N")]
    payload_bytes: Option<usize>,
    /// What stands before the topics, such as edge/ for edge/ml/inference/request
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    topic_prefix: String,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum VersionArg {
    #[value(name = "3.1.1")]
    V311,
    #[default]
    #[value(name = "5")]
    V5,
}

/// Seconds, milliseconds and rates beyond these are mistakes, and durations could not hold them.
const NUMBER_LEAST: f64 = 0.001;
const NUMBER_MAX: f64 = 1e9;

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (NUMBER_LEAST..=NUMBER_MAX).contains(&value) => Ok(value),
        _ => Err(format!("expected a number from {NUMBER_LEAST} to {NUMBER_MAX}")),
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=NUMBER_MAX).contains(&value) => Ok(value),
        _ => Err(format!("expected a number from 0 to {NUMBER_MAX}")),
    }
}

pub fn run(args: &Args, log: Option<&str>) -> anyhow::Result<()> {
    match &args.command {
        Some(Command::Sweep(args)) => sweep::run(args, log),
        None => bench(&args.bench, log),
    }
}

fn bench(args: &BenchArgs, log: Option<&str>) -> anyhow::Result<()> {
    if let Some(path) = &args.hgrm {
        overwriting::check_growing("--hgrm", path, &args.target.files(), args.force)?;
    }
    let target = args.target.start(log)?;
    let pace = match args.rate {
        Some(rate) => Pace::Rate(rate),
        None => Pace::Window(args.window.unwrap_or(WINDOW.max(args.load.connections)) as usize),
    };
    if let Pace::Window(window) = pace {
        let connections = args.load.connections;
        if window < connections as usize {
            bail!(Unusable(format!(
                "--window {window} is less than one request for each of {connections} connections"
            )));
        }
    }
    let length = match args.requests {
        Some(requests) => Length::Requests(requests),
        None => Length::Time(Duration::from_secs_f64(args.seconds.unwrap_or(10.0))),
    };
    let warm_up = Duration::from_secs_f64(args.warm_up);
    let plan = args.load.plan(&target, &args.target)?;
    let run = Run { pace, warm_up, length, shows_progress: true };
    let (outcome, node, generator) = measure(&target, &plan, run)?;
    let report =
        Report::new(args.target.name(), target.ready_after, pace_name(pace), &outcome, node, generator)?;
    // What was measured is said whether or not there is room for the file.
    let written = args.hgrm.iter().try_for_each(|path| report::write_hgrm(&outcome.tally.latency_ns, path));
    if args.json {
        output::line(&serde_json::to_string(&report)?)?;
    } else {
        report.lines().iter().try_for_each(|line| output::line(line))?;
    }
    written?;
    if let Some(fault) = outcome.fault {
        return Err(fault.context("the run was cut off, and the figures are of the time before"));
    }
    ensure!(outcome.tally.answered > 0, "no request was answered");
    Ok(())
}

/// Runs a load and tells what the node and this process used meanwhile.
fn measure(target: &Target, plan: &Plan, run: Run) -> anyhow::Result<(Outcome, Option<Used>, Option<Used>)> {
    let (mut before, mut after) = (None, None);
    let usage = || (target.usage(), Usage::of_this_process(), std::time::Instant::now());
    let outcome = load::run(plan, run, || before = Some(usage()), || after = Some(usage()))?;
    let (Some(before), Some(after)) = (before, after) else { return Ok((outcome, None, None)) };
    let seconds = (after.2 - before.2).as_secs_f64();
    let node = Used::between(before.0, after.0, seconds);
    let generator = Used::between(before.1, after.1, seconds);
    Ok((outcome, node, generator))
}

fn pace_name(pace: Pace) -> String {
    match pace {
        Pace::Window(window) => format!("{window} in flight"),
        Pace::Rate(rate) => format!("{rate} requests a second"),
    }
}

impl TargetArgs {
    /// The files that our node is started from.
    fn files(&self) -> Vec<PathBuf> {
        let model = self.model.as_deref().map(overwriting::model_files).unwrap_or_default();
        model.into_iter().chain(self.config.clone()).chain(self.broker_config.clone()).collect()
    }

    fn start(&self, log: Option<&str>) -> anyhow::Result<Target> {
        let choice = if let Some(address) = &self.broker {
            Choice::Elsewhere { address, process: self.pid }
        } else if self.echo {
            Choice::Echo
        } else if let Some(config) = &self.config {
            Choice::Configured { config }
        } else {
            Choice::Node {
                model: self.model.as_deref(),
                cloud_latency_ms: self.cloud_latency,
                broker_config: self.broker_config.as_deref(),
            }
        };
        Target::start(&choice, log)
    }

    fn name(&self) -> String {
        match (&self.broker, self.echo, self.cloud_latency) {
            (Some(address), ..) => format!("broker {address}"),
            (None, true, _) => "echo".to_owned(),
            (None, false, Some(latency_ms)) => format!("node {latency_ms} ms away each way"),
            (None, false, None) => "node".to_owned(),
        }
    }
}

impl TargetArgs {
    /// How many features a request needs, as far as that is known here.
    fn inputs(&self) -> anyhow::Result<usize> {
        let Some(model) = &self.model else { return Ok(SHIPPED_INPUTS) };
        let inspected = crate::model::inspect(model)?.model;
        Ok(inspected.map_err(anyhow::Error::msg)?.inputs)
    }
}

impl LoadArgs {
    fn plan(&self, target: &Target, who: &TargetArgs) -> anyhow::Result<Plan> {
        let topics = Topics::under(&self.topic_prefix);
        let connections = self.connections as usize;
        let devices = self.devices.map_or(connections, |devices| devices as usize);
        if devices < connections {
            bail!(Unusable(format!(
                "--devices {devices} is less than one for each of {connections} connections"
            )));
        }
        let login = match &who.username {
            None => None,
            Some(user) => {
                let password = std::env::var(PASSWORD_VARIABLE).map_err(|_| {
                    Unusable(format!("--username needs the password in the environment, {PASSWORD_VARIABLE}"))
                })?;
                Some((user.clone(), password))
            }
        };
        Ok(Plan {
            address: target.address.clone(),
            version: match self.mqtt {
                VersionArg::V311 => Version::V311,
                VersionArg::V5 => Version::V5,
            },
            qos: self.qos,
            connections,
            devices,
            features: self.features.map_or_else(|| who.inputs(), |features| Ok(features as usize))?,
            payload_bytes: self.payload_bytes,
            request_topic: topics.request.concat(),
            result_topic: topics.result,
            error_topic: topics.error,
            login,
        })
    }
}
