//! Faults as sensors have them, put into rows that are sound: what a detector is tried with where nobody has
//! faults of their own.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Three rows far away.
    Spike,
    /// Further away from row to row.
    Drift,
    /// The value no longer changes.
    Stuck,
    /// The value changes more than it did.
    Noise,
    /// The value is higher, or lower, from one row on.
    Shift,
    /// The sensor says 0.
    Missing,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Spike, Self::Drift, Self::Stuck, Self::Noise, Self::Shift, Self::Missing];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::Drift => "drift",
            Self::Stuck => "stuck",
            Self::Noise => "noise",
            Self::Shift => "level shift",
            Self::Missing => "missing",
        }
    }

    /// Over how many rows it lasts.
    pub fn rows(self) -> usize {
        match self {
            Self::Spike => 3,
            Self::Drift => 120,
            Self::Stuck | Self::Noise | Self::Shift | Self::Missing => 60,
        }
    }

    /// Puts it into one feature of `rows`, row-major with so many `features`, as it would be in them: by
    /// multiples of `spread`, the feature's standard deviation, around its `centre`.
    pub fn inject(
        self,
        rows: &mut [f32],
        features: usize,
        (feature, centre, spread): (usize, f32, f32),
        rng: &mut ChaCha8Rng,
    ) {
        let count = (rows.len() / features).max(1) as f32;
        let sign = if rng.random::<bool>() { 1.0 } else { -1.0 };
        let first = rows.get(feature).copied().unwrap_or(centre);
        for (at, row) in rows.chunks_exact_mut(features).enumerate() {
            let value = row[feature];
            row[feature] = match self {
                Self::Spike => value + sign * 8.0 * spread,
                Self::Drift => value + sign * 6.0 * spread * (at + 1) as f32 / count,
                Self::Stuck => first,
                Self::Noise => {
                    value + 4.0 * spread * (rng.random::<f32>() + rng.random::<f32>() - 1.0) * 6_f32.sqrt()
                }
                Self::Shift => value + sign * 4.0 * spread,
                Self::Missing => 0.0,
            };
        }
    }
}
