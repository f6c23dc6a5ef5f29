//! A judgement as text for people.

use super::rows::{self, Cell, Columns};
use super::sentences;
use super::units::name;
use crate::judgement::Judgement;

/// The answer, three tables, the curve, and what has to be kept in mind.
pub fn text(judgement: &Judgement) -> String {
    let mut text = format!("{}\n", sentences::answer(judgement));
    for sentence in sentences::verdicts(judgement) {
        text += &format!("{sentence}\n");
    }
    for Columns { title, heads, cells } in rows::tables(judgement.unit) {
        let head = std::iter::once(title.to_owned()).chain(heads);
        let entries = judgement.entries.iter().map(|entry| {
            let cells = cells(&entry.figures, judgement.unit).into_iter().map(joined);
            std::iter::once(name(entry.who).to_owned()).chain(cells).collect()
        });
        text += "\n";
        text += &aligned(std::iter::once(head.collect()).chain(entries).collect());
    }
    if !judgement.curve.is_empty() {
        let head =
            ["Budget", "events found", "false episodes", "of the budget", "false alarm rate", "missed rate"];
        let points = judgement.curve.iter().map(|point| {
            let cells = [
                rows::found(point.found),
                rows::false_episodes(point.false_episodes),
                rows::of_budget(point.false_episodes),
                rows::row_share(point.false_alarm_rate),
                rows::row_share(point.missed_rate),
            ];
            std::iter::once(point.budget.to_string()).chain(cells.into_iter().map(joined)).collect()
        });
        text += "\n";
        text += &aligned(std::iter::once(head.map(str::to_owned).into()).chain(points).collect());
    }
    text += &format!("\n{}\n{}\n", sentences::counted(judgement), sentences::intervals(judgement));
    for caution in &judgement.cautions {
        text += &format!("note: {}\n", sentences::caution(caution));
    }
    text
}

fn joined(cell: Cell) -> String {
    if cell.aside.is_empty() { cell.value } else { format!("{} [{}]", cell.value, cell.aside) }
}

/// Lines whose columns are as wide as their widest cell.
fn aligned(lines: Vec<Vec<String>>) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let cells: Vec<String> = cells.collect();
        text += cells.join("  ").trim_end();
        text += "\n";
    }
    text
}
