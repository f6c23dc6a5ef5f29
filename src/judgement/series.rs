//! What is judged: rows of a device with what was said of them, and the truth. Rows in which a device learns
//! count nowhere, those of a machine that stands still count as quiet.

use crate::detection::State;

/// A device, or a file, with its rows in the order in which they were answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub device: String,
    /// Its rows, those of the warm-up too.
    pub rows: Vec<Judged>,
}

impl Series {
    /// Whether an alarm began with a row: an alarm after a row without one did, whether that was said or not;
    /// one after a stop may be that which was on before.
    pub(crate) fn begins(&self, number: usize) -> bool {
        let before = number.checked_sub(1).map(|before| self.rows[before].state);
        let follows_quiet = matches!(before, None | Some(State::Normal | State::Learning));
        let row = &self.rows[number];
        row.state == State::Alarm && (row.begins || follows_quiet)
    }
}

/// A row with what was said of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Microseconds on the device's own clock, where it says so.
    pub at_us: Option<i64>,
    /// How unusual it is, on any scale, higher for what is less normal; surprisal is a good one. What is not
    /// a number counts as the least unusual of all.
    pub score: f64,
    /// The threshold in force, on the same scale, for the drawing.
    pub threshold: Option<f64>,
    /// What the device is in, this row included.
    pub state: State,
    /// Whether its alarm began with this row.
    pub begins: bool,
    /// Whether something was wrong; nothing where nobody knows.
    pub truth: Option<bool>,
}
