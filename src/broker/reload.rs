//! What can be read again while the broker runs.

/// Something that was read from files and can be read again.
pub trait Reload: Send + Sync {
    /// Reads the files again. What was read before stays in force when they cannot be used.
    ///
    /// # Errors
    /// What is wrong with them, in one line.
    fn reload(&self) -> Result<(), String>;
}
