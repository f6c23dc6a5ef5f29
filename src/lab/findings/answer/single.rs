//! The answer where nothing is varied.

use super::NOTHING;
use crate::lab::findings::{Contrast, Options, PlacementFindings, PointFindings};
use crate::lab::words::{self, estimate, milliseconds, percent, plain};
use crate::statistics::{Difference, Interval, Verdict};

/// From this share of requests without a result on, the sentence says so.
const UNANSWERED_SAID: f64 = 0.001;
/// The most placements that the sentence compares with the first.
const CONTRASTS_MAX: usize = 3;

/// Deadlines or answers of all placements, then their latencies against the first's.
pub fn sentence(point: &PointFindings, options: &Options) -> String {
    let silent = point.placements.iter().all(|placement| placement.counts.sent == 0);
    if silent {
        return NOTHING.to_owned();
    }
    let mut clauses: Vec<_> = reliability(point).into_iter().collect();
    match point.contrasts.as_slice() {
        [] => clauses.extend(point.placements.first().and_then(alone)),
        contrasts => {
            let latencies =
                contrasts.iter().take(CONTRASTS_MAX).map(|contrast| latency(point, contrast, options));
            clauses.push(latencies.collect::<Vec<_>>().join(", "));
        }
    }
    let text = clauses.join("; ");
    capitalised(&text) + "."
}

/// How many requests have a result in time, or at all.
fn reliability(point: &PointFindings) -> Option<String> {
    let of = |say: &dyn Fn(&PlacementFindings) -> Option<String>| {
        words::list(&point.placements.iter().filter_map(say).collect::<Vec<_>>())
    };
    // Who answers nothing at all is named where latencies are.
    let lost = of(&|placement| {
        let unanswered = placement.unanswered();
        (unanswered.all > unanswered.cases && unanswered.share() >= UNANSWERED_SAID)
            .then(|| format!("{} never answers {}", placement.name, percent(unanswered)))
    });
    if let Some(deadline_ms) = point.deadline_ms {
        // `edge misses 0 % and cloud 62 %`: the verb is said once.
        let mut verb = " misses";
        let missed = point.placements.iter().filter_map(|placement| {
            let misses = placement.deadline_misses?;
            Some(format!("{}{} {}", placement.name, std::mem::take(&mut verb), percent(misses.all)))
        });
        let missed = words::list(&missed.collect::<Vec<_>>());
        let lost = if lost.is_empty() { lost } else { format!(" ({lost})") };
        return Some(format!(
            "with a deadline of {} ms, {missed} of the requests{lost}",
            plain(deadline_ms, 4)
        ));
    }
    (!lost.is_empty()).then(|| format!("{lost} of the requests"))
}

/// One placement that is compared with none.
fn alone(placement: &PlacementFindings) -> Option<String> {
    let Some(latency) = &placement.latency_ms else {
        return Some(format!(
            "{} answered none of {} requests",
            placement.name,
            words::count(placement.counts.sent)
        ));
    };
    let at = |wanted: f64| latency.percentile(wanted).map(|found| milliseconds(found.value));
    Some(format!(
        "{} answers half of its requests within {} and 99 % within {}",
        placement.name,
        at(50.0)?,
        at(99.0)?
    ))
}

fn latency(point: &PointFindings, contrast: &Contrast, options: &Options) -> String {
    let Contrast { first, second, .. } = contrast;
    let Some(difference) = contrast.latency_ms else {
        let silent = point
            .placements
            .iter()
            .filter(|placement| [first, second].contains(&&placement.name) && placement.latency_ms.is_none())
            .map(|placement| placement.name.clone());
        let silent: Vec<_> = silent.collect();
        let theirs = match silent.as_slice() {
            [_, _] => "their latencies".to_owned(),
            _ => format!("the latencies of {first} and {second}"),
        };
        return format!("{} answered nothing, so that {theirs} cannot be compared", words::list(&silent));
    };
    let (value, range) = in_words(&difference);
    let level = plain(options.bootstrap.level * 100.0, 4);
    let of_those = if contrast.both_answered < contrast.inputs { " where both answer" } else { "" };
    match difference.verdict {
        Verdict::Worse => {
            format!("{second} is {value} ms slower than {first}{of_those} ({level} % interval {range})")
        }
        Verdict::Better => {
            format!("{second} is {value} ms faster than {first}{of_those} ({level} % interval {range})")
        }
        Verdict::NoDifference => format!(
            "there is no difference in latency between {first} and {second}{of_those} that counts ({value} ms, {level} % interval \
             {range})"
        ),
    }
}

/// A difference without its sign where the verdict has it already.
fn in_words(difference: &Difference) -> (String, String) {
    let Difference { mean, interval, .. } = *difference;
    match difference.verdict {
        Verdict::Better => {
            let turned = Interval { low: -interval.high, high: -interval.low };
            estimate(-mean, turned)
        }
        _ => estimate(mean, interval),
    }
}

fn capitalised(text: &str) -> String {
    // Only what the sentence itself begins with: a placement's name stays as it is spelled.
    match text.strip_prefix("with ").or_else(|| text.strip_prefix("there ")) {
        Some(_) => text[..1].to_uppercase() + &text[1..],
        None => text.to_owned(),
    }
}
