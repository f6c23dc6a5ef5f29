//! Runs a scenario: every point of its sweeps, every repeat, every placement; writes
//! results as they come, and concludes.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use indicatif::ProgressBar;

use super::cost::{self, Costs};
use super::models::Placed;
use super::plan::{Asked, settings};
use super::repeat::{Measured, Preparation, Repeat};
use super::results::{Results, default_directory};
use super::{calibration, hybrids, live, simulated};
use crate::cli::compare::conclude::conclude;
use crate::cli::compare::{Args, Running, dry_run, interrupt};
use crate::cli::{output, progress};
use crate::growing_file::write_whole;
use crate::lab::observation::{Clock, Cost, Point, Run};
use crate::trial::virtual_time;

/// Runs the scenario in `file`, or says what would be run.
///
/// # Errors
/// When the scenario cannot be used, something fails on the way, or the user ended
/// it; what was measured before is kept.
pub fn run(args: &Args, file: &Path) -> anyhow::Result<()> {
    let asked = Asked::read(args, file)?;
    say_remarks(&asked);
    if args.running.dry_run {
        return dry_run::print(&asked, args.running.is_virtual);
    }
    let mut preparation = Preparation::default();
    // Whatever is wrong with the first run is said before a directory is made.
    let first = preparation.repeat(&asked, 0, 0)?;
    let directory = args.running.out.clone().unwrap_or_else(|| default_directory(file));
    let results = Results::create(&directory, args.running.force, &asked.text, asked.points.len())?;
    let is_stopping = interrupt::watch()?;
    let mut conductor = Conductor { args, asked, preparation, results, is_stopping: &is_stopping };
    let mut run = conductor.empty_run();
    let ran = conductor.run(first, &mut run);
    let run = conductor.finished(run);
    let kept = conductor.results.finish();
    // What was measured before something failed, such as a disk that is full, is worth its figures.
    let measured = ran.is_ok() || !run.observations.is_empty();
    let concluded = if measured { conclude(run, args, &directory) } else { Ok(()) };
    ran.and(kept).and(concluded)?;
    output::complain(&format!("results are in {}", directory.display()));
    if is_stopping.load(Ordering::Acquire) {
        bail!("the experiment was interrupted: the figures are of what was measured until then");
    }
    Ok(())
}

fn say_remarks(asked: &Asked) {
    for remark in &asked.scenario.remarks {
        output::complain(&format!(
            "{}, line {}: {}: {}",
            asked.file, remark.line, remark.subject, remark.remark
        ));
    }
    for placement in &asked.scenario.placements {
        let cloud = placement.hybrid.as_ref().and_then(|hybrid| hybrid.model.as_ref());
        let cloud = cloud.filter(|model| **model != placement.model);
        let models = [Some(&placement.model), cloud].into_iter().flatten();
        let notes = models.filter_map(|model| asked.paths.model(model).ok()?.note);
        for note in notes.chain(hybrids::remarks(placement, asked.scenario.deadline)) {
            output::complain(&format!("placement {}: {note}", placement.name));
        }
    }
}

struct Conductor<'a> {
    args: &'a Args,
    asked: Asked,
    preparation: Preparation,
    results: Results,
    is_stopping: &'a AtomicBool,
}

type Prepared = (Repeat, Vec<Placed>);

impl Conductor<'_> {
    /// Adds to `run` each repeat that is over.
    fn run(&mut self, first: Prepared, run: &mut Run) -> anyhow::Result<()> {
        let (first_repeat, mut placed) = first;
        let costs = self.costs(&first_repeat, &mut placed)?;
        let mut prepared = Some((first_repeat, placed));
        if let Some(costs) = &costs {
            run.clock = Clock::Virtual(costs.passes.clone());
        }
        for point in 0..self.asked.points.len() {
            self.results.begin_point(point)?;
            for number in 0..self.asked.scenario.repeats {
                if self.is_stopping.load(Ordering::Acquire) {
                    return Ok(());
                }
                let (repeat, placed) = match prepared.take() {
                    Some(first) => first,
                    None => self.preparation.repeat(&self.asked, point, number)?,
                };
                let measured = self.measure(&repeat, placed, costs.as_ref())?;
                self.keep(&repeat, measured, run)?;
            }
        }
        Ok(())
    }

    /// What forward passes take, where they are not made.
    fn costs(&self, repeat: &Repeat, placed: &mut [Placed]) -> anyhow::Result<Option<Costs>> {
        if !self.args.running.is_virtual {
            return Ok(None);
        }
        let placements = &repeat.scenario.placements;
        let Running { cost: cost_flags, path: path_flags, .. } = &self.args.running;
        let mut passes = cost::passes(cost_flags, placements, placed, &repeat.inputs)?;
        let mut paths = cost::paths(path_flags, placements)?;
        if cost_flags.is_empty() && path_flags.is_empty() {
            let scenario = calibration::scenario(&self.asked, repeat);
            let seconds = scenario.duration.as_secs_f64();
            let what = format!("measuring the way through client and broker, for {seconds} s by the clock");
            let (bar, costs) = (bar(what, 0)?, Costs { passes: passes.clone(), paths });
            paths = calibration::paths(&self.asked, scenario, &costs, &bar, self.is_stopping)?;
            bar.finish_and_clear();
        }
        for (cost, path) in passes.iter_mut().zip(&paths) {
            add_to_basis(&mut cost.edge, &path.edge)?;
            if let (Some(cost), Some(path)) = (&mut cost.cloud, &path.cloud) {
                add_to_basis(cost, path)?;
            }
        }
        for (name, cost) in placements.iter().flat_map(cost::names).zip(passes.iter().cloned().flatten()) {
            let us = |time: Duration| time.as_nanos() as f64 / 1e3;
            let (batch, row) = (us(cost.model.per_batch), us(cost.model.per_row));
            output::complain(&format!(
                "{name}: a forward pass takes {batch} us and {row} us a row, {}",
                cost.basis
            ));
        }
        let costs = Costs { passes, paths };
        let flags = cost::as_flags(placements, &costs);
        write_whole(&self.results.directory().join("cost.txt"), &flags)?;
        Ok(Some(costs))
    }

    fn measure(
        &mut self,
        repeat: &Repeat,
        placed: Vec<Placed>,
        costs: Option<&Costs>,
    ) -> anyhow::Result<Measured> {
        let bar = self.progress(repeat)?;
        let measured = match costs {
            Some(costs) => {
                let before = usize::from(repeat.point) * self.asked.scenario.repeats as usize;
                let before = u32::try_from(before + usize::from(repeat.number)).unwrap_or(u32::MAX);
                let began = whole_seconds(repeat.scenario.duration).saturating_mul(before);
                simulated::run(repeat, placed, costs, began, &mut self.results)
            }
            None => live::run(repeat, placed, &mut self.results, &bar, self.is_stopping),
        };
        bar.finish_and_clear();
        measured
    }

    fn keep(&mut self, repeat: &Repeat, measured: Measured, run: &mut Run) -> anyhow::Result<()> {
        let Measured { observations, usages, marks, began_us } = measured;
        let kept = self.results.end_repeat(&repeat.scenario, &self.preparation.devices, &observations);
        if run.observations.is_empty() && run.clock == Clock::Real {
            run.began_us = u64::try_from(began_us).unwrap_or_default();
        }
        run.observations.extend(observations);
        run.usages.extend(usages);
        run.marks.extend(marks);
        kept
    }

    fn empty_run(&self) -> Run {
        let is_real = !self.args.running.is_virtual;
        Run {
            scenario: self.asked.scenario.clone(),
            source: self.asked.file.clone(),
            source_text: self.asked.text.clone(),
            clock: Clock::Real,
            points: self.asked.points.iter().map(|settings| Point { settings: settings.clone() }).collect(),
            devices: Vec::new(),
            observations: Vec::new(),
            usages: Vec::new(),
            marks: Vec::new(),
            began_us: 0,
            machine: if is_real { machine() } else { String::new() },
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn finished(&mut self, run: Run) -> Run {
        Run { devices: std::mem::take(&mut self.preparation.devices), ..run }
    }

    /// A bar for each repeat by the clock; a repeat on the simulated one is over soon.
    fn progress(&self, repeat: &Repeat) -> anyhow::Result<ProgressBar> {
        let (point, number) = (usize::from(repeat.point), repeat.number + 1);
        let (points, repeats) = (self.asked.points.len(), self.asked.scenario.repeats);
        let settings = match points {
            1 => String::new(),
            _ => format!("point {} of {points} ({}), ", point + 1, settings(&self.asked.points[point])),
        };
        let requests = repeat.due.len() * repeat.scenario.placements.len();
        let what = format!("{settings}repeat {number} of {repeats}: {requests} requests");
        if self.args.running.is_virtual {
            output::complain(&what);
            return Ok(ProgressBar::hidden());
        }
        bar(what, requests)
    }
}

/// Says beside what passes take what the way does.
fn add_to_basis(cost: &mut Cost, path: &virtual_time::Path) -> std::fmt::Result {
    if path.quantiles().is_empty() {
        return Ok(());
    }
    let ms = |share: f64| path.at(share).as_secs_f64() * 1e3;
    write!(
        cost.basis,
        "; the way through client and broker takes {:.3} ms (median), {:.3} ms (99th percentile)",
        ms(0.5),
        ms(0.99)
    )
}

/// A bar on standard error where that is a terminal, otherwise a line.
fn bar(what: String, requests: usize) -> anyhow::Result<ProgressBar> {
    if !progress::is_seen() {
        output::complain(&what);
        return Ok(ProgressBar::hidden());
    }
    let bar = progress::bar(requests as u64, "{msg} {bar:40} {pos}/{len} answers, {elapsed}")?;
    Ok(bar.with_message(what))
}

/// Rounded up, so that time stamps of one repeat do not meet those of the next.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

/// The machine, in words.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.split('-').next().unwrap_or_default().trim();
    let system = format!("{} {} {release}", std::env::consts::ARCH, std::env::consts::OS);
    format!("{cores} cores, {}", system.trim_end())
}
