//! The figures of a detector or a control as cells of three tables, the same in the terminal and on the page.

use super::units::{a_unit, time};
use crate::judgement::{Estimate, Figures, Rate, Share, Spread, Unit};
use crate::lab::words::{self, number};
use crate::statistics::{Interval, Proportion};

/// A cell: what stands in it, and an interval or what else is said more quietly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// The value; a dash for none.
    pub value: String,
    /// What is said beside it, or nothing.
    pub aside: String,
}

/// A table of which each figure is a column.
pub struct Columns {
    /// What it is about.
    pub title: &'static str,
    /// The columns' heads.
    pub heads: Vec<String>,
    /// The cells of one row.
    pub cells: fn(&Figures, Unit) -> Vec<Cell>,
}

/// The three tables: events, rows, scores.
pub fn tables(unit: Unit) -> [Columns; 3] {
    let heads = |heads: &[&str]| heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>();
    let false_episodes = format!("false episodes {}", a_unit(unit));
    [
        Columns {
            title: "Events",
            heads: heads(&[
                "events found",
                &false_episodes,
                "of the budget",
                "delay",
                "lead",
                "lasting lead",
            ]),
            cells: events,
        },
        Columns {
            title: "Rows",
            heads: heads(&["false alarm rate", "missed rate", "time in alarm"]),
            cells: rows,
        },
        Columns {
            title: "Scores and nearness",
            heads: heads(&[
                "VUS-PR",
                "AUC-PR",
                "affiliation precision",
                "affiliation recall",
                "VUS-ROC",
                "ROC AUC",
                "healthy drift AUC",
            ]),
            cells: scores,
        },
    ]
}

fn events(figures: &Figures, unit: Unit) -> Vec<Cell> {
    let time = |spread: Option<Spread>| spread.map_or_else(Cell::none, |spread| times(spread, unit));
    vec![
        found(figures.found),
        false_episodes(figures.false_episodes),
        of_budget(figures.false_episodes),
        time(figures.delay),
        time(figures.lead),
        time(figures.lasting_lead),
    ]
}

fn rows(figures: &Figures, _: Unit) -> Vec<Cell> {
    let share = figures.time_in_alarm.map_or_else(Cell::none, |share| Cell {
        value: percent(share.value),
        aside: share.interval.map_or_else(String::new, percents),
    });
    vec![row_share(figures.false_alarm_rate), row_share(figures.missed_rate), share]
}

fn scores(figures: &Figures, _: Unit) -> Vec<Cell> {
    [
        figures.vus_pr,
        figures.auc_pr,
        figures.affiliation_precision,
        figures.affiliation_recall,
        figures.vus_roc,
        figures.roc_auc,
        figures.healthy_drift,
    ]
    .map(|estimate| estimate.map_or_else(Cell::none, area))
    .into()
}

/// Events found.
pub fn found(share: Share) -> Cell {
    if share.all == 0 {
        return Cell::none();
    }
    Cell {
        value: format!("{} of {}", share.cases, share.all),
        aside: share.interval.map_or_else(String::new, percents),
    }
}

/// False episodes in a unit.
pub fn false_episodes(rate: Rate) -> Cell {
    let Some(per_unit) = rate.per_unit() else { return Cell::none() };
    let aside = match (rate.episodes, rate.interval) {
        (0, Some(Interval { high, .. })) => format!("none; at most {}", number(high, 3)),
        (episodes, Some(Interval { low, high })) => {
            format!("{episodes}; {} to {}", number(low, 3), number(high, 3))
        }
        (episodes, None) => episodes.to_string(),
    };
    Cell { value: number(per_unit, 3), aside }
}

/// False episodes over those that are allowed.
pub fn of_budget(rate: Rate) -> Cell {
    let Some((of, allowed)) = rate.of_budget().zip(rate.allowed) else { return Cell::none() };
    Cell { value: format!("{} times", number(of, 3)), aside: format!("{} allowed", number(allowed, 3)) }
}

/// A share of rows.
pub fn row_share(share: Share) -> Cell {
    Cell {
        value: words::percent(Proportion { cases: share.cases, all: share.all }),
        aside: share.interval.map_or_else(String::new, percents),
    }
}

fn times(spread: Spread, unit: Unit) -> Cell {
    let aside = match spread.median.interval {
        Some(Interval { low, high }) => format!("{} to {}", time(low, unit), time(high, unit)),
        None => format!("of {}", spread.events),
    };
    Cell { value: time(spread.median.value, unit), aside }
}

fn area(estimate: Estimate) -> Cell {
    let three = |value: f64| format!("{value:.3}");
    let aside = |Interval { low, high }| format!("{} to {}", three(low), three(high));
    Cell { value: three(estimate.value), aside: estimate.interval.map_or_else(String::new, aside) }
}

fn percent(share: f64) -> String {
    format!("{} %", words::plain(share * 100.0, 3))
}

fn percents(Interval { low, high }: Interval) -> String {
    format!("{} to {}", words::plain(low * 100.0, 3), percent(high))
}

impl Cell {
    /// What has no meaning.
    pub fn none() -> Self {
        Self { value: "–".to_owned(), aside: String::new() }
    }
}
