//! `nearfar bench sweep`: the highest rate at which the p99 stays within a bound.

use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;

use super::load::{Length, Outcome, Pace, Run};
use super::{LoadArgs, TargetArgs, measure, positive};
use crate::cli::output;

/// Requests in flight of the closed loop that tells about where to look.
const PROBE_WINDOW: usize = 1_000;
/// The search ends when the rates on both sides of the knee are this close.
const RATIO_LEAST: f64 = 1.05;
/// And after this many steps at the latest: each halves what is left.
const STEPS_MAX: u32 = 12;
/// A rate is kept when so much of it is answered in time.
const ANSWERED_LEAST: f64 = 0.999;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    load: LoadArgs,
    /// The bound on the p99
    #[arg(long, value_name = "MS", default_value = "5", value_parser = positive)]
    p99_ms: f64,
    /// How long to measure at each rate
    #[arg(long, value_name = "S", default_value = "3", value_parser = positive)]
    seconds: f64,
    /// Print the steps as one JSON object
    #[arg(long)]
    json: bool,
}

/// One rate that was tried.
#[derive(Serialize)]
struct Step {
    rate: f64,
    answers_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    unanswered: u64,
    errors: u64,
    is_kept: bool,
    generator_cpu_share: Option<f64>,
}

#[derive(Serialize)]
struct Found {
    p99_ms_max: f64,
    knee_per_s: Option<f64>,
    steps: Vec<Step>,
}

/// Between the highest rate that was kept and the lowest that was not.
struct Bracket {
    kept: Option<f64>,
    broken: Option<f64>,
    next: f64,
}

impl Bracket {
    fn around(rate: f64) -> Self {
        Self { kept: None, broken: None, next: rate }
    }

    fn note(&mut self, is_kept: bool) {
        if is_kept {
            self.kept = Some(self.next);
        } else {
            self.broken = Some(self.next);
        }
        self.next = match (self.kept, self.broken) {
            (Some(kept), Some(broken)) => f64::midpoint(kept, broken),
            (Some(kept), None) => kept * 1.5,
            (None, Some(broken)) => broken / 2.0,
            (None, None) => self.next,
        };
    }

    fn is_narrow(&self) -> bool {
        self.kept.zip(self.broken).is_some_and(|(kept, broken)| broken / kept <= RATIO_LEAST)
    }
}

pub fn run(args: &Args, log: Option<&str>) -> anyhow::Result<()> {
    let target = args.target.start(log)?;
    let plan = args.load.plan(&target, &args.target)?;
    let seconds = Duration::from_secs_f64(args.seconds);
    let run_at =
        |pace| Run { pace, warm_up: seconds / 3, length: Length::Time(seconds), shows_progress: false };
    let (probe, ..) = measure(&target, &plan, run_at(Pace::Window(PROBE_WINDOW.max(plan.connections))))?;
    if let Some(fault) = probe.fault {
        return Err(fault);
    }
    ensure!(probe.tally.answered > 0, "no request was answered");
    if !args.json {
        output::line(&format!(
            "{}: {:.0} answers a second with {PROBE_WINDOW} in flight",
            args.target.name(),
            probe.answers_per_s()
        ))?;
        output::line(&format!(
            "{:>12} {:>12} {:>9} {:>9} {:>11}",
            "requests/s", "answers/s", "p50 ms", "p99 ms", "unanswered"
        ))?;
    }
    let mut bracket = Bracket::around(probe.answers_per_s());
    let mut steps = Vec::new();
    while steps.len() < STEPS_MAX as usize && !bracket.is_narrow() {
        let rate = bracket.next;
        let (outcome, _, generator) = measure(&target, &plan, run_at(Pace::Rate(rate)))?;
        if let Some(fault) = outcome.fault {
            return Err(fault);
        }
        let step = Step::new(rate, &outcome, args.p99_ms, generator.map(|used| used.cpu_share));
        if !args.json {
            output::line(&step.line())?;
        }
        bracket.note(step.is_kept);
        steps.push(step);
    }
    let found = Found { p99_ms_max: args.p99_ms, knee_per_s: bracket.kept, steps };
    if args.json {
        output::line(&serde_json::to_string(&found)?)?;
    } else {
        output::line(&match found.knee_per_s {
            Some(knee) => format!("knee: {knee:.0} requests a second with a p99 within {} ms", args.p99_ms),
            None => format!("no rate was found with a p99 within {} ms", args.p99_ms),
        })?;
    }
    Ok(())
}

impl Step {
    fn new(rate: f64, outcome: &Outcome, p99_ms_max: f64, generator_cpu_share: Option<f64>) -> Self {
        let tally = &outcome.tally;
        let p99_ms = tally.latency_ns.value_at_quantile(0.99) as f64 / 1e6;
        let is_answered = tally.answered as f64 >= ANSWERED_LEAST * tally.sent as f64;
        Self {
            rate,
            answers_per_s: outcome.answers_per_s(),
            p50_ms: tally.latency_ns.value_at_quantile(0.5) as f64 / 1e6,
            p99_ms,
            unanswered: outcome.unanswered(),
            errors: tally.errors.values().sum(),
            is_kept: is_answered && p99_ms <= p99_ms_max,
            generator_cpu_share,
        }
    }

    fn line(&self) -> String {
        format!(
            "{:>12.0} {:>12.0} {:>9.3} {:>9.3} {:>11} {}",
            self.rate,
            self.answers_per_s,
            self.p50_ms,
            self.p99_ms,
            self.unanswered,
            if self.is_kept { "" } else { "over" }
        )
        .trim_end()
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_closes_in_on_the_knee_from_both_sides() {
        for (first, knee) in [(100.0, 70.0), (100.0, 1_000.0), (100.0, 3.0)] {
            let mut bracket = Bracket::around(first);
            let mut steps = 0;
            while !bracket.is_narrow() {
                bracket.note(bracket.next <= knee);
                steps += 1;
            }
            let kept = bracket.kept.unwrap();
            assert!(kept <= knee && kept * RATIO_LEAST >= knee / RATIO_LEAST, "{kept} for {knee}");
            assert!(steps <= STEPS_MAX, "{steps} steps to {knee}");
        }
    }
}
