//! The numbers that settings may be, and the range that a setting must be in.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use super::Value;

/// A number that a setting may be.
pub trait Number: Copy + PartialOrd + fmt::Display {
    /// What it is called in an error.
    const NAME: &'static str;
    /// The least one, where that is worth saying.
    const LEAST: Option<Self>;
    /// The most, where that is worth saying.
    const MOST: Option<Self>;

    /// The number that `value` is, unless it is none of this kind.
    fn of(value: &Value) -> Option<Self>;

    /// The number that `text` says, where nothing but text can be written.
    fn parse(text: &str) -> Option<Self>;
}

macro_rules! whole_numbers {
    ($($number:ty: $least:expr, $most:expr;)+) => {$(
        impl Number for $number {
            const NAME: &'static str = "a whole number";
            const LEAST: Option<Self> = $least;
            const MOST: Option<Self> = $most;

            fn of(value: &Value) -> Option<Self> {
                match value {
                    Value::Whole(whole) => Self::try_from(*whole).ok(),
                    // 60.0 is 60, as in the system that this one replaces.
                    Value::Number(number) => whole(*number).and_then(|whole| Self::try_from(whole).ok()),
                    _ => None,
                }
            }

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok().or_else(|| Self::of(&Value::Number(text.parse().ok()?)))
            }
        }
    )+};
}

whole_numbers! {
    u16: Some(0), Some(Self::MAX);
    u32: Some(0), Some(Self::MAX);
    u64: Some(0), None;
    usize: Some(0), None;
    i64: None, None;
}

/// The largest float below which every whole number is one.
const WHOLE_MAX: f64 = 9e15;

fn whole(number: f64) -> Option<i128> {
    (number.fract() == 0.0 && number.abs() < WHOLE_MAX).then_some(number as i128)
}

impl Number for f64 {
    const NAME: &'static str = "a number";
    const LEAST: Option<Self> = None;
    const MOST: Option<Self> = None;

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Some(*number),
            Value::Whole(whole) => Some(*whole as Self),
            _ => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// What is expected of a number in `range`, in words.
pub fn expected<T: Number>(range: &impl RangeBounds<T>) -> String {
    let name = T::NAME;
    let bound = |bound: Bound<&T>, natural: Option<T>| match bound {
        Bound::Unbounded => natural.map_or(Bound::Unbounded, Bound::Included),
        bound => bound.cloned(),
    };
    match (bound(range.start_bound(), T::LEAST), bound(range.end_bound(), T::MOST)) {
        (Bound::Unbounded, Bound::Unbounded) => name.to_owned(),
        (Bound::Unbounded, Bound::Included(most)) => format!("{name} of at most {most}"),
        (Bound::Unbounded, Bound::Excluded(end)) => format!("{name} of less than {end}"),
        (Bound::Included(least), Bound::Unbounded) => format!("{name} of at least {least}"),
        (Bound::Included(least), Bound::Included(most)) => format!("{name} between {least} and {most}"),
        (Bound::Included(least), Bound::Excluded(end)) => {
            format!("{name} of at least {least} and less than {end}")
        }
        (Bound::Excluded(start), Bound::Unbounded) => format!("{name} of more than {start}"),
        (Bound::Excluded(start), Bound::Included(most)) => {
            format!("{name} of more than {start} and at most {most}")
        }
        (Bound::Excluded(start), Bound::Excluded(end)) => {
            format!("{name} of more than {start} and less than {end}")
        }
    }
}
