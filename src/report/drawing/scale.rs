//! From values to places along an axis, with ticks at numbers that people like.

use crate::lab::words::{count, plain};

/// An axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    from: f64,
    to: f64,
    is_log: bool,
}

/// From this ratio of the greatest to the least value on, an axis is logarithmic.
const LOG_FROM: f64 = 20.0;
/// About how many intervals ticks make on a linear axis.
const INTERVALS: f64 = 5.0;
/// With more decades only every other, third and so on has a tick.
const DECADES_MAX: i32 = 6;

impl Scale {
    /// An axis from 0, or a logarithmic one where values are far apart. Values that are
    /// not finite do not count.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().filter(|value| value.is_finite()) {
            (least, most) = (least.min(value), most.max(value));
        }
        if least > 0.0 && most / least >= LOG_FROM {
            let (from, to) = (round_down(least), round_up(most));
            return Self { from, to, is_log: true };
        }
        Self::linear(0.0, if most > 0.0 { most } else { 1.0 })
    }

    /// A linear axis that holds both and ends at ticks.
    pub fn linear(least: f64, most: f64) -> Self {
        let most = if most > least { most } else { least + 1.0 };
        let step = step(most - least);
        Self {
            from: (least / step + 1e-9).floor() * step,
            to: (most / step - 1e-9).ceil() * step,
            is_log: false,
        }
    }

    /// Exactly from one to the other.
    pub fn exactly(from: f64, to: f64) -> Self {
        Self { from, to: if to > from { to } else { from + 1.0 }, is_log: false }
    }

    /// Where a value is, 0 at the beginning and 1 at the end; what lies outside is at the nearer end.
    pub fn at(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }

    /// Whether it is logarithmic.
    pub fn is_log(&self) -> bool {
        self.is_log
    }

    /// Whether it reaches as far as `value`.
    pub fn holds(&self, value: f64) -> bool {
        (self.from..=self.to).contains(&value)
    }

    /// Values with ticks and how they are written.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let values = if self.is_log { self.log_ticks() } else { self.linear_ticks() };
        values.into_iter().map(|value| (value, label(value))).collect()
    }

    fn linear_ticks(&self) -> Vec<f64> {
        let step = step(self.to - self.from);
        let first = (self.from / step - 1e-9).ceil() as i64;
        let last = (self.to / step + 1e-9).floor() as i64;
        (first..=last).map(|at| at as f64 * step).collect()
    }

    fn log_ticks(&self) -> Vec<f64> {
        let (first, last) = (self.from.log10().floor() as i32, self.to.log10().ceil() as i32);
        let decades = last - first;
        let mantissas: &[f64] = if decades <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let every = (decades + DECADES_MAX - 1) / DECADES_MAX;
        (first..=last)
            .filter(|exponent| (exponent - first) % every.max(1) == 0)
            .flat_map(|exponent| mantissas.iter().map(move |mantissa| mantissa * 10_f64.powi(exponent)))
            .filter(|value| *value >= self.from * 0.999 && *value <= self.to * 1.001)
            .collect()
    }
}

fn label(value: f64) -> String {
    // Sums of steps are not exact.
    let value = if value.abs() < 1e-12 { 0.0 } else { value };
    if value >= 1_000.0 && value.fract() == 0.0 { count(value as usize) } else { plain(value, 4) }
}

/// A step of 1, 2 or 5 times a power of ten.
fn step(span: f64) -> f64 {
    let rough = span / INTERVALS;
    let power = 10_f64.powf(rough.log10().floor());
    let mantissa = match rough / power {
        mantissa if mantissa < 1.5 => 1.0,
        mantissa if mantissa < 3.5 => 2.0,
        mantissa if mantissa < 7.5 => 5.0,
        _ => 10.0,
    };
    mantissa * power
}

fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let mantissa = [5.0, 2.0, 1.0].into_iter().find(|mantissa| value >= mantissa * power * 0.999_999);
    mantissa.unwrap_or(1.0) * power
}

fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let mantissa = [1.0, 2.0, 5.0].into_iter().find(|mantissa| value <= mantissa * power * 1.000_001);
    mantissa.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_at_numbers_that_people_like() {
        assert_eq!(labels(Scale::of([3.0, 47.0])), ["0", "10", "20", "30", "40", "50"]);
        assert_eq!(labels(Scale::of([0.3, 0.9])), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(labels(Scale::of([0.04, 180.0])), ["0.1", "1", "10", "100"]);
        assert_eq!(labels(Scale::of([2.0, 48.0])), ["2", "5", "10", "20", "50"]);
        assert_eq!(
            labels(Scale::of([3_000.0, 9_000.0])),
            ["0", "2,000", "4,000", "6,000", "8,000", "10,000"]
        );
    }

    #[test]
    fn whatever_the_values_there_is_an_axis() {
        for values in
            [vec![], vec![0.0], vec![5.0], vec![f64::NAN, f64::INFINITY], vec![-3.0, -1.0], vec![1e-9, 1e12]]
        {
            let scale = Scale::of(values.clone());
            let ticks = scale.ticks();
            assert!((1..=15).contains(&ticks.len()), "{values:?} {ticks:?}");
            assert!(ticks.iter().all(|(value, _)| (0.0..=1.0).contains(&scale.at(*value))));
        }
    }
}
