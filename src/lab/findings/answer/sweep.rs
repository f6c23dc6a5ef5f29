//! The answer where something is varied: up to where one placement is better, and from where on the other.

use crate::lab::findings::{Contrast, Options, PlacementFindings, PointFindings, along};
use crate::lab::observation::Run;
use crate::lab::words::{milliseconds, number, percent, plain};
use crate::statistics::{Difference, Verdict};

/// A sentence for each key and placement. While one key is looked at, the others have their first values.
pub fn sentences(run: &Run, points: &[PointFindings], options: &Options) -> Vec<String> {
    let keys: Vec<_> = run.scenario.sweeps.iter().map(|sweep| sweep.key.as_str()).collect();
    let keys = if keys.is_empty() { keys_of(points) } else { keys };
    let mut sentences = Vec::new();
    for key in &keys {
        let along = along(points, key);
        if along.len() < 2 {
            continue;
        }
        let others = if keys.len() > 1 { ", the other keys having their first values" } else { "" };
        let contrasts = along[0].1.contrasts.len();
        for at in 0..contrasts {
            sentences.extend(compared(key, &along, at, others, options));
        }
        if contrasts == 0 {
            sentences.extend(alone(key, &along, others));
        }
    }
    sentences
}

fn keys_of(points: &[PointFindings]) -> Vec<&str> {
    points.first().map_or(Vec::new(), |point| point.settings.iter().map(|(key, _)| key.as_str()).collect())
}

/// Values of a key that lead to the same verdict.
struct Stretch {
    verdict: Option<Verdict>,
    from: f64,
    until: f64,
}

fn compared(
    key: &str,
    along: &[(f64, &PointFindings)],
    at: usize,
    others: &str,
    options: &Options,
) -> Option<String> {
    let contrasts: Vec<(f64, &Contrast)> =
        along.iter().filter_map(|(value, point)| Some((*value, point.contrasts.get(at)?))).collect();
    let by_deadline = along.iter().all(|(_, point)| point.deadline_ms.is_some());
    let difference =
        |contrast: &Contrast| if by_deadline { contrast.deadline_misses } else { contrast.latency_ms };
    let mut stretches: Vec<Stretch> = Vec::new();
    for (value, contrast) in &contrasts {
        let verdict = difference(contrast).map(|difference| difference.verdict);
        match stretches.last_mut() {
            Some(last) if last.verdict == verdict => last.until = *value,
            _ => stretches.push(Stretch { verdict, from: *value, until: *value }),
        }
    }
    let (_, contrast) = contrasts.first()?;
    let words = Words { contrast, by_deadline, deadline_ms: same_deadline(along) };
    let plain = |value: f64| plain(value, 4);
    let text = match stretches.as_slice() {
        [only] => {
            let differences = contrasts.iter().filter_map(|(_, contrast)| difference(contrast));
            let by = words.by(differences, only.verdict);
            let (low, high) = (plain(only.from), plain(only.until));
            format!("For every {key} from {low} to {high}, {}{by}", words.full(only.verdict))
        }
        stretches => {
            let last = stretches.len() - 1;
            let clause = |(at, stretch): (usize, &Stretch)| {
                let (from, until) = (plain(stretch.from), plain(stretch.until));
                match at {
                    0 if from == until => format!("At {key} = {until}, {}", words.full(stretch.verdict)),
                    0 => format!("Up to {key} = {until}, {}", words.full(stretch.verdict)),
                    at if at == last && from == until => {
                        format!("at {from} {}", words.short(stretch.verdict))
                    }
                    at if at == last => format!("from {from} on {}", words.short(stretch.verdict)),
                    _ if from == until => format!("at {from} {}", words.short(stretch.verdict)),
                    _ => format!("from {from} to {until} {}", words.short(stretch.verdict)),
                }
            };
            stretches.iter().enumerate().map(clause).collect::<Vec<_>>().join("; ")
        }
    };
    let level = plain(options.bootstrap.level * 100.0);
    Some(format!("{text}{others} (at a level of {level} %)."))
}

fn same_deadline(along: &[(f64, &PointFindings)]) -> Option<f64> {
    let first = along.first()?.1.deadline_ms?;
    along.iter().all(|(_, point)| point.deadline_ms == Some(first)).then_some(first)
}

struct Words<'a> {
    contrast: &'a Contrast,
    by_deadline: bool,
    deadline_ms: Option<f64>,
}

impl Words<'_> {
    fn full(&self, verdict: Option<Verdict>) -> String {
        let Contrast { first, second, .. } = self.contrast;
        let deadline = match self.deadline_ms {
            Some(deadline_ms) => format!("the deadline of {} ms", plain(deadline_ms, 4)),
            None => "its deadline".to_owned(),
        };
        match (self.by_deadline, verdict) {
            (_, None) => {
                format!("{first} and {second} cannot be compared, because one of them answered nothing")
            }
            (true, Some(Verdict::Worse)) => format!("{second} misses {deadline} more often than {first}"),
            (true, Some(Verdict::Better)) => format!("{second} misses {deadline} less often than {first}"),
            (true, Some(Verdict::NoDifference)) => {
                format!("there is no difference in how often {first} and {second} miss {deadline}")
            }
            (false, Some(Verdict::Worse)) => format!("{second} is slower than {first}"),
            (false, Some(Verdict::Better)) => format!("{second} is faster than {first}"),
            (false, Some(Verdict::NoDifference)) => {
                format!("there is no difference in latency between {first} and {second}")
            }
        }
    }

    fn short(&self, verdict: Option<Verdict>) -> String {
        let second = &self.contrast.second;
        match (self.by_deadline, verdict) {
            (_, None) => "one of them answered nothing".to_owned(),
            (_, Some(Verdict::NoDifference)) => "there is no difference".to_owned(),
            (true, Some(Verdict::Worse)) => format!("{second} misses it more often"),
            (true, Some(Verdict::Better)) => format!("{second} misses it less often"),
            (false, Some(Verdict::Worse)) => format!("{second} is slower"),
            (false, Some(Verdict::Better)) => format!("{second} is faster"),
        }
    }

    /// By how much, from the least to the most.
    fn by(&self, differences: impl Iterator<Item = Difference>, verdict: Option<Verdict>) -> String {
        let means: Vec<_> = differences.map(|difference| difference.mean.abs()).collect();
        let (Some(Verdict::Worse | Verdict::Better), Some(least), Some(most)) =
            (verdict, means.iter().copied().reduce(f64::min), means.iter().copied().reduce(f64::max))
        else {
            return String::new();
        };
        let (scale, unit) = if self.by_deadline { (100.0, "percentage points") } else { (1.0, "ms") };
        let (least, most) = (number(least * scale, 3), number(most * scale, 3));
        if least == most { format!(", by {least} {unit}") } else { format!(", by {least} to {most} {unit}") }
    }
}

/// One placement along a key.
fn alone(key: &str, along: &[(f64, &PointFindings)], others: &str) -> Option<String> {
    let (first, last) = (along.first()?, along.last()?);
    let placement = |point: &PointFindings| point.placements.first().cloned();
    let say = |placement: &PlacementFindings| match (placement.deadline_misses, &placement.latency_ms) {
        (Some(misses), _) => format!("{} of the requests miss their deadline", percent(misses.all)),
        (None, Some(latency)) => format!("the mean latency is {}", milliseconds(latency.mean)),
        (None, None) => "nothing is answered".to_owned(),
    };
    let (from, to) = (placement(first.1)?, placement(last.1)?);
    let plain = |value: f64| plain(value, 4);
    Some(format!(
        "At {} with {key} = {}, {}; with {}, {}{others}.",
        from.name,
        plain(first.0),
        say(&from),
        plain(last.0),
        say(&to)
    ))
}
