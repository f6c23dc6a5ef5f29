//! What keeps a network from being trained, and what to do about it.

/// Fewer rows teach nothing.
pub const ROWS_MIN: usize = 64;
/// Fewer rows of a class teach nothing of it.
pub const CLASS_ROWS_MIN: usize = 8;

/// Why no network was trained.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrainingError {
    /// Groups that are no rows.
    #[error(
        "group {group} has {numbers} numbers and {labels} labels, expected rows of {inputs} features and a \
         label for each, or none"
    )]
    #[allow(missing_docs, reason = "the message names the fields")]
    Shape { group: usize, numbers: usize, inputs: usize, labels: usize },
    /// A value that no network can learn from.
    #[error(
        "row {row} of group {group} has a feature {feature} that is not a finite number: drop such rows, or \
         fill them in"
    )]
    #[allow(missing_docs, reason = "the message names the fields")]
    NotFinite { group: usize, row: usize, feature: usize },
    /// Hardly any rows.
    #[error(
        "{rows} rows are too few for a network, which needs {ROWS_MIN}: record for longer, or use `baseline`"
    )]
    #[allow(missing_docs, reason = "the message names the fields")]
    TooFew { rows: usize },
    /// Rows with labels, and others without.
    #[error("group {group} has no labels and others have: label it, or leave it out")]
    #[allow(missing_docs, reason = "the message names the fields")]
    SomeUnlabelled { group: usize },
    /// Labels that all say the same.
    #[error(
        "{healthy} rows are labelled healthy and {failing} failing, and a classifier needs both: leave the \
         labels out, and it becomes an autoencoder that learns what is healthy"
    )]
    #[allow(missing_docs, reason = "the message names the fields")]
    OneClass { healthy: usize, failing: usize },
    /// Hardly any rows of one class.
    #[error(
        "{healthy} rows are labelled healthy and {failing} failing, and {CLASS_ROWS_MIN} of each are needed: \
         label more rows before the failure, or leave the labels out"
    )]
    #[allow(missing_docs, reason = "the message names the fields")]
    TooFewOfClass { healthy: usize, failing: usize },
    /// All features are constant.
    #[error("every feature has one value in all rows: are the right columns chosen?")]
    Constant,
    /// Settings that make no network.
    #[error("found {found}, expected {expected}")]
    #[allow(missing_docs, reason = "the message names the fields")]
    Setting { found: String, expected: String },
    /// The loss went away.
    #[error("the loss of epoch {epoch} is not a number: try a learning rate below {learning_rate}")]
    #[allow(missing_docs, reason = "the message names the fields")]
    Diverged { epoch: usize, learning_rate: f64 },
    /// Something within candle.
    #[error("candle: {0}")]
    Candle(String),
}

impl From<candle_core::Error> for TrainingError {
    fn from(error: candle_core::Error) -> Self {
        Self::Candle(error.to_string())
    }
}
