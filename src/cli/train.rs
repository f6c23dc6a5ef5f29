//! `nearfar train`: rows that people have become a detector that serves.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::recorded::{RecordedArgs, columns};
use super::{Unusable, output, overwriting, progress};
use crate::detection::{Budget, Fusion};
use crate::model::{ConvertError, save};
use crate::training::network::{Convolution, Order};
use crate::training::{Choice, Plan, Progress, Trained, Tried, train};

/// Learn a detector from recorded rows, and write it as a model's directory
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    recorded: RecordedArgs,
    /// The model's directory to write; files in it that exist are kept
    #[arg(long, value_name = "DIRECTORY")]
    out: PathBuf,
    /// Which detectors, separated by commas; auto tries those that suit the rows with injected faults
    #[arg(long, value_name = "NAMES", default_value = "auto", value_parser = detectors)]
    detector: Detectors,
    /// How several detectors become one: any, where the most surprised decides, or mean, where all do
    /// together
    #[arg(long, value_name = "HOW", default_value = "mean", value_parser = fusion)]
    fusion: Fusion,
    /// How many false alarms a device may have, such as 1/week, 3/day or "1/1000 rows"
    #[arg(long, value_name = "BUDGET", default_value = "1/1000 rows")]
    false_alarms: Budget,
    /// The false alarms are for all devices together, and not for each
    #[arg(long)]
    together: bool,
    /// Columns that hold features: a,b,c or first..last [default: all that hold numbers]
    #[arg(long, value_name = "COLUMNS")]
    features: Option<String>,
    /// So many rows of a device are learnt from before anything is said of it
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    warm_up: Option<u64>,
    /// Whether logarithms of the features are taken, which suits sizes that span octaves [default: found out]
    #[arg(long, value_name = "YES_OR_NO", value_parser = yes_or_no)]
    log_features: Option<bool>,
    /// A row is a sequence of so many samples of so many channels, such as 64x2, all channels of a sample
    /// side by side: a network begins with a convolution over time
    #[arg(long, value_name = "SAMPLESxCHANNELS", value_parser = sequence)]
    sequence: Option<Convolution>,
    /// What every draw comes from: the same rows and the same seed give the same bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The model's name [default: that of the directory]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Replace the files of a model that is in the directory
    #[arg(long)]
    force: bool,
}

/// Named ones; none for those that suit.
#[derive(Debug, Clone)]
struct Detectors(Vec<Choice>);

fn detectors(text: &str) -> Result<Detectors, String> {
    if text == "auto" {
        return Ok(Detectors(Vec::new()));
    }
    let one =
        |name: &str| Choice::NAMES.iter().find(|(known, _)| *known == name.trim()).map(|(_, choice)| *choice);
    let chosen: Option<Vec<_>> = text.split(',').map(one).collect();
    chosen.map(Detectors).ok_or_else(|| {
        let names: Vec<_> = Choice::NAMES.iter().map(|(name, _)| *name).collect();
        format!("expected auto, or some of {}", names.join(", "))
    })
}

/// How many filters a convolution has, and how many samples each sees.
const FILTERS: usize = 16;
const KERNEL: usize = 5;

fn sequence(text: &str) -> Result<Convolution, String> {
    let sizes = text
        .split_once('x')
        .and_then(|(samples, channels)| Some((samples.parse().ok()?, channels.parse().ok()?)));
    match sizes {
        Some((samples, channels)) if samples > 0 && channels > 0 => Ok(Convolution {
            order: Order::SamplesChannels,
            channels,
            samples,
            filters: FILTERS,
            kernel: KERNEL,
        }),
        _ => Err("expected how many samples of how many channels, such as 64x2".to_owned()),
    }
}

fn fusion(text: &str) -> Result<Fusion, String> {
    let known = Fusion::NAMES.iter().find(|(name, _)| *name == text);
    known.map(|(_, fusion)| *fusion).ok_or_else(|| "expected any or mean".to_owned())
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("expected yes or no".to_owned()),
    }
}

/// Trains, then says what was learnt from how much.
pub fn run(args: &Args) -> anyhow::Result<()> {
    for file in ["config.json", "model.safetensors"] {
        overwriting::check("--out", &args.out.join(file), args.recorded.files(), args.force)?;
    }
    let fleet = args.recorded.read(columns(args.features.as_deref()))?;
    let name = args.out.file_name().map(|name| name.to_string_lossy().into_owned());
    let plan = Plan {
        name: args.name.clone().or(name).unwrap_or_else(|| "detector".to_owned()),
        detectors: args.detector.0.clone(),
        fusion: args.fusion,
        false_alarms: args.false_alarms,
        is_together: args.together,
        warm_up: args.warm_up,
        log: args.log_features,
        convolution: args.sequence,
        seed: args.seed,
    };
    let bar = progress::bar(0, "{msg} {wide_bar} {pos}/{len}")?;
    let mut tell = |Progress { step, done, of }| {
        bar.set_message(step);
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    };
    let trained = train(&fleet, &plan, &mut tell);
    bar.finish_and_clear();
    let mut trained = trained.map_err(|error| Unusable(error.to_string()))?;
    let tensors = std::mem::take(&mut trained.tensors);
    let files = save(&args.out, &mut trained.config, tensors).map_err(status_of)?;
    output::written(print(&trained, &files, &args.out, &mut io::stdout().lock()))
}

fn status_of(error: ConvertError) -> anyhow::Error {
    super::convert::status_of(error)
}

fn print(trained: &Trained, files: &[PathBuf], directory: &Path, out: &mut impl Write) -> io::Result<()> {
    for sentence in &trained.said {
        writeln!(out, "{sentence}")?;
    }
    if !trained.tried.is_empty() {
        writeln!(out, "tried with injected faults in rows that were not learnt from:")?;
        trained.tried.iter().try_for_each(|tried| print_tried(tried, out))?;
    }
    let Some(settings) = &trained.config.detection else { return Ok(()) };
    let names: Vec<_> = settings.detectors.iter().map(|one| one.kind.as_str()).collect();
    writeln!(
        out,
        "detector {}, {} false alarms allowed, {} rows of warm-up",
        names.join(" and "),
        settings.false_alarms,
        settings.warm_up
    )?;
    files.iter().try_for_each(|file| writeln!(out, "{}", file.display()))?;
    let directory = directory.display();
    writeln!(out, "next: nearfar serve {directory}, or nearfar judge {directory} FILE --label COLUMN")
}

fn print_tried(tried: &Tried, out: &mut impl Write) -> io::Result<()> {
    let names: Vec<_> = tried.candidate.0.iter().map(|choice| choice.as_str()).collect();
    let of_kinds = tried.found.iter().map(|(fault, found, all)| format!("{} {found}/{all}", fault.as_str()));
    let of_kinds: Vec<_> = of_kinds.collect();
    writeln!(
        out,
        "  {:24} {:3.0} % found ({}); {} false alarms without faults, {:.1} allowed",
        names.join(","),
        100.0 * tried.share(),
        of_kinds.join(", "),
        tried.false_episodes,
        tried.allowed
    )
}
