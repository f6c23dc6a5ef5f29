//! `rows.csv`: what was said of each row, for whoever judges by a protocol of their own.

use std::fs::File;
use std::path::Path;

use anyhow::Context;

use super::asked::{Asked, AskedRow, Said};

const HEADER: [&str; 10] = [
    "device",
    "row",
    "timestamp_us",
    "truth",
    "score",
    "surprisal",
    "tail_probability",
    "threshold",
    "state",
    "begins",
];

/// Writes a row for each row, and behind the columns of [`HEADER`] one with the features that contributed
/// most.
pub fn write(path: &Path, asked: &[Asked], features: &[String]) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut csv = csv::Writer::from_writer(file);
    csv.write_record(HEADER.iter().copied().chain(["contributions"]))?;
    for Asked { device, rows } in asked {
        for (number, row) in rows.iter().enumerate() {
            csv.write_record(cells(device, number, row, features))?;
        }
    }
    csv.flush()?;
    Ok(())
}

fn cells(device: &str, number: usize, row: &AskedRow, features: &[String]) -> Vec<String> {
    let mut cells = vec![
        device.to_owned(),
        (number + 1).to_string(),
        row.timestamp_us.map(|us| us.to_string()).unwrap_or_default(),
        row.truth.map(|truth| u8::from(truth).to_string()).unwrap_or_default(),
    ];
    match row.said {
        Said::Seen(seen) => {
            let numbers = [seen.score, seen.surprisal, seen.tail_probability, seen.threshold];
            cells.extend(numbers.map(|number| number.to_string()));
            cells.extend([seen.state.as_str().to_owned(), u8::from(seen.begins).to_string()]);
            let named = |(feature, share): (u16, f32)| {
                let name = features.get(usize::from(feature)).filter(|_| share > 0.0)?;
                Some(format!("{name}={share:.3}"))
            };
            cells.push(seen.contributions.into_iter().filter_map(named).collect::<Vec<_>>().join(" "));
        }
        Said::Score { score, threshold, begins } => {
            let state = if score >= threshold { "alarm" } else { "normal" };
            cells.extend([score.to_string(), String::new(), String::new(), threshold.to_string()]);
            cells.extend([state.to_owned(), u8::from(begins).to_string(), String::new()]);
        }
    }
    cells
}
