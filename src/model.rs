//! What a model is to the rest of the node: rows of features in, probabilities out. No tensor type leaves here.

/// A model that one thread owns and calls.
pub trait Model: Send {
    /// How many features a row has.
    fn inputs(&self) -> usize;

    /// Scores a batch of feature vectors.
    ///
    /// `rows` is row-major f32 `(batch, inputs)`, in the units the model's `config.json` names; normalisation happens
    /// inside. `predictions` is cleared and receives one probability in `[0, 1]` per row.
    ///
    /// # Errors
    /// When `rows` is not a whole number of rows, or the forward pass fails.
    fn predict(&mut self, rows: &[f32], predictions: &mut Vec<f32>) -> Result<(), ModelError>;
}

/// Why a forward pass failed.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The values are not a whole number of rows.
    #[error("expected a multiple of {inputs} features, got {values} values")]
    Shape {
        /// Features in a row.
        inputs: usize,
        /// Values given.
        values: usize,
    },
    /// The numeric library refused.
    #[error("forward pass failed: {0}")]
    Forward(String),
}
