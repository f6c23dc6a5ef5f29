//! Times, rates and names in words.

use crate::judgement::{Unit, Who};
use crate::lab::words::{number, plain};

/// A control or the detector in a table.
pub fn name(who: Who) -> &'static str {
    match who {
        Who::Detector => "detector",
        Who::Never => "never",
        Who::Always => "always",
        Who::RowNumber => "row number",
        Who::EveryTwentieth => "every 5 %",
        Who::SecondHalf => "second half",
    }
}

/// The same in a sentence.
pub fn in_words(who: Who) -> &'static str {
    match who {
        Who::Detector => "the detector",
        Who::Never => "no alarm at all",
        Who::Always => "an alarm that is always on",
        Who::RowNumber => "the row number",
        Who::EveryTwentieth => "an alarm at every 5 % of the file",
        Who::SecondHalf => "an alarm in the second half",
    }
}

/// What false episodes are counted in.
pub fn a_unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Days => "a device and day",
        Unit::ThousandRows => "a thousand rows",
    }
}

/// A time of all devices together, such as `12.5 device days`.
pub fn exposure(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Days => format!("{} device days", number(value, 3)),
        Unit::ThousandRows => format!("{} rows", number(value * 1e3, 6)),
    }
}

/// A delay or a lead, in its greatest unit that is not less than one.
pub fn time(value: f64, unit: Unit) -> String {
    if unit == Unit::ThousandRows {
        return format!("{} rows", plain(value, 4));
    }
    let (name, seconds) = time_unit(value);
    format!("{} {name}", plain(value / seconds, 3))
}

/// The unit of times of about `seconds`, and its seconds.
pub fn time_unit(seconds: f64) -> (&'static str, f64) {
    let units = [("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)];
    units.into_iter().find(|(_, size)| seconds.abs() >= 2.0 * size).unwrap_or(("s", 1.0))
}
