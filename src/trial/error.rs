//! Why a trial cannot be run, or was cut short.

use std::io;
use std::path::PathBuf;
use std::time::SystemTimeError;

use crate::client::ClientError;
use crate::features::FeatureError;
use crate::lab::experiment::{FleetError, RecordingFault};
use crate::lab::observation::OBSERVATIONS_MAX;
use crate::model::{LoadError, ModelError};
use crate::node::NodeError;
use crate::requester::RequesterError;
use crate::settings::SettingError;
use crate::text::TextError;

/// Why a trial cannot be run, or was cut short.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum TrialError {
    /// The scenario's file cannot be read.
    #[error("{file}: cannot be read: {cause}")]
    Unreadable { file: String, cause: TextError },
    /// The file is no scenario.
    #[error(transparent)]
    Scenario(Box<SettingError>),
    /// The file is a scenario, but not at one of the points of its sweeps.
    #[error("{fault} (at {point})")]
    AtPoint { fault: Box<SettingError>, point: String },
    /// The scenario has no placements.
    #[error("{file}: there are no placements, expected at least one (placements, or ml_inference)")]
    NoPlacements { file: String },
    /// A placement's model cannot be used.
    #[error("placement {placement:?}: {fault}")]
    Placement { placement: String, fault: PlacementFault },
    /// A sensor's recording cannot be used.
    #[error("sensor {sensor:?}: {fault}")]
    Sensor { sensor: String, fault: SensorFault },
    /// The sensors make no fleet of devices.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A simulated bearing's inputs cannot be computed.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The observations would not fit in memory.
    #[error(
        "the experiment would have some {observations:.0} observations, expected at most {OBSERVATIONS_MAX}: shorten it, or have \
         fewer devices, repeats or points"
    )]
    TooLarge { observations: f64 },
    /// Something is said of a site that the scenario does not have.
    #[error("{said_of}: there is no placement {site:?}, expected one of {known}")]
    NoSuchSite { said_of: &'static str, site: String, known: String },
    /// A placement is called as a hybrid's cloud is.
    #[error("placement {0:?}: found the name by which a hybrid's cloud is known, expected another")]
    NamedLikeACloud(String),
    /// The model cannot be called.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The node does not start.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The node has no broker of its own.
    #[error("the node has no address")]
    NoAddress,
    /// The connection to the node cannot be set up, or has ended.
    #[error(transparent)]
    Requester(#[from] RequesterError),
    /// A request cannot be sent.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no thread to send requests.
    #[error("thread: {0}")]
    Thread(io::Error),
    /// The thread that sends has panicked.
    #[error("the thread that sends has panicked")]
    Panicked,
    /// The system's clock is before 1970.
    #[error("the system's clock: {0}")]
    SystemClock(#[from] SystemTimeError),
    /// Results cannot be written to a directory.
    #[error("{}: results cannot be written there: {cause}", directory.display())]
    Directory { directory: PathBuf, cause: io::Error },
    /// The directory for the results holds something else.
    #[error("{}: the directory is not empty, and these are no results of an experiment", .0.display())]
    ForeignDirectory(PathBuf),
    /// Results cannot be written.
    #[error(transparent)]
    Results(#[from] io::Error),
}

impl From<SettingError> for TrialError {
    fn from(error: SettingError) -> Self {
        Self::Scenario(Box::new(error))
    }
}

/// Why a model cannot stand where a scenario has it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum PlacementFault {
    /// There is no such file.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// It cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It is a hybrid's cloud of which that is true.
    #[error("its cloud: {0}")]
    Cloud(Box<PlacementFault>),
    /// It takes other inputs than the first placement's model.
    #[error(
        "{which} has {inputs} inputs and that of {first:?} has {expected}, expected as many: every input goes to every placement"
    )]
    Inputs { which: &'static str, inputs: usize, first: String, expected: usize },
    /// It takes other inputs than a simulated bearing has.
    #[error(
        "{which} has {inputs} inputs, expected {expected}, which is what a simulated bearing has; record your own inputs and \
         replay them (sensors, file)"
    )]
    NotForBearings { which: &'static str, inputs: usize, expected: usize },
    /// It cannot be called.
    #[error(transparent)]
    Call(#[from] ModelError),
    /// Its forward passes are too quick for the clock.
    #[error("its forward passes take no time that can be measured")]
    NoTime,
}

impl From<RecordingFault> for SensorFault {
    fn from(fault: RecordingFault) -> Self {
        Self::Recording(Box::new(fault))
    }
}

/// Why a sensor's recording cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum SensorFault {
    /// There is no such file.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// It cannot be read.
    #[error(transparent)]
    Recording(Box<RecordingFault>),
    /// It says the column of an input that there is not.
    #[error("features: model {model:?} has no input {input:?}{hint}")]
    UnknownInput { model: String, input: String, hint: String },
    /// Nothing says which columns are the model's inputs.
    #[error(
        "model {model:?} does not name its {inputs} inputs, so that no columns of a recording can be found for them: name them in \
         its config.json"
    )]
    UnnamedInputs { model: String, inputs: usize },
}

/// A file that a scenario names is in neither of the two places where it may be.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is neither in {}, where the scenario is, nor in the current directory",
    file.display(),
    beside.display()
)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message names its fields")]
pub struct NotFound {
    pub file: PathBuf,
    pub beside: PathBuf,
}
