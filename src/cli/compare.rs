//! `nearfar compare`: what measurements of placements say, and how sure that is.

mod json;
mod table;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use nearfar::lab::comparison::{Comparison, Options};
use nearfar::lab::metrics_file::{self, Measurement};
use nearfar::lab::statistics::Bootstrap;

use super::output;

/// Compare placements by existing measurements: means and percentiles with confidence intervals, and whether the difference means
/// anything
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("measurements").required(true).multiple(true))]
pub struct Args {
    /// Measurements of one or more placements, with the columns timestamp_us, device_id, placement, inference_time_ms,
    /// cloud_latency_ms and total_latency_ms; may be given several times
    #[arg(long, value_name = "FILE", group = "measurements")]
    csv: Vec<PathBuf>,
    /// The same of the placement edge alone
    #[arg(long, value_name = "FILE", group = "measurements")]
    edge: Option<PathBuf>,
    /// The same of the placement cloud alone
    #[arg(long, value_name = "FILE", group = "measurements")]
    cloud: Option<PathBuf>,
    /// Total latency from which an answer is late, in milliseconds
    #[arg(long, value_name = "MS")]
    deadline_ms: Option<f64>,
    /// Differences of at most so many milliseconds do not matter
    #[arg(long, value_name = "MS", default_value = "0")]
    margin_ms: f64,
    /// How probable it is that an interval holds the true value
    #[arg(long, value_name = "P", default_value = "0.95")]
    level: f64,
    /// How often samples are drawn anew for the intervals
    #[arg(long, value_name = "N", default_value = "2000", value_parser = clap::value_parser!(u32).range(100..=100_000))]
    resamples: u32,
    /// What those draws come from: the same seed gives the same intervals
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Prints the comparison.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        (0.5..1.0).contains(&args.level),
        "--level: found {}, expected 0.5 or more and less than 1",
        args.level
    );
    for (flag, value) in
        [("--deadline-ms", args.deadline_ms.unwrap_or_default()), ("--margin-ms", args.margin_ms)]
    {
        ensure!(value.is_finite() && value >= 0.0, "{flag}: found {value}, expected a number of at least 0");
    }
    let bootstrap =
        Bootstrap { resamples: args.resamples as usize, level: args.level, seed: args.seed, block: None };
    let options = Options { bootstrap, deadline_ms: args.deadline_ms, margin_ms: args.margin_ms };
    let comparison = Comparison::of(&measurements(args)?, &options).context("there are no measurements")?;
    if args.json {
        output::line(&serde_json::to_string_pretty(&json::comparison(&comparison, &options))?)?;
    } else {
        output::line(&table::comparison(&comparison, &options))?;
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
            bail!(
                "{}: no row has the placement {placement:?}, expected the measurements of it",
                file.display()
            );
        }
    }
    for file in &args.csv {
        all.append(&mut read(file)?);
    }
    Ok(all)
}

fn read(file: &Path) -> anyhow::Result<Vec<Measurement>> {
    let name = file.display().to_string();
    let opened = File::open(file).with_context(|| format!("{name}: cannot be read"))?;
    Ok(metrics_file::read(&name, BufReader::new(opened))?)
}
