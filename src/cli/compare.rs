//! `nearfar compare`: what measurements of placements say, and how sure that is; of
//! an experiment that it runs, or of files.

mod bars;
mod conclude;
mod dry_run;
mod experiment;
mod json;
mod said;
mod table;

use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::{Unusable, output, overwriting};
use crate::config::ConfigError;
use crate::lab::CostModel;
use crate::lab::comparison::{Comparison, Options};
use crate::lab::metrics_file::{self, Measurement};
use crate::statistics::Bootstrap;
use crate::text;
use crate::trial::{Said, virtual_time};

/// Run the experiment that a scenario describes, or take existing measurements, and compare placements:
/// means and percentiles with confidence intervals, and whether the difference means anything
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("measurements").required(true).multiple(true))]
pub struct Args {
    /// The experiment to run: a scenario file in YAML, described in docs/experiments.md
    #[arg(value_name = "SCENARIO", group = "measurements", conflicts_with_all = ["csv", "edge", "cloud"])]
    scenario: Option<PathBuf>,
    #[command(flatten)]
    running: Running,
    /// Measurements of one or more placements, with the columns timestamp_us, device_id, placement,
    /// inference_time_ms, cloud_latency_ms and total_latency_ms; may be given several times
    #[arg(long, value_name = "FILE", group = "measurements")]
    csv: Vec<PathBuf>,
    /// Measurements of the placement edge, with those columns; other rows do not count
    #[arg(long, value_name = "FILE", group = "measurements")]
    edge: Option<PathBuf>,
    /// Measurements of the placement cloud, with those columns; other rows do not count
    #[arg(long, value_name = "FILE", group = "measurements")]
    cloud: Option<PathBuf>,
    /// Total latency from which an answer is late, in milliseconds [default: the scenario's]
    #[arg(long, value_name = "MS")]
    deadline_ms: Option<f64>,
    /// Differences of at most so many milliseconds do not matter
    #[arg(long, value_name = "MS", default_value = "0")]
    margin_ms: f64,
    /// How probable it is that an interval holds the true value
    #[arg(long, value_name = "P", default_value_t = LEVEL)]
    level: f64,
    /// How often samples are drawn anew for the intervals
    #[arg(long, value_name = "N", default_value_t = RESAMPLES, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    resamples: u32,
    /// What those draws come from: the same seed gives the same intervals [default: 0].
    /// With a scenario, what everything is drawn from, in place of its own seed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// How probable it is that an interval holds the true value, and how often samples are drawn anew for it.
const LEVEL: f64 = 0.95;
const RESAMPLES: u32 = 2_000;

/// How a scenario is run.
#[derive(Debug, clap::Args)]
struct Running {
    /// Where the results go; those of an earlier experiment are kept
    /// [default: results/NAME, with the scenario's name]
    #[arg(long, value_name = "DIR", requires = "scenario")]
    out: Option<PathBuf>,
    /// Replace the results of an earlier experiment, or write into a directory that holds other things too
    #[arg(long, requires = "scenario")]
    force: bool,
    /// How often the experiment is repeated, each time with the next seed [default: the scenario's]
    #[arg(long, value_name = "R", requires = "scenario", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    repeat: Option<u32>,
    /// Say what would be run and what is wrong with it, and run nothing
    #[arg(long, requires = "scenario")]
    dry_run: bool,
    /// On a simulated clock: in seconds, and the same every time but for the cost of
    /// forward passes, which is measured
    #[arg(long = "virtual", requires = "scenario")]
    is_virtual: bool,
    /// So many devices in all, in the shares that the scenario's sensors have
    #[arg(long, value_name = "N", requires = "is_virtual", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    devices: Option<u32>,
    /// What a forward pass takes in virtual time, in microseconds, instead of measuring
    /// it: for each pass, and for each of its rows. For one placement with its name in
    /// front, and for a hybrid's cloud with NAME/cloud; may be given several times
    #[arg(long, value_name = "[SITE=]PER_BATCH_US,PER_ROW_US", requires = "is_virtual", value_parser = said::cost)]
    cost: Vec<Said<CostModel>>,
    /// What the way through client and broker takes in virtual time, in microseconds: one
    /// number, or quantiles from the least to the most. For one placement, or a hybrid's cloud,
    /// as --cost. Without it and without --cost it is measured in ten seconds by the clock
    #[arg(long, value_name = "[SITE=]US[,US...]", requires = "is_virtual", value_parser = said::path)]
    path: Vec<Said<virtual_time::Path>>,
}

/// Prints the comparison.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if !(0.5..1.0).contains(&args.level) {
        return Err(wrong_flag("--level", args.level, "0.5 or more and less than 1").into());
    }
    if let Some(value) = args.deadline_ms.filter(|value| !value.is_finite() || *value <= 0.0) {
        return Err(wrong_flag("--deadline-ms", value, "a number above 0").into());
    }
    if !args.margin_ms.is_finite() || args.margin_ms < 0.0 {
        return Err(wrong_flag("--margin-ms", args.margin_ms, "a number of at least 0").into());
    }
    if let Some(scenario) = &args.scenario {
        return experiment::run(args, scenario);
    }
    let options = options(args);
    check_twice(args)?;
    let comparison = Comparison::of(&measurements(args)?, &options).context("there are no measurements")?;
    if args.json {
        output::line(&serde_json::to_string_pretty(&json::comparison(&comparison, &options))?)?;
    } else {
        output::line(&table::comparison(&comparison, &options))?;
    }
    Ok(())
}

/// The error for a flag whose value is a number that it may not be.
fn wrong_flag(flag: &str, found: f64, expected: &str) -> ConfigError {
    ConfigError::Override { origin: flag.to_owned(), problem: format!("found {found}, expected {expected}") }
}

/// How placements are compared.
fn options(args: &Args) -> Options {
    let (resamples, seed) = (args.resamples as usize, args.seed.unwrap_or_default());
    let bootstrap = Bootstrap { resamples, level: args.level, seed, block: None };
    Options { bootstrap, deadline_ms: args.deadline_ms, margin_ms: args.margin_ms }
}

/// Measurements that are given twice would count twice, and their intervals would be too narrow. One file may
/// have the measurements of both placements.
fn check_twice(args: &Args) -> Result<(), ConfigError> {
    let named = args.edge.iter().chain(&args.cloud).chain(&args.csv);
    for file in &args.csv {
        let is_twice = named.clone().filter(|other| overwriting::are_same(file, other)).count() > 1;
        if is_twice {
            let problem = format!("{} is given twice, expected each file once", file.display());
            return Err(ConfigError::Override { origin: "--csv".to_owned(), problem });
        }
    }
    Ok(())
}

fn measurements(args: &Args) -> anyhow::Result<Vec<Measurement>> {
    let mut all = Vec::new();
    for (file, placement) in [(&args.edge, "edge"), (&args.cloud, "cloud")] {
        let Some(file) = file else { continue };
        let before = all.len();
        all.extend(read(file)?.into_iter().filter(|row| row.placement == placement));
        if all.len() == before {
            bail!(Unusable(format!(
                "{}: no row has the placement {placement:?}, expected the measurements of it",
                file.display()
            )));
        }
    }
    for file in &args.csv {
        all.append(&mut read(file)?);
    }
    Ok(all)
}

fn read(file: &Path) -> anyhow::Result<Vec<Measurement>> {
    let name = file.display().to_string();
    let opened = text::open(file).map_err(|cause| Unusable(format!("{name}: cannot be read: {cause}")))?;
    Ok(metrics_file::read(&name, BufReader::new(opened)).map_err(|fault| Unusable(fault.to_string()))?)
}
