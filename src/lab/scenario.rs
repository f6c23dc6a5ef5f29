//! What an experiment is: placements, networks, sensors, and what is varied; from a scenario file.
//!
//! Two forms are read, and may be mixed. The replaced system's (`simulation`,
//! `ml_inference`, `network`, `nodes`) means what it meant, and what of it cannot be
//! done is said by name. Our own adds `placements`, `networks`, `sensors`, `load` and
//! `sweep`. An unknown key is an error with its line; nothing is dropped in silence.

mod document;
mod own;
mod replaced;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::network::Profile;
use crate::placement;
use crate::sensors::recorded::Format;

pub use self::document::{Document, SWEEP_POINTS_MAX};
pub use crate::settings::SettingError;

/// An experiment as its file describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// How long requests are sent, the warm-up included.
    pub duration: Duration,
    /// How long at the beginning nothing counts. Default none.
    pub warm_up: Duration,
    /// How often the experiment is repeated, each time with another seed. Default 1.
    pub repeats: u32,
    /// What every random draw comes from.
    pub seed: u64,
    /// The answer time from which a request is late; none without one.
    pub deadline: Option<Duration>,
    /// Where the model may stand, in the order of the file.
    pub placements: Vec<Placement>,
    /// Where requests come from.
    pub sensors: Vec<Sensor>,
    /// How requests come, where that is not the sensors' own pace.
    pub load: Option<Load>,
    /// The settings that are varied, with their values.
    pub sweeps: Vec<Sweep>,
    /// What of the file is not done, or done in another way.
    pub remarks: Vec<Remark>,
}

/// A place for a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// Its name, such as `edge`.
    pub name: String,
    /// The model, as the file spells it.
    pub model: PathBuf,
    /// Scores at or above it are anomalies; the model's own without one. Of a hybrid, the edge's.
    pub threshold: Option<f64>,
    /// The network between the sensors and the model.
    pub network: Profile,
    /// The cloud of a hybrid, of which `model` and `network` are the edge's; none for a
    /// placement at one site.
    pub hybrid: Option<HybridPlacement>,
}

/// The cloud of a hybrid placement, and how requests are shared between it and the edge.
#[derive(Debug, Clone, PartialEq)]
pub struct HybridPlacement {
    /// The cloud's model, as the file spells it; without one the edge's.
    pub model: Option<PathBuf>,
    /// Scores of the cloud at or above it are anomalies. Without one its own model's,
    /// or, where it has the edge's model, the edge's.
    pub threshold: Option<f64>,
    /// The network between the sensors and the cloud.
    pub network: Profile,
    /// How requests are shared between edge and cloud.
    pub placement: placement::Config,
}

impl HybridPlacement {
    /// The model of the cloud, of which `edge` is the placement.
    pub fn model_beside<'a>(&'a self, edge: &'a Placement) -> &'a Path {
        self.model.as_ref().unwrap_or(&edge.model)
    }

    /// The cloud's threshold, as far as the scenario says one: the cloud's own, or that
    /// of the model that it shares with the edge.
    pub fn threshold_beside(&self, edge: &Placement) -> Option<f64> {
        self.threshold.or(edge.threshold.filter(|_| self.model.is_none()))
    }
}

/// One sensor, or several of a kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensor {
    /// Its device id; with `count` above 1, `-1`, `-2` and so on follow it.
    pub id: String,
    /// How many there are.
    pub count: u32,
    /// Where its requests come from.
    pub source: Source,
}

/// Where a sensor's requests come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A simulated bearing, of whose vibration features are computed.
    Bearing {
        /// Requests a second.
        rate_hz: f64,
        /// How loud the noise is, relative to a sound bearing's; 1 is as it is.
        noise_level: f64,
    },
    /// The rows of a recorded file.
    Recorded {
        /// The file, as the scenario spells it.
        file: PathBuf,
        /// How fast it is replayed, relative to its own pace.
        speed: f64,
        /// The column with the truth.
        label: Option<String>,
        /// The labels that mean an anomaly; empty where the usual words and the model's own do.
        anomalies: Vec<String>,
        /// Inputs of the model whose column has another name, each with that.
        columns: Vec<(String, String)>,
        /// How it is written, if it is a CSV.
        format: Format,
    },
}

/// How requests come, whatever the sensors' own pace is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// All sensors together.
    pub requests_per_s: f64,
    /// How they follow one another.
    pub arrivals: Arrivals,
}

/// How requests follow one another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// At equal distances.
    #[default]
    Regular,
    /// At distances that are exponential, as those of many sensors that do not know of each other.
    Poisson,
}

impl Arrivals {
    /// Every one with its name in scenarios.
    pub const NAMES: &[(&str, Self)] = &[("regular", Self::Regular), ("poisson", Self::Poisson)];
}

/// A number of the file that is varied.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// Where it stands, such as `networks.plant.uplink.delay.mean_ms`.
    pub key: String,
    /// What it is in turn.
    pub values: Vec<f64>,
}

/// Something in the file that is not done, or done in another way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Line, from 1.
    pub line: usize,
    /// What it is about, such as `node broker1`.
    pub subject: String,
    /// What becomes of it.
    pub remark: String,
}

#[cfg(test)]
mod tests;
