//! What an experiment says: the one place where figures are computed of a whole run.

use std::fmt::Write;
use std::time::Duration;

use nearfar::lab::comparison::{Comparison, Options};
use nearfar::lab::metrics_file::Measurement;
use nearfar::lab::observation::{End, Observation, Run};
use nearfar::lab::statistics::Bootstrap;
use serde_json::{Value, json as object};

use super::asked::settings;
use super::{Args, json, options, table};
use crate::cli::output;

/// The most numbers that are drawn for one interval: large samples are drawn anew less often.
const DRAWS_MAX: usize = 200_000_000;
/// The least number of resamples, whatever the sample.
const RESAMPLES_MIN: usize = 100;

/// Prints what `run` says, point by point.
///
/// # Errors
/// When it cannot be printed.
pub fn conclude(run: &Run, args: &Args) -> anyhow::Result<()> {
    let mut values = Vec::new();
    for point in 0..run.points.len() {
        let of_point = || run.observations.iter().filter(move |one| usize::from(one.point) == point);
        let measurements: Vec<_> = of_point().filter_map(|one| measurement(run, one)).collect();
        let options = of_run(run, args, measurements.len());
        let comparison = Comparison::of(&measurements, &options);
        if args.json {
            let comparison = comparison.map(|comparison| json::comparison(&comparison, &options));
            values.push(object!({
                "settings": run.points[point].settings.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
                "requests": requests_json(run, &of_point),
                "comparison": comparison,
            }));
            continue;
        }
        if !run.points[point].settings.is_empty() {
            output::line(&format!("\n{}", settings(&run.points[point].settings)))?;
        }
        output::line(&requests(run, &of_point))?;
        match comparison {
            Some(comparison) => output::line(&table::comparison(&comparison, &options))?,
            None => output::line("there are no answers to compare")?,
        }
    }
    if args.json {
        output::line(&serde_json::to_string_pretty(&Value::Array(values))?)?;
    }
    Ok(())
}

fn of_run(run: &Run, args: &Args, samples: usize) -> Options {
    let mut options = options(args);
    let deadline = run.scenario.deadline.map(|deadline| deadline.as_secs_f64() * 1e3);
    options.deadline_ms = options.deadline_ms.or(deadline);
    let most = DRAWS_MAX.checked_div(samples).unwrap_or(usize::MAX).max(RESAMPLES_MIN);
    options.bootstrap = Bootstrap {
        resamples: options.bootstrap.resamples.min(most),
        seed: run.scenario.seed,
        ..options.bootstrap
    };
    options
}

/// An answer that counts, for the comparison.
fn measurement(run: &Run, one: &Observation) -> Option<Measurement> {
    let counts = one.end == End::Answered && one.due >= run.scenario.warm_up;
    let total = one.total.filter(|_| counts)?;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Some(Measurement {
        // What pairs them: the repeat and the time within it.
        timestamp_us: (i64::from(one.repeat) << 44) + one.due.as_micros() as i64,
        device_id: run.devices[one.device as usize].to_string(),
        placement: run.scenario.placements[usize::from(one.placement)].name.clone(),
        inference_ms: ms(one.stages.inference),
        network_ms: ms(one.stages.network),
        total_ms: ms(total),
    })
}

/// How the requests of one placement ended.
struct Ends {
    sent: usize,
    answered: usize,
    silent: usize,
    refused: Vec<(&'static str, usize)>,
    late_max: Duration,
}

fn ends<'a>(observations: impl Iterator<Item = &'a Observation>) -> Ends {
    let mut ends = Ends { sent: 0, answered: 0, silent: 0, refused: Vec::new(), late_max: Duration::ZERO };
    for one in observations {
        ends.sent += 1;
        ends.late_max = ends.late_max.max(one.sent_late);
        match one.end {
            End::Answered => ends.answered += 1,
            End::Silent => ends.silent += 1,
            End::Refused(code) => match ends.refused.iter_mut().find(|(known, _)| *known == code) {
                Some((_, count)) => *count += 1,
                None => ends.refused.push((code, 1)),
            },
        }
    }
    ends.refused.sort_unstable();
    ends
}

/// One line for each placement: every request is in one of its numbers.
fn requests<'a, I: Iterator<Item = &'a Observation>>(run: &Run, of_point: &dyn Fn() -> I) -> String {
    let mut text = String::new();
    for (at, placement) in run.scenario.placements.iter().enumerate() {
        let Ends { sent, answered, silent, refused, late_max } =
            ends(of_point().filter(|one| usize::from(one.placement) == at));
        let refused: String = refused.iter().map(|(code, count)| format!(", {code} {count}")).collect();
        let late_ms = late_max.as_secs_f64() * 1e3;
        writeln!(
            text,
            "{}: sent {sent}, answered {answered}{refused}, silent {silent}; sent at most {late_ms:.3} ms late",
            placement.name
        )
        .expect("memory takes everything");
    }
    text
}

fn requests_json<'a, I: Iterator<Item = &'a Observation>>(run: &Run, of_point: &dyn Fn() -> I) -> Value {
    let placements = run.scenario.placements.iter().enumerate().map(|(at, placement)| {
        let ends = ends(of_point().filter(|one| usize::from(one.placement) == at));
        object!({
            "placement": placement.name,
            "sent": ends.sent,
            "answered": ends.answered,
            "refused": ends.refused.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
            "silent": ends.silent,
            "sent_late_max_ms": ends.late_max.as_secs_f64() * 1e3,
        })
    });
    Value::Array(placements.collect())
}
