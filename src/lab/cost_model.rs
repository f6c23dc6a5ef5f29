//! A linear cost model: what a forward pass takes.

use std::time::Duration;

/// A forward pass takes `per_batch`, and `per_row` for each of its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CostModel {
    /// What a pass takes whatever the number of its rows.
    pub per_batch: Duration,
    /// What each row adds.
    pub per_row: Duration,
}

impl CostModel {
    /// The time of a forward pass of `rows`.
    pub fn of(&self, rows: usize) -> Duration {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        self.per_batch.saturating_add(self.per_row.saturating_mul(rows))
    }

    /// The model closest to measured passes, each a number of rows and its time, by
    /// least squares; neither part is below zero. Nothing without a measurement.
    pub fn fit(measured: &[(usize, Duration)]) -> Option<Self> {
        let count = measured.len() as f64;
        let sums = measured
            .iter()
            .map(|(rows, time)| (*rows as f64, time.as_secs_f64()))
            .fold([0.0; 4], |[x, y, xx, xy], (rows, seconds)| {
                [x + rows, y + seconds, xx + rows * rows, xy + rows * seconds]
            });
        let [x, y, xx, xy] = sums;
        if measured.is_empty() || x == 0.0 {
            return None;
        }
        let spread = count * xx - x * x;
        // With one size of batch only, everything is put on the batch: that is exact for that size.
        let slope = if spread > 0.0 { (count * xy - x * y) / spread } else { 0.0 };
        let offset = (y - slope * x) / count;
        // Least squares under the condition that neither is below zero: with two unknowns the answer is the
        // free one, or lies on one of the two borders.
        let (per_batch, per_row) = if slope < 0.0 {
            (y / count, 0.0)
        } else if offset < 0.0 {
            // The line through the origin.
            (0.0, xy / xx)
        } else {
            (offset, slope)
        };
        let time = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
        Some(Self { per_batch: time(per_batch)?, per_row: time(per_row)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(microseconds: u64) -> Duration {
        Duration::from_micros(microseconds)
    }

    #[test]
    fn a_line_is_found_again() {
        let model = CostModel { per_batch: us(20), per_row: us(3) };
        let measured: Vec<_> = [1, 8, 64, 128].into_iter().map(|rows| (rows, model.of(rows))).collect();
        let fitted = CostModel::fit(&measured).unwrap();
        assert!((fitted.per_batch.as_secs_f64() - 20e-6).abs() < 2e-9, "{fitted:?}");
        assert!((fitted.per_row.as_secs_f64() - 3e-6).abs() < 2e-9, "{fitted:?}");
    }

    #[test]
    fn no_part_is_below_zero() {
        let falling = CostModel::fit(&[(1, us(30)), (2, us(20))]).unwrap();
        assert_eq!(falling, CostModel { per_batch: us(25), per_row: us(0) });
        let steep = CostModel::fit(&[(1, us(1)), (10, us(100))]).unwrap();
        assert_eq!(steep.per_batch, us(0));
        assert_eq!(CostModel::fit(&[(4, us(8)), (4, us(8))]).unwrap().of(4), us(8));
        assert_eq!(CostModel::fit(&[]), None);
    }
}
