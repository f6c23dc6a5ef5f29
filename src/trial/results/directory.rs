//! The directory of results: files that grow while an experiment runs, so that
//! whatever happens, what was measured is there.

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use csv::Writer;

use super::{MessageType, Results};
use crate::growing_file::{GrowingFile, UNFINISHED, write_whole};
use crate::lab::metrics_file;
use crate::lab::observation::{Observation, Stages};
use crate::lab::observations_file::ObservationsFile;
use crate::lab::scenario::Scenario;
use crate::trial::{Plan, TrialError};

/// The scenario's copy. A directory that has it and observations is known as one of results.
const SCENARIO: &str = "scenario.yaml";
/// A table of that kind is readable only once it is complete, so that it has another name until then.
const OBSERVATIONS: &str = "observations.parquet";
const METRICS: &str = "metrics";
const COMMUNICATION: &str = "metrics_communication";
const COMMUNICATION_COLUMNS: [&str; 4] = ["timestamp_us", "message_type", "payload_bytes", "features_count"];
/// What else is written here, by others.
const OTHERS: [&str; 3] = ["summary.json", "report.html", "latency.svg"];
/// What forward passes and ways take on a simulated clock.
const COSTS: &str = "cost.txt";
/// What an earlier experiment left waits here until the one that replaces it has ended well.
const REPLACED: &str = "replaced-results";

/// Results under way: tables that anything reads, in a directory.
pub struct ResultsDirectory {
    directory: PathBuf,
    points: usize,
    metrics: Option<Writer<GrowingFile>>,
    communication: Option<Writer<GrowingFile>>,
    observations: ObservationsFile<BufWriter<GrowingFile>>,
}

impl std::fmt::Debug for ResultsDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResultsDirectory").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// What to do about a directory that holds something else than results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Foreign {
    /// Leave it alone.
    #[default]
    Refused,
    /// Write there all the same, beside what is there.
    Allowed,
}

impl ResultsDirectory {
    /// Begins the results of `plan`. What an earlier experiment left there is replaced, and is in a directory
    /// below it until it is [forgotten](Self::forget_replaced).
    ///
    /// # Errors
    /// When the directory holds something else and not even that is `allowed`, or cannot be written.
    pub fn create(directory: &Path, plan: &Plan, allowed: Foreign) -> Result<Self, TrialError> {
        let at = |cause| TrialError::Directory { directory: directory.to_owned(), cause };
        std::fs::create_dir_all(directory).map_err(at)?;
        let names = names(directory).map_err(at)?;
        if allowed == Foreign::Refused && !names.is_empty() && !are_results(&names) {
            return Err(TrialError::ForeignDirectory(directory.to_owned()));
        }
        set_aside(directory, &names).map_err(at)?;
        write_whole(&directory.join(SCENARIO), plan.text())?;
        let unfinished = GrowingFile::create_unfinished(&directory.join(OBSERVATIONS))?.without_lines();
        Ok(Self {
            directory: directory.to_owned(),
            points: plan.points().len(),
            metrics: None,
            communication: None,
            observations: ObservationsFile::new(BufWriter::new(unfinished)).map_err(io::Error::other)?,
        })
    }

    /// Whether an experiment has left results in `directory`.
    pub fn holds_results(directory: &Path) -> bool {
        names(directory).is_ok_and(|names| are_results(&names))
    }

    /// Where the results are that new ones in `directory` have replaced, if there are any.
    pub fn replaced(directory: &Path) -> Option<PathBuf> {
        let replaced = directory.join(REPLACED);
        Self::holds_results(&replaced).then_some(replaced)
    }

    /// Whether results in `directory` would take the place of `file`, a file that stands there.
    pub fn would_replace(directory: &Path, file: &Path) -> bool {
        let (Ok(directory), Ok(file)) = (directory.canonicalize(), file.canonicalize()) else { return false };
        file.parent() == Some(&*directory)
            && file.file_name().is_some_and(|name| is_ours(&name.to_string_lossy()))
    }

    /// Takes away the results that new ones in `directory` have replaced.
    ///
    /// # Errors
    /// When the system does not let them be removed.
    pub fn forget_replaced(directory: &Path) -> io::Result<()> {
        let Some(replaced) = Self::replaced(directory) else { return Ok(()) };
        for name in names(&replaced)?.iter().filter(|name| is_ours(name)) {
            std::fs::remove_file(replaced.join(name))?;
        }
        // Whoever put something of their own there keeps it.
        std::fs::remove_dir(replaced).ok();
        Ok(())
    }

    /// Everything is over: the observations have their table.
    ///
    /// # Errors
    /// When what was measured last cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        // A table that is full says so again; the observations that are in their file are
        // finished all the same.
        let flushed = self.flush();
        let unfinished = self.observations.finish().map_err(io::Error::other)?;
        unfinished.into_inner().map_err(|error| error.into_error())?.complete()?;
        flushed
    }

    /// A table of one point: its name tells which, where there are several.
    fn table(&self, name: &str, point: usize, columns: &[&str]) -> io::Result<Writer<GrowingFile>> {
        let name = match self.points {
            1 => format!("{name}.csv"),
            _ => format!("{name}-{}.csv", point + 1),
        };
        let mut table = Writer::from_writer(GrowingFile::create(&self.directory.join(name))?);
        table.write_record(columns)?;
        table.flush()?;
        Ok(table)
    }
}

impl Results for ResultsDirectory {
    fn begin_point(&mut self, point: usize) -> io::Result<()> {
        self.metrics = Some(self.table(METRICS, point, &metrics_file::COLUMNS)?);
        self.communication = Some(self.table(COMMUNICATION, point, &COMMUNICATION_COLUMNS)?);
        Ok(())
    }

    fn costs(&mut self, flags: &str) -> io::Result<()> {
        write_whole(&self.directory.join(COSTS), flags)
    }

    fn answer(
        &mut self,
        at_us: i64,
        device: &str,
        placement: &str,
        stages: &Stages,
        total: Duration,
    ) -> io::Result<()> {
        let Some(table) = &mut self.metrics else { return Ok(()) };
        let times = [stages.inference, stages.network, total].map(milliseconds);
        let [inference, network, total] = times.each_ref().map(String::as_str);
        let at_us = at_us.to_string();
        Ok(table.write_record([at_us.as_str(), device, placement, inference, network, total])?)
    }

    fn message(&mut self, at_us: i64, kind: MessageType, bytes: usize, features: usize) -> io::Result<()> {
        let Some(table) = &mut self.communication else { return Ok(()) };
        let (at_us, bytes, features) = (at_us.to_string(), bytes.to_string(), features.to_string());
        Ok(table.write_record([at_us.as_str(), kind.as_str(), &bytes, &features])?)
    }

    /// Hands to the system what was added.
    fn flush(&mut self) -> io::Result<()> {
        for table in [&mut self.metrics, &mut self.communication].into_iter().flatten() {
            table.flush()?;
        }
        Ok(())
    }

    fn end_repeat(
        &mut self,
        scenario: &Scenario,
        devices: &[Arc<str>],
        observations: &[Observation],
    ) -> io::Result<()> {
        self.flush()?;
        self.observations.add(scenario, devices, observations).map_err(io::Error::other)
    }
}

/// Moves what an experiment writes out of the way. Where results wait there already, what is moved is what a
/// run left that did not end well, and that goes.
fn set_aside(directory: &Path, names: &[String]) -> io::Result<()> {
    let replaced = directory.join(REPLACED);
    let is_taken = ResultsDirectory::holds_results(&replaced);
    for name in names.iter().filter(|name| is_ours(name)) {
        let path = directory.join(name);
        if is_taken {
            std::fs::remove_file(path)?;
        } else {
            std::fs::create_dir_all(&replaced)?;
            std::fs::rename(path, replaced.join(name))?;
        }
    }
    Ok(())
}

fn names(directory: &Path) -> std::io::Result<Vec<String>> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    std::fs::read_dir(directory)?.map(name).collect()
}

/// Whether an experiment has left files of these names.
fn are_results(names: &[String]) -> bool {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    has(SCENARIO) && (has(OBSERVATIONS) || has(&format!("{OBSERVATIONS}.{UNFINISHED}")))
}

/// Whether an experiment writes a file of that name.
fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(UNFINISHED).and_then(|name| name.strip_suffix('.')).unwrap_or(name);
    let is_table = |kind: &str| {
        let rest = name.strip_prefix(kind).and_then(|rest| rest.strip_suffix(".csv"));
        rest.is_some_and(|rest| {
            rest.is_empty()
                || rest.strip_prefix('-').is_some_and(|point| point.bytes().all(|byte| byte.is_ascii_digit()))
        })
    };
    let is_other = [SCENARIO, OBSERVATIONS, COSTS].contains(&name);
    is_table(METRICS) || is_table(COMMUNICATION) || is_other || OTHERS.contains(&name)
}

/// To the nanosecond, and no further.
fn milliseconds(time: Duration) -> String {
    format!("{:.6}", time.as_secs_f64() * 1e3)
}
