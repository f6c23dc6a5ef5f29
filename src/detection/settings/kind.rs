//! What a detector is, in settings.

use serde::Serialize;

use super::Learnt;
use crate::detection::baseline::Baseline;
use crate::detection::detect::Detect;
use crate::detection::discord::Discord;
use crate::detection::linear::{Linear, ORDER_MAX};
use crate::detection::network::Network;
use crate::detection::seasonal::{DAY_S, Seasonal, WEEK_S};
use crate::detection::t2::T2;
use crate::settings::{SettingError, Table};

/// What a detector is, and how it is set.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// [`Baseline`].
    Baseline {
        /// The share of a new row in what is normal.
        rate: f32,
        /// The share of a new row in the deviation.
        smoothing: f32,
        /// Whether values below the mean are as unusual as those above it.
        two_sided: bool,
    },
    /// [`Seasonal`].
    Seasonal {
        /// How long it takes until everything comes again.
        period: Period,
        /// Into how many buckets that is cut.
        buckets: usize,
    },
    /// [`Discord`].
    Discord {
        /// The place of the feature in a row.
        feature: usize,
        /// How many samples a subsequence has.
        length: usize,
        /// How many samples are remembered.
        samples: usize,
        /// How much the size of a subsequence counts beside its shape.
        deviation_floor: f32,
    },
    /// [`Network`].
    Network {
        /// The share of the newest row.
        rate: f32,
    },
    /// [`T2`].
    T2 {
        /// Over how many rows the mean is.
        #[serde(rename = "mean_of")]
        window: u32,
        /// How many rows of a device are learnt from before it is judged.
        rows: u32,
    },
    /// [`Linear`].
    Linear {
        /// From how many values before a value is expected.
        order: usize,
        /// How much of what it knows a row leaves.
        keeps: f64,
    },
}

/// When everything comes again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Every day.
    #[default]
    Day,
    /// Every week.
    Week,
}

impl Period {
    const NAMES: &[(&str, Self)] = &[("day", Self::Day), ("week", Self::Week)];

    fn seconds(self) -> u32 {
        match self {
            Self::Day => DAY_S,
            Self::Week => WEEK_S,
        }
    }
}

/// The words for kinds.
#[derive(Clone, Copy)]
enum Word {
    Baseline,
    Seasonal,
    Discord,
    Linear,
    Network,
    T2,
}

const WORDS: &[(&str, Word)] = &[
    ("baseline", Word::Baseline),
    ("seasonal", Word::Seasonal),
    ("discord", Word::Discord),
    ("linear", Word::Linear),
    ("network", Word::Network),
    ("t2", Word::T2),
];

/// The smallest share that a new row may have in a mean: less is a million rows.
const SHARE_MIN: f64 = 1e-6;
/// Over how many rows a window's mean is, unless that is said.
pub const T2_WINDOW: u32 = 60;
/// How many rows are learnt from, unless that is said.
pub const T2_ROWS: u32 = 400;
const T2_WINDOW_MAX: u32 = 10_000;
/// The most buckets of a period.
const BUCKETS_MAX: usize = 4_096;
/// How much of its size counts of a subsequence, unless that is said: in standard deviations of the feature.
pub const DEVIATION_FLOOR: f32 = 0.1;
/// The most samples that a discord remembers.
const SAMPLES_MAX: usize = 65_536;

impl Kind {
    /// Its word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Baseline { .. } => "baseline",
            Self::Seasonal { .. } => "seasonal",
            Self::Discord { .. } => "discord",
            Self::Linear { .. } => "linear",
            Self::Network { .. } => "network",
            Self::T2 { .. } => "t2",
        }
    }

    /// Reads its keys of `table`.
    pub fn read(table: &mut Table<'_>) -> Result<Self, SettingError> {
        let word = table.find_choice("kind", WORDS)?;
        match table.required("kind", word)? {
            Word::Baseline => {
                let usual = Baseline::new(1);
                let (mut rate, mut smoothing) = (usual.rate.into(), usual.smoothing.into());
                let mut two_sided = usual.two_sided;
                table.number("rate", SHARE_MIN..=1.0, &mut rate)?;
                table.number("smoothing", SHARE_MIN..=1.0, &mut smoothing)?;
                table.flag("two_sided", &mut two_sided)?;
                Ok(Self::Baseline { rate: rate as f32, smoothing: smoothing as f32, two_sided })
            }
            Word::Seasonal => {
                let (mut period, mut buckets) = (Period::default(), 48);
                table.choice("period", Period::NAMES, &mut period)?;
                table.number("buckets", 1..=BUCKETS_MAX, &mut buckets)?;
                Ok(Self::Seasonal { period, buckets })
            }
            Word::Discord => {
                let (mut feature, mut length, mut samples) = (0, 50, 1_000);
                table.number("feature", .., &mut feature)?;
                table.number("length", 4..=SAMPLES_MAX / 4, &mut length)?;
                table.number("samples", 2 * length + 1..=SAMPLES_MAX, &mut samples)?;
                let mut floor = DEVIATION_FLOOR.into();
                table.number("deviation_floor", 0.0..=1e6, &mut floor)?;
                Ok(Self::Discord { feature, length, samples, deviation_floor: floor as f32 })
            }
            Word::Network => {
                let mut rate = Network::default().rate.into();
                table.number("rate", SHARE_MIN..=1.0, &mut rate)?;
                Ok(Self::Network { rate: rate as f32 })
            }
            Word::T2 => {
                let (mut window, mut rows) = (T2_WINDOW, T2_ROWS);
                table.number("mean_of", 1..=T2_WINDOW_MAX, &mut window)?;
                table.number("rows", T2::WARM_UP_MIN..=1_000_000, &mut rows)?;
                Ok(Self::T2 { window, rows })
            }
            Word::Linear => {
                let (mut order, mut keeps) = (6, 0.999);
                table.number("order", 1..=ORDER_MAX, &mut order)?;
                table.number("keeps", 0.5..=1.0, &mut keeps)?;
                Ok(Self::Linear { order, keeps })
            }
        }
    }

    /// Makes the detector with number `at`, for rows of so many `features`.
    pub fn build(&self, at: usize, features: usize, learnt: &mut Learnt) -> Result<Box<dyn Detect>, String> {
        Ok(match *self {
            Self::Baseline { rate, smoothing, two_sided } => {
                Box::new(Baseline { features, rate, smoothing, two_sided })
            }
            Self::Seasonal { period, buckets } => {
                Box::new(Seasonal { features, period_s: period.seconds(), buckets })
            }
            Self::Discord { feature, .. } if feature >= features => {
                return Err(format!(
                    "detectors[{at}] is of feature {feature}, and there are {features}, from 0"
                ));
            }
            Self::Discord { feature, length, samples, deviation_floor } => {
                Box::new(Discord { feature, length, samples, deviation_floor })
            }
            Self::Linear { order, keeps } => Box::new(Linear { features, order, keeps }),
            Self::Network { rate } => Box::new(Network { rate }),
            Self::T2 { .. } if features > T2::FEATURES_MAX => {
                let most = T2::FEATURES_MAX;
                return Err(format!(
                    "detectors[{at}]: t2 takes at most {most} features, and there are {features}"
                ));
            }
            Self::T2 { window, rows } => {
                let wander = learnt.remove(&format!("{at}.wander")).unwrap_or_default();
                if !wander.is_empty() && wander.len() != features {
                    let found = wander.len();
                    return Err(format!(
                        "the tensor \"detection.{at}.wander\" has {found} numbers, expected {features}"
                    ));
                }
                Box::new(T2 { wander, ..T2::new(features, window, rows) })
            }
        })
    }
}
