//! Statistics of latencies, decisions and labels. Pure: samples in, figures out,
//! every random draw from a seed.
//!
//! Figures come with the method and its source, because they are meant to be published.
//!
//! ```
//! use nearfar::statistics::{Bootstrap, Samples};
//!
//! let latencies_ms = Samples::new(vec![1.0, 2.0, 3.0, 4.0]).expect("there are some, and all are finite");
//! let summary = latencies_ms.summary(&Bootstrap::default());
//! assert_eq!(summary.mean, 2.5);
//! assert!(summary.mean_interval.low <= 2.5 && summary.percentile(50.0).is_some_and(|p50| p50.value == 2.5));
//! ```

mod affiliation;
mod autocorrelation;
mod bootstrap;
mod classification;
mod clusters;
mod difference;
pub(crate) mod eigen;
mod energy;
mod kolmogorov_smirnov;
pub(crate) mod ledoit_wolf;
mod none_seen;
pub(crate) mod normal;
mod precision_recall;
mod proportion;
#[cfg(test)]
mod recorded;
mod samples;
mod vus;

pub use self::affiliation::{Affiliation, affiliation};
pub use self::autocorrelation::{autocorrelation, dominant_period};
pub use self::bootstrap::{Bootstrap, Interval, MEAN_GROUPS_MAX, RESAMPLES_DEFAULT};
pub use self::classification::{Confusion, Detection, detection_delay, disagreements, roc_auc};
pub use self::difference::{Difference, Verdict};
pub use self::energy::EnergyModel;
pub use self::kolmogorov_smirnov::ks_distance;
pub use self::none_seen::{per_unit_at_most, share_at_least};
pub use self::precision_recall::average_precision;
pub use self::proportion::{Proportion, deadline_misses};
pub use self::samples::{PERCENTILES, Percentile, Samples, Summary};
pub use self::vus::{Volumes, runs, volumes_under_surface};
