//! Runs a plan: every point of its sweeps, every repeat, every placement.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::cost::{self, Costs};
use super::models::Placed;
use super::plan::in_words;
use super::repeat::{Measured, Preparation, Repeat};
use super::{Given, Part, Plan, Progress, Results, TrialError, calibration, live, simulated};
use crate::lab::observation::{Clock, Point, Run};

/// A plan that can be run: its models are loaded, and its first repeat is decided.
pub struct Trial {
    plan: Plan,
    timing: Timing,
    preparation: Preparation,
    /// The first repeat, until it is run.
    first: Option<Prepared>,
    run: Run,
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial")
            .field("plan", &self.plan)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}

/// The clock that a trial runs on.
#[derive(Debug, Clone, PartialEq)]
pub enum Timing {
    /// The machine's: a node of ours answers over TCP, and everything is measured as it happens.
    Real,
    /// A simulated one: an experiment of an hour in seconds, and the same every time but
    /// for what is measured.
    Virtual(Given),
}

/// What a trial leaves behind, whether or not all of it could be run.
pub struct Ended {
    /// Everything that was measured: every repeat that is over.
    pub run: Run,
    /// What was in the way of the rest, if anything.
    pub fault: Option<TrialError>,
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ended")
            .field("points", &self.run.points.len())
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

impl Ended {
    /// The run, where nothing was in the way of it.
    ///
    /// # Errors
    /// [`TrialError`], by which it was cut short.
    pub fn whole(self) -> Result<Run, TrialError> {
        self.fault.map_or(Ok(self.run), Err)
    }
}

type Prepared = (Repeat, Vec<Placed>);

impl Trial {
    /// Loads the plan's models, and decides everything about its first repeat.
    ///
    /// # Errors
    /// When a model, a recording or the sensors cannot be used, or something is said of
    /// times at a site that the plan does not have.
    pub fn prepare(plan: Plan, timing: Timing) -> Result<Self, TrialError> {
        if let Timing::Virtual(given) = &timing {
            let placements = &plan.scenario().placements;
            given.costs_of(placements)?;
            given.paths_of(placements)?;
        }
        let mut preparation = Preparation::default();
        let first = preparation.repeat(&plan, 0, 0)?;
        let run = empty_run(&plan, &timing);
        Ok(Self { plan, timing, preparation, first: Some(first), run })
    }

    /// The plan that is run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Runs it all. What is measured goes to `results` as it is measured, and stays in
    /// the [`Run`] at the end.
    ///
    /// Once `is_stopping` is true no more requests are sent, what is under way is waited
    /// for, and no further repeat begins.
    pub fn run(
        mut self,
        results: &mut dyn Results,
        progress: &mut dyn Progress,
        is_stopping: &AtomicBool,
    ) -> Ended {
        let fault = self.repeats(results, progress, is_stopping).err();
        let devices = std::mem::take(&mut self.preparation.devices);
        let remarks = std::mem::take(&mut self.preparation.remarks).into_iter().collect();
        Ended { run: Run { devices, remarks, ..self.run }, fault }
    }

    fn repeats(
        &mut self,
        results: &mut dyn Results,
        progress: &mut dyn Progress,
        is_stopping: &AtomicBool,
    ) -> Result<(), TrialError> {
        let costs = self.costs(results, progress, is_stopping)?;
        if let Some(costs) = &costs {
            self.run.clock = Clock::Virtual(costs.passes.clone());
        }
        for point in 0..self.plan.points().len() {
            results.begin_point(point)?;
            for number in 0..self.plan.scenario().repeats {
                if is_stopping.load(Ordering::Acquire) {
                    return Ok(());
                }
                let (repeat, placed) = match self.first.take() {
                    Some(first) => first,
                    None => self.preparation.repeat(&self.plan, point, number)?,
                };
                progress.begin(&self.part(&repeat));
                let measured = match &costs {
                    Some(costs) => simulated::run(&repeat, placed, costs, self.began(&repeat), results),
                    None => live::run(&repeat, placed, results, progress, is_stopping),
                };
                progress.end();
                self.keep(&repeat, measured?, results)?;
            }
        }
        Ok(())
    }

    /// What takes time on a simulated clock: as it is given, or as it is measured now.
    fn costs(
        &mut self,
        results: &mut dyn Results,
        progress: &mut dyn Progress,
        is_stopping: &AtomicBool,
    ) -> Result<Option<Costs>, TrialError> {
        let (Timing::Virtual(given), Some((repeat, placed))) = (&self.timing, &mut self.first) else {
            return Ok(None);
        };
        let placements = &repeat.scenario.placements;
        let passes = cost::passes(given, placements, placed, &repeat.inputs)?;
        let mut paths = given.paths_of(placements)?;
        if given.is_empty() {
            let costs = Costs { passes: passes.clone(), paths };
            paths = calibration::paths(&self.plan, repeat, &costs, progress, is_stopping)?;
        }
        let costs = Costs::new(passes, paths);
        cost::sentences(placements, &costs).iter().for_each(|sentence| progress.say(sentence));
        results.costs(&cost::as_flags(placements, &costs))?;
        Ok(Some(costs))
    }

    /// When a repeat's simulated clock begins: time stamps of one repeat do not meet those of the next.
    fn began(&self, repeat: &Repeat) -> Duration {
        let before = usize::from(repeat.point) * self.plan.scenario().repeats as usize;
        let before = u32::try_from(before + usize::from(repeat.number)).unwrap_or(u32::MAX);
        whole_seconds(repeat.scenario.duration).saturating_mul(before)
    }

    fn keep(
        &mut self,
        repeat: &Repeat,
        measured: Measured,
        results: &mut dyn Results,
    ) -> Result<(), TrialError> {
        let Measured { observations, usages, marks, began_us } = measured;
        let kept = results.end_repeat(&repeat.scenario, &self.preparation.devices, &observations);
        let run = &mut self.run;
        if run.observations.is_empty() && run.clock == Clock::Real {
            run.began_us = u64::try_from(began_us).unwrap_or_default();
        }
        run.observations.extend(observations);
        run.usages.extend(usages);
        run.marks.extend(marks);
        Ok(kept?)
    }

    fn part(&self, repeat: &Repeat) -> Part {
        let (point, number) = (usize::from(repeat.point), repeat.number + 1);
        let (points, repeats) = (self.plan.points(), self.plan.scenario().repeats);
        let settings = match points.len() {
            1 => String::new(),
            count => format!("point {} of {count} ({}), ", point + 1, in_words(&points[point])),
        };
        let requests = repeat.due.len() * repeat.scenario.placements.len();
        let what = format!("{settings}repeat {number} of {repeats}: {requests} requests");
        Part { what, requests, is_real: self.timing == Timing::Real }
    }
}

fn empty_run(plan: &Plan, timing: &Timing) -> Run {
    Run {
        scenario: plan.scenario().clone(),
        source: plan.file().to_owned(),
        source_text: plan.text().to_owned(),
        clock: Clock::Real,
        points: plan.points().iter().map(|settings| Point { settings: settings.clone() }).collect(),
        devices: Vec::new(),
        observations: Vec::new(),
        usages: Vec::new(),
        marks: Vec::new(),
        remarks: Vec::new(),
        began_us: 0,
        machine: if *timing == Timing::Real { machine() } else { String::new() },
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

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
