//! The controls: alarms that need no detector, made from the same rows.

use super::decisions::{Decisions, Who};
use super::device::Device;

/// What `control` says of each device.
pub fn decisions(control: Who, devices: &[Device<'_>], allowed: Option<f64>) -> Vec<Decisions> {
    let from = if control == Who::RowNumber { row_number(devices, allowed) } else { 0 };
    devices.iter().map(|device| of(control, device, from)).collect()
}

fn of(control: Who, device: &Device<'_>, from: usize) -> Decisions {
    let rows = device.rows.len();
    match control {
        Who::Detector => Decisions::of_detector(device),
        Who::Never => Decisions::of_rule(rows, |_| false),
        // A constant score, for a rule that does not tell rows apart.
        Who::Always => Decisions { scores: vec![0.0; rows], ..Decisions::of_rule(rows, |_| true) },
        Who::RowNumber => Decisions {
            scores: device.rows.iter().map(|row| row.number as f64).collect(),
            ..Decisions::of_rule(rows, |at| device.rows[at].number >= from)
        },
        Who::EveryTwentieth => Decisions::of_rule(rows, |at| is_at_a_part(at, rows)),
        Who::SecondHalf => Decisions::of_rule(rows, |at| at >= rows / 2),
    }
}

const PARTS: usize = 20;

/// Whether one of the parts but the first begins at row `at` of `rows`.
fn is_at_a_part(at: usize, rows: usize) -> bool {
    at > 0 && at * PARTS / rows != (at - 1) * PARTS / rows
}

/// The row number that does most for the control; see [`Who::RowNumber`].
fn row_number(devices: &[Device<'_>], allowed: Option<f64>) -> usize {
    let numbers = || devices.iter().filter_map(|device| device.rows.last());
    let end = numbers().map(|row| row.number + 1).max().unwrap_or(0);
    // For each number how many events it finds, and how many alarms it begins where nothing was wrong.
    let mut found = vec![0_usize; end + 1];
    let mut wrong = vec![0_usize; end + 1];
    for device in devices {
        for event in &device.events {
            let last = device.rows[event.rows.end - 1].number;
            found[last] += 1;
        }
        let mut from = 0;
        for row in &device.rows {
            if !row.truth {
                wrong[from..=row.number].iter_mut().for_each(|wrong| *wrong += 1);
            }
            from = row.number + 1;
        }
    }
    // What ends at or behind a number is found from there.
    for number in (0..end).rev() {
        found[number] += found[number + 1];
    }
    let allowed = allowed.unwrap_or(0.0).floor() as usize;
    let within = (0..=end).filter(|number| wrong[*number] <= allowed);
    within.max_by_key(|number| (found[*number], std::cmp::Reverse(wrong[*number]), *number)).unwrap_or(end)
}
