//! What a detector is.

use super::block::Word;

/// A row of one device.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Its features, as the model's normalisation gives them.
    pub features: &'a [f32],
    /// What the network says of it, where there is one.
    pub network: Option<f32>,
    /// Microseconds on the device's own clock, where it says so.
    pub timestamp_us: Option<i64>,
}

/// A detector: its settings and what it has learnt of all devices. What it knows of one device is a block of
/// [`words`](Self::words), which are not its own.
///
/// A row is first scored and then, if the device is quiet, learnt from: so a score follows from the rows
/// before it, and what may be a fault teaches nothing.
pub trait Detect: Send + Sync {
    /// How many words it keeps of a device.
    fn words(&self) -> usize;

    /// Writes the state of a device of which nothing was seen. The words are 0 before.
    fn begin(&self, _state: &mut [Word]) {}

    /// How unusual the row is: 0 or more, on a scale of its own, and higher for what is less normal. What
    /// moves on with every row, such as a window, moves on here. `None` while it has not seen enough.
    fn score(&self, row: &Row<'_>, state: &mut [Word]) -> Option<f32>;

    /// Learns from the row that was scored last.
    fn learn(&self, row: &Row<'_>, state: &mut [Word]);

    /// How much each feature contributed to the score of the row that was scored last, before it is learnt
    /// from: 0 or more each, on one scale. `into` is as long as the row.
    fn contributions(&self, row: &Row<'_>, state: &mut [Word], into: &mut [f32]);
}
