//! What the figures say, in sentences.

use super::units::{a_unit, exposure, in_words};
use crate::judgement::{Against, Caution, Figures, Judgement, Outcome, Verdict, Who};
use crate::lab::words::{count, list, number, percent, plain};
use crate::statistics::Proportion;

/// What was found at the budget.
pub fn answer(judgement: &Judgement) -> String {
    let figures = judgement.detector();
    let found = match figures.found {
        share if share.all == 0 => "there is no event to find".to_owned(),
        share if share.cases == share.all && share.all == 1 => "the one event is found".to_owned(),
        share if share.cases == share.all => format!("all {} events are found", count(share.all)),
        share => format!("{} of {} events are found", count(share.cases), count(share.all)),
    };
    format!("At a budget of {}, {found}; {}.", judgement.options.budget, false_alarms(judgement))
}

fn false_alarms(judgement: &Judgement) -> String {
    let (rate, unit) = (judgement.detector().false_episodes, judgement.unit);
    let allowed = match rate.allowed {
        Some(allowed) => format!("; the budget allows {}", number(allowed, 3)),
        None => String::new(),
    };
    let within = format!("{} in which nothing was wrong", exposure(rate.exposure, unit));
    match (rate.episodes, rate.interval) {
        _ if rate.exposure <= 0.0 => "nothing is known of false alarms".to_owned(),
        (0, Some(interval)) => {
            format!(
                "no alarm is false in {within}, which is at most {} {}{allowed}",
                number(interval.high, 3),
                a_unit(unit)
            )
        }
        (episodes, _) => {
            let be = if episodes == 1 { "alarm is" } else { "alarms are" };
            format!("{} {be} false in {within}{allowed}", count(episodes))
        }
    }
}

/// Whether it keeps its budget, where it does not, and whether it is better than what needs no detector; the
/// first sentences are the plainest.
pub fn verdicts(judgement: &Judgement) -> Vec<String> {
    broken_budget(judgement).into_iter().chain(against_controls(judgement)).collect()
}

fn broken_budget(judgement: &Judgement) -> Option<String> {
    let rate = judgement.detector().false_episodes;
    let allowed = rate.allowed.filter(|allowed| rate.episodes as f64 > *allowed)?;
    let be = if rate.episodes == 1 { "episode" } else { "episodes" };
    let (episodes, allowed) = (count(rate.episodes), number(allowed, 3));
    Some(format!("It does not keep its budget here: {episodes} false {be} where {allowed} are allowed."))
}

fn against_controls(judgement: &Judgement) -> Vec<String> {
    let verdicts = &judgement.verdicts;
    if !verdicts.is_empty() && verdicts.iter().all(|verdict| verdict.is_better() && is_told(verdict)) {
        return vec![
            "It is better than each of the five controls: in its alarms, row by row, and in how its scores rank rows."
                .to_owned(),
        ];
    }
    let mut said = Vec::new();
    let matched = verdicts.iter().filter(|verdict| verdict.is_matched).map(|verdict| verdict.control);
    for control in matched {
        said.push(matched_by(judgement, control));
    }
    let rows: fn(&Verdict) -> Option<Against> = |verdict| verdict.rows;
    let ranking: fn(&Verdict) -> Option<Against> = |verdict| verdict.ranking;
    for (of, wanted, words) in [
        (
            rows,
            Outcome::NotBetter,
            "Row by row, by false alarm rate and missed rate added, its alarms are not better than",
        ),
        (ranking, Outcome::NotBetter, "Its scores, by VUS-PR, do not rank rows better than"),
        (
            rows,
            Outcome::NotShown,
            "Row by row, by false alarm rate and missed rate added, its alarms are not shown to be better than",
        ),
        (ranking, Outcome::NotShown, "Its scores, by VUS-PR, are not shown to rank rows better than"),
    ] {
        let is_so = |verdict: &&Verdict| of(verdict).is_some_and(|against| against.outcome() == wanted);
        let controls: Vec<String> =
            verdicts.iter().filter(is_so).map(|verdict| in_words(verdict.control).to_owned()).collect();
        if !controls.is_empty() {
            said.push(format!("{words} {}.", list(&controls)));
        }
    }
    if said.is_empty() {
        let words = if judgement.counted.events == 0 {
            "Without an event it cannot be told whether it is better than no alarm at all."
        } else {
            "No control is as good, as far as that can be told."
        };
        said.push(words.to_owned());
    }
    said
}

/// Whether something could be compared.
fn is_told(verdict: &Verdict) -> bool {
    verdict.rows.is_some() && verdict.ranking.is_some()
}

fn matched_by(judgement: &Judgement, control: Who) -> String {
    let of = |figures: &Figures| {
        let rows = figures.false_alarm_rate;
        format!(
            "events found {}, false episodes {}, sound rows in alarm {}",
            count(figures.found.cases),
            count(figures.false_episodes.episodes),
            percent(Proportion { cases: rows.cases, all: rows.all })
        )
    };
    let theirs = judgement.entries.iter().find(|entry| entry.who == control).map(|entry| of(&entry.figures));
    format!(
        "Its alarms are not better than {}: that finds as many events or more, with no more false ones ({}; the detector: {}).",
        in_words(control),
        theirs.unwrap_or_default(),
        of(judgement.detector())
    )
}

/// What has to be kept in mind.
pub fn caution(caution: &Caution) -> String {
    match *caution {
        Caution::NoEvents => {
            "No row that counts is labelled as wrong: only false alarms can be judged.".to_owned()
        }
        Caution::NothingHealthy => {
            "Every row that counts is labelled as wrong: nothing is known of false alarms.".to_owned()
        }
        Caution::OneDevice => {
            "There is one device or file: how much others would differ is not known, so that figures have \
             no interval and nothing is shown to be better."
                .to_owned()
        }
        Caution::FewDevices { devices } => format!(
            "There are {devices} devices or files: intervals by drawing so few anew are too narrow rather than too wide."
        ),
        Caution::EventsLeftOut { events: 1 } => {
            "1 event lies in the warm-up alone, and counts as neither found nor missed.".to_owned()
        }
        Caution::EventsLeftOut { events } => {
            format!(
                "{} events lie in the warm-up alone, and count as neither found nor missed.",
                count(events)
            )
        }
        Caution::Unlabelled { rows } => {
            format!("{} rows after the warm-up have no label and count nowhere.", count(rows))
        }
        Caution::NothingOf { devices } => {
            format!(
                "Of {} devices or files no row counts: all are in the warm-up, or have no label.",
                count(devices)
            )
        }
        Caution::BudgetNotSeen { allowed } => format!(
            "In the time in which nothing was wrong the budget allows {} of an episode: whether it is kept cannot be seen in so little.",
            number(allowed, 2)
        ),
        Caution::NoTime => "Some row has no time: rows are counted in place of days.".to_owned(),
        Caution::RunsToFailure => {
            "Each device that has an event ends in it. There the row number ranks rows without a mistake, so \
             that ROC AUC, AUC-PR and VUS say little without the healthy drift."
                .to_owned()
        }
        Caution::Drift { area } => format!(
            "Scores rise with age though nothing is wrong: a row of the later half of the sound ones scores higher than one of \
             the earlier half with probability {} (healthy drift; 0.5 is ideal). Part of the figures may be age.",
            number(area, 3)
        ),
        Caution::Stopped { rows, all } => format!(
            "{} of the rows that count are said to be of a stopped machine, and count as quiet: in an event they are missed.",
            percent(Proportion { cases: rows, all })
        ),
        Caution::WithoutScore { rows } => {
            format!("{} rows that count have no score, and count as the least unusual.", count(rows))
        }
    }
}

/// Which rows count.
pub fn counted(judgement: &Judgement) -> String {
    let counted = judgement.counted;
    format!(
        "{} of {} rows of {} {} count ({}); the warm-up had {}.",
        count(counted.judged),
        count(counted.rows),
        count(judgement.devices.len()),
        if judgement.devices.len() == 1 { "device or file" } else { "devices or files" },
        exposure(counted.exposure, judgement.unit),
        count(counted.warm_up)
    )
}

/// How intervals were made.
pub fn intervals(judgement: &Judgement) -> String {
    let bootstrap = &judgement.options.bootstrap;
    format!(
        "Intervals are {} %, by drawing devices anew {} times, seed {}; where all events or none are found they are exact, and where \
         no alarm is false it is at most 3 in the time.",
        plain(bootstrap.level * 100.0, 4),
        count(bootstrap.resamples),
        bootstrap.seed
    )
}
