//! Numbers of `config.json` as f32, in which a model computes.

use crate::settings::{Entry, SettingError};

/// The number at `entry` as f32. Whether it is what was `expected` is asked of the f32, because a small
/// positive number may be zero in it, and a large one infinite.
pub fn number(entry: &Entry<'_>, expected: &str, holds: fn(f32) -> bool) -> Result<f32, SettingError> {
    // Rounded twice, to f64 and to f32. The shortest text for an f32 reads as that f32 all the same: of all
    // there are, tried one by one, only 7.038531e-26 and its negative read as a neighbour.
    let narrow = entry.number::<f64>(..)? as f32;
    if !narrow.is_finite() {
        return Err(entry.wrong("a number within f32"));
    }
    if holds(narrow) { Ok(narrow) } else { Err(entry.wrong(expected)) }
}

/// The numbers of the list at `entry`, as many as there are `inputs`; each as [`number`] has it.
pub fn vector(
    entry: &Entry<'_>,
    inputs: usize,
    expected: &str,
    holds: fn(f32) -> bool,
) -> Result<Vec<f32>, SettingError> {
    let items = entry.items()?;
    if items.len() != inputs {
        let problem = format!("found {}, expected {inputs} numbers, as inputs says", items.len());
        return Err(entry.invalid(problem));
    }
    items.map(|item| number(&item, expected, holds)).collect()
}
