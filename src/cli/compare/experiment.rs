//! Runs the experiment that the flags ask for, and says what it says.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::bail;

use super::bars::Bars;
use super::conclude::conclude;
use super::{Args, dry_run, wrong_flag};
use crate::cli::overwriting::Refused;
use crate::cli::{output, signals};
use crate::config::ConfigError;
use crate::trial::{Changes, Foreign, Given, Plan, ResultsDirectory, Timing, Trial, TrialError};

/// Runs the scenario in `file`, or says what would be run.
///
/// # Errors
/// When the scenario cannot be used, something fails on the way, or the user ended
/// it; what was measured before is kept.
pub fn run(args: &Args, file: &Path) -> anyhow::Result<()> {
    let plan = Plan::read(file, changes(args)?)?;
    plan.remarks().iter().for_each(|remark| output::complain(remark));
    if args.running.dry_run {
        return dry_run::print(&plan, args.running.is_virtual);
    }
    let directory = args.running.out.clone().unwrap_or_else(|| default_directory(file));
    check_output(&directory, &plan, args.running.force)?;
    // Whatever is wrong with the first run is said before a directory is made.
    let trial = Trial::prepare(plan, timing(args)).map_err(in_flags)?;
    let foreign = if args.running.force { Foreign::Allowed } else { Foreign::Refused };
    let mut results = ResultsDirectory::create(&directory, trial.plan(), foreign).map_err(in_flags)?;
    let is_stopping = signals::interrupt()?;
    let ended = trial.run(&mut results, &mut Bars::default(), &is_stopping);
    let kept = results.finish();
    // What was measured before something failed, such as a disk that is full, is worth its figures.
    let measured = ended.fault.is_none() || !ended.run.observations.is_empty();
    let concluded = if measured { conclude(&ended.run, args, &directory) } else { Ok(()) };
    let whole = || -> anyhow::Result<()> {
        ended.whole()?;
        kept?;
        concluded?;
        output::complain(&format!("results are in {}", directory.display()));
        if is_stopping.load(Ordering::Acquire) {
            bail!("the experiment was interrupted: the figures are of what was measured until then");
        }
        Ok(ResultsDirectory::forget_replaced(&directory)?)
    };
    whole().map_err(|error| match ResultsDirectory::replaced(&directory) {
        Some(replaced) => {
            error.context(format!("the results that were there before are in {}", replaced.display()))
        }
        None => error,
    })
}

/// Neither what is read nor, without force, what an earlier experiment has measured may be replaced.
fn check_output(directory: &Path, plan: &Plan, is_forced: bool) -> Result<(), Refused> {
    let (said_by, directory) = ("--out", directory.to_owned());
    if !is_forced && ResultsDirectory::holds_results(&directory) {
        return Err(Refused::Results { said_by, directory });
    }
    let is_replaced = |input: &PathBuf| ResultsDirectory::would_replace(&directory, input);
    match plan.inputs().into_iter().find(is_replaced) {
        Some(input) => Err(Refused::Inside { said_by, directory, input }),
        None => Ok(()),
    }
}

/// The longest deadline of an experiment, as in a scenario: an hour.
const DEADLINE_MS_MAX: f64 = 3.6e6;

fn changes(args: &Args) -> anyhow::Result<Changes> {
    if let Some(ms) = args.deadline_ms.filter(|ms| *ms > DEADLINE_MS_MAX) {
        let expected = format!("at most {DEADLINE_MS_MAX}, an hour");
        return Err(wrong_flag("--deadline-ms", ms, &expected).into());
    }
    Ok(Changes {
        seed: args.seed,
        repeats: args.running.repeat,
        devices: args.running.devices,
        deadline: args.deadline_ms.map(|ms| Duration::from_secs_f64(ms / 1e3)),
    })
}

fn timing(args: &Args) -> Timing {
    match args.running.is_virtual {
        false => Timing::Real,
        true => Timing::Virtual(Given { costs: args.running.cost.clone(), paths: args.running.path.clone() }),
    }
}

/// Where the results of `scenario` go when nobody says.
fn default_directory(scenario: &Path) -> PathBuf {
    Path::new("results").join(scenario.file_stem().unwrap_or(scenario.as_os_str()))
}

/// An error in the words of the flags that it is about.
fn in_flags(error: TrialError) -> anyhow::Error {
    match error {
        TrialError::NoSuchSite { said_of, site, known } => ConfigError::Override {
            origin: format!("--{said_of}"),
            problem: format!("there is no placement {site:?}, expected one of {known}"),
        }
        .into(),
        TrialError::ForeignDirectory(directory) => ConfigError::Override {
            origin: directory.display().to_string(),
            problem: "the directory is not empty, and these are no results of an experiment: name another with --out, or write \
                      there all the same with --force"
                .to_owned(),
        }
        .into(),
        error => error.into(),
    }
}
