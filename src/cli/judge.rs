//! `nearfar judge`: how good a detector is on rows whose truth is known.

mod asked;
mod rows_file;

use std::path::PathBuf;

use anyhow::bail;

use self::asked::{Asked, ask};
use super::recorded::{RecordedArgs, columns};
use super::{Unusable, output, overwriting};
use crate::detection::{Budget, Per};
use crate::growing_file::write_whole;
use crate::judgement::{Options, at_budget, judge};
use crate::model::Detector;
use crate::report::{About, JudgementReport};
use crate::sensors::recorded::{FeatureColumns, Input};
use crate::shipped;

/// Say how good a model's alarms are on recorded rows whose truth is known, beside alarms that need no model
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model: a directory or a file, or shipped
    model: PathBuf,
    #[command(flatten)]
    recorded: RecordedArgs,
    /// How many false alarms a device may have, in place of what the model says
    #[arg(long, value_name = "BUDGET")]
    budget: Option<Budget>,
    /// Columns that hold the features, in the model's order: a,b,c or first..last [default: those named like
    /// the model's features]
    #[arg(long, value_name = "COLUMNS")]
    features: Option<String>,
    /// Directory for judgement.html, judgement.json and rows.csv, which has what was said of each row
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Replace what is in --out
    #[arg(long)]
    force: bool,
}

/// The budgets of the curve, as multiples of the one that is judged at.
const MULTIPLES: [f64; 5] = [0.1, 0.3, 1.0, 3.0, 10.0];
/// What rows of a model that has no budget are judged against.
const BUDGET_DEFAULT: Budget = Budget { episodes: 1.0, per: Per::Rows(1_000) };
/// The files of `--out`.
const FILES: [&str; 3] = ["judgement.html", "judgement.json", "rows.csv"];

/// Judges, and prints the figures.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if !args.recorded.has_label() {
        bail!(Unusable(
            "--label is missing: without a column with the truth there is nothing to judge by".to_owned()
        ));
    }
    for file in args.out.iter().flat_map(|out| FILES.map(|file| out.join(file))) {
        overwriting::check("--out", &file, args.recorded.files(), args.force)?;
    }
    let mut detector = load(args, args.budget)?;
    let info = detector.info().clone();
    let budget = args.budget.or(info.detection.as_ref().map(|it| it.false_alarms)).unwrap_or(BUDGET_DEFAULT);
    let by_name = || {
        let named = info.features.iter().map(|it| Input::named(&it.name, it.unit.as_deref()));
        FeatureColumns::Inputs(named.collect())
    };
    if args.features.is_none() && info.features.is_empty() {
        bail!(Unusable("the model does not name its features: say --features".to_owned()));
    }
    let fleet = args.recorded.read(Some(columns(args.features.as_deref()).unwrap_or_else(by_name)))?;
    if fleet.features.len() != info.inputs {
        let (found, expected) = (fleet.features.len(), info.inputs);
        bail!(Unusable(format!(
            "--features: found {found} columns, expected {expected}, as the model has inputs"
        )));
    }
    for remark in &fleet.remarks {
        output::complain(remark);
    }
    let asked = ask(&mut detector, &fleet)?;
    let options = Options::at(budget);
    let series: Vec<_> = asked.iter().map(Asked::series).collect();
    let mut judgement = judge(&series, &options).map_err(|error| Unusable(error.to_string()))?;
    if info.detection.is_some() {
        for multiple in MULTIPLES {
            let budget = Budget { episodes: budget.episodes * multiple, ..budget };
            let series: Vec<_> =
                ask(&mut load(args, Some(budget))?, &fleet)?.iter().map(Asked::series).collect();
            let point = at_budget(budget, &series, &options).map_err(|error| Unusable(error.to_string()))?;
            judgement.curve.push(point);
        }
    }
    let about = About {
        detector: args.model.display().to_string(),
        data: args.recorded.files().iter().map(|file| file.display().to_string()).collect(),
        command: command(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let report = JudgementReport { judgement: &judgement, about: &about };
    let json = report.json();
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out)?;
        write_whole(&out.join(FILES[0]), report.html())?;
        write_whole(&out.join(FILES[1]), &json)?;
        rows_file::write(&out.join(FILES[2]), &asked, &info.feature_names())?;
    }
    let said = if args.json { json } else { report.text() };
    output::line(said.trim_end())?;
    Ok(())
}

/// The model, within `budget` where that is said.
fn load(args: &Args, budget: Option<Budget>) -> anyhow::Result<Detector> {
    let path = Some(args.model.as_path()).filter(|path| !shipped::is_meant_by(path));
    Ok(match (path, budget) {
        (Some(path), Some(budget)) => Detector::load_within(path, budget)?,
        _ => shipped::detector(path)?,
    })
}

/// What was asked for, to be asked for again.
fn command() -> String {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let quoted = |argument: &String| {
        let is_plain = |one: char| one.is_ascii_alphanumeric() || "-_./=,:".contains(one);
        if argument.chars().all(is_plain) { argument.clone() } else { format!("'{argument}'") }
    };
    let arguments: Vec<_> = arguments.iter().map(quoted).collect();
    format!("nearfar {}", arguments.join(" "))
}
